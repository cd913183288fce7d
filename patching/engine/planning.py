"""What a sweep will cost, before it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from interp.display.html import Shown
from interp.examples import Examples
from interp.models.model import Model
from patching.engine.block_cost import BlockCost
from patching.engine.copies import Copies
from patching.engine.reuse import Reuse, reuse
from patching.engine.schedule import MAX_BYTES, Batch, schedule
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero
from patching.places import Place, places_of, positions_of

#: Tokens of the two calls of a block that are timed, and how often.
CALIBRATION = (8, 256)

REPEATS = 3


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """The cost of one sweep.

    Attributes:
        cells: edited runs of each prompt.
        prompts: how many prompts.
        passes: batches of edited copies.
        calls: calls of a block, baselines included.
        forwards: whole forward passes a loop over cells would take, one for each cell and batch of
            prompts of one length.
        layer_tokens: tokens put through one block each, the unit of the progress bar; baselines
            included.
        loop_layer_tokens: the same for the loop.
        peak_bytes: estimated activations alive at once.
        seconds: expected time of its blocks, from two timed calls of one.
    """

    cells: int
    prompts: int
    passes: int
    calls: int
    forwards: int
    layer_tokens: int
    loop_layer_tokens: int
    peak_bytes: int
    seconds: float

    def __str__(self) -> str:
        """One line for a person."""
        saved = self.loop_layer_tokens / max(1, self.layer_tokens)
        return (
            f"{self.cells:,} cells × {self.prompts:,} prompts: {self.passes:,} passes, "
            f"{self.layer_tokens:,} layer-tokens (a loop: {self.forwards:,} forwards, "
            f"{saved:.1f}× as many), about {self.peak_bytes / 2**20:,.0f} MiB and "
            f"{self.seconds:,.1f} s"
        )


def plan(
    model: Model,
    examples: Examples,
    sites: Place | str | Sequence[Place | str],
    *,
    positions: str | int | Sequence[str | int] = "each",
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """The cost of `patch_sites` (or any sweep of one edit per site and position) over these prompts.

    Args:
        model: the model that would run.
        examples: the prompts that would be patched.
        sites: as `patch_sites` takes them.
        positions: as `patch_sites` takes them.
        max_bytes: memory in bytes for activations beside the model.

    Returns:
        A `Plan`; printed, it is one line. Two short calls of a block are run to tell the time.

    Raises:
        ValueError: if one prompt does not fit in `max_bytes`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> cost = patching.plan(model, prompts, sites)
        >>> cost.cells, cost.forwards, cost.layer_tokens < cost.loop_layer_tokens
        (36, 36, True)
    """
    cells = [
        Cell(tuple(Edit(site, where, Zero()) for site in place))
        for place in places_of(sites)
        for _, where in positions_of(examples, positions)
    ]
    return plan_sweep(model, examples, cells, max_bytes=max_bytes)


def plan_sweep(
    model: Model, examples: Examples, cells: Sequence[Cell], *, max_bytes: int = MAX_BYTES
) -> Plan:
    """The cost of a sweep of these cells; nothing but two short calls of a block is run.

    Args:
        model: the model that would run.
        examples: the prompts.
        cells: the edits of each row.
        max_bytes: memory in bytes for activations beside the model.

    Returns:
        A `Plan`; printed, it is one line.

    Raises:
        ValueError: if one prompt does not fit in `max_bytes`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> silent = patching.Edit(interp.Site(interp.Kind.MLP_OUT, 0), prompts.mask, patching.Zero())
        >>> patching.plan_sweep(model, prompts, [patching.Cell((silent,))]).passes
        1
    """
    takes = BlockTime.of(model, examples)
    return plan_cells(BlockCost.of(model), reuse(model), takes, examples, cells, max_bytes=max_bytes)


def plan_cells(
    cost: BlockCost,
    ways: Reuse,
    takes: BlockTime,
    examples: Examples,
    cells: Sequence[Cell],
    *,
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """The cost of a sweep on any model of which this much is known; nothing is run.

    Args:
        cost: of the model's blocks.
        ways: of running edited rows that the model allows.
        takes: the time of a block.
        examples: the prompts.
        cells: the edits of each row.
        max_bytes: memory in bytes for activations beside the model.

    Raises:
        ValueError: if one prompt does not fit in `max_bytes`.
    """
    share = int(examples.lengths.max()) < ways.steady
    batches = schedule(
        cost,
        examples,
        cells,
        max_bytes,
        prefix=ways.prefix,
        packed=ways.packed,
        last=ways.last,
        share=share,
    )
    passes = [planned for batch in batches for planned in batch.passes]
    tokens = [len(batch.rows) * batch.width for batch in batches]
    unedited = cost.layers * sum(batch.tokens for batch in batches)
    begun = {batch.beginning for batch in batches if batch.beginning}
    layer_tokens = sum(part.layer_tokens for part in (*passes, *begun)) + unedited
    lowest = [min((cells[i].entry for i in p.cells), default=cost.layers) for p in passes]
    calls = cost.layers * sum(1 + (batch.shared > 0) for batch in batches)
    calls += sum(cost.layers - k for k in lowest) + sum(part.calls for part in begun)
    calls += sum(planned.read_from > 0 for planned in passes)  # the last block's, once more
    return Plan(
        cells=len(cells),
        prompts=len(examples),
        passes=len(passes),
        calls=calls,
        forwards=len(cells) * len(batches),
        layer_tokens=layer_tokens,
        loop_layer_tokens=cost.layers * sum(tokens) * len(cells),
        peak_bytes=max(_peak(cost, batch) for batch in batches),
        seconds=takes.seconds(calls, layer_tokens),
    )


def _peak(cost: BlockCost, batch: Batch) -> int:
    """Bytes of a batch's kept baseline and of its largest pass with all of its copies."""
    kept = len(batch.rows) * batch.width * cost.kept_bytes
    kept += batch.beginning.kept_bytes if batch.beginning else 0
    sizes = [0]
    for planned in batch.passes:
        n = planned.part.stop - planned.part.start
        starts = (min(planned.starts, default=0), *planned.starts)
        if planned.packed:
            tokens = n * sum(batch.width - start for start in starts)
            sizes.append(tokens * cost.packed_bytes(batch.width))
        else:
            sizes.append(n * sum(cost.row_bytes(batch.width, start) for start in starts))
    return kept + max(sizes)


