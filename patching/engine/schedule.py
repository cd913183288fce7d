"""Which prompts run together, which of their edits run once for all of them, and in what order.

Prompts of one length form batches, whose unedited run is kept while their passes run. What all prompts
begin with, and edits write the same into, runs once before them. It changes the cost, never a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from interp.examples import Examples
from patching.engine.beginnings import beginning, written_alike
from patching.engine.block_cost import BlockCost
from patching.engine.splitting import Pass, passes_of, shares
from patching.interventions.cells import Cell

#: Memory a sweep may use beside the model.
MAX_BYTES = 2 * 2**30

#: Work that is worth a file of its own in a resumable run, in floating-point operations.
UNIT_FLOPS = 3e10

#: Prompts whose unedited run is kept at a time.
RECORDED = 32


@dataclass(frozen=True)
class Beginning:
    """What all prompts begin with, as cells that write the same there in all of them leave it.

    Attributes:
        count: how many first positions; they are run for one prompt alone.
        runs: numbers of the cells, those that run together; in the order of the boundary they enter
            at.
        layer_tokens: tokens put through one block each, the unedited run's among them.
        calls: calls of a block.
        kept_bytes: its keys and values, which are kept while the passes of these cells run.
    """

    count: int
    runs: tuple[tuple[int, ...], ...]
    layer_tokens: int
    calls: int
    kept_bytes: int

    @property
    def cells(self) -> list[int]:
        """Numbers of its cells."""
        return [i for run in self.runs for i in run]


@dataclass(frozen=True)
class Batch:
    """Examples of one length whose unedited run is kept while their passes run.

    Attributes:
        rows: which of the examples.
        width: their length in tokens.
        passes: in the order they run.
        shared: how many first tokens, which all of them share, are run once; 0 for none.
        beginning: of some of the passes' cells.
    """

    rows: Int[Tensor, " row"]
    width: int
    passes: tuple[Pass, ...]
    shared: int = 0
    beginning: Beginning | None = None

    @property
    def tokens(self) -> int:
        """Tokens that its unedited run puts through every block."""
        return len(self.rows) * self.width - max(0, len(self.rows) - 1) * self.shared


def schedule(
    cost: BlockCost,
    examples: Examples,
    cells: Sequence[Cell],
    max_bytes: int,
    *,
    prefix: bool = True,
    packed: bool = True,
    last: bool = True,
    read_from: Int[Tensor, " example"] | None = None,
    share: bool = True,
) -> list[Batch]:
    """Batches of one length each, and their passes in the order they run.

    Args:
        cost: of the model's blocks.
        examples: the prompts.
        cells: the edits of each row.
        max_bytes: memory for activations.
        prefix: whether only positions from the first edited one on are computed.
        packed: whether every token may be a row of its own.
        last: whether the last block makes only keys and values where nothing is read.
        read_from: the first position that is read of each prompt, counted from its beginning; by
            default its last one.
        share: whether what prompts begin with alike is run once.

    Raises:
        ValueError: if one prompt and one cell do not fit in `max_bytes`.
    """
    starts = _starts(examples, cells) if prefix else torch.zeros(len(cells), len(examples)).long()
    read_from = examples.lengths - 1 if read_from is None else read_from
    job = _Job(cost, examples, cells, starts, max_bytes, packed, prefix and share, read_from, last)
    begun = job.beginnings() if job.share else []
    grouped = [part.cells for part in begun] or [[]]
    # Cells that leave the beginning as it is run with the first of those that edit it.
    grouped[0] += sorted(set(range(len(cells))).difference(*grouped))
    return [
        batch
        for part, chosen in zip(begun or [None], grouped, strict=True)
        for batch in job.batches(chosen, part)
    ]


@dataclass(frozen=True, eq=False)
class _Job:
    """What `schedule` is given, and the first position that each cell edits of each prompt."""

    cost: BlockCost
    examples: Examples
    cells: Sequence[Cell]
    starts: Int[Tensor, "cell example"]
    max_bytes: int
    packed: bool
    share: bool
    read_from: Int[Tensor, " example"]
    last: bool

    def __post_init__(self) -> None:
        if self.max_bytes < self.least:
            raise ValueError(
                f"max_bytes must hold one prompt of {int(self.examples.lengths.max())} tokens and one "
                f"edited copy, {self.least:,} bytes; got {self.max_bytes:,}; raise it or shorten the "
                "prompts"
            )

    @cached_property
    def least(self) -> int:
        """Bytes that the longest prompt needs with one edited copy."""
        width = max(self.examples.lengths.tolist(), default=0)
        return 2 * self.cost.row_bytes(width, 0) + width * self.cost.kept_bytes

    def beginnings(self) -> list[Beginning]:
        """What runs once of the prompts' beginning, as much at a time as a quarter of the memory keeps.

        Nothing where that spares little, where nothing is edited, or where one cell's would not fit.
        """
        cost, columns = self.cost, beginning(self.examples)
        if not len(self.cells) or not cost.spares(len(self.examples), columns.shape[1]):
            return []
        columns, first = columns[:, : int(self.read_from.min())], self.starts.amin(1).tolist()
        edited = [i for i, start in enumerate(first) if start < columns.shape[1]]
        count = written_alike([self.cells[i] for i in edited], columns)
        blocks = {i: cost.layers - self.cells[i].entry for i in edited if first[i] < count}
        kept = {i: max(1, cost.past_bytes * count * blocks[i]) for i in blocks}
        room = min(self.max_bytes // 4, self.max_bytes - self.least)
        if not any(blocks.values()) or max(kept.values()) > room:
            return []
        fit = min(room // cost.row_bytes(count, 0), cost.cached // count)
        found = []
        for part in shares(sorted(blocks, key=blocks.__getitem__, reverse=True), kept, room):
            runs = list(shares(part, dict.fromkeys(part, 1), max(1, fit - 1)))
            # The unedited run stands alone once, and in each run from its first boundary on.
            calls = cost.layers + sum(blocks[run[0]] for run in runs)
            tokens = count * (calls + sum(blocks[i] for i in part))
            held = sum(kept[i] for i in part)
            found.append(Beginning(count, tuple(map(tuple, runs)), tokens, calls, held))
        return found

    def batches(self, chosen: Sequence[int], begun: Beginning | None) -> Iterator[Batch]:
        """The batches of some of the cells, and their passes."""
        cost, examples, starts = self.cost, self.examples, self.starts[chosen]
        max_bytes = self.max_bytes - (begun.kept_bytes if begun else 0)
        if begun:
            # Of cells that edit the beginning, what follows it is left to compute.
            starts[: len(begun.cells)] = starts[: len(begun.cells)].clamp(min=begun.count)
        entry = {i: self.cells[i].entry for i in chosen}
        for same in examples.by_length():
            width = int(examples.lengths[same[0]])
            # Rows that start alike go together, so that a batch's earliest start wastes little.
            first = starts[:, same.cpu()].float().mean(0) if chosen else torch.zeros(len(same))
            same = same[first.argsort(stable=True).to(same.device)]
            spare = min(max_bytes // 4, max_bytes - 2 * cost.row_bytes(width, 0))
            recorded = max(1, min(RECORDED, spare // (width * cost.kept_bytes)))
            for rows in same.split(recorded):
                room = max_bytes - len(rows) * width * cost.kept_bytes
                room = max(room, 2 * cost.row_bytes(width, 0))
                begin = dict(zip(chosen, starts[:, rows.cpu()].amin(1).tolist(), strict=True))
                read = int(self.read_from[rows].min()) if self.last else 0
                passes = passes_of(cost, entry, begin, len(rows), width, room, self.packed, read)
                tokens = examples.tokens[rows].gather(1, examples.columns(rows))
                shared = cost.shared(tokens) if self.share else 0
                yield Batch(rows, width, tuple(passes), shared, begun)


def together(cost: BlockCost, passes: Sequence[Pass]) -> list[list[Pass]]:
    """Runs of passes whose results are kept together, each worth a file."""
    units: list[list[Pass]] = []
    work = UNIT_FLOPS
    for planned in passes:
        if work >= UNIT_FLOPS:
            units.append([])
            work = 0.0
        units[-1].append(planned)
        work += planned.layer_tokens * cost.block_flops
    return units


def _starts(examples: Examples, cells: Sequence[Cell]) -> Int[Tensor, "cell example"]:
    """First position each cell edits in each example, counted from its first real token."""
    origin = examples.mask.int().argmax(1)
    by_mask: dict[int, Tensor] = {}

    def first(where: Tensor) -> Tensor:
        if id(where) not in by_mask:
            # An edit that names no real position of an example leaves its last one to compute.
            real = where & examples.mask
            start = torch.where(real.any(1), real.int().argmax(1) - origin, examples.lengths - 1)
            by_mask[id(where)] = start.cpu()
        return by_mask[id(where)]

    rows = [torch.stack([first(e.where) for e in cell.edits]).amin(0) for cell in cells]
    return torch.stack(rows) if rows else torch.zeros(0, len(examples), dtype=torch.long)
