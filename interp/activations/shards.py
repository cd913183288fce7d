"""The files of a store: rows as safetensors, and whose they are as JSON.

A shard is one file in which each site's rows stand in one piece, one site after the other. A batch of
prompts is written with one flush however many sites there are, and one site is read across shards in
pieces of several megabytes, front to back, without touching the bytes of the others: what a probe at
one layer reads is the number of rows times their width, and nothing else. One file per site could not
be appended to without a moment at which the sites disagree.

Checksums (CRC-32, one for each site of a shard) guard against truncation and flipped bits, not
against forgery. A site's rows are checked at the first reading.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._files import write_durably
from interp.activations.manifest import (
    MOST_INDEX_BYTES,
    Manifest,
    Shard,
    entry,
    opened,
    parsed,
    read_bytes,
)

Result = TypeVar("Result")

#: While a shard is written, what has come together is sent to the disk in steps of so many bytes.
FLUSHED_BYTES = 2**24


@dataclass(frozen=True)
class Index:
    """Whose rows a shard holds: one entry for each prompt, in the order of its rows.

    Attributes:
        call: a hash of all prompts of the call that stored them.
        number: of each prompt in that call.
        key: a hash of each prompt's tokens and of the positions read.
        start: the first token read of each, counted from the first real one.
        stop: the token behind the last.
        texts: the prompts.
        groups: the entity of each.
        labels: a number of each, or None.
    """

    call: str
    number: list[int]
    key: list[str]
    start: list[int]
    stop: list[int]
    texts: list[str]
    groups: list[str]
    labels: list[int] | list[float] | None

    def as_bytes(self) -> bytes:
        """The index as it is written."""
        return json.dumps(vars(self), separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def counts(self) -> list[int]:
        """Number of rows of each prompt."""
        return [stop - start for start, stop in zip(self.start, self.stop, strict=True)]

    def first_rows(self) -> Int[Tensor, " prompt"]:
        """The first row of each prompt, counted from the shard's first."""
        counts = torch.tensor(self.counts)
        return counts.cumsum(0) - counts

    @classmethod
    def of(cls, data: Any, rows: int) -> Index:
        """The index that JSON stands for.

        Raises:
            ValueError: if it is none of so many rows.
        """
        if not isinstance(data, dict):
            raise ValueError("it is no object")
        kinds = {"number": int, "key": str, "start": int, "stop": int, "texts": str, "groups": str}
        columns = {name: entry(data, name, list) for name in kinds}
        for name, column in columns.items():
            if not all(type(value) is kinds[name] for value in column):
                raise ValueError(f"its {name} must all be {kinds[name].__name__}")
        labels = data.get("labels")
        if labels is not None:
            columns["labels"] = entry(data, "labels", list)
            if len({type(value) for value in labels} | {int, float}) > 2:
                raise ValueError("its labels must be numbers")
        index = cls(entry(data, "call", str), **{"labels": None, **columns})
        same = len({len(column) for column in columns.values()}) == 1
        if not same or min(index.counts) < 1 or min(index.start) < 0 or sum(index.counts) != rows:
            raise ValueError(f"it does not tell of {rows} rows")
        return index


