"""Which rows run together: passes that share their first position, and what they will cost.

Rows that touch nothing left of position p need only positions from p on. Fewer, later positions
cost less; more, smaller passes cost more. The split that is cheapest under a simple model (tokens
through blocks, plus a fixed price for each call of a block) is found by dynamic programming; it
changes the cost, never a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from interp.examples import Examples
from interp.models.model import Model
from patching.engine.beginnings import common, written_alike
from patching.interventions.cells import Cell

#: Memory a sweep may use beside the model.
MAX_BYTES = 2 * 2**30

#: On a CPU, tokens whose activations outgrow the caches gain nothing by sharing a pass. This and the
#: prices below choose a schedule and change no number.
CPU_PASS_BYTES = 56 * 2**20

#: Work that one call of a block costs whatever its rows, in floating-point operations.
CALL_FLOPS = 3e8

#: What a packed token costs more than another, by the squared length of its prompt: its own copies
#: of keys and values outgrow the caches.
PACKED_PRICE = 0.0034

#: Work that is worth a file of its own in a resumable run, in floating-point operations.
UNIT_FLOPS = 3e10

#: Calls of a block that sharing a beginning costs, in whose stead it must spare tokens.
SHARED_CALLS = 2

#: Prompts whose unedited run is kept at a time.
RECORDED = 32


@dataclass(frozen=True)
class Pass:
    """Cells run together over some of a batch's rows, each from its first position on.

    Attributes:
        part: which of the batch's rows.
        cells: numbers of the cells, in the order of the boundary they enter at.
        starts: first position computed of each; all equal unless packed.
        packed: whether every token is a row of its own.
        layer_tokens: tokens put through one block each.
        shared: how many first positions are run for one row alone; 0 for none.
    """

    part: slice
    cells: tuple[int, ...]
    starts: tuple[int, ...]
    packed: bool
    layer_tokens: int
    shared: int = 0


@dataclass(frozen=True)
class Batch:
    """Examples of one length whose unedited run is kept while their passes run.

    Attributes:
        rows: which of the examples.
        width: their length in tokens.
        passes: in the order they run.
        shared: how many first tokens, which all of them share, are run once; 0 for none.
    """

    rows: Int[Tensor, " row"]
    width: int
    passes: tuple[Pass, ...]
    shared: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that its unedited run puts through every block."""
        return len(self.rows) * self.width - max(0, len(self.rows) - 1) * self.shared


