"""Is a readable direction used? Swap it between prompts, project it out, against placebos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from interp.activations import collect
from interp.contrasts import Contrast
from interp.directions import Direction, random_direction
from interp.evidence import Evidence
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.base import Intervention
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import ProjectOut, SwapSubspace
from patching.interventions.values import Replace


@dataclass(frozen=True, eq=False)
class Claim:
    """One representational claim to test: an attribute's direction at a site and position.

    Attributes:
        attribute: its name.
        layer: the boundary k it is reported under.
        direction: the probe's direction, with site and position.
        controls: directions of control tasks, the placebo that decides.
        later: the probe's directions at this and every later boundary, removed together to ask
            whether anything downstream still uses what is left.
    """

    attribute: str
    layer: int
    direction: Direction
    controls: Sequence[Direction] = field(default_factory=tuple)
    later: Sequence[Direction] = field(default_factory=tuple)


def measure_use(
    model: Model,
    contrast: Contrast,
    claims: Sequence[Claim],
    metric: Metric | Callable[..., Any],
    *,
    random_draws: int = 9,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Swap and removal of each claimed direction on held-out pairs that differ in the attribute.

    Per pair, the raw metric of the corrupted run with: "swap" (the clean run's component written
    in), "swap_control_task" and "swap_random" (the same along placebo directions, seed = draw),
    "whole_state" (everything at that place written in); and of the clean run with "project_out"
    (the component about the pairs' mean removed), "project_out_control_task",
    "project_out_random", and "project_out_later" (this boundary's and every later one's); and the
    baselines "clean" and "corrupted". Effects are normalised by clean - corrupted by the reader.

    Note:
        Random directions are shown and never decide: they are far too weak a placebo. Control-task
        directions are read from the same states with labels assigned at random to entities.
    """
    metric = as_metric(metric, contrast.clean)
    generator = torch.Generator().manual_seed(seed)
    every = [d.site for claim in claims for d in (claim.direction, *claim.later)]
    sites = list(dict.fromkeys(every))
    clean = collect(model, contrast.clean, sites, positions="all")
    corrupted = collect(model, contrast.corrupted, sites, positions="all")
    swap_cells, swap_columns, out_cells, out_columns = [], [], [], []
    for claim in claims:
        site, position = claim.direction.site, claim.direction.position
        where = torch.zeros_like(contrast.clean.mask)
        at = contrast.clean.position(position)
        where[torch.arange(len(at), device=at.device), at] = True
        both = torch.cat([clean[site].values[where], corrupted[site].values[where]])
        about = {"layer": claim.layer, "kind": site.kind, "span": position}
        source = clean[site].values
        named = [("", claim.direction, None)]
        named += [("_control_task", d, i) for i, d in enumerate(claim.controls)]
        width = claim.direction.vector.shape[0]
        named += [
            ("_random", random_direction(site, width, generator=generator), i)
            for i in range(random_draws)
        ]
        tests: list[tuple[str, int | None, Intervention]] = [("whole_state", None, Replace(source))]
        removals: list[tuple[str, int | None, Intervention]] = []
        for suffix, direction, draw in named:
            vector = direction.vector.to(both)
            space = Direction(site, vector, position).subspace()
            tests.append((f"swap{suffix}", draw, SwapSubspace(space, source)))
            # Control-task removals are only needed for the sign; a few draws show the spread.
            if draw is None or draw < random_draws:
                removals.append((f"project_out{suffix}", draw, ProjectOut(space, both.mean(0))))
        if claim.later:
            edits = []
            for direction in claim.later:
                there = direction.site
                mean = torch.cat([clean[there].values[where], corrupted[there].values[where]]).mean(0)
                space = Direction(there, direction.vector.to(both), position).subspace()
                edits.append(Edit(there, where, ProjectOut(space, mean)))
            out_cells.append(Cell(tuple(edits)))
            out_columns.append({**about, "condition": "project_out_later", "donor": claim.attribute})
        for target, columns, chosen in (
            (swap_cells, swap_columns, tests),
            (out_cells, out_columns, removals),
        ):
            for condition, draw, intervention in chosen:
                target.append(Cell((Edit(site, where, intervention),)))
                columns.append(
                    {**about, "condition": condition, "seed": draw, "strength": None}
                    | {"donor": claim.attribute}
                )
    metrics = {"pair": metric}
    parts = []
    for examples, cells, columns, baseline in (
        (contrast.corrupted, swap_cells, swap_columns, "corrupted"),
        (contrast.clean, out_cells, out_columns, "clean"),
    ):
        swept = sweep(model, examples, cells, metrics, max_bytes=max_bytes, progress="claims")
        parts.append(
            tables.evidence(
                swept,
                examples,
                metrics,
                columns,
                baseline={"condition": baseline},
                model=model.role,
                method="claim",
            )
        )
    return _by_attribute(Evidence.concat(parts), contrast, claims)


def _by_attribute(measured: Evidence, contrast: Contrast, claims: Sequence[Claim]) -> Evidence:
    """Name the attribute in `metric` and the pair in `group`; baselines are repeated for each."""
    table = measured.table.astype(object)
    pairs = [
        f"{a} -> {b}" for a, b in zip(contrast.clean.groups, contrast.corrupted.groups, strict=True)
    ]
    table["group"] = [pairs[i] for i in table["example"]]
    baselines = table["condition"].isin(["clean", "corrupted"])
    rows = table[~baselines].copy()
    rows["metric"], rows["donor"] = rows["donor"], None
    parts = [Evidence(rows)]
    places: Mapping[tuple[str, int, str, Site], None] = dict.fromkeys(
        (c.attribute, c.layer, c.direction.position, c.direction.site) for c in claims
    )
    for attribute, layer, position, site in places:
        copy = table[baselines].copy()
        copy["metric"], copy["layer"], copy["span"] = attribute, layer, position
        copy["kind"] = str(site.kind)
        parts.append(Evidence(copy))
    return Evidence.concat(parts)
