"""Attention knockout: which layers need to look from one place of the prompt to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp._aliases import formerly
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Knockout
from patching.places import positions_named, window_around


@formerly(placebos="repeats")
def knock_out(
    model: Model,
    examples: Examples,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    source: str | int = "subject",
    destination: str | int = "last",
    window: int = 1,
    heads: Sequence[int] | None = None,
    repeats: int = 3,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Forbid the destination to attend to the source, in a window of layers around each layer.

    In `window` consecutive blocks centred on each layer (cut off at the ends), attention from the
    destination's positions to the source's is removed before the softmax (2304.14767). As a placebo
    as many random keys that are neither source nor destination are cut off instead.

    Args:
        model: the model that runs.
        examples: prompts with the two spans.
        metric: one or several, read on every run.
        source: the span or position no longer attended to.
        destination: the span or position that no longer attends.
        window: blocks cut at once; single layers rarely matter, information can pass in the next.
        heads: only these heads, all when None.
        repeats: random sets of other keys; a prompt without enough of them has no placebo rows.
        seed: of the random keys.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "knockout": conditions "knocked_out", "placebo" and "baseline"; the raw
        metric in its unit. Columns that vary: layer (the window's centre), window, source_span, span
        (the destination), draw, example.

    Raises:
        ValueError: for unknown spans, a window outside 1..L or heads that do not exist.

    Note:
        What a knockout breaks was needed on this path; what it spares may go another way.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(
        ...     model, "The home of Farid Jansen is", subjects=["Farid Jansen"]
        ... )
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> cut = patching.knock_out(model, prompts, metric, window=3, repeats=2)
        >>> sorted(cut.table["condition"].value_counts().items())
        [('baseline', 1), ('knocked_out', 6), ('placebo', 12)]
    """
    metrics = named_metrics(metric, examples)
    windows = [window_around(centre, window, model.n_layers) for centre in range(model.n_layers)]
    where, keys = (positions_named(examples, name) for name in (destination, source))
    generator = torch.Generator().manual_seed(seed)
    cuts: list[tuple[dict[str, Any], Tensor]] = [({"condition": "knocked_out"}, keys)]
    for draw in range(repeats):
        other = _other_keys(examples, keys, where, generator)
        cuts.append(({"condition": "placebo", "draw": draw}, other))
    same = {"kind": Kind.PATTERN, "window": window}
    same |= {"source_span": str(source), "span": str(destination)}
    cells, columns = [], []
    for centre, layers in enumerate(windows):
        sites = [
            Site(Kind.PATTERN, layer, head)
            for layer in layers
            for head in ([None] if heads is None else heads)
        ]
        for about, cut in cuts:
            cells.append(Cell(tuple(Edit(site, where, Knockout(cut)) for site in sites)))
            columns.append({**same, **about, "layer": centre})
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="knockout")
    # A prompt with too few other keys keeps some of its attention: that is no placebo.
    scant = torch.stack([cut.sum(1) < keys.sum(1) for _, cut in cuts]).repeat(model.n_layers, 1)
    values = {
        name: part.masked_fill(scant.to(part.device), float("nan"))
        for name, part in swept.values.items()
    }
    return tables.evidence(
        replace(swept, values=values),
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model,
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
