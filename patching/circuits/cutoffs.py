"""Every declared cut-off of circuits, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cutoffs:
    """Where words begin; declared before results are seen and written beside them.

    Attributes:
        core: share of resamples from which on an edge that they hold is "core".
        noise: share below which it is "noise"; between the two it is "contingent".
        same: share of a model's own circuit's faithfulness that the other model's circuit must reach
            in it for the two to be the same circuit.
        stronger: factor of the behaviour's size from which on the same circuit is "strengthened";
            below its inverse "weakened".
        level: confidence of every interval.
    """

    core: float = 0.9
    noise: float = 0.1
    same: float = 0.8
    stronger: float = 1.25
    level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse cut-offs that cross.

        Raises:
            ValueError: one line with the rule.
        """
        ordered = 0 <= self.noise < self.core <= 1 and 0 < self.same <= 1 < self.stronger
        if not ordered or not 0 < self.level < 1:
            raise ValueError(
                "cut-offs must keep 0 <= noise < core <= 1, 0 < same <= 1 < stronger and "
                f"0 < level < 1; got {self}"
            )

    def as_dict(self) -> dict[str, Any]:
        """By name, as provenance holds them."""
        return asdict(self)
