"""Stitching base and tuned together at every boundary of the residual stream, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.pair import ModelPair
from interp.sites import boundaries
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace


def stitch(
    pair: ModelPair,
    examples: Examples,
    metrics: Metric | Callable[..., Any] | Mapping[str, Metric],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Every hybrid of the two models, cut at every boundary k = 0..L, exactly.

    U_k runs base below k and tuned above; V_k the reverse. Each equals the hybrid with the blocks'
    weights exchanged, since it patches the residual at k at all positions. Rows name the model that
    runs above the boundary in `model` and the one below in `donor`; the baselines are the two whole
    models. Responsibility of block k, averaged over the two orders, is
    c_k = ½[(m(U_k) - m(U_{k+1})) + (m(V_{k+1}) - m(V_k))]; with the embedding term
    ½[(m(T) - m(U_0)) + (m(V_0) - m(B))] and the unembedding term (with the final norm)
    ½[(m(U_L) - m(B)) + (m(T) - m(V_L))] the sum is m(T) - m(B) exactly.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metrics: one metric ("metric" in the table) or several by name.
        max_bytes: memory for activations beside the model; changes no number.
    """
    named = named_metrics(metrics, examples)
    sites = boundaries(pair.base.n_layers)
    everywhere = examples.span_mask("all")
    parts = []
    for role, above, donor_role, below in (
        ("tuned", pair.tuned, "base", pair.base),
        ("base", pair.base, "tuned", pair.tuned),
    ):
        source = collect(below, examples, sites, positions="all")
        cells = [Cell((Edit(s, everywhere, Replace(source[s].values)),)) for s in sites]
        swept = sweep(
            above,
            examples,
            cells,
            named,
            max_bytes=max_bytes,
            progress=f"stitching {donor_role} below {role}",
        )
        parts.append(
            tables.evidence(
                swept,
                examples,
                named,
                [
                    {"condition": "stitched", "donor": donor_role, "layer": k, "span": "all"}
                    for k in range(len(sites))
                ],
                baseline={"condition": "baseline"},
                model=role,
                method="stitch",
            )
        )
    return Evidence.concat(parts)
