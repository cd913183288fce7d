"""Ablation: what is lost when an activation, or one subspace of it, is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._aliases import formerly
from interp.activations import collect
from interp.directions import AffineEraser, Direction, Subspace
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.sites import Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.base import Intervention
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import Erase, ProjectOut
from patching.interventions.values import Add, Mean, Replace, Resample, Zero
from patching.places import Place, named, places_of, positions_of, sites_in

#: Ablations with a name.
WAYS = ("zero", "mean", "position_mean", "resample")

#: What takes an activation away.
How = str | Direction | Subspace | AffineEraser


@formerly(span="positions", placebos="repeats")
def ablate(
    model: Model,
    examples: Examples,
    sites: Place | str | Sequence[Place | str],
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    how: How,
    positions: str | int | Sequence[str | int] = "all",
    reference: Examples | None = None,
    repeats: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Take sites away, one at a time, and read the metric.

    - "zero" writes 0;
    - "mean" writes the site's mean over all real positions of `reference`;
    - "position_mean" writes its mean at the same position over prompts of the same length;
    - "resample" writes what the site holds, at the same position, in another example of the same
      length drawn at random from another group, once for each of `repeats` draws;
    - a Direction or Subspace is projected out about the mean, h ← h − (h − mean)QQᵀ, at each of the
      sites, wherever it was read;
    - an eraser (LEACE and its kin) is applied.

    With the last two come placebos: removals along random subspaces of the same rank, scaled per
    example and position to the norm of the real removal.

    Args:
        model: the model that runs.
        examples: prompts.
        sites: any sites; a tuple of sites is ablated jointly and reported under its lowest layer.
        metric: one metric or several.
        how: one of the words above, a Direction, a Subspace or an eraser.
        positions: names of spans and positions, numbers, or "each"; a list makes a cell of each.
        reference: prompts that means are taken over; the examples themselves when None.
        repeats: random draws, of donors to resample from or of placebos.
        seed: of the draws.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "ablate": conditions "ablated", "placebo" and "baseline"; the raw metric in
        its unit. Columns that vary: kind, layer, head, span or position, draw, example.

    Raises:
        ValueError: for an unknown `how`, a subspace of another width than the site, or prompts that
            have no partner of their length to resample from.

    Note:
        What an ablation breaks was needed here; that nothing breaks may mean that another part steps
        in. Zero and mean take the model off its distribution.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> sites = interp.every_layer(interp.Kind.MLP_OUT, model.n_layers)
        >>> ablated = patching.ablate(model, prompts, sites, metric, how="zero", positions="last")
        >>> sorted(ablated.table["condition"].value_counts().items())
        [('ablated', 6), ('baseline', 1)]
    """
    if isinstance(how, str) and how not in WAYS:
        raise ValueError(
            f"how must be one of {list(WAYS)}, a Direction, a Subspace or an eraser; got {how!r}"
        )
    metrics, places = named_metrics(metric, examples), places_of(sites)
    generator = torch.Generator().manual_seed(seed)
    removals = _removals(model, examples, sites_in(places), how, reference, repeats, generator)
    cells, columns = [], []
    for place in places:
        for where_columns, where in positions_of(examples, positions):
            for i, (about, _) in enumerate(removals[place[0]]):
                cells.append(Cell(tuple(Edit(s, where, removals[s][i][1]) for s in place)))
                columns.append({**named(place), **where_columns, **about})
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="ablation")
    return tables.evidence(
        tables.with_present(swept, cells, examples),
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model,
        method="ablate",
    )


#: The interventions of every row at one site, each with its columns.
_Removals = list[tuple[dict[str, Any], Intervention]]


