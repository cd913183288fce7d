"""Ablation: what is lost when an activation, or one subspace of it, is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import collect
from interp.arguments import sites_of
from interp.directions import AffineEraser, Direction, Subspace
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.base import Intervention
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import Erase, ProjectOut
from patching.interventions.values import Add, Mean, Replace, Resample, Zero
from patching.places import Place, named

#: Ablations with a name.
WAYS = ("zero", "mean", "position_mean", "resample")

How = str | Direction | Subspace | AffineEraser


def ablate(
    model: Model,
    examples: Examples,
    sites: Place | Sequence[Place],
    metric: Metric | Callable[..., Any],
    *,
    how: How,
    span: str = "all",
    reference: Examples | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Take sites away, one at a time, and read the metric.

    - "zero" writes 0;
    - "mean" writes the site's mean over all real positions of `reference` (the examples themselves
      by default);
    - "position_mean" writes its mean at the same position over prompts of the same length;
    - "resample" writes what the site holds, at the same position, in another example of the same
      length drawn at random from another group, once for each of `placebos` draws (seed = draw);
    - a Direction or Subspace is projected out about the mean, h ← h − (h − mean)QQᵀ, at each of the
      sites, wherever it was read;
    - an eraser (LEACE and its kin) is applied.

    Beside the last two stand placebos: removals along `placebos` random subspaces of the same rank,
    scaled per example and position to the norm of the real removal.

    Rows: condition "ablated", "placebo" (seed = draw) and "baseline"; value is the raw metric. A
    tuple of sites is ablated jointly.

    Raises:
        ValueError: for an unknown `how`, a subspace of another width than the site, or prompts that
            have no partner of their length to resample from.
    """
    if isinstance(how, str) and how not in WAYS:
        raise ValueError(
            f"how must be one of {list(WAYS)}, a Direction, a Subspace or an eraser; got {how!r}"
        )
    metric = as_metric(metric, examples)
    places = [place if isinstance(place, tuple) else (place,) for place in sites_of(sites)]
    single = list(dict.fromkeys(site for place in places for site in place))
    where = examples.span_mask(span)
    per_site = {
        site: chosen
        for site, chosen in _removals(
            model, examples, single, how, reference, placebos, torch.Generator().manual_seed(seed)
        )
    }
    cells, columns = [], []
    for place in places:
        for at, (about, _) in enumerate(per_site[place[0]]):
            cells.append(Cell(tuple(Edit(site, where, per_site[site][at][1]) for site in place)))
            columns.append({**named(place), "span": span, **about})
    metrics = {"metric": metric}
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="ablation")
    return tables.evidence(
        swept,
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model.role,
        method="ablate",
    )


def _removals(
    model: Model,
    examples: Examples,
    sites: Sequence[Site],
    how: How,
    reference: Examples | None,
    placebos: int,
    generator: torch.Generator,
) -> Iterator[tuple[Site, Sequence[tuple[dict[str, Any], Intervention]]]]:
    """For each site the interventions of every row, with their columns."""
    ablated: dict[str, Any] = {"condition": "ablated"}
    if how == "zero":
        yield from ((site, [(ablated, Zero())]) for site in sites)
        return
    if how == "mean":
        means = _means(model, examples if reference is None else reference, sites)
        yield from ((site, [(ablated, Mean(means[site]))]) for site in sites)
        return
    held = {s: a.values for s, a in collect(model, examples, sites, positions="all").items()}
    if how == "position_mean":
        yield from ((site, [(ablated, Replace(_by_position(examples, held[site])))]) for site in sites)
        return
    if how == "resample":
        draws = [_others(examples, generator) for _ in range(placebos)]
        for site in sites:
            taken = [Resample(held[site], donor) for donor in draws]
            yield site, [({**ablated, "seed": i}, one) for i, one in enumerate(taken)]
        return
    means = _means(model, examples if reference is None else reference, sites)
    for site in sites:
        centred = held[site] - means[site]
        if isinstance(how, Direction | Subspace):
            subspace = how.subspace() if isinstance(how, Direction) else how
            if subspace.basis.shape[0] != centred.shape[-1]:
                raise ValueError(
                    f"{site} has width {centred.shape[-1]}; got {subspace.basis.shape[0]} in the "
                    f"subspace found at {subspace.site}; give sites of its width"
                )
            real: Intervention = ProjectOut(replace(subspace, site=site), means[site])
            removed, rank = -subspace.project(centred), subspace.basis.shape[1]
        else:
            assert not isinstance(how, str)
            real, rank = Erase(replace(how, site=site)), how.left.shape[1]
            removed = how.apply(held[site]) - held[site]
        fakes = _placebos(removed, centred, site, rank, placebos, generator)
        chance = [({"condition": "placebo", "seed": i}, Add(fake)) for i, fake in enumerate(fakes)]
        yield site, [(ablated, real), *chance]


def _means(model: Model, reference: Examples, sites: Sequence[Site]) -> dict[Site, Float[Tensor, " d"]]:
    found = collect(model, reference, sites, positions="all")
    return {site: a.values[reference.mask].mean(0) for site, a in found.items()}


def _by_position(
    examples: Examples, values: Float[Tensor, "example position *d"]
) -> Float[Tensor, "example position *d"]:
    """The mean over prompts of the same length, position by position."""
    out = values.clone()
    for same in examples.by_length():
        origin = examples.mask[same].int().argmax(1)
        columns = origin[:, None] + torch.arange(int(examples.lengths[same[0]]), device=origin.device)
        out[same[:, None], columns] = (
            values[same[:, None], columns]
            .mean(0)
            .expand(len(same), *values[same[:, None], columns].shape[1:])
        )
    return out


def _others(examples: Examples, generator: torch.Generator) -> Int[Tensor, " example"]:
    """For each example another one of its length and layout, of another group, at random."""
    donor = torch.arange(len(examples))
    for same in examples.by_length():
        for i in same.tolist():
            fit = [
                j
                for j in same.tolist()
                if examples.groups[j] != examples.groups[i]
                and bool((examples.mask[j] == examples.mask[i]).all())
            ]
            if not fit:
                raise ValueError(
                    f"resampling needs another prompt of {int(examples.lengths[i])} tokens and "
                    f"another group for {examples.texts[i]!r}, got none; add prompts or use 'mean'"
                )
            donor[i] = fit[int(torch.randint(len(fit), (1,), generator=generator))]
    return donor.to(examples.tokens.device)


def _placebos(
    removed: Float[Tensor, "example position d"],
    centred: Float[Tensor, "example position d"],
    site: Site,
    rank: int,
    count: int,
    generator: torch.Generator,
) -> list[Float[Tensor, "example position d"]]:
    """Removals along random subspaces of the same rank, scaled to the real removal's norm."""
    found = []
    for _ in range(count):
        basis = torch.randn(removed.shape[-1], rank, generator=generator).to(removed)
        fake = -Subspace(site, basis, origin="random").project(centred)
        norm = fake.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        found.append(fake / norm * removed.norm(dim=-1, keepdim=True))
    return found
