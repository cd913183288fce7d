"""Activation patching: grids of sites and positions, within one model and between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, compress
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp._aliases import formerly
from interp.activations import collect
from interp.contrasts import Contrast
from interp.directions import Subspace
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.alike import alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import token_text
from interp.sites import Site, boundaries
from patching.engine import rows as tables
from patching.engine.beginnings import levelled
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept, observe, sweep
from patching.interventions.base import Intervention
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import SwapSubspace
from patching.interventions.values import Replace
from patching.methods.donors import Donor, donated, donor_name
from patching.places import (
    Place,
    Sides,
    apart,
    named,
    pair_names,
    places_of,
    positions_of,
    sites_in,
)

#: Where a handover writes, and where models are crossed unless it is said otherwise.
HANDOVER_SPANS = ("last", "subject")

CROSS_SPANS = ("subject", "last", "all")


@formerly(placebos="repeats")
def patch_sites(
    model: Model,
    contrast: Contrast,
    sites: Place | str | Sequence[Place | str],
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    positions: str | int | Sequence[str | int] = "each",
    direction: str = "denoise",
    donor: Donor | None = None,
    subspace: Subspace | None = None,
    repeats: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Write another run's activations into a run, one place at a time, exactly.

    "denoise" writes the clean run's activations into the corrupted run; "noise" the reverse.
    Recovery is (patched - corrupted) / (clean - corrupted), undefined where the two baselines agree,
    and is left to the reader of the table.

    With a `subspace` only the component inside it is exchanged, h ← h + (source − h)QQᵀ, and beside
    it that of random subspaces of the same rank.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: any sites; a tuple of sites is written jointly and reported under its lowest layer,
            kinds joined by "+".
        metric: one or several, for instance `interp.logit_difference(contrast)`.
        positions: "each" for every position alone, or names of spans and positions such as "subject",
            "subject_last", "last" and "all"; a number counts tokens from 0, or from −1, the last; a
            list makes a cell of each.
        direction: which run is patched.
        donor: other activations to write: a model for its run of the same prompts, other aligned
            prompts, "mean" for the mean over all of the source's tokens, or tensors [example,
            position, *d] by site.
        subspace: exchange only this component; its width must be the sites'.
        repeats: random subspaces beside it.
        seed: of the random subspaces.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "patch": conditions "patched" and, with a subspace, "placebo", and the
        baselines "clean" and "corrupted"; the raw metric in its unit. Columns that vary: kind,
        layer, head, position or span, direction, donor (the role of the model, "mean", "prompts" or
        "tensors"), draw, example. Of positions, provenance "grid_tokens" holds the tokens of every
        pair, so that a picture of the grid has them on its axis; beside them stand the model's name
        under its role and, of one pair, the "pair_prompts".

    Raises:
        ValueError: for sites or spans that do not exist, or donors that do not fit.

    Note:
        Restoring an activation shows that it suffices here, not that it is normally used. The
        residual between attention and MLP has no site of its own: write ATTN_OUT instead.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
        >>> sorted(grid.table["condition"].value_counts().items())
        [('clean', 1), ('corrupted', 1), ('patched', 36)]
        >>> grid.provenance["grid_tokens"]["0"]["differs"]
        ['Farid Jansen', 'Pavel Grimm']
    """
    metrics = named_metrics(metric, contrast.clean)
    sides = Sides.of(contrast, direction)
    places = places_of(sites)
    if donor is None:
        source, unedited = observe(model, sides.source, sites_in(places), metrics)
    else:
        source = donated(model, sides.patched, sides.source, donor, sites_in(places))
        unedited = sweep(model, sides.source, [], metrics)
    spaces = _with_placebos(subspace, source, repeats, seed)
    about = {"direction": sides.direction, "donor": None if donor is None else donor_name(donor)}
    # Own runs of two prompts are one up to the first token that differs.
    own = apart(contrast) if donor is None else contrast.clean.mask
    cells, columns, ran = [], [], []
    for place in places:
        for where_columns, where in positions_of(sides.patched, positions):
            for space_columns, space in spaces:
                edits = [Edit(site, where, _written(site, source[site], space)) for site in place]
                cells.append(Cell(tuple(edits)))
                columns.append({**named(place), **where_columns, **space_columns, **about})
                ran.append(bool((where & own).any()))
    swept = _sweep(model, sides.patched, cells, ran, metrics, max_bytes, "patching")
    ends = [{"condition": name} for name in (sides.patched_name, sides.source_name)]
    patched = tables.evidence(
        swept, sides.patched, metrics, columns, model=model, baseline=ends[0], method="patch"
    )
    others = tables.evidence(
        unedited, sides.source, metrics, [], model=model, baseline=ends[1], method="patch"
    )
    measured = Evidence.concat([patched, others]).with_provenance(pair_prompts=_prompts(contrast))
    if not any("position" in about for about in columns):
        return measured
    return measured.with_provenance(grid_tokens=_grid_tokens(model, contrast))


