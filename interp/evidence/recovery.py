"""Recovery: how far an edit brings a corrupted run back to the clean one, with its interval.

recovery = sum_i (edited_i - corrupted_i) / sum_i (clean_i - corrupted_i) over pairs i: 0 as corrupted,
1 as clean. Sums come before the division, so that pairs whose two runs hardly differ weigh little.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp import stats
from interp.evidence.pairs import UNEDITED, PairRuns, pair_runs
from interp.evidence.table import Evidence

Array = np.ndarray

#: The columns that can name an edited run, in the order in which a table shows them.
CELL = (
    "donor",
    "condition",
    "direction",
    "kind",
    "layer",
    "head",
    "neuron",
    "position",
    "span",
    "source_span",
    "sender",
    "receivers",
    "window",
    "strength",
)

#: The methods that run both sides of a pair beside the edited runs.
PAIRED = frozenset({"patch", "handover", "path_patch", "trace", "claim", "screen"})

#: The columns that tell measurements apart.
MEASUREMENT = ("model", "method", "metric")


def recovery_table(evidence: Evidence, *, resamples: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """Recovery of every edited run in the evidence, one row each: what `patching.recovery` gives."""
    parts = []
    # First-order effects are changes already, no values of an edited run.
    table = evidence.table[~evidence.table["condition"].isin(["attribution"]).to_numpy(dtype=bool)]
    for key, rows in table.groupby(list(MEASUREMENT), observed=True, dropna=False):
        if not {*UNEDITED} < {*rows["condition"].dropna()}:
            continue
        _refuse_repeats(rows)
        runs = pair_runs(rows, CELL)
        if not len(runs):
            raise ValueError(
                "recovery needs clean and corrupted rows of the same examples; got none in common: "
                "fill the column example"
            )
        estimate, low, high = recovery_bounds(runs, resamples=resamples, seed=seed)
        cells = runs.edited.columns.to_frame(index=False)
        measurement: dict[str, Any] = dict(zip(MEASUREMENT, tuple(key), strict=True))  # type: ignore[arg-type]
        n = runs.edited.notna().to_numpy().sum(axis=0)
        parts.append(cells.assign(**measurement, estimate=estimate, low=low, high=high, n=n))
    if not parts:
        methods = {str(name) for name in evidence.table["method"].dropna()}
        conditions = set(map(str, evidence.table["condition"].dropna()))
        missing = [name for name in UNEDITED if name not in conditions]
        if missing and methods & PAIRED:
            raise ValueError(
                f"recovery needs the unedited runs beside the edited ones; got no rows of condition "
                f"{' or '.join(missing)}; select by other columns with None among their values, as in "
                "evidence.select(layer=[3, None]), which keeps them"
            )
        raise ValueError(
            "recovery needs the clean, the corrupted and the edited runs of aligned pairs; got rows of "
            f"{', '.join(sorted(methods)) or 'no method'}; expected some made by "
            "patching.patch_sites, handover, path_patch or causal_trace"
        )
    table = pd.concat(parts, ignore_index=True).infer_objects()
    described = [name for name in (*MEASUREMENT, *CELL) if table[name].notna().any()]
    return table[[*described, "estimate", "low", "high", "n"]]


def _refuse_repeats(rows: pd.DataFrame) -> None:
    """Raise if a run of an example has two values that nothing tells apart.

    They come from tables of different prompts, or of other settings that no column names, and their
    mean would be a recovery of nothing.
    """
    edited = rows[~rows["condition"].isin(UNEDITED)]
    twice = edited.duplicated([*CELL, "example", "group", "template", "label", "fold", "draw"])
    if twice.any():
        first = edited[twice.to_numpy()].iloc[0]
        where = ", ".join(f"{name} {first[name]}" for name in CELL if pd.notna(first[name]))
        raise ValueError(
            f"recovery needs one value for each run of an example; example {first['example']} has "
            f"several of {where}; expected one table of one set of prompts: take the recovery of each "
            "table alone"
        )


def recovery_bounds(
    runs: PairRuns, *, resamples: int = 2_000, seed: int = 0
) -> tuple[Float[Array, " cell"], Float[Array, " cell"], Float[Array, " cell"]]:
    """Recovery of every cell with its 95% interval, over the pairs in which the cell was measured.

    Entities are resampled (`interp.stats.bootstrap`), because pairs that share one are not
    independent: in a draw a pair weighs the product of its two entities' counts, and a pair of one
    entity that entity's count. A cell of fewer than two pairs has no interval.
    """
    names = sorted({*runs.clean_groups, *runs.corrupted_groups})
    number = {name: i for i, name in enumerate(names)}
    left, right = (
        np.array([number[name] for name in side], dtype=int)
        for side in (runs.clean_groups, runs.corrupted_groups)
    )
    measured = runs.edited.notna().to_numpy()
    statistic = partial(
        _recovery,
        left=left,
        right=right,
        gained=np.where(measured, runs.gained, 0.0),
        effect=np.where(measured, runs.effect[:, None], 0.0),
    )
    if not names:
        nothing = np.full(measured.shape[1], np.nan)
        return nothing, nothing, nothing
    estimate, low, high = stats.bootstrap(statistic, len(names), draws=resamples, seed=seed)
    single = measured.sum(axis=0) < 2
    estimate = np.where(np.isfinite(estimate), estimate, np.nan)
    return estimate, np.where(single, np.nan, low), np.where(single, np.nan, high)


def _recovery(
    counts: Int[Array, "draw entity"],
    *,
    left: Int[Array, " pair"],
    right: Int[Array, " pair"],
    gained: Float[Array, "pair cell"],
    effect: Float[Array, "pair cell"],
) -> Float[Array, "draw cell"]:
    """Recovery of every cell when each entity counts so often."""
    weights = counts[:, left] * np.where(left == right, 1, counts[:, right])
    return (weights @ gained) / (weights @ effect)
