"""Steering: what pushing along a direction does to the output, and to unrelated prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from interp.activations import collect
from interp.directions import Direction, random_direction
from interp.evidence import Evidence
from interp.metrics import Metric, divergence
from interp.models import Model
from interp.tasks import Examples
from patching import tables
from patching.engine import sweep
from patching.interventions import Add, Cell, Edit
from patching.schedule import MAX_BYTES


def steer(
    model: Model,
    examples: Examples,
    direction: Direction,
    metric: Metric,
    *,
    strengths: Sequence[float],
    span: str = "all",
    unrelated: Examples | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Push along a direction: h ← h + c·s·v, with s the mean residual norm at the site.

    Strengths c are therefore comparable between layers and models. Random directions of the same
    norm are pushed at every strength beside it (condition "placebo", seed = draw).

    With `unrelated` prompts the side effect is measured too: KL(unsteered ‖ steered) of the next
    token after each of them, all positions steered, in rows of metric "side_effect" (unit: nats).

    Note:
        Steering shows what a direction can do to the output, not that the model uses it.
    """
    generator = torch.Generator().manual_seed(seed)
    values = collect(model, examples, [direction.site], positions="all")[direction.site].values
    scale = float(values[examples.mask].norm(dim=-1).mean())
    width = direction.vector.shape[0]
    vectors: list[tuple[dict[str, object], Tensor]] = [({"condition": "steered"}, direction.vector)]
    vectors += [
        (
            {"condition": "placebo", "seed": draw},
            random_direction(direction.site, width, generator=generator).vector,
        )
        for draw in range(placebos)
    ]
    where = examples.span_mask(span)
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
    return Evidence.concat(parts)


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
