"""Find the cells of a patching grid that matter without running the grid: screen, then verify."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Site
from patching.attribution.nodes import BATCH
from patching.attribution.ranking import Grid, Ranking, rank
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept, sweep

#: At least this many times k cells are verified, whatever the budget.
FLOOR = 1.25


def screen_then_verify(
    model: Model,
    contrast: Contrast,
    sites: Site | Sequence[Site],
    metric: Metric | Callable[..., Any],
    *,
    k: int = 20,
    positions: str | int | Sequence[str | int] = "all",
    budget: float = 0.08,
    candidates: int | None = None,
    sample: int = 4,
    seed: int = 0,
    batch_size: int = BATCH,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """The k cells with the largest effect: rank all by attribution, verify the first exactly.

    A cell is a site at a place, its effect the change of the metric when the clean activation is
    written into the corrupted run. Its attribution is (a_clean - a_corrupted) · ∂m/∂a on the
    corrupted run (2310.10348). Cells are ranked by the root mean square over pairs of |attribution|
    (a cell that matters in some pairs is not averaged away), the first `candidates` are patched on
    the exact engine, and so is a random sample of the others. Integrated gradients and the gradients
    of both runs ranked SmolLM2's heads no better and cost more.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: for instance `interp.every_head(Kind.Z, L, H)`.
        metric: with a gradient, for instance `interp.logit_difference(contrast)`.
        k: how many are wanted.
        positions: "each" for every position alone, or names of spans and positions such as "all".
        budget: share of the whole grid's layer-tokens to spend on verification and the sample.
        candidates: how many to verify; by default what the budget holds, and 1.25 k at least.
        sample: unverified cells to evaluate exactly.
        seed: of the sample.
        batch_size: rows differentiated together.
        max_bytes: memory in bytes for the sweep's activations; changes no number.

    Returns:
        Evidence of method "screen": conditions "attribution" for every cell (an estimated change),
        "verified" and "sampled" (the raw metric of the patched run), "clean" and "corrupted"; in the
        metric's unit. Columns that vary: kind, layer, head, span or position, example. Provenance
        holds

        - `top`: the k best verified cells, (kind, layer, head, place, mean |effect|), best first;
        - `threshold`: mean |effect| of the k-th; `sampled_max`: the largest in the sample;
        - `recall`: 1 - M / k, a lower estimate of the share of the true top k among them (below);
        - `recall_low`: the same with each share at its one-sided 95% bound (Clopper-Pearson);
        - `verified`, `sampled`, `grid`: numbers of cells;
        - `work`: layer-tokens spent on exact cells as a share of the whole grid's.

        M is the estimated number of unverified cells above the threshold: the sample is drawn half
        from the k cells ranked next, half from all the rest, and each stratum's share is scaled to its
        size. Where a stratum has no sample, recall is None.

    Raises:
        ValueError: for k or candidates below 1, or what `attribute` refuses.

    Note:
        A cell whose effect is far from linear can be ranked low and missed; `recall` estimates how
        many are, and a small sample bounds it loosely (`recall_low`).

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> heads, metric = interp.every_head(interp.Kind.Z, 6, 4), interp.logit_difference(pairs)
        >>> best = patching.screen_then_verify(model, pairs, heads, metric, k=3, candidates=6)
        >>> len(best.provenance["top"]), best.provenance["grid"], best.provenance["verified"]
        (3, 24, 6)
    """
    if k < 1 or (candidates is not None and candidates < k) or sample < 0:
        raise ValueError(
            f"k must be at least 1, candidates at least k and sample at least 0; got k={k}, "
            f"candidates={candidates}, sample={sample}; candidates=2*k is usual"
        )
    metric = as_metric(metric, contrast.clean)
    grid = Grid.of(model, contrast, sites_of(sites), positions)
    ranking = rank(model, contrast, grid, metric, batch_size)
    room = budget * sum(grid.cost) - sample * sum(grid.cost) / len(grid.cost)
    first = ranking.order[: _count(candidates, k, ranking.order, grid.cost, room)]
    near, far, drawn = _draw(ranking.order[len(first) :], k, sample, seed)
    cells = [grid.exact(i, ranking.sources) for i in (*first, *drawn)]
    swept = sweep(
        model,
        contrast.corrupted,
        cells,
        {"metric": metric},
        max_bytes=max_bytes,
        progress="verifying",
    )
    effect = (swept.values["metric"] - swept.baseline["metric"]).abs().mean(1)
    screened = Screened.of(grid, first, drawn, (near, far), effect, k)
    measured = _evidence(model, contrast, grid, ranking, swept, first, drawn, metric)
    return measured.with_provenance(**screened.provenance())


@dataclass(frozen=True, eq=False)
class Screened:
    """What was found among the verified cells, and how much may have been missed.

    Attributes:
        k: how many cells were wanted.
        top: the k best verified cells, (kind, layer, head, place, mean |effect|), best first.
        threshold: mean |effect| of the k-th.
        sampled_max: the largest mean |effect| in the sample; None without one.
        recall: lower estimate of the share of the true top k among them; None where a stratum has
            no sample.
        recall_low: the same with each stratum's share at its one-sided 95% bound.
        verified: number of cells verified.
        sampled: number of cells sampled.
        grid: number of cells in all.
        work: layer-tokens spent on exact cells, as a share of the whole grid's.
    """

    k: int
    top: list[tuple[Any, ...]]
    threshold: float
    sampled_max: float | None
    recall: float | None
    recall_low: float
    verified: int
    sampled: int
    grid: int
    work: float

    @classmethod
    def of(
        cls,
        grid: Grid,
        first: Sequence[int],
        drawn: Sequence[int],
        strata: tuple[Sequence[int], Sequence[int]],
        effect: Float[Tensor, " tested"],
        k: int,
    ) -> Screened:
        """Read the verified and the sampled cells' effects, given in this order."""
        verified, sampled = effect[: len(first)], effect[len(first) :]
        best = verified.argsort(descending=True, stable=True)[:k]
        threshold = float(verified[best[-1]])
        above = dict(zip(drawn, (sampled > threshold).tolist(), strict=True))
        missed = sum(missed_cells(stratum, above) for stratum in strata)
        most = sum(missed_cells(stratum, above, bound=True) for stratum in strata)
        sampled_all = all(not stratum or set(stratum) & set(drawn) for stratum in strata)
        wanted = min(k, len(first))
        return cls(
            k=k,
            top=[(*grid.columns[first[i]].values(), float(verified[i])) for i in best.tolist()],
            threshold=threshold,
            sampled_max=float(sampled.max()) if len(sampled) else None,
            recall=max(0.0, 1 - missed / wanted) if sampled_all else None,
            recall_low=max(0.0, 1 - most / wanted),
            verified=len(first),
            sampled=len(drawn),
            grid=len(grid.cells),
            work=sum(grid.cost[i] for i in (*first, *drawn)) / sum(grid.cost),
        )

    def provenance(self) -> dict[str, Any]:
        """Every field by its name."""
        return dict(vars(self))


