"""How much of a behaviour a circuit carries: f(k), and the areas that the benchmark reads off it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp import stats
from interp.arguments import frames_inside
from interp.evidence import Evidence
from patching.circuits.measures.runs import RANKINGS

#: Columns by which runs of completeness and minimality differ.
_PARTS = ("draw", "sender", "receivers")


@dataclass(frozen=True, eq=False)
class _Runs:
    """The circuits that ran, a row each.

    Attributes:
        cells: condition, parameters and share of each.
        means: the metric's mean in each group of prompts.
        sizes: how many prompts each group has.
    """

    cells: pd.DataFrame
    means: Float[np.ndarray, "cell group"]
    sizes: Float[np.ndarray, " group"]

    def drawn(self, counts: np.ndarray) -> Float[np.ndarray, "draw cell"]:
        """The metric's mean over the prompts of the drawn groups."""
        weights = counts * self.sizes
        return weights @ self.means.T / weights.sum(1, keepdims=True)

    def ends(self, drawn: Float[np.ndarray, "draw cell"]) -> tuple[np.ndarray, np.ndarray]:
        """m_full and m_∅ of every draw."""
        names = self.cells["condition"].to_numpy()
        return drawn[:, (names == "full").argmax()], drawn[:, (names == "empty").argmax()]

    def faithfulness(self, counts: np.ndarray) -> Float[np.ndarray, "draw cell"]:
        """(m_k - m_∅) / (m_full - m_∅) over the drawn groups."""
        drawn = self.drawn(counts)
        full, empty = self.ends(drawn)
        return (drawn - empty[:, None]) / (full - empty)[:, None]

    def bounded(
        self, statistic: Callable[[np.ndarray], np.ndarray], draws: int, level: float, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Estimates with bounds; NaN bounds where m_full - m_∅, by which all is divided, may be 0.

        Warns:
            UserWarning: in that case, with the interval of the difference.
        """

        def behaviour(counts: np.ndarray) -> np.ndarray:
            full, empty = self.ends(self.drawn(counts))
            return (full - empty)[:, None]

        n = self.means.shape[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = stats.bootstrap(statistic, n, draws=draws, level=level, seed=seed)
        whole, low, high = (
            float(part[0])
            for part in stats.bootstrap(behaviour, n, draws=draws, level=level, seed=seed)
        )
        if whole and not low <= 0 <= high:
            return found
        warnings.warn(
            f"all edges and none differ by {whole:.3g} [{low:.3g}, {high:.3g}] in the metric: what is "
            "divided by that has no interval; take prompts on which the model shows the behaviour",
            stacklevel=frames_inside(),
        )
        nothing = np.full_like(found[0], np.nan)
        return found[0], nothing, nothing


def _by_group(runs: Evidence) -> _Runs:
    """The circuits that ran, and their metric's mean in each group.

    Raises:
        ValueError: for evidence of anything else, or without the ends.
    """
    table = runs.needed("patching.circuits.evaluate or run_circuits", method="circuit")
    if any(table[name].notna().any() for name in _PARTS if name in table):
        raise ValueError(
            "faithfulness is of whole circuits; got runs that leave out parts, as completeness and "
            "minimality make them; compare their values, or give what evaluate or run_circuits made"
        )
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
    by_group = filled.groupby([*keys, "group"])["value"]
    wide, sizes = (found.unstack("group") for found in (by_group.mean(), by_group.size()))
    cells = wide.index.to_frame(index=False)
    cells["share"] = cells["share"].where(cells["share"] >= 0)
    missing = {"full", "empty"} - set(cells["condition"])
    if missing:
        raise ValueError(
            f"no rows of {' and '.join(sorted(missing))}; give the table as evaluate made it"
        )
    return _Runs(cells, wide.to_numpy(float), sizes.iloc[0].to_numpy(float))


def faithfulness(
    runs: Evidence, *, draws: int = 2_000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Faithfulness f = (m_k - m_∅) / (m_full - m_∅) of every circuit that ran, with intervals.

    m is the mean of the metric over prompts: at 0 the graph without edges, at 1 the model. Intervals
    are over groups of prompts; there are none (NaN) where that of m_full - m_∅ holds 0.

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
    ran = _by_group(runs)
    cells, n_edges = ran.cells, runs.provenance.get("edges")
    table = cells[["condition", "parameters", "share"]].copy()
    table["edges"] = None if n_edges is None else _counted(cells, n_edges)
    table["estimate"], table["low"], table["high"] = ran.bounded(ran.faithfulness, draws, level, seed)
    table["n"] = ran.means.shape[1]
    return table[~cells["condition"].isin(["full", "empty"])].reset_index(drop=True)


def _counted(cells: pd.DataFrame, n_edges: int) -> Int[np.ndarray, " cell"]:
    """Edges of every circuit: int(s N) of a ranking's size s, its own number of a given circuit."""
    exact = (cells["share"] * n_edges).fillna(0).to_numpy(float)
    ranked = cells["condition"].str.partition("_")[0].isin(RANKINGS).to_numpy()
    return np.where(ranked, np.trunc(exact), np.round(exact)).astype(int)


def benchmark_areas(
    runs: Evidence, *, draws: int = 2_000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """CPR and CMD of a ranking (MIB, 2504.13151), with intervals over prompts.

    CPR is the trapezoid of f over the sizes under the signed ranking (more is better: how much
    performance circuits keep); CMD is the trapezoid of |1 - f| under the ranking by size (less is
    better: how far circuits are from the model). Both over the nominal sizes, linearly; without bounds
    (NaN) where those of `faithfulness` are missing.

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
    ran = _by_group(runs)
    cells = ran.cells
    chosen = {name: (cells["condition"] == name).to_numpy().nonzero()[0] for name in RANKINGS}
    if min(map(len, chosen.values())) < 2:
        raise ValueError("areas need both rankings at two sizes or more; give what evaluate made")
    sizes = {name: cells["share"].to_numpy(float)[index] for name, index in chosen.items()}

    def areas(counts: np.ndarray) -> np.ndarray:
        f = ran.faithfulness(counts)
        kept = np.trapezoid(f[:, chosen["signed"]], sizes["signed"])
        apart = np.trapezoid(np.abs(1 - f[:, chosen["absolute"]]), sizes["absolute"])
        return np.stack([kept, apart], 1)

    estimate, low, high = ran.bounded(areas, draws, level, seed)
    return pd.DataFrame(
        {
            "measure": ["CPR", "CMD"],
            "condition": list(RANKINGS),
            "estimate": estimate,
            "low": low,
            "high": high,
            "n": ran.means.shape[1],
        }
    )
