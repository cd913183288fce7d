"""Cells of a patching grid ranked by attribution: what is screened before anything is verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.activations import check_sites
from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics import Metric
from interp.models.model import Model
from interp.sites import Site
from patching.attribution.gradients import batches, run_with_gradients
from patching.attribution.nodes import first_order
from patching.engine import rows as tables
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace, Zero
from patching.places import named, positions_of


@dataclass(frozen=True, eq=False)
class Grid:
    """Every cell that is screened.

    Attributes:
        cells: site and number of the place of each.
        columns: what names each cell.
        places: where each place is, [example, position].
        shown: the same without what precedes the first difference of a pair.
        cost: layer-tokens of each cell's exact run.
        corrupted: the prompts that are patched.
    """

    cells: list[tuple[Site, int]]
    columns: list[dict[str, Any]]
    places: list[Bool[Tensor, "example position"]]
    shown: list[Bool[Tensor, "example position"]]
    cost: list[int]
    corrupted: Examples

    @classmethod
    def of(
        cls,
        model: Model,
        contrast: Contrast,
        sites: Sequence[Site],
        positions: str | int | Sequence[str | int],
    ) -> Grid:
        """Sites by places, and what each would cost."""
        about, places = zip(*positions_of(contrast.corrupted, positions), strict=True)
        cells = [(site, place) for site in sites for place in range(len(places))]
        columns = [{**named((site,)), **about[place]} for site, place in cells]
        shown = [without_shared_start(contrast, where) for where in places]
        cost = [_cost(model, contrast.corrupted, site, shown[place]) for site, place in cells]
        return cls(cells, columns, list(places), shown, cost, contrast.corrupted)

    def exact(self, cell: int, sources: Mapping[Site, Tensor]) -> Cell:
        """The cell that writes the clean activation."""
        site, place = self.cells[cell]
        source = sources[Site(site.kind, site.layer)]
        source = source if site.head is None else source[:, :, site.head]
        return Cell((Edit(site, self.shown[place], Replace(source)),))

    def present(
        self, values: Float[Tensor, "cell example"], cells: Sequence[int]
    ) -> Float[Tensor, "cell example"]:
        """The values of these cells, NaN where a prompt has no token at a cell's place."""
        writes = []
        for site, place in (self.cells[i] for i in cells):
            writes.append(Cell((Edit(site, self.places[place], Zero()),)))
        return tables.present(values, writes, self.corrupted)


@dataclass(frozen=True, eq=False)
class Ranking:
    """All cells by their attribution.

    Attributes:
        order: numbers of the cells, the largest root mean square first.
        attribution: of each cell, [cell, example].
        sources: clean activations by whole site, as `collect` gives them.
        clean: the metric of the clean runs.
    """

    order: list[int]
    attribution: Float[Tensor, "cell example"]
    sources: Mapping[Site, Tensor]
    clean: Float[Tensor, " example"]


def rank(model: Model, contrast: Contrast, grid: Grid, metric: Metric, batch_size: int) -> Ranking:
    """Rank the cells of a grid by their first-order effects."""
    sites = [site for site, _ in grid.cells]
    slopes, sources, clean = first_order_effects(model, contrast, sites, metric, batch_size)
    attribution = torch.stack(
        [
            _attribution(slopes[Site(site.kind, site.layer)], site.head, grid.places[place])
            for site, place in grid.cells
        ]
    )
    size = attribution.square().mean(1)
    order = size.argsort(descending=True, stable=True).tolist()
    return Ranking(order, attribution, sources, clean)


def first_order_effects(
    model: Model, contrast: Contrast, sites: Sequence[Site], metric: Metric, batch_size: int
) -> tuple[dict[Site, Tensor], dict[Site, Tensor], Tensor]:
    """First-order effects, the clean activations and the clean metric of every pair.

    Effects are [example, position(, unit)] with 0 at padding; activations are as `collect` gives.
    """
    check_sites(model, sites)
    whole = list(dict.fromkeys(Site(site.kind, site.layer) for site in sites))
    width, n = contrast.corrupted.tokens.shape[1], len(contrast)
    effects: dict[Site, Tensor] = {}
    sources: dict[Site, Tensor] = {}
    dtype = model.metric_dtype
    clean_metric = torch.full((n,), float("nan"), dtype=dtype, device=model.device)
    for batch in batches(contrast, batch_size, "screening"):
        where = (batch.rows, batch.columns)
        clean = run_with_gradients(model, batch.clean, whole, metric, *where, gradients=False)
        corrupted = run_with_gradients(model, batch.corrupted, whole, metric, *where)
        clean_metric[batch.rows] = clean.metric.to(dtype)
        place = (batch.rows[:, None], batch.columns)
        for site in whole:
            value = clean.values[site]
            effect = first_order(value, corrupted.values[site], corrupted.gradients[site], site)
            if site not in effects:
                effects[site] = effect.new_zeros(n, width, *effect.shape[2:])
                sources[site] = value.new_full((n, width, *value.shape[2:]), float("nan"))
            effects[site][place] = effect
            sources[site][place] = value
    return effects, sources, clean_metric


def without_shared_start(
    contrast: Contrast, where: Bool[Tensor, "example position"]
) -> Bool[Tensor, "example position"]:
    """The place without the tokens both prompts begin with, where anything is left of it.

    What precedes the first differing token is the same in both runs, so writing it changes nothing
    and the engine may begin later.
    """
    differ = (contrast.clean.tokens != contrast.corrupted.tokens) & contrast.corrupted.mask
    trimmed = where & differ.int().cummax(1).values.bool()
    return torch.where(trimmed.any(1, keepdim=True), trimmed, where)


def _attribution(
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
