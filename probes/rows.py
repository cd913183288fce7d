"""The one writer of the rows that probes put into evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp.evidence import Evidence
from probes.data import Label


class Rows:
    """Collects blocks of rows of one method and builds the evidence once."""

    def __init__(
        self, groups: Sequence[str] | np.ndarray, *, method: str, metric: str, unit: str
    ) -> None:
        """Start an empty table.

        Args:
            groups: name of each example's group.
            method: the measurement.
            metric: what the values measure: an attribute, or the name of a set.
            unit: unit of the values.
        """
        self.groups = np.array(groups, dtype=object)
        self.constant = {"method": method, "metric": metric, "unit": unit}
        self.blocks: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def add(
        self,
        values: np.ndarray,
        where: Mapping[str, Any],
        condition: str | Sequence[str],
        *,
        examples: np.ndarray | None = None,
        label: np.ndarray | float | None = None,
        draw: int | Sequence[int | None] | None = None,
        **columns: Any,
    ) -> None:
        """Add one row per value; columns are arrays of one entry per value, or constants.

        Args:
            values: the numbers.
            where: columns of the place, as `Activations.columns` gives them.
            condition: the measured case or the control.
            examples: row of the examples, which also names the group; None for values of no example.
            label: class number or quantity that the value is held against.
            draw: number of the random draw of a control; None for the measured case.
            **columns: further columns of evidence; they override the method, metric and unit.
        """
        rows = {**self.constant, **where, "condition": condition, "draw": draw, **columns}
        if examples is not None:
            rows |= {"example": examples, "group": self.groups[examples]}
        if label is not None:
            rows["label"] = np.asarray(label, dtype=float)
        if "fold" not in columns:  # as earlier versions had it: 0 for what was measured
            rows["seed"] = draw or 0 if not isinstance(draw, Sequence) else [n or 0 for n in draw]
        self.blocks.append({**rows, "value": np.asarray(values, dtype=np.float32)})

    def add_correct(
        self,
        predicted: np.ndarray,
        target: np.ndarray,
        where: Mapping[str, Any],
        condition: str,
        *,
        examples: np.ndarray,
        draw: int | None = None,
        **columns: Any,
    ) -> None:
        """Add one row per example: 1 where the predicted class is the target, else 0.

        Args:
            predicted: class number predicted for each example of the data.
            target: class number that each is scored against.
            where: columns of the place.
            condition: the measured case or the control.
            examples: rows of the examples that were held out.
            draw: number of the random draw of a control.
            **columns: further columns of evidence.
        """
        target = target[examples]
        correct = predicted[examples] == target
        self.add(correct, where, condition, examples=examples, label=target, draw=draw, **columns)

    def evidence(self, provenance: Mapping[str, Any] | None = None) -> Evidence:
        """All rows as one Evidence."""
        sizes = [len(block["value"]) for block in self.blocks]
        columns = {
            name: np.concatenate(
                [_column(block.get(name), n) for block, n in zip(self.blocks, sizes, strict=True)]
            )
            for name in dict.fromkeys(name for block in self.blocks for name in block)
        }
        return Evidence.build(columns.pop("value", []), provenance=provenance, **columns)


def provenance(
    run: str, settings: Mapping[str, Any], classes: tuple[str, Sequence[Label]] | None = None
) -> dict[str, Any]:
    """What evidence says of its origin.

    Args:
        run: name of the run, such as "probe.truth".
        settings: seed, estimator and the like.
        classes: the attribute, and its label values in the order of their numbers.
    """
    named = {} if classes is None else {f"classes.{classes[0]}": list(classes[1])}
    return {run: dict(settings), **named}


def _column(value: Any, n: int) -> np.ndarray:
    """A column of n entries from an array, a sequence, or a constant."""
    if value is None or np.ndim(value) == 0:
        column = np.empty(n, dtype=object)
        column[:] = value.item() if isinstance(value, np.ndarray) else value
        return column
    return np.asarray(value, dtype=None if isinstance(value, np.ndarray) else object)
