"""Steering: what pushing along a direction does to the output, and to unrelated prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp.activations import collect
from interp.arguments import numbers
from interp.directions import Direction, Subspace, random_direction
from interp.evidence import Evidence
from interp.examples import Examples
from interp.generation import generate
from interp.metrics import Metric, as_metric, divergence
from interp.models.model import Model
from interp.sites import RESIDUAL_KINDS, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add


def steer(
    model: Model,
    examples: Examples,
    direction: Direction | Subspace,
    metric: Metric | Callable[..., Any],
    *,
    strengths: float | Sequence[float],
    span: str = "all",
    unrelated: Examples | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Push along a direction: h ← h + c·s·v, with s the usual norm at the site (`steering_unit`).

    Strengths c are therefore comparable between layers, models and prompts. Random directions of the
    same norm are pushed at every strength beside it (condition "placebo", seed = draw). With the span
    "all" the first token is pushed like the others, although it does not count for the unit.

    With `unrelated` prompts the side effect is measured too: KL(unsteered ‖ steered) of the next
    token after each of them, all positions steered, in rows of metric "side_effect" (unit: nats).

    What the model then writes is shown by `generations`, with `Add(direction, c · unit)` as the edit.

    Raises:
        ValueError: for a direction of another width than its site here, a subspace of several
            dimensions, or a span that does not exist.

    Note:
        Steering shows what a direction can do to the output, not that the model uses it.
    """
    generator = torch.Generator().manual_seed(seed)
    where = examples.span_mask(span)
    vector = Add(direction).tensors["vector"]
    Edit(direction.site, where, Add(vector)).check((model.d_model,) if _residual(direction) else None)
    scale = steering_unit(model, examples, direction.site)
    metric, strengths = as_metric(metric, examples), numbers("strengths", strengths)
    width = len(vector)
    vectors: list[tuple[dict[str, object], Tensor]] = [({"condition": "steered"}, vector)]
    vectors += [
        (
            {"condition": "placebo", "seed": draw},
            random_direction(direction.site, width, generator=generator).vector,
        )
        for draw in range(placebos)
    ]
    cells, columns = [], []
    for strength in strengths:
        for about, vector in vectors:
            push = Add(vector.to(model.device), strength * scale)
            cells.append(Cell((Edit(direction.site, where, push),)))
            site = direction.site
            columns.append(
                {
                    **about,
                    "strength": strength,
                    "kind": site.kind,
                    "layer": site.layer,
                    "span": span,
                }
            )
    named_metrics = {"metric": metric}
    parts = [_steered(model, examples, cells, columns, named_metrics, max_bytes)]
    if unrelated is not None:
        everywhere = unrelated.span_mask("all")
        cells = [Cell((Edit(e.site, everywhere, e.intervention),)) for c in cells for e in c.edits]
        side = {"side_effect": divergence(model, unrelated)}
        parts.append(_steered(model, unrelated, cells, columns, side, max_bytes))
    return Evidence.concat(parts).with_provenance(steering_unit=scale)


def steering_unit(model: Model, examples: Examples, site: Site) -> float:
    """Median norm of a site over the prompts' tokens, the first token of each left out.

    Models rest attention on the first token, whose norm is often many times the others'; it would
    make a unit depend on how long the prompts are. A prompt of one token counts with it.
    """
    values = collect(model, examples, [site], positions="all")[site].values
    first = (examples.mask.cumsum(1) == 1) & (examples.lengths > 1)[:, None]
    return float(values[examples.mask & ~first].float().flatten(1).norm(dim=-1).median())


def generations(
    model: Model,
    prompts: Examples | str | Sequence[str],
    edits: Edit | Sequence[Edit],
    **options: Any,
) -> pd.DataFrame:
    """What a model writes without and with edits, side by side: columns prompt, before, after.

    Args:
        model: the model that writes.
        prompts: texts, or examples whose masks the edits name.
        edits: as `interp.generate` takes them.
        **options: of `interp.generate`, such as positions="all", tokens=32 or temperature=1.0.

    Raises:
        ValueError: as `interp.generate`.
    """
    after = generate(model, prompts, edits=edits, **options)
    before = generate(model, prompts, **{k: v for k, v in options.items() if k != "positions"})
    return pd.DataFrame({"prompt": after.prompts, "before": before.texts, "after": after.texts})


def _residual(direction: Direction | Subspace) -> bool:
    return direction.site.kind in RESIDUAL_KINDS


def _steered(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    columns: Sequence[dict[str, Any]],
    metrics: dict[str, Metric],
    max_bytes: int,
) -> Evidence:
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="steering")
    return tables.evidence(
        swept,
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model.role,
        method="steer",
    )
