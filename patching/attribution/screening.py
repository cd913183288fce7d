"""Find the cells of a patching grid that matter without running the grid: screen, then verify."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from interp.activations import check_sites
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Site
from patching.attribution.gradients import batches, run
from patching.attribution.nodes import BATCH, first_order
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace, Zero
from patching.places import positions_of

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

    Rows: condition "attribution" for every cell (estimated change), "verified" and
    "sampled" (raw metric of the patched run), "clean" and "corrupted"; all per pair, in the metric's
    unit. Provenance holds

    - `top`: the k best verified cells, (kind, layer, head, place, mean |effect|), best first;
    - `threshold`: mean |effect| of the k-th; `sampled_max`: the largest in the sample;
    - `recall`: 1 - M / k, a lower estimate of the share of the true top k among them, with M the
      estimated number of unverified cells above the threshold: the sample is drawn half from the k
      cells ranked next, half from all the rest, and each stratum's share is scaled to its size
      (None where a stratum has no sample);
    - `recall_low`: the same with each share at its one-sided 95% bound (Clopper-Pearson);
    - `verified`, `sampled`, `grid`: numbers of cells; `work`: layer-tokens spent on exact cells as a
      share of the whole grid's.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: for instance `interp.sites.every_head(Kind.Z, L, H)`.
        metric: with a gradient, for instance `interp.logit_difference(contrast)`.
        k: how many are wanted.
        positions: "each" for every position alone, or span names such as "all".
        budget: share of the whole grid's layer-tokens to spend on verification and the sample.
        candidates: how many to verify; by default what the budget holds, and 1.25 k at least.
        sample: unverified cells to evaluate exactly.
        seed: of the sample.
        batch_size: rows differentiated together.
        max_bytes: memory for the sweep's activations; changes no number.

    Raises:
        ValueError: for k or candidates below 1, or what `attribute` refuses.

    Note:
        A cell whose effect is far from linear can be ranked low and missed; `recall` estimates how
        many are, and a small sample bounds it loosely (`recall_low`).
    """
    if k < 1 or (candidates is not None and candidates < k) or sample < 0:
        raise ValueError(
            f"k must be at least 1, candidates at least k and sample at least 0; got k={k}, "
            f"candidates={candidates}, sample={sample}; candidates=2*k is usual"
        )
    metric, sites = as_metric(metric, contrast.clean), sites_of(sites)
    places = positions_of(contrast.corrupted, positions)
    cells = [(site, place) for site in sites for place in range(len(places))]
    slopes, sources, ended = _screen(model, contrast, sites, metric, batch_size)
    screened = torch.stack(
        [_score(slopes[Site(s.kind, s.layer)], s.head, places[place][1]) for s, place in cells]
    )
    size = screened.square().mean(1)
    ranked = size.argsort(descending=True, stable=True).tolist()
    shown = [_shown(contrast, where) for _, where in places]
    cost = [_cost(model, contrast.corrupted, site, shown[place]) for site, place in cells]
    room = budget * sum(cost) - sample * sum(cost) / len(cost)
    chosen = ranked[: _count(candidates, k, ranked, cost, room)]
    near, far, drawn = _draw(ranked[len(chosen) :], k, sample, seed)

    tested = chosen + drawn
    exact = []
    for i in tested:
        site, place = cells[i]
        source = sources[Site(site.kind, site.layer)]
        source = source if site.head is None else source[:, :, site.head]
        exact.append(Cell((Edit(site, shown[place], Replace(source)),)))
    named = {"pair": metric}
    swept = sweep(model, contrast.corrupted, exact, named, max_bytes=max_bytes, progress="verifying")
    effect = (swept.values["pair"] - swept.baseline["pair"]).abs().mean(1)
    found, seen = effect[: len(chosen)], effect[len(chosen) :]
    order = found.argsort(descending=True, stable=True)[:k]
    threshold = float(found[order[-1]])
    above = dict(zip(drawn, (seen > threshold).tolist(), strict=True))
    missed, most = _missed(near, above), _missed(near, above, bound=True)
    missed, most = missed + _missed(far, above), most + _missed(far, above, bound=True)
    told = all(not part or set(part) & set(drawn) for part in (near, far))
    columns = [_columns(site, places[place][0]) for site, place in cells]
    top = [(*columns[chosen[i]].values(), float(found[i])) for i in order.tolist()]
    writes = [Cell((Edit(site, places[place][1], Zero()),)) for site, place in cells]
    screened = tables.present(screened, writes, contrast.corrupted)
    read = tables.present(swept.values["pair"], [writes[i] for i in tested], contrast.corrupted)
    parts = [
        (screened, columns, "attribution"),
        (read[: len(chosen)], [columns[i] for i in chosen], "verified"),
        (read[len(chosen) :], [columns[i] for i in drawn], "sampled"),
    ]
    rows = [
        tables.evidence(
            Swept({"pair": values}, {}),
            contrast.corrupted,
            named,
            [{**column, "condition": condition} for column in about],
            model=model.role,
            method="screen",
        )
        for values, about, condition in parts
        if about
    ]
    for name, value in (("clean", ended), ("corrupted", swept.baseline["pair"])):
        rows.append(
            tables.evidence(
                Swept({}, {"pair": value}),
                contrast.corrupted,
                named,
                [],
                baseline={"condition": name},
                model=model.role,
                method="screen",
            )
        )
    return Evidence.concat(rows).with_provenance(
        k=k,
        top=top,
        threshold=threshold,
        sampled_max=float(seen.max()) if len(seen) else None,
        recall=max(0.0, 1 - missed / min(k, len(chosen))) if told else None,
        recall_low=max(0.0, 1 - most / min(k, len(chosen))),
        verified=len(chosen),
        sampled=len(drawn),
        grid=len(cells),
        work=sum(cost[i] for i in tested) / sum(cost),
    )