@dataclass(frozen=True)
class BlockTime:
    """How long a block of a model takes on a machine.

    Attributes:
        per_call: seconds of a call whatever its rows.
        per_token: seconds of each token in it.
    """

    per_call: float
    per_token: float

    def seconds(self, calls: int, layer_tokens: int) -> float:
        """The time of so many calls with so many tokens in all."""
        return calls * self.per_call + layer_tokens * self.per_token

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model, examples: Examples) -> BlockTime:
        """Time calls of two sizes on the first of these prompts."""
        rows = examples.by_length()[0][:1]
        baseline = Baseline.of(model, examples, rows, keep=False)
        width, measured = int(examples.lengths[rows[0]]), []
        for tokens in CALIBRATION:
            count = max(1, tokens // width)
            copies = Copies.of(baseline, (0,) * (count + 1), False, 0)
            copies.append(count)
            times = []
            for layer in [i % model.n_layers for i in range(1 + REPEATS)]:
                copies.enter(layer)
                arguments = copies.block_arguments(layer)
                begun = time.perf_counter()
                model.bridge.blocks[layer](copies.block_input, **arguments)
                if copies.tokens.is_cuda:
                    torch.cuda.synchronize(copies.tokens.device)
                times.append(time.perf_counter() - begun)
            measured.append((len(copies.tokens), sorted(times[1:])[REPEATS // 2]))
        (few, short), (many, long) = measured
        per_token = max(long - short, 1e-9) / max(1, many - few)
        return cls(max(0.0, short - few * per_token), per_token)