def _removals(
    model: Model,
    examples: Examples,
    sites: Sequence[Site],
    how: How,
    reference: Examples | None,
    repeats: int,
    generator: torch.Generator,
) -> dict[Site, _Removals]:
    """For each site the interventions of every row, with their columns."""
    ablated: dict[str, Any] = {"condition": "ablated"}
    if how == "zero":
        return {site: [(ablated, Zero())] for site in sites}
    means: dict[Site, Tensor] = {}
    if how not in ("position_mean", "resample"):
        means = _means(model, examples if reference is None else reference, sites)
    if how == "mean":
        return {site: [(ablated, Mean(means[site]))] for site in sites}
    held = {s: a.values for s, a in collect(model, examples, sites, positions="all").items()}
    if how == "position_mean":
        return {s: [(ablated, Replace(_by_position(examples, held[s])))] for s in sites}
    if how == "resample":
        donors = [_others(examples, generator) for _ in range(repeats)]
        return {
            site: [
                ({**ablated, "draw": draw}, Resample(held[site], donor))
                for draw, donor in enumerate(donors)
            ]
            for site in sites
        }
    assert not isinstance(how, str)
    removals: dict[Site, _Removals] = {}
    for site in sites:
        removal = Removal.of(how, site, held[site], means[site])
        draws = removal.placebos(repeats, generator)
        removals[site] = [
            (ablated, removal.intervention),
            *(({"condition": "placebo", "draw": i}, Add(draw)) for i, draw in enumerate(draws)),
        ]
    return removals


@dataclass(frozen=True, eq=False)
class Removal:
    """What taking a subspace away, or applying an eraser, does at one site.

    Attributes:
        intervention: the removal.
        removed: what it adds to each activation, [example, position, d].
        centred: the activations less their mean.
        site: where.
        rank: of the subspace, or of the eraser.
    """

    intervention: Intervention
    removed: Float[Tensor, "example position d"]
    centred: Float[Tensor, "example position d"]
    site: Site
    rank: int

    @classmethod
    def of(
        cls,
        how: Direction | Subspace | AffineEraser,
        site: Site,
        values: Float[Tensor, "example position d"],
        mean: Float[Tensor, " d"],
    ) -> Removal:
        """The removal at a site, from what the site holds.

        Raises:
            ValueError: for a subspace of another width.
        """
        centred = values - mean
        if isinstance(how, AffineEraser):
            erase = Erase(replace(how, site=site))
            return cls(erase, how.apply(values) - values, centred, site, how.left.shape[1])
        subspace = how.subspace() if isinstance(how, Direction) else how
        if subspace.basis.shape[0] != centred.shape[-1]:
            raise ValueError(
                f"{site} has width {centred.shape[-1]}; got {subspace.basis.shape[0]} in the "
                f"subspace found at {subspace.site}; give sites of its width"
            )
        project = ProjectOut(replace(subspace, site=site), mean)
        removed = -subspace.project(centred)
        return cls(project, removed, centred, site, subspace.basis.shape[1])

    def placebos(
        self, count: int, generator: torch.Generator
    ) -> list[Float[Tensor, "example position d"]]:
        """Removals along random subspaces of the same rank, scaled to the real removal's norm."""
        size = self.removed.norm(dim=-1, keepdim=True)
        draws = []
        for _ in range(count):
            basis = torch.randn(self.removed.shape[-1], self.rank, generator=generator)
            random = Subspace(self.site, basis.to(self.removed), origin="random")
            placebo = -random.project(self.centred)
            norm = placebo.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            draws.append(placebo / norm * size)
        return draws


def _means(model: Model, reference: Examples, sites: Sequence[Site]) -> dict[Site, Float[Tensor, " d"]]:
    """Each site's mean over all real positions."""
    held = collect(model, reference, sites, positions="all")
    return {site: a.values[reference.mask].mean(0) for site, a in held.items()}


def _by_position(
    examples: Examples, values: Float[Tensor, "example position *d"]
) -> Float[Tensor, "example position *d"]:
    """The mean over prompts of the same length, position by position."""
    means = values.clone()
    for same in examples.by_length():
        origin = examples.mask[same].int().argmax(1)
        columns = origin[:, None] + torch.arange(int(examples.lengths[same[0]]), device=origin.device)
        here = values[same[:, None], columns]
        means[same[:, None], columns] = here.mean(0).expand_as(here)
    return means


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
