"""A run over a folder: what is there is read, what is missing is made and kept.

`resumable` opens a folder. Inside of it long work that is written as a `series` of units finds each
unit's result on disk, or makes it and puts it there; outside of it the same code makes everything in
memory and hashes nothing. A unit is named by what determines it, so a folder can hold those of any
work, and none is ever taken for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from interp.runs.code import code_of, packages
from interp.runs.fingerprint import fingerprint
from interp.runs.folder import Run
from interp.runs.manifest import open_manifest, release, remove_temporary, shard_of, write_share

T = TypeVar("T")


class ShareDone(Exception):
    """A shard or a worker has done its share, and what comes next needs the others'."""


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
    run = Run(Path(folder).expanduser(), None if shard is None else shard_of(shard))
    with opened(run, job):
        yield run


@contextmanager
def opened(run: Run, job: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Have units made and found by a run.

    Args:
        run: its folder is made where there is none, and held.
        job: what the run is, by name.

    Raises:
        ValueError: as `resumable`.
    """
    global _open
    folder = run.folder
    if _open is not None:
        raise ValueError(
            f"a run writes to {_open.folder} already; got another at {folder}; end the first, or leave "
            "the second out: all that runs inside of the first is kept there"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot hold a run ({error.strerror}); give a folder that you may write to"
        ) from error
    with run.locked():
        open_manifest(folder, {} if job is None else job, packages(), run.shard)
        if run.alone:
            remove_temporary(folder)
            release(folder)
        _open = run
        try:
            yield
        except ShareDone:
            write_share(folder, run.shard, run.waiting)
            raise
        else:
            write_share(folder, run.shard, run.waiting)
        finally:
            _open = None


@contextmanager
def unkept() -> Iterator[None]:
    """Keep nothing of what runs inside: for a unit of which only the result is wanted."""
    global _open
    run, _open = _open, None
    try:
        yield
    finally:
        _open = run


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
            The result, its tensors on the CPU where it was read; None for a unit that another has
            yet to make.

        Raises:
            ShareDone: if another is making a unit that is dealt to nobody, so that all need it.
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
        result = run.unit(key, self.name, make, mine=mine)
        if result is None and not dealt:
            raise ShareDone(f"another worker makes a unit of {self.name}")
        return result


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
    """Whether rows are missing that others have yet to make."""
    return _open is not None and _open.waiting > 0


def require_whole() -> None:
    """Go on only where the results so far are whole.

    What is chosen from a table, such as the heads of a second sweep, must be chosen from all of its
    rows. Call this between the two in work that is shared out. In a whole run, and without any, it
    does nothing.

    Returns:
        Nothing; it returns where nothing is missing.

    Raises:
        ShareDone: in a shard, which ends here; and in a worker of `interp.distribute` that lacks units
            of others, which begins again when these are there.

    Example:
        >>> import interp
        >>> interp.require_whole()
    """
    if _open is not None and not _open.whole:
        raise ShareDone(
            f"{_open.name} is done: {_open.made} units made, {_open.found} found in {_open.folder}"
        )
