"""The rows that probes write into evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.activations import Activations
from interp.evidence import Evidence
from probes.data import Problem
from probes.splits import Split


def margin_rows(
    known: Problem,
    at: Activations,
    attribute: str,
    condition: str,
    draw: int,
    target: Int[np.ndarray, " held"],
    margin: Float[np.ndarray, " held"],
    examples: Int[np.ndarray, " held"],
) -> Evidence:
    """Held-out margins of the second class as rows of method ``margin``."""
    names = np.array(known.names, dtype=object)[known.groups[examples]]
    return Evidence.build(
        margin, method="margin", condition=condition, metric=attribute, unit="margin",
        strength=target.astype(float), group=names, example=examples, seed=draw, model=at.model,
        kind=str(at.site.kind), layer=at.site.layer, head=at.site.head, span=at.position,
    )  # fmt: skip


class Rows:
    """Collects blocks of rows and builds the Evidence once."""

    def __init__(self, known: Problem, attribute: str, method: str = "probe") -> None:
        """Start an empty table for this problem."""
        self.known, self.attribute, self.method = known, attribute, method
        self.names = np.array(known.names, dtype=object)
        self.blocks: list[dict[str, Any]] = []

    def add(
        self,
        splits: list[Split],
        guess: np.ndarray,
        target: np.ndarray,
        at: Activations,
        condition: str,
        draw: int,
        **extra: Any,
    ) -> None:
        """One row per held-out example: is the guess the target."""
        held = np.concatenate([test for _, test in splits])
        held.sort()
        self.blocks.append(
            {
                "value": (guess[held] == target[held]).astype(np.float32),
                "strength": target[held].astype(float),
                "example": held,
                "group": self.names[self.known.groups[held]],
                "model": at.model,
                "condition": condition,
                "kind": str(at.site.kind),
                "layer": at.site.layer,
                "head": at.site.head,
                "span": at.position,
                "seed": draw,
                **extra,
            }
        )

    def evidence(self, provenance: dict[str, Any]) -> Evidence:
        """All rows as one Evidence."""
        columns: dict[str, Any] = {}
        for name in self.blocks[0]:
            parts = [
                np.full(len(b["value"]), b[name], dtype=object)
                if b[name] is None or np.isscalar(b[name])
                else np.asarray(b[name])
                for b in self.blocks
            ]
            columns[name] = np.concatenate(parts)
        value = columns.pop("value").astype(np.float32)
        return Evidence.build(
            value, provenance=provenance, method=self.method, metric=self.attribute,
            unit="accuracy", **columns,
        )  # fmt: skip
