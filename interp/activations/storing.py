"""`collect` into a store: what is there is kept, what is missing is read and committed shard by shard.

A shard is committed when its two files are on the disk and the manifest that names it has replaced
the former one. Prompts are known by their content, tokens and positions, the k-th of equal ones by its
number: what the sound shards do not hold is missing, whether a call was killed, a shard is damaged or
prompts are new. Since a shard holds whole batches, what is missing of a killed call falls into the same
batches and shards as in a call that was not, and the files become the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.activations.contents import Prompts
from interp.activations.manifest import DTYPES, NAME, Manifest, dtype_name, read_manifest
from interp.activations.reading import Wanted, batches, forwards
from interp.activations.rows import StoredRows
from interp.activations.shards import Shards, write_shard
from interp.activations.values import StoredActivations
from interp.arguments import frames_inside
from interp.runs.locks import only_writer
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models.model import Model

#: A shard is closed when it has this many bytes: what a killed call has to do again at most.
SHARD_BYTES = 2**27


def collect_into(
    folder: Path, model: Model, wanted: Wanted, sites: Sequence[Site], size: int, dtype: str | None
) -> dict[Site, StoredActivations]:
    """The activations of `collect`, in a store that is made or completed first.

    Args:
        folder: of the store.
        model: whose activations.
        wanted: the tokens to read.
        sites: where.
        size: prompts per forward.
        dtype: what is stored; None for what the store holds, or the model's.

    Raises:
        ValueError: if the store is of something else, or is being written by another process.
    """
    if wanted.name == "all":
        raise ValueError(
            "positions got 'all' for a store, which holds rows and no padding; expected 'each', a row "
            "for every token"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder):
        for left in (*folder.glob(".shard-*.tmp*"), *folder.glob(f".{NAME}.*.tmp*")):
            left.unlink()
        manifest = _opened(folder, model, wanted, sites, dtype)
        prompts = Prompts(wanted)
        writer = Writer(folder, manifest, prompts)
        known = writer.rows_of()
        missing = [i for i, key in enumerate(prompts.keys) if key not in known]
        parts = batches(wanted.examples, size, torch.tensor(missing, dtype=torch.long))
        for rows in forwards(model, wanted, manifest.sites, parts, writer.see):
            writer.add(rows.tolist())
        writer.commit()
    order = prompts.rows(writer.rows_of())
    shards = Shards(folder, writer.manifest)
    shards.checked = writer.checked()
    groups, labels, *index = wanted.per_row()
    return {
        site: StoredActivations(
            site, StoredRows(shards, writer.manifest.sites.index(site), order), groups, labels,
            wanted.name, model.role, *index,
        )
        for site in sites
    }  # fmt: skip


def _opened(
    folder: Path, model: Model, wanted: Wanted, sites: Sequence[Site], dtype: str | None
) -> Manifest:
    """The manifest of the folder, or that of an empty store.

    Raises:
        ValueError: if the folder holds something else, naming what differs.
    """
    stored = dtype or dtype_name(model.dtype)
    if stored not in DTYPES:
        raise ValueError(f"dtype got {stored!r}; expected one of {list(DTYPES)}")
    asked = Manifest(
        model.name, model.fingerprint, model.role, tuple(sites), (), wanted.name, not wanted.single,
        getattr(torch, stored), model.dtype, (),
    )  # fmt: skip
    if not (folder / NAME).exists():
        return asked
    held = read_manifest(folder)
    pairs = {
        "model": ((held.model, held.fingerprint), (asked.model, asked.fingerprint)),
        "sites": (sorted(map(str, held.sites)), sorted(map(str, sites))),
        "positions": (held.positions, asked.positions),
        "dtype": (dtype_name(held.dtype), dtype_name(held.dtype) if dtype is None else dtype),
    }
    if held.fingerprint == asked.fingerprint:
        del pairs["model"]
    differing = [
        f"{name} {theirs}, got {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours
    ]
    if differing:
        raise ValueError(
            f"store {folder} is of {'; of '.join(differing)}; expected a folder of the same"
        )
    return held


class Writer:
    """Completes a store: keeps its sound shards and adds new ones.

    Attributes:
        manifest: what is committed.
    """

    def __init__(self, folder: Path, manifest: Manifest, prompts: Prompts) -> None:
        """Check every shard that is there.

        Raises:
            ValueError: naming a damaged shard of prompts that are not among these.

        Warns:
            UserWarning: naming each damaged shard, which is then missing.
        """
        self.folder, self.prompts = folder, prompts
        shards = Shards(folder, manifest)
        sound, self.written = [], []
        for number, shard in enumerate(manifest.shards):
            damage = shards.damage(number)
            if damage is None:
                sound.append((shard, shards.index(number)))
            else:
                self._give_up(shards, number, damage)
        self.indexes = dict(sound)
        self.manifest = replace(manifest, shards=tuple(shard for shard, _ in sound))
        self._begin()

    def _give_up(self, shards: Shards, number: int, damage: str) -> None:
        """Warn that a shard is read anew; refuse where it holds prompts that are not here."""
        try:
            elsewhere = set(shards.index(number).key) - set(self.prompts.keys)
        except ValueError:  # nobody knows any more whose rows these were
            elsewhere = set()
        if elsewhere:
            raise ValueError(f"{damage}; {len(elsewhere)} of its prompts are not among those given now")
        warnings.warn(damage, stacklevel=frames_inside())

    def rows_of(self) -> dict[str, int]:
        """The first row of each prompt in the store, by key."""
        rows: dict[str, int] = {}
        for shard, start in zip(self.manifest.shards, self.manifest.starts, strict=False):
            index = self.indexes[shard]
            rows.update(zip(index.key, (index.first_rows() + start).tolist(), strict=True))
        return rows

    def _begin(self) -> None:
        self.pending: dict[int, list[Tensor]] = {i: [] for i in range(len(self.manifest.sites))}
        self.examples: list[int] = []
        self.bytes = 0

    def see(self, site: Site, rows: Tensor) -> None:
        """Take a batch's rows of a site.

        Raises:
            ValueError: if a number is too large for the dtype of the store.
        """
        dtype = self.manifest.dtype
        if torch.finfo(dtype).max < torch.finfo(rows.dtype).max:
            low, high = (float(end) for end in rows.aminmax())
            if max(-low, high) > torch.finfo(dtype).max:
                raise ValueError(
                    f"{site} holds {max(-low, high):.3g}, too large for {dtype_name(dtype)}; "
                    "give dtype='bfloat16' or 'float32'"
                )
        stored = rows.to("cpu", dtype)
        self.pending[self.manifest.sites.index(site)].append(stored)
        self.bytes += stored.nbytes

    def add(self, examples: list[int]) -> None:
        """Whose rows a batch was; commits where the shard is full."""
        self.examples += examples
        if self.bytes >= SHARD_BYTES:
            self.commit()

    def commit(self) -> None:
        """Write what is pending as a shard, and the manifest with it.

        Raises:
            ValueError: if the rows have other shapes than those of the store.
            OSError: if the disk does not take it; what was committed before stays.
        """
        if not self.examples:
            return
        shapes = tuple(tuple(parts[0].shape[1:]) for parts in self.pending.values())
        manifest = replace(self.manifest, shapes=self.manifest.shapes or shapes)
        if manifest.shapes != shapes:
            raise ValueError(
                f"store {self.folder} has rows of shapes {manifest.shapes}, got {shapes}; attention "
                "patterns are as wide as the longest prompt: give another folder"
            )
        taken = {shard.number for shard in manifest.shards}
        number = next(i for i in count() if i not in taken)
        index = self.prompts.index(self.examples)
        try:
            shard = write_shard(self.folder, manifest, number, self.pending, index)
            shards = sorted((*manifest.shards, shard), key=lambda one: one.number)
            manifest = replace(manifest, shards=tuple(shards))
            manifest.write(self.folder)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: shard {number} of the store {self.folder} was not written; those "
                "before it are kept: mend this and call again to go on",
            ) from error
        self.indexes[shard], self.written = index, [*self.written, shard]
        self.manifest = manifest
        self._begin()

    def checked(self) -> set[tuple[int, int]]:
        """(shard, site) whose rows were read by this call and found sound."""
        read = [i for i, shard in enumerate(self.manifest.shards) if shard not in self.written]
        return {(i, site) for i in read for site in range(len(self.manifest.sites))}
