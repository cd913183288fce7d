"""Stitching base and tuned together at every boundary of the residual stream, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interp._aliases import formerly
from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.alike import Alike, alike
from interp.models.pair import ModelPair
from interp.sites import boundary
from patching.engine import rows as tables
from patching.engine.beginnings import levelled
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace


@formerly(metrics="metric")
def stitch(
    pair: ModelPair,
    examples: Examples,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Every hybrid of the two models, cut at every boundary k = 0..L, exactly.

    U_k runs base below k and tuned above; V_k the reverse. Each equals the hybrid with the blocks'
    weights exchanged, since it patches the residual at k at all positions. Responsibility of block k,
    averaged over the two orders, is c_k = ½[(m(U_k) - m(U_{k+1})) + (m(V_{k+1}) - m(V_k))]; with the
    embedding term ½[(m(T) - m(U_0)) + (m(V_0) - m(B))] and the unembedding term (with the final norm)
    ½[(m(U_L) - m(B)) + (m(T) - m(V_L))] the sum is m(T) - m(B) exactly.

    Where a block has the same weights in both models, the hybrids below and above it are one, which is
    run once.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metric: one metric or several.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "stitch": condition "stitched", and "baseline" for either whole model; the
        raw metric in its unit. Columns that vary: model (that runs above the boundary), donor (that
        runs below it), layer (the boundary), example.

    Raises:
        ValueError: for a metric that averages.

    Note:
        Two orders are averaged; their difference is interaction that no split can assign. A stitch
        locates a change of behaviour, not where knowledge is stored.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> prompts = interp.Examples.from_text(pair.base, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> rows = patching.stitch(pair, prompts, metric).where(condition="stitched")
        >>> len(rows), sorted(set(zip(rows["model"], rows["donor"])))
        (14, [('base', 'tuned'), ('tuned', 'base')])
    """
    metrics = named_metrics(metric, examples)
    everywhere = examples.span_mask("all")
    distinct, numbers = hybrids(alike(pair.base, pair.tuned))
    sites = [boundary(k, pair.base.n_layers) for k in distinct]
    parts = []
    for above, below in ((pair.tuned, pair.base), (pair.base, pair.tuned)):
        source = collect(below, examples, sites, positions="all") if sites else {}
        cells = [
            Cell((Edit(s, everywhere, Replace(levelled(examples, source[s].values))),)) for s in sites
        ]
        label = f"stitching {below.role} below {above.role}"
        swept = sweep(above, examples, cells, metrics, max_bytes=max_bytes, progress=label)
        swept = swept.spread(numbers)
        stitched = {"condition": "stitched", "donor": below.role, "span": "all"}
        parts.append(
            tables.evidence(
                swept,
                examples,
                metrics,
                [{**stitched, "layer": k} for k in range(len(numbers))],
                baseline={"condition": "baseline"},
                model=above,
                method="stitch",
            )
        )
    return Evidence.concat(parts)


def hybrids(same: Alike) -> tuple[list[int], list[int | None]]:
    """The boundaries whose hybrids must be run, and which of these each boundary's hybrid is.

    Args:
        same: which parts of the two models are the same.

    Returns:
        Boundaries, ascending; and for every boundary 0..L a number among them, None where the hybrid is
        the model that runs above, since the other's state is its own.
    """
    tops = [same.same_above(k) for k in range(len(same.blocks) + 1)]
    distinct = sorted({k for k in tops if k > same.below})
    return distinct, [None if k <= same.below else distinct.index(k) for k in tops]