def _evidence(
    model: Model,
    contrast: Contrast,
    grid: Grid,
    ranking: Ranking,
    swept: Swept,
    first: Sequence[int],
    drawn: Sequence[int],
    metric: Metric,
) -> Evidence:
    """Rows of the estimates of all cells, of the exact runs, and of both unedited runs."""
    every = range(len(grid.cells))
    exact = grid.present(swept.values["metric"], (*first, *drawn))
    parts = [
        (grid.present(ranking.attribution, every), every, "attribution"),
        (exact[: len(first)], first, "verified"),
        (exact[len(first) :], drawn, "sampled"),
    ]
    same: dict[str, Any] = {"model": model, "method": "screen"}
    metrics = {"metric": metric}
    rows = [
        tables.evidence(
            Swept({"metric": values}, {}),
            contrast.corrupted,
            metrics,
            [{**grid.columns[i], "condition": condition} for i in cells],
            **same,
        )
        for values, cells, condition in parts
        if len(cells)
    ]
    for name, value in (("clean", ranking.clean), ("corrupted", swept.baseline["metric"])):
        unedited = Swept({}, {"metric": value})
        rows.append(
            tables.evidence(
                unedited, contrast.corrupted, metrics, [], baseline={"condition": name}, **same
            )
        )
    return Evidence.concat(rows)


def _count(candidates: int | None, k: int, ranked: list[int], cost: list[int], room: float) -> int:
    """How many of the ranked cells to verify."""
    if candidates is not None:
        return candidates
    spent = 0
    for count, i in enumerate(ranked):
        spent += cost[i]
        if spent > room:
            return max(count, math.ceil(FLOOR * k))
    return len(ranked)


def _draw(rest: list[int], k: int, sample: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """The k cells ranked next, the others, and a sample of both halves."""
    generator = torch.Generator().manual_seed(seed)
    near, far = rest[:k], rest[k:]
    beyond = min(len(far), max(sample // 2, sample - len(near)))
    halves = ((near, sample - beyond), (far, beyond))
    drawn = []
    for stratum, size in halves:
        order = torch.randperm(len(stratum), generator=generator)[:size].tolist()
        drawn += [stratum[i] for i in order]
    return near, far, drawn


def missed_cells(stratum: Sequence[int], above: Mapping[int, bool], *, bound: bool = False) -> float:
    """Cells of a stratum above the threshold: estimated, or at the one-sided 95% bound."""
    sampled = [above[i] for i in stratum if i in above]
    hits, n = sum(sampled), len(sampled)
    if n == len(stratum):
        return float(hits)
    if not bound:
        return len(stratum) * hits / n if n else 0.0
    share = 1.0 if hits == n else float(stats.beta.ppf(0.95, hits + 1, n - hits))
    return len(stratum) * share
