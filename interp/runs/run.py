"""A run over a folder: what is there is read, what is missing is made and kept.

`resumable` opens a folder. Inside of it long work that is written as a `series` of units finds each
unit's result on disk, or makes it and puts it there; outside of it the same code makes everything in
memory and hashes nothing. A unit is named by what determines it, so a folder can hold those of any
work, and none is ever taken for another.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from interp._files import write_durably
from interp.progress import word
from interp.runs.code import code_of, packages
from interp.runs.fingerprint import fingerprint
from interp.runs.locks import locked
from interp.runs.manifest import LOG, UNITS, open_manifest, remove_temporary, shard_of, write_share
from interp.runs.unit_files import Damaged, from_bytes, to_bytes

T = TypeVar("T")

#: What to do where a unit cannot be written.
ADVICE = {
    errno.ENOSPC: "free some space and run again with the same folder",
    errno.EDQUOT: "free some space and run again with the same folder",
    errno.ENOENT: "the folder was removed; run again, from the start where it cannot be put back",
}


class ShareDone(Exception):
    """A shard has done its share, and what comes next needs the others'."""


class Run:
    """An open folder of units.

    Attributes:
        folder: where it is.
        shard: (number from 1, how many), or None for a whole run.
        made: how many units were made since it was opened.
        found: how many were found on disk.
        waiting: how many belong to other shards and were not there.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None) -> None:
        self.folder, self.shard = folder, shard
        self.made = self.found = self.waiting = 0

    def unit(self, key: str, name: str, make: Callable[[], T], *, mine: bool = True) -> T | None:
        """A unit's result, from disk or made; None for one that another shard has yet to make."""
        path = self.folder / UNITS / f"{key}.safetensors"
        try:
            value = from_bytes(path.read_bytes())
            self.found += 1
            return value
        except FileNotFoundError:
            pass
        except Damaged as error:
            word(f"{path}, a unit of {name}, is damaged ({error}); it is made again")
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror}); check the disk") from error
        if not mine:
            self.waiting += 1
            return None
        with suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{key} {name}\n")
        value = make()
        data = to_bytes(name, value)
        try:
            write_durably(path, lambda temporary: temporary.write_bytes(data))
        except OSError as error:
            advice = ADVICE.get(error.errno or 0, "give a folder that you may write to")
            raise ValueError(
                f"a unit of {name} cannot be written to {self.folder} ({error.strerror}); all units "
                f"before it are kept; {advice}"
            ) from error
        self.made += 1
        return value


_open: Run | None = None


def current() -> Run | None:
    """The run that is open, if any."""
    return _open


@contextmanager
def resumable(
    folder: str | Path,
    *,
    job: Mapping[str, Any] | None = None,
    shard: str | None = None,
) -> Iterator[Run]:
    """Keep the parts of long work in a folder, so that it survives whatever ends the process.

    Sweeps, stitching, patch grids, causal traces, questions and probes inside of the `with` are made
    unit by unit. Each unit is written to the folder when it is done; when the same lines run again
    with the same folder, only what is missing is made, and the numbers are the same bytes. Anything
    that differs (weights, prompts, edits, metrics, seeds, versions, code) is another unit.

    Args:
        folder: a new folder, or one that such a run has left; one run writes to it at a time.
        job: what the run is, by name; a folder of another job is then refused.
        shard: "2/4" for the second of four shares of the units; tables then hold the rows of the
            units that are there. Run all shares, into one folder or into several that
            `interp merge` joins, and then the whole.

    Yields:
        The run, which counts the units that were made and found.

    Raises:
        ValueError: if another process writes to the folder, if it holds something else or a run of
            another job, or if a unit cannot be written. Every unit before stays.

    Note:
        Unedited runs (`interp.collect`) are not kept; they are a small part of any sweep.

    Example:
        >>> import interp, patching, tempfile
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> folder = tempfile.mkdtemp()
        >>> for attempt in range(2):
        ...     with interp.resumable(folder) as run:
        ...         grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
        ...     print(run.made > 0, run.found > 0)
        True False
        False True
    """
    global _open
    if _open is not None:
        raise ValueError(
            f"a run writes to {_open.folder} already; got another at {folder}; end the first, or leave "
            "the second out: all that runs inside of the first is kept there"
        )
    folder = Path(folder).expanduser()
    share = None if shard is None else shard_of(shard)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot hold a run ({error.strerror}); give a folder that you may write to"
        ) from error
    with locked(folder, share):
        open_manifest(folder, {} if job is None else job, packages(), share)
        if share is None:
            remove_temporary(folder)
        _open = run = Run(folder, share)
        try:
            yield run
        except ShareDone:
            write_share(folder, run.shard, run.waiting)
            raise
        else:
            write_share(folder, run.shard, run.waiting)
        finally:
            _open = None


@dataclass(frozen=True)
class Series:
    """Units that share their inputs and differ by their number.

    Attributes:
        name: what they are.
        digest: hash of the inputs; "" where no run is open.
    """

    name: str
    digest: str

    @property
    def kept(self) -> bool:
        """Whether the units are kept on disk."""
        return bool(self.digest)

    def unit(self, number: int, make: Callable[[], T], *, dealt: bool = True) -> T | None:
        """The result of one unit: made, or read where the open run has it.

        Args:
            number: which of the series.
            make: makes it; never None.
            dealt: whether it is dealt to one of the shards; others are made by every shard.

        Returns:
            The result, its tensors on the CPU where it was read; None for a unit that another shard
            has yet to make.
        """
        run = _open
        if run is None or not self.kept:
            return make()
        key = hashlib.blake2b(f"{self.digest} {number}".encode(), digest_size=20).hexdigest()
        mine = True
        if dealt and run.shard is not None:
            which, count = run.shard
            # Numbers go round the shards, each series from another one: even, whatever came before.
            mine = (int(self.digest[:8], 16) + number) % count == which - 1
        return run.unit(key, self.name, make, mine=mine)


def series(name: str, code: Sequence[str], *inputs: object) -> Series:
    """Begin units of work; without an open run nothing is hashed.

    Args:
        name: what they are.
        code: modules and packages whose source determines their results.
        *inputs: everything else that does.

    Raises:
        ValueError: for an input that cannot be told by its contents.
    """
    if _open is None:
        return Series(name, "")
    return Series(name, fingerprint((name, code_of(*code), packages(), inputs)))


def waiting() -> bool:
    """Whether rows are missing that other shards have yet to make."""
    return _open is not None and _open.waiting > 0


def require_whole() -> None:
    """End a shard here: what comes next needs the units of all.

    Raises:
        ShareDone: where the open run is a shard.
    """
    if _open is not None and _open.shard is not None:
        which, count = _open.shard
        raise ShareDone(
            f"shard {which} of {count} is done: {_open.made} units made, {_open.found} found in "
            f"{_open.folder}"
        )
