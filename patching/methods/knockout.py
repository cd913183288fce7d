"""Attention knockout: which layers need to look from one place of the prompt to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Knockout


def knock_out(
    model: Model,
    examples: Examples,
    metric: Metric | Callable[..., Any],
    *,
    source: str = "subject",
    destination: str = "last",
    window: int = 1,
    heads: Sequence[int] | None = None,
    placebos: int = 3,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Forbid the destination to attend to the source, in a window of layers around each layer.

    In `window` consecutive blocks centred on each layer (cut off at the ends), attention from the
    destination's positions to the source's is removed before the softmax (2304.14767). Rows:
    "knocked_out" under the centre's layer, strength the window; "placebo" (seed = draw) with as many
    random keys that are neither source nor destination cut off instead; and "baseline". Value is the
    raw metric.

    Args:
        model: the model that runs.
        examples: prompts with the two spans.
        metric: read on every run.
        source: the span no longer attended to.
        destination: the span that no longer attends.
        window: blocks cut at once; single layers rarely matter, information can pass in the next.
        heads: only these heads, all when None.
        placebos: random sets of other keys; a prompt without enough of them has no placebo rows.
        seed: of the random keys.
        max_bytes: memory for activations beside the model; changes no number.

    Raises:
        ValueError: for unknown spans, a window outside 1..L or heads that do not exist.

    Note:
        What a knockout breaks was needed on this path; what it spares may go another way.
    """
    if not 1 <= window <= model.n_layers:
        raise ValueError(f"window must be 1..{model.n_layers} blocks, got {window}")
    metric = as_metric(metric, examples)
    where, keys = examples.span_mask(destination), examples.span_mask(source)
    generator = torch.Generator().manual_seed(seed)
    cuts: list[tuple[dict[str, Any], Tensor]] = [({"condition": "knocked_out"}, keys)]
    for draw in range(placebos):
        other = _other_keys(examples, keys, where, generator)
        cuts.append(({"condition": "placebo", "seed": draw}, other))
    cells, columns = [], []
    for centre in range(model.n_layers):
        low = max(0, centre - (window - 1) // 2)
        layers = range(low, min(model.n_layers, centre + window // 2 + 1))
        sites = [
            Site(Kind.PATTERN, layer, head)
            for layer in layers
            for head in ([None] if heads is None else heads)
        ]
        for about, cut in cuts:
            cells.append(Cell(tuple(Edit(site, where, Knockout(cut)) for site in sites)))
            columns.append(
                {**about, "kind": Kind.PATTERN, "layer": centre, "strength": float(window)}
                | {"span": f"{source} -> {destination}"}
            )
    metrics = {"metric": metric}
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="knockout")
    # A prompt with too few other keys keeps all of its attention: that is no placebo.
    scant = torch.stack([cut.sum(1) < keys.sum(1) for _, cut in cuts])
    drop = scant.repeat(model.n_layers, 1).to(swept.values["metric"].device)
    kept = swept.values["metric"].masked_fill(drop, float("nan"))
    swept = replace(swept, values={"metric": kept})
    return tables.evidence(
        swept,
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model.role,
        method="knockout",
    )


def _other_keys(
    examples: Examples,
    keys: Bool[Tensor, "example key"],
    where: Bool[Tensor, "example query"],
    generator: torch.Generator,
) -> Bool[Tensor, "example key"]:
    """As many random keys as the source has, neither source nor destination nor the first token.

    The first token is left out: models rest attention on it, and cutting that breaks anything.
    """
    first = examples.mask.cumsum(1) == 1
    free = examples.mask & ~keys & ~where & ~first
    score = torch.rand(free.shape, generator=generator).to(free.device).masked_fill(~free, 2.0)
    rank = score.argsort(1).argsort(1)
    return free & (rank < keys.sum(1, keepdim=True))
