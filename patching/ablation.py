"""Ablation: what is lost when an activation, or one subspace of it, is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.directions import Direction, Subspace, random_direction
from interp.evidence import Evidence
from interp.metrics import Metric
from interp.models import Model
from interp.sites import Site
from interp.tasks import Examples
from patching import tables
from patching.engine import sweep
from patching.interventions import Add, Cell, Edit, Intervention, Mean, ProjectOut, Zero
from patching.schedule import MAX_BYTES


def ablate(
    model: Model,
    examples: Examples,
    sites: Sequence[Site],
    metric: Metric,
    *,
    how: Literal["zero", "mean"] | Direction | Subspace,
    span: str = "all",
    reference: Examples | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Take sites away, one at a time, and read the metric.

    "zero" writes 0; "mean" writes the site's mean over all real positions of `reference` (the
    examples themselves by default); a Direction or Subspace is projected out about that mean,
    h ← h - (h - mean)QQᵀ, with placebo rows beside it: `placebos` random subspaces of the same rank
    whose removal is scaled, per example and position, to the norm of the real removal.

    Rows: condition "ablated", "placebo" (seed = draw) and "baseline"; value is the raw metric.

    Raises:
        ValueError: for an unknown `how`, or a subspace of another width than the site.
    """
    if not isinstance(how, Direction | Subspace) and how not in ("zero", "mean"):
        raise ValueError(f"how must be 'zero', 'mean', a Direction or a Subspace; got {how!r}")
    subspace = how.subspace() if isinstance(how, Direction) else how
    generator = torch.Generator().manual_seed(seed)
    where = examples.span_mask(span)
    means = {} if how == "zero" else _means(model, examples if reference is None else reference, sites)
    held = collect(model, examples, sites, positions="all") if isinstance(subspace, Subspace) else {}
    cells, columns = [], []
    for site in sites:
        if isinstance(subspace, Subspace) and subspace.basis.shape[0] != means[site].shape[-1]:
            raise ValueError(
                f"{site} has width {means[site].shape[-1]}; got {subspace.basis.shape[0]} in the "
                f"subspace found at {subspace.site}; give sites of its width"
            )
        named = {"kind": site.kind, "layer": site.layer, "head": site.head, "span": span}
        edits: list[tuple[dict[str, object], Intervention]] = []
        if isinstance(subspace, Subspace):
            edits.append(({"condition": "ablated"}, ProjectOut(subspace, means[site])))
            removed = -subspace.project(held[site].values - means[site])
            edits += [
                ({"condition": "placebo", "seed": draw}, Add(fake))
                for draw, fake in enumerate(
                    _placebos(removed, held[site].values - means[site], subspace, placebos, generator)
                )
            ]
        else:
            edits.append(({"condition": "ablated"}, Mean(means[site]) if means else Zero()))
        for about, intervention in edits:
            cells.append(Cell((Edit(site, where, intervention),)))
            columns.append({**named, **about})
    metrics = {"metric": metric}
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="ablation")
    return tables.evidence(
        swept,
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model="base",
        method="ablate",
    )


def steer(
    model: Model,
    examples: Examples,
    direction: Direction,
    metric: Metric,
    *,
    strengths: Sequence[float],
    span: str = "all",
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Push along a direction: h ← h + c·s·v, with s the mean residual norm at the site.

    Strengths c are therefore comparable between layers and models. Random directions of the same
    norm are pushed at every strength beside it (condition "placebo", seed = draw).

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
            push = Add(vector.to(model.device)[None, None], strength * scale)
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
    metrics = {"metric": metric}
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="steering")
    return tables.evidence(
        swept,
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model="base",
        method="steer",
    )


def _means(model: Model, reference: Examples, sites: Sequence[Site]) -> dict[Site, Float[Tensor, " d"]]:
    found = collect(model, reference, sites, positions="all")
    return {site: a.values[reference.mask].mean(0) for site, a in found.items()}


def _placebos(
    removed: Float[Tensor, "example position d"],
    centred: Float[Tensor, "example position d"],
    subspace: Subspace,
    count: int,
    generator: torch.Generator,
) -> list[Float[Tensor, "example position d"]]:
    """Removals along random subspaces of the same rank, scaled to the real removal's norm."""
    found = []
    for _ in range(count):
        basis = torch.randn(subspace.basis.shape, generator=generator).to(removed)
        fake = -Subspace(subspace.site, basis, origin="random").project(centred)
        norm = fake.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        found.append(fake / norm * removed.norm(dim=-1, keepdim=True))
    return found
