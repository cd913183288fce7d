"""How much of a behaviour a circuit carries: f(k), and the areas that the benchmark reads off it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp import stats
from interp.evidence import Evidence
from patching.circuits.measures.runs import RANKINGS


def _by_group(runs: Evidence) -> tuple[pd.DataFrame, Float[np.ndarray, "cell group"]]:
    """The circuits that ran, a row each, and their metric's mean in each group.

    Raises:
        ValueError: for evidence of anything else, or without the ends.
    """
    table = runs.needed("patching.circuits.evaluate or run_circuits", method="circuit")
    if table["model"].nunique() > 1:
        raise ValueError("faithfulness is of one model; got rows of several: runs.select(model='base')")
    keys = ["condition", "parameters", "share"]
    filled = (
        table[["group", "value"]]
        .astype({"group": str})
        .assign(
            condition=table["condition"].astype(str),
            parameters=table["parameters"].astype(object).fillna(""),
            share=table["share"].astype(float).fillna(-1.0),
        )
    )
    wide = filled.groupby([*keys, "group"])["value"].mean().unstack("group")
    cells = wide.index.to_frame(index=False)
    cells["share"] = cells["share"].where(cells["share"] >= 0)
    missing = {"full", "empty"} - set(cells["condition"])
    if missing:
        raise ValueError(
            f"no rows of {' and '.join(sorted(missing))}; give the table as evaluate made it"
        )
    return cells, wide.to_numpy(float)


def _faithfulness(
    cells: pd.DataFrame, means: Float[np.ndarray, "cell group"], counts: np.ndarray
) -> Float[np.ndarray, "draw cell"]:
    """(m_k - m_∅) / (m_full - m_∅) of means over the drawn groups."""
    drawn = counts @ means.T / counts.sum(1, keepdims=True)
    full = drawn[:, (cells["condition"] == "full").to_numpy().argmax()]
    empty = drawn[:, (cells["condition"] == "empty").to_numpy().argmax()]
    return (drawn - empty[:, None]) / (full - empty)[:, None]


def faithfulness(
    runs: Evidence, *, draws: int = 2_000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Faithfulness f = (m_k - m_∅) / (m_full - m_∅) of every circuit that ran, with intervals.

    m is the mean of the metric over prompts: at 0 the graph without edges, at 1 the model. Intervals
    are over groups of prompts.

    Args:
        runs: of one model, as `evaluate` or `run_circuits` gives them.
        draws: bootstrap draws of the groups.
        level: confidence of the intervals.
        seed: of the draws.

    Returns:
        A row for each circuit: condition, parameters (its name), share, edges (nominal), estimate, low,
        high, n (groups).

    Raises:
        ValueError: for evidence of anything else.

    Example:
        >>> import interp, patching
        >>> conditions, values = ["signed", "full", "empty"], [3.0, 4.0, 0.0]
        >>> runs = interp.Evidence.build(
        ...     values, condition=conditions, share=[0.1, None, None], method="circuit", group="a"
        ... )
        >>> patching.circuits.faithfulness(runs)["estimate"].tolist()
        [0.75]
    """
    cells, means = _by_group(runs)
    found = stats.bootstrap(
        lambda counts: _faithfulness(cells, means, counts),
        means.shape[1],
        draws=draws,
        level=level,
        seed=seed,
    )
    n_edges = runs.provenance.get("edges")
    table = cells[["condition", "parameters", "share"]].copy()
    table["edges"] = None if n_edges is None else (cells["share"] * n_edges).fillna(0).astype(int)
    table["estimate"], table["low"], table["high"] = found
    table["n"] = means.shape[1]
    return table[~cells["condition"].isin(["full", "empty"])].reset_index(drop=True)


def benchmark_areas(
    runs: Evidence, *, draws: int = 2_000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """CPR and CMD of a ranking (MIB, 2504.13151), with intervals over prompts.

    CPR is the trapezoid of f over the sizes under the signed ranking (more is better: how much
    performance circuits keep); CMD is the trapezoid of |1 - f| under the ranking by size (less is
    better: how far circuits are from the model). Both over the nominal sizes, linearly.

    Args:
        runs: as `evaluate` gives them.
        draws: bootstrap draws of the groups.
        level: confidence of the intervals.
        seed: of the draws.

    Returns:
        Two rows: measure ("CPR", "CMD"), condition (the ranking), estimate, low, high, n (groups).

    Raises:
        ValueError: without runs of both rankings at two sizes or more.

    Example:
        >>> import interp, patching
        >>> conditions = ["signed", "signed", "absolute", "absolute", "full", "empty"]
        >>> runs = interp.Evidence.build(
        ...     [2.0, 4.0, 2.0, 4.0, 4.0, 0.0], condition=conditions,
        ...     share=[0.5, 1, 0.5, 1, None, None], method="circuit", group="a",
        ... )
        >>> patching.circuits.benchmark_areas(runs)["estimate"].tolist()
        [0.375, 0.125]
    """
    cells, means = _by_group(runs)
    chosen = {name: (cells["condition"] == name).to_numpy().nonzero()[0] for name in RANKINGS}
    if min(map(len, chosen.values())) < 2:
        raise ValueError("areas need both rankings at two sizes or more; give what evaluate made")
    sizes = {name: cells["share"].to_numpy(float)[index] for name, index in chosen.items()}

    def areas(counts: np.ndarray) -> np.ndarray:
        f = _faithfulness(cells, means, counts)
        kept = np.trapezoid(f[:, chosen["signed"]], sizes["signed"])
        apart = np.trapezoid(np.abs(1 - f[:, chosen["absolute"]]), sizes["absolute"])
        return np.stack([kept, apart], 1)

    estimate, low, high = stats.bootstrap(areas, means.shape[1], draws=draws, level=level, seed=seed)
    return pd.DataFrame(
        {
            "measure": ["CPR", "CMD"],
            "condition": list(RANKINGS),
            "estimate": estimate,
            "low": low,
            "high": high,
            "n": means.shape[1],
        }
    )
