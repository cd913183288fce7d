"""manifest.json: what a store of activations holds, believed only after every part has been checked.

A store may come from a stranger. The manifest names no paths: a shard is a number, and its files are
called after it. Where each site's rows stand in a shard follows from the manifest as well, so that the
header of a shard is compared with what it must be and never interpreted.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import torch

from interp._files import flush_names, write_durably
from interp.sites import Site, site_of_text

NAME, FORMAT, VERSION = "manifest.json", "interp activations", 1

#: What activations can be stored as -> how safetensors calls it.
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}

#: Bytes that are read of a manifest and of the index of a shard at most.
MOST_BYTES, MOST_INDEX_BYTES = 2**24, 2**28

#: No number in a manifest is larger.
MOST = 2**40


@dataclass(frozen=True)
class Shard:
    """One shard: a file of rows, and a file that says whose they are.

    Attributes:
        number: its files are shard-NUMBER.safetensors and shard-NUMBER.json.
        rows: number of rows of each site.
        checksums: CRC-32 of each site's rows as stored.
        index: CRC-32 of the .json file.
    """

    number: int
    rows: int
    checksums: tuple[int, ...]
    index: int

    @property
    def name(self) -> str:
        """Name of the file of rows."""
        return f"shard-{self.number:05d}.safetensors"

    @property
    def index_name(self) -> str:
        """Name of the file that says whose they are."""
        return f"shard-{self.number:05d}.json"


@dataclass(frozen=True)
class Manifest:
    """What a store holds.

    Attributes:
        model: name of the model.
        fingerprint: of its weights.
        role: base or tuned, as it was loaded.
        sites: where was read, in the order in which a shard holds them.
        shapes: of one row of each site.
        positions: name of what was read of each prompt.
        several: whether a prompt may have several rows.
        dtype: what rows are stored as.
        read_as: the dtype of the model, in which rows are given back.
        shards: in the order of their numbers.
    """

    model: str
    fingerprint: str
    role: str
    sites: tuple[Site, ...]
    shapes: tuple[tuple[int, ...], ...]
    positions: str
    several: bool
    dtype: torch.dtype
    read_as: torch.dtype
    shards: tuple[Shard, ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row of each shard, and at last the number of rows."""
        starts = [0]
        for shard in self.shards:
            starts.append(starts[-1] + shard.rows)
        return tuple(starts)

    def header(self, rows: int) -> bytes:
        """What a shard of so many rows begins with, as safetensors prescribes it."""
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        stop = 0
        for site, shape in zip(self.sites, self.shapes, strict=True):
            start, stop = stop, stop + rows * self.row_bytes(shape)
            stored = DTYPES[dtype_name(self.dtype)]
            entries[str(site)] = {
                "dtype": stored, "shape": [rows, *shape], "data_offsets": [start, stop]
            }  # fmt: skip
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def row_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of one row of a site."""
        return math.prod(shape) * self.dtype.itemsize

    def write(self, folder: Path) -> None:
        """Replace the manifest of a folder: the old or the new one stands there, whatever fails."""
        data = {
            "format": FORMAT,
            "version": VERSION,
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "sites": [str(site) for site in self.sites],
            "dtype": dtype_name(self.dtype),
            "read_as": dtype_name(self.read_as),
            "rows": self.starts[-1],
            "shards": [vars(shard) | {"file": shard.name} for shard in self.shards],
        }
        text = json.dumps(data, indent=1, ensure_ascii=False)
        write_durably(folder / NAME, lambda p: p.write_text(text, encoding="utf-8"))
        flush_names(folder)


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype without the name of its library, such as "float16"."""
    return str(dtype).removeprefix("torch.")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a store, every part of it checked.

    Raises:
        ValueError: in one line, if there is none, or if it is none of ours.
    """
    if not (folder / NAME).exists():
        raise ValueError(
            f"{folder} is no store of activations: {NAME} got nothing; expected a folder that "
            "interp.collect(..., store=) has made"
        )
    try:
        return _checked(parsed(read_bytes(folder, NAME, MOST_BYTES)))
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder / NAME} cannot be used: {error}") from error


def opened(folder: Path, name: str) -> BinaryIO:
    """A plain file of the folder itself, for reading; never a link, a pipe or a device.

    Raises:
        ValueError: naming it, if it is anything else.
        FileNotFoundError: if there is none.
    """
    path = folder / name
    if path.is_symlink():
        raise ValueError(f"{name} is a link; a store holds plain files only")
    flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    file = open(os.open(path, os.O_RDONLY | sum(flags)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{name} is no plain file")
    return file


def read_bytes(folder: Path, name: str, most: int) -> bytes:
    """A file of the folder, its size limited before it is read.

    Raises:
        ValueError: if it is larger than `most` bytes, or no plain file.
    """
    with opened(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{name} has {size:,} bytes; at most {most:,} are read")
        return file.read(most)


def parsed(text: bytes) -> Any:
    """JSON from a stranger.

    Raises:
        ValueError: if it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON ({str(error)[:60]})") from None


