"""How the cells of a batch are split into passes, and what these will cost.

Rows that touch nothing left of position p need only positions from p on. Fewer, later positions
cost less; more, smaller passes cost more. The split that is cheapest under a simple model (tokens
through blocks, plus a fixed price for each call of a block) is found by dynamic programming; it
changes the cost, never a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from patching.engine.block_cost import BlockCost

#: What a packed token costs more than another, by the squared length of its prompt: its own copies
#: of keys and values outgrow the caches.
PACKED_PRICE = 0.0034


@dataclass(frozen=True)
class Pass:
    """Cells run together over some of a batch's rows, each from its first position on.

    Attributes:
        part: which of the batch's rows.
        cells: numbers of the cells, in the order of the boundary they enter at.
        starts: first position computed of each; all equal unless packed.
        packed: whether every token is a row of its own.
        layer_tokens: tokens put through one block each.
        read_from: from which position on they leave the last block; before it only keys and values are
            made there, and they do not count.
    """

    part: slice
    cells: tuple[int, ...]
    starts: tuple[int, ...]
    packed: bool
    layer_tokens: int
    read_from: int = 0


def passes_of(
    cost: BlockCost,
    entry: Mapping[int, int],
    begin: Mapping[int, int],
    rows: int,
    width: int,
    room: int,
    packable: bool,
    read_from: int = 0,
) -> Iterator[Pass]:
    """The passes of one batch, each no larger than the room in memory.

    Args:
        cost: of the model's blocks.
        entry: number of each cell -> the boundary it enters at.
        begin: number of each cell -> the first position that is computed of it.
        rows: how many prompts.
        width: their length in tokens.
        room: bytes for activations.
        packable: whether every token may be a row of its own.
        read_from: the first position that is read; 0 where the last block makes all.
    """
    if not entry:
        yield Pass(slice(0, rows), (), (), False, 0)
        return
    order = sorted(entry, key=entry.__getitem__)
    groups, price = _grouped(cost, entry, begin, order, rows, width)
    work = sum((cost.layers - entry[i]) * (width - begin[i]) for i in order) * rows
    packed = work * (1 + PACKED_PRICE * width**2) + cost.call_price * cost.layers < price
    # One cell of one prompt and the unedited prompt are the least a pass holds.
    least = 2 * (width - min(begin.values())) * cost.packed_bytes(width)
    packed = packed and packable and least <= room
    for start, group in [(min(begin.values()), order)] if packed else groups:
        fit = room // (cost.packed_bytes(width) if packed else cost.row_bytes(width, start))
        fit = min(fit, max(2, cost.cached // (1 if packed else width - start)))
        # A packed pass is counted in tokens, another in rows.
        sizes = {i: width - begin[i] if packed else 1 for i in group}
        carried = width - start if packed else 1
        total = sum(sizes.values())
        together = max(1, min(rows, fit // (total + carried)))
        for low in range(0, rows, together):
            part = slice(low, min(low + together, rows))
            n = part.stop - part.start
            for chosen in shares(group, sizes, max(1, fit // n - carried)):
                starts = tuple(begin[i] if packed else start for i in chosen)
                tokens = (cost.layers - entry[chosen[0]]) * (width - min(starts))
                for i, s in zip(chosen, starts, strict=True):
                    tokens += (cost.layers - entry[i]) * (width - s)
                last = sum(entry[i] < cost.layers for i in chosen)
                spared = (last + 1) * (read_from - start) if last else 0
                cut = not packed and cost.pays(spared * n)
                tokens -= spared * cut
                yield Pass(part, tuple(chosen), starts, packed, tokens * n, read_from * cut)


def shares(group: Sequence[int], sizes: Mapping[int, int], limit: int) -> Iterator[list[int]]:
    """Runs of cells of about equal size, none above the limit unless one cell alone is.

    Even shares: a last pass of a few rows would cost as many calls as a full one.

    Args:
        group: numbers of the cells.
        sizes: of each, above 0.
        limit: of a share.
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
    entry: Mapping[int, int],
    begin: Mapping[int, int],
    order: Sequence[int],
    rows: int,
    width: int,
) -> tuple[list[tuple[int, list[int]]], float]:
    """Neighbouring starts that run together at the least price: (first start, cells), and the price."""
    by_start: dict[int, list[int]] = {}
    for i in order:
        by_start.setdefault(begin[i], []).append(i)
    starts = sorted(by_start)
    weight = [sum(cost.layers - entry[i] for i in by_start[s]) * rows for s in starts]
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
        cuts.append((starts[low], sorted(members, key=entry.__getitem__)))
        stop = low
    return cuts[::-1], best[-1][0]
