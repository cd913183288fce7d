"""From rows of held-out correctness to balanced accuracies with intervals over groups.

Rows carry the class they are scored against in `strength`; the balanced accuracy of a set of rows
is the mean over classes of the share that is right. Groups are resampled, never rows: statements
about one entity are not independent. Repeated draws of a control are pooled inside each group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from interp.evidence import Evidence
from interp.stats.intervals import Interval, group_bootstrap

PLACE = ("model", "donor", "metric", "kind", "layer", "head", "span")


def accuracy(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy per place and condition: columns estimate, low, high, groups, examples.

    The interval is the BCa bootstrap over groups. It holds the fitted probes fixed, so it covers
    new entities, not new training sets.

    Raises:
        ValueError: if the evidence joins two runs of the same place (two estimators, say).
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

    `against` is control_task, shuffled, random_features, surface or surface_NAME.
    Columns estimate, low, high, groups.

    Raises:
        ValueError: if the evidence holds no rows of that control.
    """
    out = []
    for key, probe, control in paired(_correctness(evidence), against):
        names = np.unique(probe["group"])
        got = _interval(_sums(probe, names), _sums(control, names), level, draws, seed)
        out.append([*key, got.estimate, got.low, got.high, got.n])
    return pd.DataFrame(out, columns=pd.Index([*PLACE, "estimate", "low", "high", "groups"]))


def paired(
    rows: pd.DataFrame, against: str
) -> list[tuple[Sequence[object], pd.DataFrame, pd.DataFrame]]:
    """Each place's key with its rows of the probe and of another condition, where it has both.

    Raises:
        ValueError: if there are no rows of that condition.
    """
    probe, control = _places(rows, "probe"), _places(rows, against)
    if not control:
        seen = sorted(rows["condition"].astype(str).unique())
        raise ValueError(f"no {against!r} rows to compare with, got {seen}; name it in controls")
    return [(key, part, control[same][1]) for same, (key, part) in probe.items() if same in control]


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, level: float, draws: int, seed: int
) -> Interval:
    """Interval of a statistic of group numbers 0..n − 1; all counts of a group move together."""
    numbers = np.arange(n)
    return group_bootstrap(
        numbers.astype(float),
        numbers,
        statistic=lambda drawn: statistic(np.asarray(drawn).astype(int)),
        draws=draws,
        level=level,
        seed=seed,
    )


def _places(
    rows: pd.DataFrame, condition: str
) -> dict[tuple[str, ...], tuple[Sequence[object], pd.DataFrame]]:
    """The rows of a condition by place: keys as text, which compare equal although they hold nulls."""
    chosen = rows[rows["condition"].astype(str) == condition]
    out = {}
    for key, part in chosen.groupby(list(PLACE), dropna=False, observed=True, sort=False):
        places = _tuple(key)
        out[tuple(str(one) if pd.notna(one) else "" for one in places)] = (places, part)  # type: ignore[arg-type]
    return out


def _correctness(evidence: Evidence) -> pd.DataFrame:
    rows = evidence.needed(
        "probes.cross_validate or probes.sweep (for quantities: probes.explained; for patching: "
        "interp.figures.tables)",
        unit="accuracy",
    )
    rows = rows[rows["group"].notna()]
    once = [*PLACE, "method", "condition", "template", "seed", "example", "group"]
    if rows.duplicated([name for name in once if name in rows]).any():
        raise ValueError(
            "evidence holds a row twice: the same place, condition and example, as after joining two "
            "runs; summarise each run alone, or name their attributes apart"
        )
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
    def gap(at: np.ndarray) -> np.ndarray:
        own = _balanced(sums[at])
        return own if against is None else np.asarray(own - _balanced(against[at]))

    return resampled(gap, len(sums), level, draws, seed)


def _tuple(key: object) -> Sequence[object]:
    return key if isinstance(key, tuple) else (key,)
