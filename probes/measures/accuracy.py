"""From rows of held-out correctness to balanced accuracies with intervals over groups.

Rows carry the class that they are scored against in `label`; the balanced accuracy of a set of rows
is the mean over classes of the share that is right. Groups are resampled, never rows: statements
about one entity are not independent. Repeated draws of a control are pooled inside each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from interp._aliases import alias, formerly
from interp.evidence import Evidence
from interp.stats.intervals import Interval, group_bootstrap

#: The columns that say where something was read.
PLACE = ("model", "donor", "metric", "kind", "layer", "head", "span")

#: The columns that say from which set to which a probe was carried.
SETS = ("train_set", "test_set")

#: Columns that tell one row of correctness from another of the same place.
_IDENTITY = ("method", "condition", *SETS, "template", "question", "fold", "draw", "example", "group")


@formerly(draws="resamples")
def balanced_accuracy(
    evidence: Evidence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy, the mean recall over classes, per place and condition.

    The interval is the BCa bootstrap over groups. It holds the fitted probes fixed, so it covers
    new entities, not new training sets.

    Args:
        evidence: rows of unit accuracy, as `cross_validate`, `train_test`, `learning_curve`,
            `transfer`, `generalisation` and `check_erasure` make them.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, condition, estimate, low,
        high, groups and examples; before condition train_set and test_set, where the rows have them.

    Raises:
        ValueError: if there are no such rows, or the evidence joins two runs of the same place (two
            estimators, say).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> read = probes.cross_validate(states, controls=["shuffled"], repeats=2)
        >>> table = probes.balanced_accuracy(read, resamples=50)
        >>> table[["condition", "groups", "examples"]].to_dict("list")
        {'condition': ['probe', 'shuffled'], 'groups': [128, 128], 'examples': [128, 256]}
    """
    rows = _correctness(evidence)
    sets = [name for name in SETS if rows[name].notna().any()]
    table = []
    for key, part in by_place(rows, *sets, "condition"):
        sums = _sums(part, np.unique(part["group"]))
        interval = resampled(partial(_balanced, sums), len(sums), level, resamples, seed)
        table.append([*key, interval.estimate, interval.low, interval.high, interval.n, len(part)])
    columns = [*PLACE, *sets, "condition", "estimate", "low", "high", "groups", "examples"]
    return pd.DataFrame(table, columns=pd.Index(columns))


accuracy = alias(balanced_accuracy, "accuracy")


@formerly(draws="resamples")
def selectivity(
    evidence: Evidence,
    *,
    against: str = "control_task",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Balanced accuracy of the probe minus that of a control, per place, paired by group.

    Held-out groups are unseen types, so a control task can only be guessed: the difference says how
    far the probe is above guessing, not how much it could memorise.

    Args:
        evidence: made by `cross_validate` or `train_test`.
        against: control_task, shuffled, random_features, surface or surface_NAME.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, estimate, low, high and
        groups; BCa bootstrap over groups.

    Raises:
        ValueError: if the evidence holds no rows of that control.

    Source: Hewitt & Liang, 1909.03368.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::6])
        >>> read = probes.cross_validate(states, controls=["shuffled"], repeats=2)
        >>> probes.selectivity(read, against="shuffled", resamples=50)["layer"].tolist()
        [0, 5]
    """
    table = []
    for key, probe, control in paired(_correctness(evidence), against):
        names = np.unique(probe["group"])
        gap = partial(_gap, _sums(probe, names), _sums(control, names))
        interval = resampled(gap, len(names), level, resamples, seed)
        table.append([*key, interval.estimate, interval.low, interval.high, interval.n])
    return pd.DataFrame(table, columns=pd.Index([*PLACE, "estimate", "low", "high", "groups"]))


def by_place(rows: pd.DataFrame, *further: str) -> Iterator[tuple[tuple[object, ...], pd.DataFrame]]:
    """The rows of each place, and of each value of further columns, in order of appearance.

    Args:
        rows: of evidence.
        *further: names of columns.
    """
    keys = [*PLACE, *further]
    for key, part in rows.groupby(keys, dropna=False, observed=True, sort=False):
        yield tuple(key), part  # pyright: ignore[reportArgumentType]


def paired(
    rows: pd.DataFrame, against: str
) -> list[tuple[Sequence[object], pd.DataFrame, pd.DataFrame]]:
    """Each place's key with its rows of the probe and of another condition, where it has both.

    Raises:
        ValueError: if there are no rows of that condition.
    """
    probe, control = _places(rows, "probe"), _places(rows, against)
    if not control:
        conditions = sorted(rows["condition"].astype(str).unique())
        raise ValueError(f"no {against!r} rows to compare with, got {conditions}; name it in controls")
    return [(key, part, control[same][1]) for same, (key, part) in probe.items() if same in control]


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, level: float, resamples: int, seed: int
) -> Interval:
    """Interval of a statistic of group numbers 0..n − 1; all counts of a group move together."""
    numbers = np.arange(n)
    return group_bootstrap(
        numbers.astype(float),
        numbers,
        statistic=lambda drawn: statistic(np.asarray(drawn).astype(int)),
        draws=resamples,
        level=level,
        seed=seed,
    )


def _places(
    rows: pd.DataFrame, condition: str
) -> dict[tuple[str, ...], tuple[Sequence[object], pd.DataFrame]]:
    """The rows of a condition by place: keys as text, which compare equal although they hold nulls."""
    chosen = rows[rows["condition"].astype(str) == condition]
    return {
        tuple(str(value) if pd.notna(value) else "" for value in key): (key, part)  # type: ignore[arg-type]
        for key, part in by_place(chosen)
    }


def _correctness(evidence: Evidence) -> pd.DataFrame:
    """The rows of unit accuracy that have a group, each of them once."""
    rows = evidence.needed(
        "probes.cross_validate or probes.train_test (for quantities: probes.r_squared; for patching: "
        "interp.figures.tables)",
        unit="accuracy",
    )
    rows = rows[rows["group"].notna()]
    if rows.duplicated([*PLACE, *_IDENTITY]).any():
        raise ValueError(
            "evidence holds a row twice: the same place, condition and example, as after joining two "
            "runs; summarise each run alone, or name their attributes apart"
        )
    return rows.assign(
        condition=rows["condition"].astype(str),
        group=rows["group"].astype(str),
        label=rows["label"].astype(float).fillna(0.0),
        right=rows["value"].astype(float),
    )


def _sums(rows: pd.DataFrame, names: np.ndarray) -> np.ndarray:
    """Right answers and rows per group and class, shape (group, class, 2)."""
    table = rows.groupby(["group", "label"], sort=True)["right"].agg(["sum", "count"])
    wide = table.unstack("label", fill_value=0).reindex(names, fill_value=0)
    return wide.to_numpy(dtype=float).reshape(len(names), 2, -1).swapaxes(1, 2)


def _balanced(sums: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Mean recall over the classes present in drawn group numbers [..., group]."""
    right, rows = np.moveaxis(sums[drawn].sum(-3), -1, 0)
    recall = np.divide(right, rows, out=np.zeros_like(right), where=rows > 0)
    return np.asarray(recall.sum(-1) / (rows > 0).sum(-1))


def _gap(probe: np.ndarray, control: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return _balanced(probe, drawn) - _balanced(control, drawn)
