"""Rows in blocks: a site of many rows is worked through a few at a time, in memory or on disk.

What fits well into memory is one block, and every formula is then what it is for a matrix. Larger sites
are cut at the same rows wherever they are, so that a probe from disk has the numbers of a probe from
memory.

Nothing small is kept from block to block: it would come to lie between the blocks' own memory and hold
that from being used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from interp.activations.rows import StoredRows

#: Numbers of one site up to which it is one block, and numbers of a block of a larger one.
LARGE, BLOCK = 2**24, 2**21

#: The rows that a probe reads.
Values = Shaped[Tensor, "example d"] | StoredRows


def whole(values: Values) -> Tensor:
    """All rows in memory."""
    return values[:] if isinstance(values, StoredRows) else values


def block_rows(n: int, d: int) -> int:
    """How many of n rows of width d are worked through at once."""
    return n if n * d <= LARGE or n <= d else max(1, BLOCK // d)


def is_large(values: Values) -> bool:
    """Whether rows are more than one block."""
    return block_rows(len(values), values.shape[1]) < len(values)


def blocks(
    values: Values, used: Bool[Tensor, " example"] | None = None
) -> Iterator[tuple[slice | Tensor, Tensor]]:
    """The rows block by block, and which examples they are.

    Args:
        values: the rows.
        used: those that are wanted; by default all.
    """
    start = 0
    for part in values.split(max(1, block_rows(len(values), values.shape[1]))):
        examples = slice(start, start + len(part))
        start += len(part)
        if used is None or bool(used[examples].all()):
            yield examples, part
            continue
        kept = used[examples].nonzero()[:, 0]
        if len(kept):
            yield kept + examples.start, part[kept]


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of what each block gives, without holding them all."""
    return reduce(torch.add, parts)


class Blocks:
    """Rows in double precision, block by block and as often as they are iterated over.

    Args:
        values: the rows.
        used: those that are wanted; by default all.
    """

    def __init__(self, values: Values, used: Bool[Tensor, " example"] | None = None) -> None:
        """Hold the rows where they are one block."""
        self.values, self.used = values, used
        self.shape = (len(values) if used is None else int(used.sum()), values.shape[1])
        self.centre: Tensor | None = None
        self.spread: Tensor | None = None
        self.held: Tensor | None = None
        if not is_large(values):
            self.held = (whole(values) if used is None else whole(values)[used]).double()

    def __iter__(self) -> Iterator[Tensor]:
        """Every block in turn."""
        if self.held is not None:
            yield self.held
            return
        for _, part in blocks(self.values, self.used):
            moved = part.double() if self.centre is None else part - self.centre
            yield moved if self.spread is None else moved.div_(self.spread)

    def standardised(self, centre: Float[Tensor, " d"], spread: Float[Tensor, " d"]) -> Blocks:
        """The same rows, moved and scaled.

        Args:
            centre: what is taken off.
            spread: what is divided by.
        """
        moved = Blocks.__new__(Blocks)
        moved.__dict__.update(vars(self), centre=centre, spread=spread)
        if self.held is not None:
            moved.held = (self.held - centre).div_(spread)
        return moved