class Shards:
    """The shards of one store, read by row.

    Args:
        folder: of the store.
        manifest: what it holds, checked.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Read nothing yet."""
        self.folder, self.manifest = folder, manifest
        self.starts = torch.tensor(manifest.starts)
        self.checked: set[tuple[int, int]] = set()
        self.begins: dict[int, int] = {}

    def read(self, site: int, rows: Int[Tensor, " row"]) -> Float[Tensor, "row *d"]:
        """Some rows of a site in the dtype of the model, shard by shard.

        Args:
            site: number of the site.
            rows: numbers of rows of the store.

        Raises:
            ValueError: naming a shard that is missing or damaged.
        """
        manifest = self.manifest
        shard_of = torch.bucketize(rows, self.starts, right=True) - 1
        numbers = shard_of.unique().tolist()
        for number in numbers:  # before room is made for what a manifest may only claim
            self._named(number, self._measure)
        read = torch.empty((len(rows), *manifest.shapes[site]), dtype=manifest.read_as)
        for number in numbers:
            wanted = (shard_of == number).nonzero()[:, 0]
            stored = self.mapped(number, site)
            read[wanted] = stored[rows[wanted] - self.starts[number]].to(manifest.read_as)
        return read

    def mapped(self, number: int, site: int) -> Float[Tensor, "row *d"]:
        """One site's rows in one shard, memory-mapped as stored; checked where they have not been.

        Raises:
            ValueError: naming the shard, if it is missing or damaged.
        """
        return self._named(number, partial(self._mapped, site))

    def _mapped(self, site: int, number: int) -> Tensor:
        start = self._measure(number)
        shard, manifest = self.manifest.shards[number], self.manifest
        sizes = [shard.rows * manifest.row_bytes(shape) for shape in manifest.shapes[: site + 1]]
        with opened(self.folder, shard.name) as file:
            # Copy on write, because a tensor could be written to; nobody does.
            raw = np.memmap(file, np.uint8, "c", start + sum(sizes[:site]), (sizes[site],))
        rows = torch.from_numpy(raw).view(manifest.dtype).view(shard.rows, *manifest.shapes[site])
        if (number, site) not in self.checked:
            if checksum(rows) != shard.checksums[site]:
                raise ValueError(f"its rows of {manifest.sites[site]} have changed")
            self.checked.add((number, site))
        return rows

    def _measure(self, number: int) -> int:
        """Hold size and header of a shard against the manifest, once; where its rows begin."""
        if number not in self.begins:
            shard, manifest = self.manifest.shards[number], self.manifest
            header = manifest.header(shard.rows)
            rows = sum(shard.rows * manifest.row_bytes(shape) for shape in manifest.shapes)
            with opened(self.folder, shard.name) as file:
                size = os.fstat(file.fileno()).st_size
                if size != len(header) + rows:
                    raise ValueError(f"it has {size:,} bytes instead of {len(header) + rows:,}")
                if file.read(len(header)) != header:
                    raise ValueError("its header is not that of these sites")
            self.begins[number] = len(header)
        return self.begins[number]

    def _named(self, number: int, read: Callable[[int], Result]) -> Result:
        """What is read of a shard; whatever is wrong is a line that names it."""
        name = self.manifest.shards[number].name
        try:
            return read(number)
        except FileNotFoundError:
            raise ValueError(self._refused(name, "it is missing")) from None
        except ValueError as error:
            raise ValueError(self._refused(name, str(error))) from error

    def index(self, number: int) -> Index:
        """Whose rows a shard holds.

        Raises:
            ValueError: naming the file, if it is missing or damaged.
        """
        shard = self.manifest.shards[number]
        try:
            raw = read_bytes(self.folder, shard.index_name, MOST_INDEX_BYTES)
            if zlib.crc32(raw) != shard.index:
                raise ValueError("it has changed")
            return Index.of(parsed(raw), shard.rows)
        except FileNotFoundError:
            raise ValueError(self._refused(shard.index_name, "it is missing")) from None
        except ValueError as error:
            raise ValueError(self._refused(shard.index_name, str(error))) from error

    def damage(self, number: int) -> str | None:
        """What is wrong with a shard, in one line that names it; None if nothing is.

        Everything is read anew, however often it has been read before.
        """
        self.checked -= {(number, site) for site in range(len(self.manifest.sites))}
        self.begins.pop(number, None)
        try:
            self.index(number)
            for site in range(len(self.manifest.sites)):
                self.mapped(number, site)
        except ValueError as error:
            return str(error)
        return None

    def _refused(self, name: str, why: str) -> str:
        return (
            f"{name} of the store {self.folder} is damaged: {why}; "
            "interp.collect with the same prompts and store= reads it anew"
        )


def checksum(rows: Tensor, before: int = 0) -> int:
    """CRC-32 of what is stored, going on from the checksum of what stands before it."""
    return zlib.crc32(_raw(rows), before)


def write_shard(
    folder: Path, manifest: Manifest, number: int, parts: Mapping[int, Sequence[Tensor]], index: Index
) -> Shard:
    """Write one shard: first its rows, then whose they are; both are on the disk when it returns.

    Args:
        folder: of the store.
        manifest: of the store.
        number: of the shard.
        parts: each site's rows in the dtype of the store, in pieces, site by site in their order.
        index: whose they are.

    Returns:
        The shard as the manifest has it.
    """
    sums = dict.fromkeys(parts, 0)
    rows, told = sum(len(part) for part in parts[0]), index.as_bytes()

    def write(path: Path) -> None:
        # Flushed on a thread as it is written, so that the disk does not wait for the checksums.
        with open(path, "wb") as file, ThreadPoolExecutor(1) as flusher:
            file.write(manifest.header(rows))
            flushed, flushes = 0, []
            for site, pieces in parts.items():
                for piece in pieces:
                    file.write(_raw(piece))
                    sums[site] = checksum(piece, sums[site])
                if file.tell() - flushed >= FLUSHED_BYTES:
                    file.flush()
                    flushed = file.tell()
                    flushes.append(flusher.submit(os.fsync, file.fileno()))
            for flush in flushes:
                flush.result()

    name = Shard(number, rows, (), 0)
    write_durably(folder / name.name, write)
    write_durably(folder / name.index_name, lambda p: p.write_bytes(told))
    return replace(name, checksums=tuple(sums.values()), index=zlib.crc32(told))


def _raw(rows: Tensor) -> memoryview:
    return rows.contiguous().view(torch.uint8).numpy().data.cast("B")