@dataclass(frozen=True)
class BlockCost:
    """What one block of a model costs, per token unless said: all that the schedule must know.

    Attributes:
        layers: number of blocks.
        block_flops: floating-point operations.
        kept_bytes: of the unedited run that is kept: every block's input, keys and values.
        token_bytes: alive at once inside a block: the residual stream several times, queries, keys,
            values and heads' outputs, and the hidden layer of the MLP with its gate, product and
            temporaries.
        score_bytes: for each key, for scores, mask and weights.
        key_bytes: for each key of a packed token, for its own copies of keys and values.
        cpu: whether any of the model runs on one.
    """

    layers: int
    block_flops: float
    kept_bytes: int
    token_bytes: int
    score_bytes: int
    key_bytes: int
    cpu: bool

    @classmethod
    def of(cls, model: Model) -> BlockCost:
        """Read it off the configuration and the parameters of the blocks."""
        cfg, blocks = model.bridge.cfg, model.bridge.blocks
        return cls.of_shape(
            layers=model.n_layers,
            d_model=model.d_model,
            heads=int(cfg.n_heads),
            head_width=int(cfg.d_head),
            key_value_heads=model.n_key_value_heads,
            hidden=int(getattr(cfg, "d_mlp", None) or 4 * cfg.d_model),
            parameters=sum(p.numel() for p in blocks[0].parameters()),
            size=torch.empty(0, dtype=model.dtype).element_size(),
            cpu=any(device.type == "cpu" for device in model.placement.devices),
        )

    @classmethod
    def of_shape(
        cls,
        *,
        layers: int,
        d_model: int,
        heads: int,
        head_width: int,
        key_value_heads: int,
        hidden: int,
        parameters: int,
        size: int,
        cpu: bool,
    ) -> BlockCost:
        """What the blocks of a model of this shape cost, whether there is one or not.

        Args:
            layers: number of blocks.
            d_model: width of the residual stream.
            heads: of the queries.
            head_width: of each head.
            key_value_heads: heads of keys and values.
            hidden: width of the hidden layer of the MLP.
            parameters: of one block.
            size: bytes of a number.
            cpu: whether it runs on one.
        """
        keyed = key_value_heads * head_width
        return cls(
            layers=layers,
            block_flops=2.0 * parameters,
            kept_bytes=size * ((layers + 1) * d_model + 2 * layers * keyed),
            token_bytes=size * (6 * d_model + 6 * heads * head_width + 4 * hidden),
            score_bytes=max(size, 4) * 4 * heads,
            key_bytes=size * 2 * (2 * keyed + 2 * heads * head_width),
            cpu=cpu,
        )

    def row_bytes(self, width: int, start: int) -> int:
        """Bytes one edited row of a prompt of `width` tokens needs from `start` on."""
        return (width - start) * (self.token_bytes + self.score_bytes * width)

    def packed_bytes(self, width: int) -> int:
        """Bytes one packed token of a prompt of `width` tokens needs."""
        return self.token_bytes + (self.score_bytes + self.key_bytes) * width

    def shared(self, tokens: Int[Tensor, "row position"]) -> int:
        """How many first tokens of these prompts are run once: all they share, or none if few.

        Args:
            tokens: prompts of one length without padding.
        """
        count = common(tokens)
        return count if (len(tokens) - 1) * count > SHARED_CALLS * self.call_price else 0

    @property
    def call_price(self) -> float:
        """What one call of a block costs beside its tokens, in tokens."""
        return CALL_FLOPS / self.block_flops


