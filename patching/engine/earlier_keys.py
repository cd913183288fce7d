"""What stands in for a cache of keys and values when copies begin inside of a prompt.

A copy holds only positions from its first edited one on; to their left it reads the baseline's keys and
values, or those of a beginning that all rows of the copy share. The last block is run twice: for the
keys and values of all positions, then for those that are read.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor


class PrefixCache:
    """Stands in for a cache: keys and values left of `start`, then the rows' own.

    They are the baseline's, but for those of a beginning that the rows of a copy share.
    """

    def __init__(
        self, past: tuple[Tensor, Tensor], start: int, beginning: tuple[Tensor, Tensor] | None
    ) -> None:
        self.past = [part[:, :, :start] for part in past]
        self.beginning = beginning

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions."""
        copies = k.shape[0] // self.past[0].shape[0]
        keys, values = (repeat(p, "row ... -> (copy row) ...", copy=copies) for p in self.past)
        if self.beginning is not None:
            keys, values = (
                _with_beginning(part, start)
                for part, start in zip((keys, values), self.beginning, strict=True)
            )
        return torch.cat([keys, k], 2), torch.cat([values, v], 2)


class Enough(Exception):
    """Ends a block of which only keys and values were wanted."""


class WholeCache:
    """Stands in for a cache in a block that runs twice.

    The first time it notes the keys and values of all positions and ends the block by `Enough`; the
    second time it gives them to the positions that are left.
    """

    def __init__(self) -> None:
        self.before: Any = None
        self.whole: tuple[Tensor, Tensor] | None = None

    def over(self, before: Any) -> WholeCache:
        """This, in place of what would stand in for the cache and gives what is left of the copies."""
        self.before = before
        return self

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions."""
        if self.whole is None:
            self.whole = (k, v) if self.before is None else self.before.update(k, v, layer)
            raise Enough
        return self.whole


class PackedCache:
    """Stands in for a cache: for each token all keys and values of its copy, in their order."""

    def __init__(
        self,
        past: tuple[Tensor, Tensor],
        copy: Tensor,
        row: Tensor,
        position: Tensor,
        beginning: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.past, self.position, self.beginning = past, position, beginning
        self.copies = int(copy[-1]) + 1
        self.copy_row = copy * past[0].shape[0] + row

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions; the mask hides those a token may not see."""
        # Copies that are written to: einops would give a view of a single row.
        keys, values = (p.repeat(self.copies, 1, 1, 1) for p in self.past)
        if self.beginning is not None:
            keys, values = (
                _with_beginning(part, start)
                for part, start in zip((keys, values), self.beginning, strict=True)
            )
        keys[self.copy_row, :, self.position] = k[:, :, 0]
        values[self.copy_row, :, self.position] = v[:, :, 0]
        return keys[self.copy_row], values[self.copy_row]


def _with_beginning(
    whole: Float[Tensor, "copy_row head position d"], start: Float[Tensor, "copy head shared d"]
) -> Float[Tensor, "copy_row head position d"]:
    """Keys or values of all rows of all copies, those of their shared beginning put in."""
    each_row = repeat(start, "copy ... -> (copy row) ...", row=len(whole) // len(start))
    return torch.cat([each_row, whole[:, :, start.shape[2] :]], 2)
