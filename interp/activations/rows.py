"""Rows of one site that stay on disk until they are asked for, and are otherwise much like a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.activations.shards import Shards


class StoredRows:
    """The rows of one site of a store, [row, *d], in an order of their own.

    `shape`, `ndim`, `dtype`, `device`, `len`, `[rows]` and `split` mean what they mean of a tensor, so
    that code which uses no more reads from memory and from disk alike. Nothing read is kept.

    Args:
        shards: the files of the store.
        site: number of the site among those of the store.
        order: the row of the store that each row is.
    """

    device = torch.device("cpu")

    def __init__(self, shards: Shards, site: int, order: Int[Tensor, " row"]) -> None:
        """Look at nothing yet."""
        self.shards, self.site, self.order = shards, site, order

    @property
    def shape(self) -> tuple[int, ...]:
        """[row, *d]."""
        return (len(self.order), *self.shards.manifest.shapes[self.site])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that rows are given in, that of the model."""
        return self.shards.manifest.read_as

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.order)

    def __getitem__(self, rows: Any) -> Tensor:
        """Read some of the rows, chosen as one chooses rows of a tensor."""
        return self.shards.read(self.site, self.order[rows])

    def split(self, size: int) -> Iterator[Tensor]:
        """Read all rows in their order, so many at once."""
        return (self.shards.read(self.site, part) for part in self.order.split(size))

    def subset(self, rows: Int[Tensor, " chosen"]) -> StoredRows:
        """Some of the rows, not read yet."""
        return StoredRows(self.shards, self.site, self.order[rows])


#: Rows in memory or on disk.
Rows = Tensor | StoredRows


def chosen_of(rows: Rows, chosen: Int[Tensor, " chosen"]) -> Rows:
    """The chosen rows; those on disk stay there."""
    return rows.subset(chosen) if isinstance(rows, StoredRows) else rows[chosen.to(rows.device)]


def joined_rows(first: Rows, second: Rows) -> Rows:
    """The rows of the first and then those of the second; those of one store stay on disk."""
    if isinstance(first, StoredRows) and isinstance(second, StoredRows):
        if (first.shards, first.site) == (second.shards, second.site):
            return StoredRows(first.shards, first.site, torch.cat([first.order, second.order]))
    return torch.cat([rows if isinstance(rows, Tensor) else rows[:] for rows in (first, second)])
