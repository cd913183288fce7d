"""One writer of a folder at a time, on this machine and, as far as can be known, on others.

The lock is the system's (`flock`): it goes with its process, however that ends, and knows no clock and
no process number that was given anew. The text in the file says who holds it, for whoever is refused.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.progress import word

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None

#: Held alone by a whole run, and by all that share one together.
WHOLE = "run.lock"

#: Held alone by whoever starts the workers of a run, and replaces those that die.
DRIVER = "driver.lock"


@contextmanager
def locked(folder: Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a folder while a run writes to it.

    Args:
        folder: the run's folder.
        shard: which shard of how many joins; several may write to one folder, a whole run only alone.

    Raises:
        ValueError: if another run holds it, naming its process; one that ended on this machine is
            no hindrance, and is told of.
    """
    if shard is None:
        with _held(folder, WHOLE, alone=True):
            yield
        return
    with joined(folder), _held(folder, shard_lock(shard), alone=True):
        yield


@contextmanager
def joined(folder: Path) -> Iterator[None]:
    """Hold a folder together with others that share its run.

    Raises:
        ValueError: if a whole run holds it, naming its process.
    """
    with _held(folder, WHOLE, alone=False):
        yield


@contextmanager
def driven(folder: Path) -> Iterator[None]:
    """Hold a folder as the one that starts its workers.

    Raises:
        ValueError: if another does, or if a whole run holds it, naming its process.
    """
    with joined(folder), _held(folder, DRIVER, alone=True):
        yield


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder of one writer at a time by itself: no file of a lock stands among its files.

    Raises:
        ValueError: if another process writes to it.
    """
    if fcntl is None:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        if not _flocked(folder, number, alone=True):
            raise ValueError(
                f"{folder} is being written by another process; wait for it, or give another folder"
            )
        yield
    finally:
        os.close(number)


def shard_lock(shard: tuple[int, int]) -> str:
    """The name of a shard's lock file."""
    return f"shard-{shard[0]}-of-{shard[1]}.lock"


@contextmanager
def _held(folder: Path, name: str, *, alone: bool) -> Iterator[None]:
    path = folder / name
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot hold a run ({error.strerror}); give a folder that you may write to"
        ) from error
    try:
        _take(folder, number, alone)
        if alone:
            _take_over(folder, path, number)
            _write(number, {"process": os.getpid(), "machine": socket.gethostname()})
        try:
            yield
        finally:
            if alone:
                _write(number, None)
    finally:
        os.close(number)


def _take(folder: Path, number: int, alone: bool) -> None:
    """Lock the file, or say who has."""
    if _flocked(folder, number, alone):
        return
    holders = [_read(path) for path in sorted(folder.glob("*.lock"))]
    told = ", ".join(
        f"process {who['process']} on {who['machine']}" for who in holders if who is not None
    )
    raise ValueError(
        f"{folder} is being written by {told or 'another process'}; wait until it has ended, stop "
        "it, give another folder, or join it as one of its shards with --shard"
    )


def _flocked(folder: Path, number: int, alone: bool) -> bool:
    """Whether the open file is locked now (or nothing can be); False where another process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(number, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        raise ValueError(
            f"{folder} is on a disk that cannot be locked ({error.strerror}); give a folder on another"
        ) from error


def _take_over(folder: Path, path: Path, number: int) -> None:
    """Having the lock, mind who wrote their name into it and never took it out."""
    who = _read(path)
    if who is None:
        return
    if who["machine"] != socket.gethostname():
        # Some network disks keep locks of each machine apart.
        raise ValueError(
            f"{folder} is held by process {who['process']} on {who['machine']}; if that has ended, "
            f"remove {path} and run again"
        )
    word(
        f"process {who['process']}, which was writing {folder}, has ended; this run goes on from there"
    )


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds a lock; None where nobody wrote a name."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return {"process": int(who["process"]), "machine": str(who["machine"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(number: int, who: dict[str, Any] | None) -> None:
    """Say in the lock's file who holds it."""
    try:
        os.ftruncate(number, 0)
        if who is not None:
            os.pwrite(number, json.dumps(who).encode(), 0)
    except OSError:  # a full disk: the lock itself is held all the same
        pass