def _sweep(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    ran: Sequence[bool],
    metrics: Mapping[str, Metric],
    max_bytes: int,
    progress: str,
) -> Swept:
    """The sweep of some of the cells; the others are known to write what is there already."""
    numbers = [i if run else None for i, run in zip(accumulate(ran, initial=0), ran, strict=False)]
    moved = list(compress(cells, ran))
    swept = sweep(model, examples, moved, metrics, max_bytes=max_bytes, progress=progress)
    return tables.with_present(swept.spread(numbers), cells, examples)


def _prompts(contrast: Contrast) -> list[list[str]]:
    """Clean and corrupted prompt where there is one pair, for a caption."""
    prompts = list(zip(contrast.clean.texts, contrast.corrupted.texts, strict=True))
    return [list(pair) for pair in prompts] if len(prompts) == 1 else []


def _grid_tokens(model: Model, contrast: Contrast) -> dict[str, dict[str, Any]]:
    """The tokens of every pair in the columns of the grid, as text, and where the two differ.

    Padding is left empty. "differs" holds what tells the prompts apart, decoded in one piece so that
    it reads as it is written: the subjects, or all from the first to the last differing token.
    """
    sides = {"clean": contrast.clean, "corrupted": contrast.corrupted}
    tokens: dict[str, dict[str, Any]] = {}
    for i in range(len(contrast)):
        rows = {name: part.tokens[i].tolist() for name, part in sides.items()}
        real = contrast.clean.mask[i].tolist()
        first, stop = _differing(contrast, i)
        tokens[str(i)] = {
            name: [token_text(model.tokenizer, t) if r else "" for t, r in zip(row, real, strict=True)]
            for name, row in rows.items()
        }
        tokens[str(i)]["differs"] = [
            model.tokenizer.decode(row[first:stop]).strip() for row in rows.values()
        ]
    return tokens


def _differing(contrast: Contrast, pair: int) -> tuple[int, int]:
    """The half-open range of columns in which a pair differs: the subject where that is all."""
    differ = (contrast.clean.tokens[pair] != contrast.corrupted.tokens[pair]) & contrast.clean.mask[
        pair
    ]
    columns = differ.nonzero()[:, 0].tolist()
    if not columns:
        return 0, 0
    first, stop = columns[0], columns[-1] + 1
    if "subject" in contrast.clean.spans:
        low, high = contrast.clean.spans["subject"][pair].tolist()
        if low <= first and stop <= high:
            return low, high
    return first, stop


def _with_placebos(
    subspace: Subspace | None, source: Mapping[Site, Tensor], repeats: int, seed: int
) -> list[tuple[dict[str, Any], Subspace | None]]:
    """The subspace that is exchanged and random ones of its rank, each with its columns."""
    spaces: list[tuple[dict[str, Any], Subspace | None]] = [({"condition": "patched"}, subspace)]
    if subspace is None:
        return spaces
    width = subspace.basis.shape[0]
    for site, values in source.items():
        if values.shape[-1] != width or values.ndim != 3:
            raise ValueError(
                f"{site} holds {tuple(values.shape[2:])} numbers at a position; the subspace found "
                f"at {subspace.site} has width {width}; give sites of its width"
            )
    generator = torch.Generator().manual_seed(seed)
    for draw in range(repeats):
        basis = torch.randn(subspace.basis.shape, generator=generator)
        placebo = Subspace(subspace.site, basis, origin="random")
        spaces.append(({"condition": "placebo", "draw": draw}, placebo))
    return spaces


def _written(site: Site, source: Tensor, space: Subspace | None) -> Intervention:
    """The source, or its component in a subspace that is carried over to the site."""
    return Replace(source) if space is None else SwapSubspace(replace(space, site=site), source)