def _screen(
    model: Model, contrast: Contrast, sites: Sequence[Site], metric: Metric, batch_size: int
) -> tuple[dict[Site, Tensor], dict[Site, Tensor], Tensor]:
    """First-order effects, the clean activations and the clean metric of every pair.

    Effects are [example, position(, unit)] with 0 at padding; activations are as `collect` gives.
    """
    check_sites(model, sites)
    whole = list(dict.fromkeys(Site(site.kind, site.layer) for site in sites))
    width, n = contrast.corrupted.tokens.shape[1], len(contrast)
    slopes: dict[Site, Tensor] = {}
    sources: dict[Site, Tensor] = {}
    wide = model.metric_dtype
    ended = torch.full((n,), float("nan"), dtype=wide, device=model.device)
    for batch in batches(contrast, batch_size, "screening"):
        at = (batch.rows, batch.columns)
        clean = run(model, batch.clean, whole, metric, *at, gradients=False)
        corrupted = run(model, batch.corrupted, whole, metric, *at)
        ended[batch.rows] = clean.metric.to(wide)
        place = (batch.rows[:, None], batch.columns)
        for site in whole:
            value = clean.values[site]
            effect = first_order(value, corrupted.values[site], corrupted.gradients[site], site)
            if site not in slopes:
                slopes[site] = effect.new_zeros(n, width, *effect.shape[2:])
                sources[site] = value.new_full((n, width, *value.shape[2:]), float("nan"))
            slopes[site][place] = effect
            sources[site][place] = value
    return slopes, sources, ended


def _shown(
    contrast: Contrast, where: Bool[Tensor, "example position"]
) -> Bool[Tensor, "example position"]:
    """The place without the tokens both prompts begin with, where anything is left of it.

    What precedes the first differing token is the same in both runs, so writing it changes nothing
    and the engine may begin later.
    """
    differ = (contrast.clean.tokens != contrast.corrupted.tokens) & contrast.corrupted.mask
    trimmed = where & differ.int().cummax(1).values.bool()
    return torch.where(trimmed.any(1, keepdim=True), trimmed, where)


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


def _missed(stratum: list[int], above: Mapping[int, bool], *, bound: bool = False) -> float:
    """Cells of a stratum above the threshold: estimated, or at the one-sided 95% bound."""
    seen = [above[i] for i in stratum if i in above]
    hits, n = sum(seen), len(seen)
    if n == len(stratum):
        return float(hits)
    if not bound:
        return len(stratum) * hits / n if n else 0.0
    share = 1.0 if hits == n else float(stats.beta.ppf(0.95, hits + 1, n - hits))
    return len(stratum) * share


def _score(
    slopes: Float[Tensor, "example position *unit"],
    head: int | None,
    where: Bool[Tensor, "example position"],
) -> Float[Tensor, " example"]:
    """A cell's attribution: summed over its positions and over units patched together."""
    if slopes.ndim == 3:
        slopes = slopes.sum(-1) if head is None else slopes[..., head]
    return (slopes * where).sum(-1)


def _cost(model: Model, examples: Examples, site: Site, where: Bool[Tensor, "example position"]) -> int:
    """Layer-tokens of one exact cell: blocks above, positions from the first edited one on."""
    reached: Int[Tensor, "example position"] = where.int().cummax(1).values
    return max(1, (model.n_layers - site.layer) * int((reached.bool() & examples.mask).sum()))


def _columns(site: Site, place: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": str(site.kind), "layer": site.layer, "head": site.head, **place}
