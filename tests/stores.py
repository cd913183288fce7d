"""Stores of activations for tests: made of tensors, or collected by a child that is killed."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import tiny
import torch

from interp.activations import Activations, load_activations
from interp.activations.contents import Prompts
from interp.activations.manifest import Manifest
from interp.activations.reading import Wanted
from interp.activations.storing import Writer
from interp.sites import Site


def store_of(
    folder: Path, states: Mapping[Site, Activations], dtype: torch.dtype, shard_rows: int = 10**9
) -> dict[Site, Activations]:
    """Put activations of one row for each example into a store, and read it back.

    Args:
        folder: of the store; it is made.
        states: the activations of each site.
        dtype: what is stored.
        shard_rows: rows of a shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(states.values()))
    rows = [[3 + i % 90, 3 + i // 90] for i in range(len(first))]
    examples = tiny.examples(rows, groups=first.groups)
    object.__setattr__(examples, "labels", first.labels)
    manifest = Manifest(
        "toy", "0" * 32, first.model, tuple(states), (), "last", False, dtype, first.values.dtype, ()
    )  # fmt: skip
    writer = Writer(folder, manifest, Prompts(Wanted(examples, "last")))
    for part in torch.arange(len(first)).split(min(shard_rows, len(first))):
        for site, held in states.items():
            writer.see(site, held.values[part])
        writer.add(part.tolist())
        writer.commit()
    return load_activations(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def in_child(work: Callable[[], object], after: float | None = None) -> int:
    """Run something in a forked child, killed after so many seconds; how it ended, −9 for killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)  # the parent's threads do not live here
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
