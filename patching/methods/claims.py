"""Is a readable direction used? Swap it between prompts, project it out, against placebos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp._aliases import alias, formerly
from interp.activations import collect
from interp.contrasts import Contrast
from interp.directions import Direction, Subspace, random_direction
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import ProjectOut, SwapSubspace
from patching.interventions.values import Replace
from patching.places import pair_names, positions_named

#: Random directions beside each claim.
RANDOM_DRAWS = 9


@dataclass(frozen=True, eq=False, repr=False)
class ClaimToTest(Shown):
    """One representational claim to test: an attribute's direction at a site and position.

    Formerly `Claim`, which it is still called too.

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


#: The former name; the graded claim of a verdict is another class.
Claim = ClaimToTest


@formerly(random_draws="repeats")
def swap_and_remove(
    model: Model,
    contrast: Contrast,
    claims: Sequence[ClaimToTest],
    metric: Metric | Callable[..., Any],
    *,
    repeats: int = RANDOM_DRAWS,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Swap and remove each claimed direction on held-out pairs that differ in the attribute.

    Swapped, v of the corrupted run takes the clean run's component, h ← h + vvᵀ(h_clean − h);
    removed, v of the clean run takes the pairs' mean, h ← h − vvᵀ(h − mean). Effects are normalised
    by clean - corrupted by the reader.

    Args:
        model: the model that runs.
        contrast: aligned pairs, held out from the probe's training.
        claims: what is tested.
        metric: read on every run.
        repeats: random directions of each claim.
        seed: of the random directions.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "claim", the raw metric in its unit with the attribute in metric. Of the
        corrupted run: "swap", "swap_control_task" and "swap_random" (along placebo directions), and
        "whole_state" (everything at that place written in). Of the clean run: "project_out",
        "project_out_control_task", "project_out_random", and "project_out_later" (this boundary's
        and every later one's). The baselines "clean" and "corrupted" of every claim. Columns that
        vary: metric, kind, layer (the boundary), span, draw, example, group ("clean -> corrupted").

    Raises:
        ValueError: for a direction whose site or position does not exist.

    Note:
        Random directions are shown and never decide: they are far too weak a placebo. Control-task
        directions are read from the same states with labels assigned at random to entities.

    Example:
        >>> import interp, patching, torch
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> site = interp.Site(interp.Kind.RESID_PRE, 3)
        >>> direction = interp.Direction(site, torch.ones(model.d_model))
        >>> claim = patching.ClaimToTest("home", 3, direction)
        >>> used = patching.swap_and_remove(
        ...     model, pairs, [claim], interp.logit_difference(pairs), repeats=2
        ... )
        >>> len(used.where(condition="swap")), len(used.where(condition="swap_random"))
        (1, 2)
    """
    metrics = {"metric": as_metric(metric, contrast.clean)}
    generator = torch.Generator().manual_seed(seed)
    states = _States.of(model, contrast, claims)
    swaps, removals = _Cells(), _Cells()
    for claim in claims:
        width = claim.direction.vector.shape[0]
        placebos = [
            random_direction(claim.direction.site, width, generator=generator) for _ in range(repeats)
        ]
        directions = _directions(claim, placebos)
        _add_swaps(swaps, claim, states, directions)
        # Control-task removals are only needed for the sign; a few draws show the spread.
        shown = [entry for entry in directions if entry[1] is None or entry[1] < repeats]
        _add_removals(removals, claim, states, shown)
    same: dict[str, Any] = {"model": model, "method": "claim"}
    parts, baselines = [], {}
    for name, examples, cells in (
        ("corrupted", contrast.corrupted, swaps),
        ("clean", contrast.clean, removals),
    ):
        swept = sweep(model, examples, cells.cells, metrics, max_bytes=max_bytes, progress="claims")
        pairs = replace(examples, groups=tuple(pair_names(contrast)))
        parts.append(tables.evidence(swept, pairs, metrics, cells.columns, **same))
        baselines[name] = (swept, pairs)
    # The unedited runs belong to every claim.
    places = dict.fromkeys(tuple(_columns(claim).items()) for claim in claims)
    parts += [
        tables.evidence(swept, pairs, metrics, [], baseline={**dict(place), "condition": name}, **same)
        for place in places
        for name, (swept, pairs) in baselines.items()
    ]
    return Evidence.concat(parts)


measure_use = alias(swap_and_remove, "measure_use")


def cells_of_claim(controls: int, repeats: int = RANDOM_DRAWS) -> tuple[int, int]:
    """How many edits a claim takes, of the corrupted run and of the clean one, its later ones joint.

    Args:
        controls: directions of control tasks.
        repeats: random directions.
    """
    swaps = 1 + 1 + controls + repeats
    removals = 1 + 1 + min(controls, repeats) + repeats
    return swaps, removals


#: A direction with the suffix of its conditions and its number among the draws, None for the real one.
_Named = tuple[str, int | None, Direction]


@dataclass(frozen=True, eq=False)
class _States:
    """What the claims' sites hold in both runs of every pair.

    Attributes:
        contrast: the pairs.
        clean: activations of the clean run by site, [example, position, d].
        corrupted: those of the corrupted run.
    """

    contrast: Contrast
    clean: Mapping[Site, Tensor]
    corrupted: Mapping[Site, Tensor]

    @classmethod
    def of(cls, model: Model, contrast: Contrast, claims: Sequence[ClaimToTest]) -> _States:
        """Collect the sites of all claims, of the joint removals too."""
        directions = [d for claim in claims for d in (claim.direction, *claim.later)]
        sites = list(dict.fromkeys(direction.site for direction in directions))
        clean, corrupted = (
            {s: a.values for s, a in collect(model, part, sites, positions="all").items()}
            for part in (contrast.clean, contrast.corrupted)
        )
        return cls(contrast, clean, corrupted)

    def where(self, claim: ClaimToTest) -> Bool[Tensor, "example position"]:
        """The claim's position in every pair."""
        return positions_named(self.contrast.clean, claim.direction.position)

    def mean(self, site: Site, where: Bool[Tensor, "example position"]) -> Float[Tensor, " d"]:
        """The mean over both runs of all pairs."""
        return torch.cat([self.clean[site][where], self.corrupted[site][where]]).mean(0)


@dataclass(eq=False)
class _Cells:
    """Cells of a sweep with the columns of each.

    Attributes:
        cells: the edits of each row.
        columns: what each row is called.
    """

    cells: list[Cell] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)

    def add(self, edits: Sequence[Edit], **columns: Any) -> None:
        """Append a cell."""
        self.cells.append(Cell(tuple(edits)))
        self.columns.append(columns)


def _columns(claim: ClaimToTest) -> dict[str, Any]:
    """The columns that name a claim."""
    return {
        "metric": claim.attribute,
        "layer": claim.layer,
        "kind": str(claim.direction.site.kind),
        "span": claim.direction.position,
    }


def _directions(claim: ClaimToTest, placebos: Sequence[Direction]) -> list[_Named]:
    """The claimed direction, those of its control tasks, and random ones."""
    return [
        ("", None, claim.direction),
        *(("_control_task", draw, control) for draw, control in enumerate(claim.controls)),
        *(("_random", draw, placebo) for draw, placebo in enumerate(placebos)),
    ]


def _line(direction: Direction, site: Site, like: Tensor) -> Subspace:
    """The line that a direction spans at a site, on the device and in the dtype of activations."""
    return Direction(site, direction.vector.to(like), direction.position).subspace()


def _add_swaps(
    cells: _Cells, claim: ClaimToTest, states: _States, directions: Sequence[_Named]
) -> None:
    """The clean run's component, or its whole state, written into the corrupted run."""
    site, where = claim.direction.site, states.where(claim)
    source, about = states.clean[site], _columns(claim)
    cells.add([Edit(site, where, Replace(source))], **about, condition="whole_state")
    for suffix, draw, direction in directions:
        swap = SwapSubspace(_line(direction, site, source), source)
        cells.add([Edit(site, where, swap)], **about, condition=f"swap{suffix}", draw=draw)


def _add_removals(
    cells: _Cells, claim: ClaimToTest, states: _States, directions: Sequence[_Named]
) -> None:
    """The component about the pairs' mean taken out of the clean run, here and later."""
    site, where, about = claim.direction.site, states.where(claim), _columns(claim)
    if claim.later:
        edits = [
            Edit(
                later.site,
                where,
                ProjectOut(
                    _line(later, later.site, states.clean[later.site]), states.mean(later.site, where)
                ),
            )
            for later in claim.later
        ]
        cells.add(edits, **about, condition="project_out_later")
    mean = states.mean(site, where)
    for suffix, draw, direction in directions:
        removal = ProjectOut(_line(direction, site, mean), mean)
        cells.add([Edit(site, where, removal)], **about, condition=f"project_out{suffix}", draw=draw)