def schedule(
    cost: BlockCost,
    examples: Examples,
    cells: Sequence[Cell],
    max_bytes: int,
    *,
    prefix: bool = True,
    packed: bool = True,
    first_read: int | None = None,
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
        first_read: the first position of any prompt that is read; by default the last one.
        share: whether what prompts begin with alike is run once.

    Raises:
        ValueError: if one prompt and one cell do not fit in `max_bytes`.
    """
    starts = _starts(examples, cells) if prefix else None
    batches = []
    for same in examples.by_length():
        width = int(examples.lengths[same[0]])
        least = 2 * cost.row_bytes(width, 0) + width * cost.kept_bytes
        if max_bytes < least:
            raise ValueError(
                f"max_bytes must hold one prompt of {width} tokens and one edited copy, "
                f"{least:,} bytes; got {max_bytes:,}; raise it or shorten the prompts"
            )
        if starts is not None:
            # Rows that start alike go together, so that a batch's earliest start wastes little.
            chosen = starts[:, same.cpu()]
            first = chosen.float().mean(0) if len(cells) else torch.zeros(len(same))
            same = same[first.argsort(stable=True).to(same.device)]
        spare = min(max_bytes // 4, max_bytes - 2 * cost.row_bytes(width, 0))
        recorded = max(1, min(RECORDED, spare // (width * cost.kept_bytes)))
        for rows in same.split(recorded):
            room = max_bytes - len(rows) * width * cost.kept_bytes
            room = max(room, 2 * cost.row_bytes(width, 0))
            begin = [0] * len(cells) if starts is None else starts[:, rows.cpu()].amin(1).tolist()
            tokens = examples.tokens[rows].gather(1, examples.columns(rows))
            once = cost.shared(tokens) if prefix and share else 0
            shared = min(once, width if first_read is None else first_read)
            left = [cells[i] for i, start in enumerate(begin) if start < shared]
            shared = written_alike(left, examples, rows, shared)
            left = {i for i, start in enumerate(begin) if start < shared}
            begin = [shared if i in left else start for i, start in enumerate(begin)]
            passes = tuple(
                _with_shared(cost, cells, planned, left, shared)
                for planned in _passes(cost, cells, begin, len(rows), width, room, packed)
            )
            batches.append(Batch(rows, width, passes, once))
    return batches


def _with_shared(
    cost: BlockCost, cells: Sequence[Cell], planned: Pass, left: set[int], shared: int
) -> Pass:
    """A pass in which the shared beginning of the cells that edit it runs once."""
    if not left & set(planned.cells):
        return planned
    entries = [cells[i].entry for i in planned.cells]
    blocks = sum(cost.layers - entry for entry in (entries[0], *entries))
    return replace(planned, shared=shared, layer_tokens=planned.layer_tokens + shared * blocks)


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


def _passes(
    cost: BlockCost,
    cells: Sequence[Cell],
    begin: Sequence[int],
    rows: int,
    width: int,
    room: int,
    packable: bool,
) -> Iterator[Pass]:
    """The passes of one batch, each no larger than the room in memory."""
    if not cells:
        yield Pass(slice(0, rows), (), (), False, 0)
        return
    order = sorted(range(len(cells)), key=lambda i: cells[i].entry)
    groups, price = _grouped(cost, cells, begin, order, rows, width)
    work = sum((cost.layers - cells[i].entry) * (width - begin[i]) for i in order) * rows
    packed = work * (1 + PACKED_PRICE * width**2) + cost.call_price * cost.layers < price
    packed = packed and packable
    for start, group in [(min(begin), order)] if packed else groups:
        fit = room // (cost.packed_bytes(width) if packed else cost.row_bytes(width, start))
        if cost.cpu:
            cached = CPU_PASS_BYTES // cost.token_bytes
            fit = min(fit, max(2, cached if packed else cached // (width - start)))
        # A packed pass is counted in tokens, another in rows.
        sizes = {i: width - begin[i] if packed else 1 for i in group}
        carried = width - start if packed else 1
        total = sum(sizes.values())
        together = max(1, min(rows, fit // (total + carried)))
        for low in range(0, rows, together):
            part = slice(low, min(low + together, rows))
            n = part.stop - part.start
            for chosen in _shares(group, sizes, max(1, fit // n - carried)):
                starts = tuple(begin[i] if packed else start for i in chosen)
                tokens = (cost.layers - cells[chosen[0]].entry) * (width - min(starts))
                for i, s in zip(chosen, starts, strict=True):
                    tokens += (cost.layers - cells[i].entry) * (width - s)
                yield Pass(part, tuple(chosen), starts, packed, tokens * n)


def _shares(group: Sequence[int], sizes: Mapping[int, int], limit: int) -> Iterator[list[int]]:
    """Runs of cells of about equal size, none above the limit unless one cell alone is.

    Even shares: a last pass of a few rows would cost as many calls as a full one.
    """
    total = sum(sizes[i] for i in group)
    even = total / -(-total // limit)
    share: list[int] = []
    size = 0
    for i in group:
        if share and (size >= even or size + sizes[i] > limit):
            yield share
            share, size = [], 0
        share.append(i)
        size += sizes[i]
    yield share


def _grouped(
    cost: BlockCost,
    cells: Sequence[Cell],
    begin: Sequence[int],
    order: Sequence[int],
    rows: int,
    width: int,
) -> tuple[list[tuple[int, list[int]]], float]:
    """Neighbouring starts that run together at the least price: (first start, cells), and the price."""
    by_start: dict[int, list[int]] = {}
    for i in order:
        by_start.setdefault(begin[i], []).append(i)
    starts = sorted(by_start)
    weight = [sum(cost.layers - cells[i].entry for i in by_start[s]) * rows for s in starts]
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(starts) + 1):
        total, options = 0.0, []
        for low in range(stop - 1, -1, -1):
            total += weight[low]
            price = total * (width - starts[low]) + cost.call_price * cost.layers
            options.append((best[low][0] + price, low))
        best.append(min(options))
    cuts, stop = [], len(starts)
    while stop:
        low = best[stop][1]
        members = [i for s in starts[low:stop] for i in by_start[s]]
        cuts.append((starts[low], sorted(members, key=lambda i: cells[i].entry)))
        stop = low
    return cuts[::-1], best[-1][0]
