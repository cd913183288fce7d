"""What a sweep will cost, before it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from interp.arguments import sites_of
from interp.examples import Examples
from interp.models.model import Model
from patching.engine.copies import Lifted
from patching.engine.reuse import reuse
from patching.engine.schedule import MAX_BYTES, Batch, Shape, schedule
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero
from patching.places import Place, positions_of

#: Tokens of the two calls of a block that are timed, and how often.
CALIBRATION = (8, 256)

REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """The cost of one sweep.

    Attributes:
        cells: edited runs of each prompt.
        prompts: how many prompts.
        passes: lifted batches.
        forwards: whole forward passes a loop over cells would take, one for each cell and batch of
            prompts of one length.
        layer_tokens: tokens put through one block each, the unit of the progress bar; baselines
            included.
        loop_layer_tokens: the same for the loop.
        peak_bytes: estimated activations alive at once.
        seconds: expected time, from two timed calls of a block.
    """

    cells: int
    prompts: int
    passes: int
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
    sites: Place | Sequence[Place],
    *,
    positions: str | int | Sequence[str | int] = "each",
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """The cost of `patch_sites` (or any sweep of one edit per site and position) over these prompts.

    Raises:
        ValueError: if one prompt does not fit in `max_bytes`.
    """
    cells = []
    for place in sites_of(sites):
        joint = place if isinstance(place, tuple) else (place,)
        for _, where in positions_of(examples, positions):
            cells.append(Cell(tuple(Edit(site, where, Zero()) for site in joint)))
    return plan_sweep(model, examples, cells, max_bytes=max_bytes)


@torch.no_grad()
def plan_sweep(
    model: Model, examples: Examples, cells: Sequence[Cell], *, max_bytes: int = MAX_BYTES
) -> Plan:
    """The cost of a sweep of these cells; nothing but two short calls of a block is run.

    Raises:
        ValueError: if one prompt does not fit in `max_bytes`.
    """
    shape = Shape.of(model)
    ways = reuse(model)
    batches = schedule(shape, examples, cells, max_bytes, prefix=ways.prefix, packed=ways.packed)
    passes = [one for batch in batches for one in batch.passes]
    tokens = [len(b.rows) * b.width for b in batches]
    lifted = sum(one.layer_tokens for one in passes) + shape.layers * sum(tokens)
    loop = shape.layers * sum(tokens) * len(cells)
    calls = shape.layers * (len(batches) + len(passes))
    per_call, per_token = _calibrate(model, examples)
    return Plan(
        cells=len(cells),
        prompts=len(examples),
        passes=len(passes),
        forwards=len(cells) * len(batches),
        layer_tokens=lifted,
        loop_layer_tokens=loop,
        peak_bytes=max(_peak(shape, batch) for batch in batches),
        seconds=calls * per_call + lifted * per_token,
    )


def _peak(shape: Shape, batch: Batch) -> int:
    """The kept baseline and the largest pass, all of its rows entered."""
    kept = len(batch.rows) * batch.width * shape.kept_bytes
    sizes = [0]
    for one in batch.passes:
        n = one.part.stop - one.part.start
        starts = (min(one.starts, default=0), *one.starts)
        if one.packed:
            sizes.append(n * sum(batch.width - s for s in starts) * shape.packed_bytes(batch.width))
        else:
            sizes.append(n * sum(shape.row_bytes(batch.width, s) for s in starts))
    return kept + max(sizes)


def _calibrate(model: Model, examples: Examples) -> tuple[float, float]:
    """Seconds of a call of a block, and of each token in it, from two sizes."""
    rows = examples.by_length()[0][:1]
    run, width = Baseline.of(model, examples, rows, keep=False), int(examples.lengths[rows[0]])
    found = []
    for tokens in CALIBRATION:
        copies = max(1, tokens // width)
        lifted = Lifted.of(run, (0,) * (copies + 1), False, 0)
        lifted.enter(copies)
        times = []
        for layer in [i % model.n_layers for i in range(1 + REPEATS)]:
            call = lifted.call(layer)
            begun = time.perf_counter()
            model.bridge.blocks[layer](lifted.shaped, **call)
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            times.append(time.perf_counter() - begun)
        found.append((len(lifted.tokens), sorted(times[1:])[REPEATS // 2]))
    (few, short), (many, long) = found
    per_token = max(long - short, 1e-9) / max(1, many - few)
    return max(0.0, short - few * per_token), per_token