def handover(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Restore the last position, or the subject, at every boundary 0..L of aligned pairs.

    The handover is the first boundary from which restoring the last position alone recovers the
    clean answer: where what was looked up at the subject has been moved. Source: the position switch
    of causal tracing (2202.05262), on aligned pairs instead of noise.

    Args:
        model: the model that runs.
        contrast: aligned pairs with the span "subject".
        metric: one or several, read on every run.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "handover": condition "patched", and the baselines "clean" and
        "corrupted" under either span; the raw metric in its unit. Columns that vary: span, layer
        (the boundary), example, group ("clean -> corrupted").

    Raises:
        ValueError: for pairs without a subject.

    Note:
        It shows which boundary suffices, not which component moved the information.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno",
        ...     clean_subjects=["Farid Jansen"], corrupted_subjects=["Pavel Grimm"],
        ... )
        >>> moved = patching.handover(model, pairs, interp.logit_difference(pairs))
        >>> moved.where(condition="patched", span="last")["layer"].tolist()
        [0, 1, 2, 3, 4, 5, 6]
    """
    sites = boundaries(model.n_layers)
    grid = patch_sites(model, contrast, sites, metric, positions=HANDOVER_SPANS, max_bytes=max_bytes)
    table = grid.by_boundary(model.n_layers).table.astype(object)
    table["method"], pairs = "handover", pair_names(contrast)
    table["group"] = [pairs[i] for i in table["example"]]
    # The unedited runs belong to both spans.
    ends = table["span"].isna()
    both = [table[~ends], *(table[ends].assign(span=span) for span in HANDOVER_SPANS)]
    return Evidence(pd.concat(both, ignore_index=True), grid.provenance)


@formerly(metrics="metric", spans="positions", placebos="repeats")
def cross_patch(
    pair: ModelPair,
    examples: Examples,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    sites: Place | str | Sequence[Place | str] | None = None,
    positions: str | int | Sequence[str | int] = CROSS_SPANS,
    subspace: Subspace | None = None,
    repeats: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Cross-model activation patching (CMAP, 2402.14811) by position group, both directions.

    At every site, the donor's activation is written into the other model at the named positions:
    ρ = (m[B ← h_T] - m[B]) / (m[T] - m[B]) and the reverse. By default the sites are the boundaries
    0..L of the residual stream, reported under their number; with "all" that is stitching.

    With a `subspace` only the component inside it is exchanged, and beside it that of random
    subspaces of the same rank.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metric: one metric or several.
        sites: other sites (heads, MLPs, …), reported by kind, layer and head, a tuple written
            jointly; the boundaries when None.
        positions: names of spans and positions, numbers, or "each"; a list makes a cell of each.
        subspace: exchange only this component; its width must be the sites'.
        repeats: random subspaces beside it.
        seed: of the random subspaces.
        max_bytes: memory in bytes for activations beside the models; changes no number.

    Returns:
        Evidence of method "cross_patch": conditions "patched" and, with a subspace, "placebo"; and
        "baseline" for either whole model; the raw metric in its unit. Columns that vary: model (that
        runs), donor, kind, layer (the boundary, where no sites are given), head, span or position,
        draw, example.

    Raises:
        ValueError: for sites or spans that do not exist, or a subspace of another width.

    Note:
        Only all-position operators locate a change: patching one position misplaces changes that
        act through others.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> prompts = interp.Examples.from_text(pair.base, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> crossed = patching.cross_patch(pair, prompts, {"output": metric}, positions=("last", "all"))
        >>> rows = crossed.where(condition="patched", model="base")
        >>> sorted(rows["span"].unique()), rows["layer"].nunique(), set(rows["donor"])
        (['all', 'last'], 7, {'tuned'})
    """
    metrics = named_metrics(metric, examples)
    parts = []
    places = places_of(boundaries(pair.base.n_layers) if sites is None else sites)
    same = alike(pair.base, pair.tuned)
    for recipient, donor in ((pair.base, pair.tuned), (pair.tuned, pair.base)):
        donations = collect(donor, examples, sites_in(places), positions="all")
        source = {site: levelled(examples, held.values) for site, held in donations.items()}
        spaces = _with_placebos(subspace, source, repeats, seed)
        cells, columns, ran = [], [], []
        for k, place in enumerate(places):
            place_columns = {"layer": k} if sites is None else named(place)
            for where_columns, where in positions_of(examples, positions):
                for space_columns, space in spaces:
                    edits = [Edit(s, where, _written(s, source[s], space)) for s in place]
                    cells.append(Cell(tuple(edits)))
                    about = {**place_columns, **where_columns, **space_columns}
                    columns.append({**about, "donor": donor.role})
                    # What is the recipient's own changes nothing.
                    ran.append(not all(same.same_at(site) for site in place))
        label = f"{donor.role} → {recipient.role}"
        swept = _sweep(recipient, examples, cells, ran, metrics, max_bytes, label)
        parts.append(
            tables.evidence(
                swept,
                examples,
                metrics,
                columns,
                baseline={"condition": "baseline"},
                model=recipient,
                method="cross_patch",
            )
        )
    return Evidence.concat(parts)
