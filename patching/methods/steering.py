"""Steering: what pushing along a direction does to the output, and to unrelated prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp._aliases import formerly
from interp.activations import collect
from interp.arguments import numbers
from interp.directions import Direction, Subspace, random_direction
from interp.evidence import Evidence
from interp.examples import Examples
from interp.generation import generate
from interp.metrics import Metric, divergence, named_metrics
from interp.models.model import Model
from interp.sites import RESIDUAL_KINDS, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add
from patching.places import named, places_of, positions_of, sites_in


@formerly(span="positions", placebos="repeats")
def steer(
    model: Model,
    examples: Examples,
    direction: Direction | Subspace,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    strengths: float | Sequence[float],
    positions: str | int | Sequence[str | int] = "all",
    unrelated: Examples | None = None,
    repeats: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Push along a direction: h ← h + c·s·v, with s the usual norm at the site (`steering_unit`).

    Strengths c are therefore comparable between layers, models and prompts. Random directions of the
    same norm are pushed at every strength beside it. At the positions "all" the first token is pushed
    like the others, although it does not count for the unit. What the model then writes is shown by
    `generations`, with `Add(direction, c · unit)` as the edit.

    Args:
        model: the model that runs.
        examples: prompts.
        direction: v, at the site where it was read.
        metric: one metric or several.
        strengths: c, one or several, in units of s.
        positions: names of spans and positions, numbers, or "each"; a list makes a cell of each.
        unrelated: prompts on which the side effect is measured: KL(unsteered ‖ steered) of the next
            token after each of them, all positions steered.
        repeats: random directions.
        seed: of the random directions.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "steer": conditions "steered", "placebo" (a random direction) and
        "baseline"; the raw metric in its unit, and the metric "side_effect" in nats. Columns that
        vary: strength, span or position, draw, example. Provenance "steering_unit" is s.

    Raises:
        ValueError: for a direction of another width than its site here, a subspace of several
            dimensions, or a span that does not exist.

    Note:
        Steering shows what a direction can do to the output, not that the model uses it.

    Example:
        >>> import interp, patching, torch
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> push = interp.Direction(interp.Site(interp.Kind.RESID_POST, 3), torch.ones(model.d_model))
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> steered = patching.steer(model, prompts, push, metric, strengths=(-1.0, 1.0), repeats=3)
        >>> sorted(steered.table["condition"].value_counts().items())
        [('baseline', 1), ('placebo', 6), ('steered', 2)]
    """
    generator = torch.Generator().manual_seed(seed)
    places = positions_of(examples, positions)
    site, vector = direction.site, Add(direction).tensors["vector"]
    width = (model.d_model,) if site.kind in RESIDUAL_KINDS else None
    for _, where in places:
        Edit(site, where, Add(vector)).check(width)
    unit = steering_unit(model, examples, site)
    metrics, strengths = named_metrics(metric, examples), numbers("strengths", strengths)
    vectors: list[tuple[dict[str, Any], Tensor]] = [({"condition": "steered"}, vector)]
    for draw in range(repeats):
        placebo = random_direction(site, len(vector), generator=generator)
        vectors.append(({"condition": "placebo", "draw": draw}, placebo.vector))
    pushes = [
        (
            {**about, "strength": strength, **named((site,))},
            Add(vector.to(model.device), strength * unit),
        )
        for strength in strengths
        for about, vector in vectors
    ]
    parts = [_steered(model, examples, site, pushes, places, metrics, max_bytes)]
    if unrelated is not None:
        everywhere = [({"span": "all"}, unrelated.span_mask("all"))]
        side = {"side_effect": divergence(model, unrelated)}
        parts.append(_steered(model, unrelated, site, pushes, everywhere, side, max_bytes))
    return Evidence.concat(parts).with_provenance(steering_unit=unit)


def steering_unit(model: Model, examples: Examples, site: Site) -> float:
    """Median norm of a site over the prompts' tokens, the first token of each left out.

    Models rest attention on the first token, whose norm is often many times the others'; it would
    make a unit depend on how long the prompts are. A prompt of one token counts with it.

    Args:
        model: the model that runs.
        examples: prompts.
        site: where the norm is taken.

    Returns:
        The norm, in the units of the activation.

    Raises:
        ValueError: for a site that the model lacks.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> patching.steering_unit(model, prompts, interp.Site(interp.Kind.RESID_POST, 3)) > 0
        True
    """
    (site,) = sites_in(places_of(site))
    values = collect(model, examples, [site], positions="all")[site].values
    first = (examples.mask.cumsum(1) == 1) & (examples.lengths > 1)[:, None]
    return float(values[examples.mask & ~first].float().flatten(1).norm(dim=-1).median())


def generations(
    model: Model,
    prompts: Examples | str | Sequence[str],
    edits: Edit | Sequence[Edit],
    **options: Any,
) -> pd.DataFrame:
    """What a model writes without and with edits, side by side.

    Args:
        model: the model that writes.
        prompts: texts, or examples whose masks the edits name.
        edits: as `interp.generate` takes them.
        **options: of `interp.generate`, such as positions="all", tokens=32 or temperature=1.0.

    Returns:
        A data frame with the columns prompt, before, after, one row for each prompt.

    Raises:
        ValueError: as `interp.generate`.

    Note:
        A few texts show what an edit can do; how often it does so takes a metric and `steer`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> silent = patching.Edit(interp.Site(interp.Kind.MLP_OUT, 3), prompts.mask, patching.Zero())
        >>> patching.generations(model, prompts, silent, tokens=2).columns.tolist()
        ['prompt', 'before', 'after']
    """
    after = generate(model, prompts, edits=edits, **options)
    before = generate(model, prompts, **{k: v for k, v in options.items() if k != "positions"})
    return pd.DataFrame({"prompt": after.prompts, "before": before.texts, "after": after.texts})


def _steered(
    model: Model,
    examples: Examples,
    site: Site,
    pushes: Sequence[tuple[dict[str, Any], Add]],
    places: Sequence[tuple[dict[str, Any], Tensor]],
    metrics: Mapping[str, Metric],
    max_bytes: int,
) -> Evidence:
    """Rows of every push at every place, and of the unsteered run."""
    cells, columns = [], []
    for about, push in pushes:
        for where_columns, where in places:
            cells.append(Cell((Edit(site, where, push),)))
            columns.append({**about, **where_columns})
    swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="steering")
    return tables.evidence(
        tables.with_present(swept, cells, examples),
        examples,
        metrics,
        columns,
        baseline={"condition": "baseline"},
        model=model,
        method="steer",
    )
