"""Activation patching: grids of sites and positions, within one model and between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp.activations import collect
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.directions import Subspace
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import token_text
from interp.sites import Site, boundaries
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import observe, sweep
from patching.interventions.base import Intervention
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import SwapSubspace
from patching.interventions.values import Replace
from patching.methods.donors import Donor, donated
from patching.places import Place, named, positions_of


def patch_sites(
    model: Model,
    contrast: Contrast,
    sites: Place | Sequence[Place],
    metric: Metric | Callable[..., Any],
    *,
    positions: str | int | Sequence[str | int] = "each",
    direction: str = "denoise",
    donor: Donor | None = None,
    subspace: Subspace | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Write another run's activations into a run, one place at a time, exactly.

    "denoise" writes the clean run's activations into the corrupted run; "noise" the reverse. Rows
    are site × position × pair with condition "patched" and the raw metric; the baselines are the
    rows "clean" and "corrupted". Recovery is (patched - corrupted) / (clean - corrupted), undefined
    where the two baselines agree, and is left to the reader of the table.

    With a `subspace` only the component inside it is exchanged, h ← h + (source − h)QQᵀ, and beside
    it, as "placebo" (seed = draw), that of random subspaces of the same rank.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: any sites; a tuple of sites is written jointly and reported under its lowest layer,
            kinds joined by "+".
        metric: for instance `interp.logit_difference(contrast)`.
        positions: "each" for every position alone, or names of spans and positions such as "subject",
            "subject_last", "last" and "all"; a number counts tokens from 0, or from −1, the last.
        direction: which run is patched.
        donor: other activations to write (see `patching.donors.donated`): a model for its run of
            the same prompts, other aligned prompts, "mean", or tensors by site.
        subspace: exchange only this component; its width must be the sites'.
        placebos: random subspaces beside it.
        seed: of the random subspaces.
        max_bytes: memory for activations beside the model; changes no number.

    Raises:
        ValueError: for sites or spans that do not exist, or donors that do not fit.

    Note:
        Restoring an activation shows that it suffices here, not that it is normally used. The
        residual between attention and MLP has no site of its own: write ATTN_OUT instead.
    """
    metric = as_metric(metric, contrast.clean)
    runs, other = contrast.corrupted, contrast.clean
    if direction == "noise":
        runs, other = other, runs
    elif direction != "denoise":
        raise ValueError(
            f"direction must be 'denoise' or 'noise', got {direction!r}; expected one of them"
        )
    places = [place if isinstance(place, tuple) else (place,) for place in sites_of(sites)]
    single = list(dict.fromkeys(site for place in places for site in place))
    metrics = {"pair": metric}
    if donor is None:
        source, unedited = observe(model, other, single, metrics)
    else:
        source = donated(model, runs, other, donor, single)
        unedited = sweep(model, other, [], metrics)
    chances = _subspaces(subspace, source, placebos, seed)
    cells, columns = [], []
    for place in places:
        for where_columns, where in positions_of(runs, positions):
            for about, space in chances:
                edits = [Edit(site, where, _written(site, source[site], space)) for site in place]
                cells.append(Cell(tuple(edits)))
                columns.append({**named(place), **where_columns, **about})
    swept = sweep(model, runs, cells, metrics, max_bytes=max_bytes, progress="patching")
    swept = replace(swept, values={"pair": tables.present(swept.values["pair"], cells, runs)})
    ends = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    same = {"model": model.role, "method": "patch"}
    if isinstance(donor, Model):
        same["donor"] = donor.role
    patched = tables.evidence(swept, runs, metrics, columns, baseline={"condition": ends[0]}, **same)
    others = tables.evidence(unedited, other, metrics, [], baseline={"condition": ends[1]}, **same)
    tokens = {"grid_tokens": _tokens(model, contrast)} if positions == "each" else {}
    return Evidence.concat([patched, others]).with_provenance(**tokens)


def _tokens(model: Model, contrast: Contrast) -> dict[str, dict[str, Any]]:
    """The tokens of every pair in the columns of the grid, as text, and where the two differ.

    Padding is left empty. "differs" holds what tells the prompts apart, decoded in one piece so that
    it reads as it is written: the subjects, or all from the first to the last differing token.
    """
    decode, sides = model.tokenizer.decode, {"clean": contrast.clean, "corrupted": contrast.corrupted}
    found: dict[str, dict[str, Any]] = {}
    for i in range(len(contrast)):
        rows = {name: part.tokens[i].tolist() for name, part in sides.items()}
        real = contrast.clean.mask[i].tolist()
        apart = [p for p, r in enumerate(real) if r and rows["clean"][p] != rows["corrupted"][p]]
        first, stop = (apart[0], apart[-1] + 1) if apart else (0, 0)
        if "subject" in contrast.clean.spans:
            low, high = contrast.clean.spans["subject"][i].tolist()
            first, stop = (low, high) if apart and low <= first and stop <= high else (first, stop)
        found[str(i)] = {
            name: [token_text(model.tokenizer, t) if r else "" for t, r in zip(row, real, strict=True)]
            for name, row in rows.items()
        }
        found[str(i)]["differs"] = [decode(row[first:stop]).strip() for row in rows.values()]
    return found


