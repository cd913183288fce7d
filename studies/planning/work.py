"""What every stage of the main job runs, told from the row sets it would run on.

Every sweep and every unedited forward of `studies.compare` has its entry here, made from the same
constants as the job's own; a test counts what the job puts through its blocks and compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor

from interp.contrasts import Contrast
from interp.examples import Examples
from interp.models.alike import Alike
from interp.sites import Kind, Site, boundaries, boundary, every_layer, last_layer
from interp.verdict.thresholds import Thresholds
from patching.attribution.carriers import SAMPLE, TOP
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero
from patching.methods.claims import cells_of_claim
from patching.methods.grids import CROSS_SPANS, HANDOVER_SPANS
from patching.methods.pushes import FOLDS, reading_places
from patching.methods.shifting import BASE_EDITS, STATES, TUNED_EDITS
from patching.methods.stitching import hybrids
from patching.places import apart, positions_named, positions_of
from studies.comparison.causal import RowPlan, gridded
from studies.comparison.representational import POSITIONS, claim_boundary

#: Values read of every edit of the shared shift; of random shifts and pushes by part it is one.
SHIFT_VALUES = 3.0


@dataclass(frozen=True, eq=False)
class Forwards:
    """Unedited forwards of which activations are kept.

    Attributes:
        examples: the prompts.
        blocks: how many blocks run.
        kept: sites whose states are kept at every position.
    """

    examples: Examples
    blocks: int
    kept: int = 0


@dataclass(frozen=True, eq=False)
class Sweep:
    """One sweep.

    Attributes:
        examples: the prompts.
        cells: where each edited run is edited; what is written costs the same.
        values: numbers that each run of a prompt leaves in the evidence, on average.
        unedited: how many rows of a prompt stand in the evidence beside those of the cells: of the
            unedited run, and of edits that are known to give what another does.
    """

    examples: Examples
    cells: Sequence[Cell]
    values: float = 1.0
    unedited: int = 1


@dataclass
class Work:
    """What a stage runs on the models.

    Attributes:
        forwards: unedited forwards.
        sweeps: edited ones.
    """

    forwards: list[Forwards] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)

    def read(self, examples: Examples, sites: Sequence[Site], *, kept: bool = True) -> None:
        """Add forwards up to the last of these sites."""
        self.forwards.append(Forwards(examples, last_layer(sites) + 1, len(sites) * kept))

    def read_both(
        self, examples: Examples, sites: Sequence[Site], same: Alike, *, kept: bool = True
    ) -> None:
        """Add forwards of both models; of the tuned one from its first changed block on."""
        self.read(examples, sites, kept=kept)
        moved = [site for site in sites if not same.same_at(site)]
        if moved:
            blocks = last_layer(sites) + 1 - max(same.below, 0)
            self.forwards.append(Forwards(examples, blocks, len(moved) * kept))

    def sweep(
        self,
        examples: Examples,
        sites: Iterable[Site],
        where: Sequence[Bool[Tensor, "example position"]],
        values: float = 1.0,
        unedited: int = 1,
    ) -> None:
        """Add a sweep with a cell at each of these sites for each of these masks."""
        cells = [Cell((Edit(site, mask, Zero()),)) for site in sites for mask in where]
        self.sweeps.append(Sweep(examples, cells, values, unedited))


@dataclass(frozen=True, eq=False)
class ShiftRows:
    """What the shared shift would run on.

    Attributes:
        changed: the changed prompts.
        everyone: all of them and the unchanged ones, whom the gate tells apart.
        together: the boundaries whose states are held at once, in the order of the runs.
        installed: boundary k* -> how many of the changed prompts are read there.
        read: boundaries at which every changed prompt is read; elsewhere a sample.
        null: whether a null tune is one more placebo.
        signs: how often the push is added with random signs.
    """

    changed: Examples
    everyone: Examples
    together: Sequence[Mapping[int, Site]]
    installed: Mapping[int, int]
    read: frozenset[int]
    null: bool
    signs: int = 0


def stitching(examples: Examples, rows: RowPlan, same: Alike) -> Work:
    """Both hybrids at every boundary, those that are one only once."""
    work, (distinct, numbers) = Work(), hybrids(same)
    sites = [boundary(k, len(same.blocks)) for k in distinct]
    values = sum(float(mask.sum()) for mask in rows.stitched.values()) / len(examples)
    for _ in ("base below tuned", "tuned below base"):
        if sites:
            work.read(examples, sites)
        beside = 1 + len(numbers) - len(sites)
        work.sweep(examples, sites, [examples.span_mask("all")], values, beside)
    return work


def patching(
    examples: Examples,
    rows: RowPlan,
    same: Alike,
    n_heads: int,
    spans: Sequence[str] = CROSS_SPANS,
) -> Work:
    """The handover and a grid on pairs, the two models crossed, and their heads and MLPs exchanged."""
    n_layers = len(same.blocks)
    work, sites = Work(), boundaries(n_layers)
    if rows.paired is not None:
        first = gridded(rows.paired)
        layers = every_layer(Kind.RESID_PRE, n_layers)
        ends = len(("clean", "corrupted"))
        for pairs, chosen, positions, unedited in (
            (rows.paired, sites, HANDOVER_SPANS, ends * len(HANDOVER_SPANS)),
            (first, layers, "each", ends),
        ):
            # The source is read and measured in one whole forward, whatever its last site is.
            work.forwards.append(Forwards(pairs.clean, n_layers, len(chosen)))
            every = [mask for _, mask in positions_of(pairs.corrupted, positions)]
            masks = [mask for mask in every if bool((mask & apart(pairs)).any())]
            beside = unedited + (len(every) - len(masks)) * len(chosen)
            work.sweep(pairs.corrupted, chosen, masks, unedited=beside)
    if len(rows.crossed):
        crossed = examples.subset(rows.crossed)
        masks = [positions_named(crossed, span) for span in spans]
        moved = [site for site in sites if not same.same_at(site)]
        beside = 1 + (len(sites) - len(moved)) * len(masks)
        for _ in ("tuned into base", "base into tuned"):
            work.read(crossed, sites)
            work.sweep(crossed, moved, masks, unedited=beside)
    _exchanged(work, examples, rows, n_layers, n_heads)
    return work


def _exchanged(work: Work, examples: Examples, rows: RowPlan, n_layers: int, n_heads: int) -> None:
    """Heads and MLPs exchanged one by one.

    In each direction the model's own run, the other model on its inputs, the slopes, and the exact
    runs. Which nodes these are about is not known: they are taken to be spread over the blocks.
    """
    exact = TOP + SAMPLE
    values = 1 + n_layers * (n_heads + 1) / exact  # every node has an estimate
    sites = [Site(Kind.MLP_OUT, i * n_layers // exact) for i in range(exact)]
    if len(rows.carried):
        carried = examples.subset(rows.carried)
        for _ in ("tuned into base", "base into tuned"):
            kept = (4, 2, 2)  # kinds of sites
            work.forwards += [Forwards(carried, n_layers, kinds * n_layers) for kinds in kept]
            work.sweep(carried, sites, [carried.span_mask("all")], values)


def shared_shift(rows: ShiftRows, same: Alike, thresholds: Thresholds) -> Work:
    """Pushes added and taken away, random shifts, and the gate."""
    work, n, n_layers = Work(), len(rows.changed), len(same.blocks)
    sample = _first(rows.changed, thresholds.placebo_groups)
    for _ in ("base", "tuned"):
        work.sweep(rows.changed, [], [], values=SHIFT_VALUES + 1)
    for together in rows.together:
        work.read_both(rows.changed, list(together.values()), same)
        for examples, ks in (
            (rows.changed, [k for k in together if k in rows.read]),
            (sample, [k for k in together if k not in rows.read]),
        ):
            _conditions(work, examples, [together[k] for k in ks], same)
        for k in together.keys() & rows.installed.keys():
            if not same.same_at(together[k]):
                _placebos(work, rows, k, together[k], thresholds)
    if rows.null:
        wanted = [boundary(k, n_layers) for k in rows.installed]
        for _ in ("base", "null"):
            work.read(rows.changed, wanted)
        for k, members in rows.installed.items():
            examples = _first(rows.changed, members)
            work.sweep(examples, [boundary(k, n_layers)], [examples.span_mask("all")], unedited=0)
    if min(n, len(rows.everyone) - n) >= FOLDS:
        for _ in reading_places(rows.everyone):
            work.read(rows.everyone, boundaries(n_layers), kept=False)
    return work


def _conditions(work: Work, examples: Examples, sites: Sequence[Site], same: Alike) -> None:
    """The edits of the test; where tuning added nothing, only the one that writes another state."""
    if not sites:
        return
    everywhere = examples.span_mask("all")
    for edits in (BASE_EDITS, TUNED_EDITS):
        masks = {
            site: [everywhere for edit in edits if edit == STATES or not same.same_at(site)]
            for site in sites
        }
        cells = [Cell((Edit(site, mask, Zero()),)) for site in sites for mask in masks[site]]
        beside = len(sites) * len(edits) - len(cells)
        work.sweeps.append(Sweep(examples, cells, SHIFT_VALUES, beside))


def _placebos(work: Work, rows: ShiftRows, k: int, site: Site, thresholds: Thresholds) -> None:
    """The push by part, random signs and random shifts of those who are read at one boundary."""
    most = -(-thresholds.placebo_groups // len(rows.installed))
    members = rows.installed[k]
    placebos = (min(most, members), thresholds.placebo_shifts)
    for count, draws in ((members, 1), placebos, (members, rows.signs)):
        if draws:
            examples = _first(rows.changed, count)
            work.sweep(examples, [site], [examples.span_mask("all")] * draws, unedited=0)


def probing(
    entities: Examples,
    statements: Examples | None,
    claims: Sequence[Contrast],
    same: Alike,
    thresholds: Thresholds,
) -> Work:
    """The states that probes read, and the claims that are put to the test.

    Args:
        entities: the prompts whose attributes are probed.
        statements: those whose truth is.
        claims: the pairs of each attribute that is tested, at either position.
        same: which parts of the two models are the same.
        thresholds: where claims are tested, and against how many controls.
    """
    n_layers = len(same.blocks)
    work, sites = Work(), boundaries(n_layers)
    for examples in (entities, *([] if statements is None else [statements])):
        work.read_both(examples, sites, same, kept=False)
    swaps, removals = cells_of_claim(thresholds.control_draws)
    for pairs in claims:
        for position in POSITIONS:
            k = claim_boundary(n_layers, position, thresholds)
            for examples, cells in ((pairs.corrupted, swaps), (pairs.clean, removals)):
                work.read(examples, sites[k:])
                work.sweep(examples, [sites[k]], [positions_named(examples, position)] * cells)
    return work


def _first(examples: Examples, count: int) -> Examples:
    """So many of the prompts: the job draws them, which changes no count where all are equally long."""
    return examples.subset(range(min(count, len(examples))))


def members(count: int, layers: Sequence[int]) -> dict[int, int]:
    """How many prompts are read at each of these boundaries, dealt evenly."""
    return {k: count * (i + 1) // len(layers) - count * i // len(layers) for i, k in enumerate(layers)}