def _checked(data: Any) -> Manifest:
    """The manifest that JSON stands for.

    Raises:
        ValueError: naming the entry that is not what it must be.
    """
    if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"its format must be {FORMAT!r} of version {VERSION}; store anew")
    texts = {name: entry(data, name, str) for name in ("model", "fingerprint", "role", "positions")}
    sites = tuple(_site(text) for text in entry(data, "sites", list))
    if not sites or len(set(sites)) < len(sites):
        raise ValueError("its sites must be given, each once")
    shapes = tuple(tuple(_whole("shapes", n, 1) for n in listed) for listed in _lists(data, "shapes"))
    shards = tuple(_shard(shard, len(sites)) for shard in entry(data, "shards", list))
    numbers = [shard.number for shard in shards]
    if numbers != sorted(set(numbers)) or len(shapes) != len(sites):
        raise ValueError("its shards must be in order, and it needs one shape for each site")
    manifest = Manifest(
        **texts,
        sites=sites,
        shapes=shapes,
        several=entry(data, "several", bool),
        dtype=_dtype(data, "dtype"),
        read_as=_dtype(data, "read_as"),
        shards=shards,
    )
    if _whole("rows", data.get("rows"), 1) != manifest.starts[-1]:
        raise ValueError("its number of rows must be that of its shards together")
    return manifest


def entry(data: dict[str, Any], name: str, kind: type) -> Any:
    """An entry of a JSON object that must be of a kind.

    Raises:
        ValueError: naming the entry.
    """
    value = data.get(name)
    if type(value) is not kind:
        raise ValueError(f"its {name} must be a {kind.__name__}; got {type(value).__name__}")
    return value


def _lists(data: dict[str, Any], name: str) -> list[list[Any]]:
    listed = entry(data, name, list)
    if not all(type(one) is list and len(one) <= 8 for one in listed):
        raise ValueError(f"its {name} must be lists of few numbers")
    return listed


def _whole(name: str, value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= MOST:
        raise ValueError(f"its {name} must be whole numbers of {least}..{MOST}; got {str(value)[:40]}")
    return value


def _dtype(data: dict[str, Any], name: str) -> torch.dtype:
    value = entry(data, name, str)
    if value not in DTYPES:
        raise ValueError(f"its {name} must be one of {list(DTYPES)}; got {value[:40]!r}")
    return getattr(torch, value)


def _site(text: Any) -> Site:
    site = site_of_text(text) if isinstance(text, str) and len(text) < 60 else None
    if site is None or str(site) != text:
        raise ValueError(f"its sites must be such as 'resid_pre.3'; got {str(text)[:40]!r}")
    return site


def _shard(data: Any, sites: int) -> Shard:
    if not isinstance(data, dict):
        raise ValueError("its shards must be objects")
    sums = entry(data, "checksums", list)
    if len(sums) != sites:
        raise ValueError(f"its shards need a checksum for each of {sites} sites; got {len(sums)}")
    shard = Shard(
        _whole("number", data.get("number")),
        _whole("rows", data.get("rows"), 1),
        tuple(_whole("checksums", number) for number in sums),
        _whole("index", data.get("index")),
    )
    if data.get("file") != shard.name:
        raise ValueError(f"its shard {shard.number} must be the file {shard.name}; no other is read")
    return shard
