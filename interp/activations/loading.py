"""Stores of activations read back, and checked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from interp.activations.contents import row_order
from interp.activations.manifest import read_manifest
from interp.activations.rows import StoredRows
from interp.activations.shards import Index, Shards
from interp.activations.values import Activations, StoredActivations
from interp.sites import Site


def load_activations(store: Path | str) -> dict[Site, Activations]:
    """Activations that `collect` has put into a store, left on disk until they are used.

    Rows are in the order of the prompts of each call, one call behind the other. Groups and labels
    are those under which a prompt was stored.

    Args:
        store: the folder that `collect` was given.

    Returns:
        The activations of each site, in the dtype of the model that they were read from. The rows of
        a site are checked against the store's checksums when they are first read.

    Raises:
        ValueError: in one line, if the folder is no store, or naming a file that is damaged.

    Example:
        >>> import interp, tempfile
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> site = interp.boundary(3, 6)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = interp.collect(model, facts.prompts(0), site, store=folder, dtype="float16")
        ...     states = interp.load_activations(folder)
        ...     tuple(states[site].shape), states[site].values.dtype
        ((128, 64), torch.float32)
    """
    folder = Path(store)
    manifest = read_manifest(folder)
    shards = Shards(folder, manifest)
    indexes = [shards.index(number) for number in range(len(manifest.shards))]
    place = _in_order(indexes)
    first = torch.cat([i.first_rows() + n for i, n in zip(indexes, manifest.starts, strict=False)])
    counts = torch.tensor([n for index in indexes for n in index.counts])[place]
    order = row_order(first[place], counts)
    names = [group for index in indexes for group in index.groups]
    examples = torch.arange(len(place)).repeat_interleave(counts)
    groups = tuple(names[i] for i in place[examples].tolist())
    labels = _labels(indexes)
    labels = None if labels is None else labels[place][examples]
    begun = torch.tensor([start for index in indexes for start in index.start])[place]
    token = row_order(begun, counts)
    index = (examples, token) if manifest.several else (None, None)
    return {
        site: StoredActivations(
            site, StoredRows(shards, number, order), groups, labels, manifest.positions,
            manifest.role, *index,
        )
        for number, site in enumerate(manifest.sites)
    }  # fmt: skip


def verify_activations(store: Path | str) -> list[str]:
    """Read every byte of a store and compare it with its checksums.

    Args:
        store: the folder that `collect` was given.

    Returns:
        A line for each shard that is missing or damaged, which names it; none for a sound store.

    Raises:
        ValueError: in one line, if the folder is no store.

    Example:
        >>> import interp, tempfile
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = interp.collect(model, facts.prompts(0), interp.boundary(3, 6), store=folder)
        ...     interp.verify_activations(folder)
        []
    """
    folder = Path(store)
    shards = Shards(folder, read_manifest(folder))
    told = (shards.damage(number) for number in range(len(shards.manifest.shards)))
    return [line for line in told if line is not None]


def _in_order(indexes: list[Index]) -> Tensor:
    """The prompts of all shards, call by call as each began, and within one as they were given."""
    rank = {call: i for i, call in enumerate(dict.fromkeys(index.call for index in indexes))}
    keys = [(rank[index.call], number) for index in indexes for number in index.number]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))


def _labels(indexes: list[Index]) -> Tensor | None:
    """The labels of all prompts; None where some have none."""
    columns = [index.labels for index in indexes]
    if any(column is None for column in columns):
        return None
    return torch.tensor([label for column in columns if column is not None for label in column])