def _subspaces(
    subspace: Subspace | None, source: Mapping[Site, Tensor], placebos: int, seed: int
) -> list[tuple[dict[str, Any], Subspace | None]]:
    found: list[tuple[dict[str, Any], Subspace | None]] = [({"condition": "patched"}, subspace)]
    if subspace is None:
        return found
    width = subspace.basis.shape[0]
    for site, values in source.items():
        if values.shape[-1] != width or values.ndim != 3:
            raise ValueError(
                f"{site} holds {tuple(values.shape[2:])} numbers at a position; the subspace found "
                f"at {subspace.site} has width {width}; give sites of its width"
            )
    generator = torch.Generator().manual_seed(seed)
    for draw in range(placebos):
        basis = torch.randn(subspace.basis.shape, generator=generator)
        chance = Subspace(subspace.site, basis, origin="random")
        found.append(({"condition": "placebo", "seed": draw}, chance))
    return found


def _written(site: Site, source: Tensor, space: Subspace | None) -> Intervention:
    """The source, or its component in a subspace that is carried over to the site."""
    return Replace(source) if space is None else SwapSubspace(replace(space, site=site), source)


def handover(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Restore the last position, or the subject, at every boundary 0..L of aligned pairs.

    The handover is the first boundary from which restoring the last position alone recovers the
    clean answer: where what was looked up at the subject has been moved. Groups are named
    "clean -> corrupted". Source: the position switch of causal tracing (2202.05262), on aligned
    pairs instead of noise.
    """
    sites = boundaries(model.n_layers)
    grid = patch_sites(
        model, contrast, sites, metric, positions=("last", "subject"), max_bytes=max_bytes
    )
    table = grid.by_boundary(model.n_layers).table.astype(object)
    table["method"] = "handover"
    pairs = [
        f"{a} -> {b}" for a, b in zip(contrast.clean.groups, contrast.corrupted.groups, strict=True)
    ]
    table["group"] = [pairs[i] for i in table["example"]]
    # The unedited runs belong to both spans.
    ends = table["span"].isna()
    both = [table[~ends], *(table[ends].assign(span=span) for span in ("last", "subject"))]
    return Evidence(pd.concat(both, ignore_index=True), grid.provenance)


def cross_patch(
    pair: ModelPair,
    examples: Examples,
    metrics: Mapping[str, Metric],
    *,
    sites: Sequence[Site] | None = None,
    spans: Sequence[str] = ("subject", "last", "all"),
    subspace: Subspace | None = None,
    placebos: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Cross-model activation patching (CMAP, 2402.14811) by position group, both directions.

    At every site, the donor's activation is written into the other model at the span's positions:
    ρ = (m[B ← h_T] - m[B]) / (m[T] - m[B]) and the reverse. By default the sites are the boundaries
    0..L of the residual stream, reported under their number; with "all" that is stitching. Other
    sites (heads, MLPs, …) are reported by kind, layer and head.

    With a `subspace` only the component inside it is exchanged, and beside it, as "placebo" (seed =
    draw), that of `placebos` random subspaces of the same rank.

    Note:
        Only all-position operators locate a change: patching one position misplaces changes that
        act through others.
    """
    parts = []
    chosen = boundaries(pair.base.n_layers) if sites is None else list(sites)
    for runs, donor in ((pair.base, pair.tuned), (pair.tuned, pair.base)):
        source = collect(donor, examples, chosen, positions="all")
        cells, columns = [], []
        held = {site: source[site].values for site in chosen}
        chances = _subspaces(subspace, held, placebos, seed)
        for k, site in enumerate(chosen):
            place = {"layer": k} if sites is None else named((site,))
            for span in spans:
                for about, space in chances:
                    edit = Edit(site, examples.span_mask(span), _written(site, held[site], space))
                    cells.append(Cell((edit,)))
                    columns.append({**place, **about, "span": span, "donor": donor.role})
        label = f"{donor.role} → {runs.role}"
        swept = sweep(runs, examples, cells, metrics, max_bytes=max_bytes, progress=label)
        parts.append(
            tables.evidence(
                swept,
                examples,
                metrics,
                columns,
                baseline={"condition": "baseline"},
                model=runs.role,
                method="cross_patch",
            )
        )
    return Evidence.concat(parts)
