"""What probes read of the labels of prompts, boundary by boundary, and the word that it gives.

Selectivity is the balanced accuracy on held-out groups above that of the control task. Of the tuned
model's held-out states the base's probe as it is (frozen) and a fresh one (refit) give balanced
accuracies. The word is read at one boundary that is declared beforehand. Readable is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.claims.readable import balanced_accuracy, difference
from interp.verdict.thresholds import Thresholds

#: What labels are called in the evidence.
LABEL = "label"


@dataclass(frozen=True)
class LabelsAt:
    """What probes read at one boundary; None where it was not measured.

    Attributes:
        boundary: of the residual stream.
        base: selectivity in the base.
        tuned: selectivity in the tuned model.
        above_surface: the base's accuracy above that of a reader of tokens alone.
        frozen: accuracy of the base's probe on the tuned model.
        refit: accuracy of a fresh probe there.
    """

    boundary: int
    base: Interval | None
    tuned: Interval | None
    above_surface: Interval | None
    frozen: Interval | None
    refit: Interval | None


@dataclass(frozen=True)
class Labels:
    """The labels in both models.

    Attributes:
        classes: the labels that were probed.
        boundary: where the word is read.
        word: in which of the models the label can be read.
        boundaries: every boundary.
    """

    classes: tuple[str, ...]
    boundary: int
    word: str
    boundaries: tuple[LabelsAt, ...]

    def as_dict(self) -> dict[str, Any]:
        """Content of verdict.json."""
        cells = ("base", "tuned", "above_surface", "frozen", "refit")
        rows = [
            {"boundary": at.boundary} | {c: _interval(getattr(at, c)) for c in cells}
            for at in self.boundaries
        ]
        return {**asdict(self), "boundaries": rows}


def labels_of(evidence: Evidence, thresholds: Thresholds, seed: int) -> Labels | None:
    """Read the probes of labels.

    Args:
        evidence: with the rows methods ``probe`` and ``transfer`` of the attribute `LABEL`.
        thresholds: the declared margin and boundary, the level of the intervals.
        seed: of the bootstrap.

    Returns:
        The reading; None without such rows.
    """
    probed = evidence.rows(method="probe", metric=LABEL)
    if probed.empty:
        return None
    carried = evidence.rows(method="transfer", metric=LABEL, condition=["frozen", "refit"])
    boundaries = tuple(
        _at(int(k), probed[probed["layer"] == k], carried[carried["layer"] == k], thresholds, seed)
        for k in sorted(probed["layer"].unique())
    )
    k = max(1, round(thresholds.claim_depth_last * (len(boundaries) - 1)))
    classes = tuple(str(name) for name in evidence.provenance.get("label_classes", ()))
    return Labels(classes, k, _word(boundaries[k], thresholds), boundaries)


def _at(
    k: int, probed: pd.DataFrame, carried: pd.DataFrame, thresholds: Thresholds, seed: int
) -> LabelsAt:
    """One boundary."""
    cells: Mapping[tuple[str, str], pd.DataFrame] = {
        (str(model), str(condition)): rows
        for (model, condition), rows in probed.groupby(["model", "condition"], observed=True)
    }

    def above(model: str, control: str) -> Interval | None:
        pair = cells.get((model, "probe")), cells.get((model, control))
        if pair[0] is None or pair[1] is None:
            return None
        return difference(pair[0], pair[1], thresholds, seed)

    return LabelsAt(
        k,
        above("base", "control_task"),
        above("tuned", "control_task"),
        above("base", "surface_tokens"),
        *(
            balanced_accuracy(carried[carried["condition"] == condition], thresholds, seed)
            for condition in ("frozen", "refit")
        ),
    )


def _word(at: LabelsAt, thresholds: Thresholds) -> str:
    """In which model the label can be read: both, one, neither, or undetermined."""
    margin = thresholds.readable_gap
    if at.base is None or at.tuned is None:
        return "undetermined"
    base, tuned = (gap.low > margin for gap in (at.base, at.tuned))
    if not (base or at.base.high < margin) or not (tuned or at.tuned.high < margin):
        return "undetermined"
    if base == tuned:
        return "in both models" if base else "in neither model"
    return f"in the {'base' if base else 'tuned model'} only"


def _interval(value: Interval | None) -> dict[str, Any] | None:
    return None if value is None else value.as_dict()
