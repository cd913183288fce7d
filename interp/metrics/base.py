"""A metric: what it reads, where, in which unit and under which name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.display.html import Shown

if TYPE_CHECKING:
    from interp.models.model import Model

#: The name of a metric that was given none.
UNNAMED = "metric"


@dataclass(frozen=True, eq=False)
class Metric(Shown):
    """A number per row read from the logits at one position of each example.

    `metric(logits, example)` takes logits [row, token] whose columns are `tokens` (every vocabulary
    row when None) and the example each row belongs to, and returns one value per row: after a sweep
    has multiplied the batch, rows are not examples.

    Attributes:
        read: the function behind it.
        unit: "logits", "nats", "share", or "value" of a function that names none.
        positions: where each example is read, [example].
        tokens: sorted vocabulary rows needed, or None for all.
        name: what its values are called in evidence where it stands alone.
        measure: what it measures, by which it is called beside others if it has no name of its own.
        reader: whose final norm and unembedding make the logits; None for the model that runs.
    """

    read: Callable[[Tensor, Tensor], Tensor]
    unit: str
    positions: Int[Tensor, " example"]
    tokens: Int[Tensor, " token"] | None = None
    name: str = UNNAMED
    measure: str = ""
    reader: Model | None = None

    def read_by(self, model: Model) -> Metric:
        """The same metric of logits that one model's final norm and unembedding make of every run.

        Args:
            model: of the same width as the models that run.
        """
        return replace(self, reader=model)

    def subset(self, rows: Int[Tensor, " row"]) -> Metric:
        """The metric of some of its prompts, counted anew, as `Examples.subset` counts them.

        Args:
            rows: numbers of the prompts.
        """

        def read(logits: Tensor, example: Tensor) -> Tensor:
            return self.read(logits, rows[example])

        return replace(self, read=read, positions=self.positions[rows])

    def __repr__(self) -> str:
        """What it measures, in which unit, of how many prompts."""
        called = self.name if self.name != UNNAMED else self.measure or UNNAMED
        return f"Metric({called}, in {self.unit}, of {len(self.positions)} prompts)"

    def __call__(
        self, logits: Float[Tensor, "row token"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """One value per row.

        Raises:
            ValueError: if the function averages or otherwise returns another shape.
        """
        values = self.read(logits, example)
        if values.shape != example.shape:
            raise ValueError(
                f"a metric returns one value per row, shape {tuple(example.shape)}; got "
                f"{tuple(values.shape)}; do not average inside a metric"
            )
        return values


def logits_of(
    logits: Float[Tensor, "row vocabulary"], tokens: Int[Tensor, "row token"]
) -> Float[Tensor, "row token"]:
    """Each row's logits of its tokens; −inf for those that the model has no row for."""
    sayable = tokens < logits.shape[1]
    return logits.gather(1, tokens.where(sayable, 0)).masked_fill(~sayable, -torch.inf)


def logit_in(logits: Float[Tensor, "row token"], column: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    """The logit in one column of each row."""
    return logits[torch.arange(len(column), device=logits.device), column]


def defined(values: Tensor) -> Tensor:
    """The values with NaN for infinite ones."""
    return values.where(values.isfinite(), torch.nan)
