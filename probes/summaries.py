"""From rows of held-out correctness to balanced accuracies with intervals over groups.

Rows carry the class they are scored against in `strength`; the balanced accuracy of a set of rows
is the mean over classes of the share that is right. Groups are resampled, never rows: statements
about one entity are not independent. Repeated draws of a control are pooled inside each group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.evidence import Evidence
from interp.stats import Interval, group_bootstrap

PLACE = ("model", "donor", "metric", "kind", "layer", "head", "span")


def accuracy(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy per place and condition: columns estimate, low, high, groups, examples.

    The interval is the BCa bootstrap over groups. It holds the fitted probes fixed, so it covers
    new entities, not new training sets.
    """
    rows = _correctness(evidence)
    out = []
    for key, part in rows.groupby([*PLACE, "condition"], dropna=False, observed=True, sort=False):
        names = np.unique(part["group"])
        got = _interval(_sums(part, names), None, level, draws, seed)
        out.append([*_tuple(key), got.estimate, got.low, got.high, got.n, len(part)])
    columns = [*PLACE, "condition", "estimate", "low", "high", "groups", "examples"]
    return pd.DataFrame(out, columns=pd.Index(columns))


def selectivity(
    evidence: Evidence,
    *,
    against: str = "control_task",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Balanced accuracy of the probe minus that of a control, per place, paired by group.

    `against` is control_task, shuffled, random_features or surface.
    Columns estimate, low, high, groups.

    Raises:
        ValueError: if the evidence holds no rows of that control.
    """
    rows = _correctness(evidence)
    controls = {
        _hashable(key): part
        for key, part in rows[rows["condition"] == against].groupby(
            list(PLACE), dropna=False, observed=True
        )
    }
    if not controls:
        seen = sorted(rows["condition"].unique())
        raise ValueError(f"no {against!r} rows to compare with, got {seen}; name it in controls")
    out = []
    probe = rows[rows["condition"] == "probe"]
    for key, part in probe.groupby(list(PLACE), dropna=False, observed=True, sort=False):
        control = controls.get(_hashable(key))
        if control is None:
            continue
        names = np.unique(part["group"])
        got = _interval(_sums(part, names), _sums(control, names), level, draws, seed)
        out.append([*_tuple(key), got.estimate, got.low, got.high, got.n])
    return pd.DataFrame(out, columns=pd.Index([*PLACE, "estimate", "low", "high", "groups"]))


def _correctness(evidence: Evidence) -> pd.DataFrame:
    table = evidence.table
    rows = table[(table["unit"] == "accuracy") & table["group"].notna()]
    return rows.assign(
        condition=rows["condition"].astype(str),
        group=rows["group"].astype(str),
        label=rows["strength"].astype(float).fillna(0.0),
        right=rows["value"].astype(float),
    )


def _sums(rows: pd.DataFrame, names: np.ndarray) -> np.ndarray:
    """Right answers and rows per group and class, shape (group, class, 2)."""
    table = rows.groupby(["group", "label"], sort=True)["right"].agg(["sum", "count"])
    wide = table.unstack("label", fill_value=0).reindex(names, fill_value=0)
    return wide.to_numpy(dtype=float).reshape(len(names), 2, -1).swapaxes(1, 2)


def _balanced(sums: np.ndarray) -> np.ndarray:
    """Mean recall over the classes present, from (..., group, class, 2) to (...)."""
    right, rows = np.moveaxis(sums.sum(-3), -1, 0)
    recall = np.divide(right, rows, out=np.zeros_like(right), where=rows > 0)
    return np.asarray(recall.sum(-1) / (rows > 0).sum(-1))


def _interval(
    sums: np.ndarray, against: np.ndarray | None, level: float, draws: int, seed: int
) -> Interval:
    """Groups are resampled by their number, so that every count of a group moves with it."""

    def statistic(numbers: np.ndarray) -> np.ndarray:
        at = np.asarray(numbers).astype(int)
        gap = _balanced(sums[at])
        return gap if against is None else np.asarray(gap - _balanced(against[at]))

    numbers = np.arange(len(sums))
    return group_bootstrap(
        numbers.astype(float), numbers, statistic=statistic, draws=draws, level=level, seed=seed
    )


def _tuple(key: object) -> Sequence[object]:
    return key if isinstance(key, tuple) else (key,)


def _hashable(key: object) -> tuple[str, ...]:
    """A key that compares equal to itself although it may hold nulls."""
    return tuple(str(part) if pd.notna(part) else "" for part in _tuple(key))  # type: ignore[arg-type]
