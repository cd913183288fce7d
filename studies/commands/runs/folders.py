"""Folders that commands write into: fresh ones, and those that keep the parts of a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interp.runs.manifest import MANIFEST, PROBE, UNITS, strangers
from studies.commands.options import KeptError

RUNS = Path("interp-runs")

#: What is written before parts that take long.
VERDICT = "verdict.json"


@contextmanager
def kept(folder: Path | None, shard: str | None = None) -> Iterator[None]:
    """Keep the parts of what runs inside in a folder, where one is given; an interrupt says so."""
    if folder is None:
        yield
        return
    from interp.runs.run import resumable

    with interruptible(folder), resumable(folder, shard=shard):
        yield


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Have an interrupt say that what was made is kept.

    Raises:
        KeptError: in place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        kept = any(path.is_file() and path.name != MANIFEST for path in folder.rglob("*"))
        raise KeptError(
            f"interrupted; what was made is kept in {folder}; the same command goes on from there"
            if kept
            else "interrupted before any part was made; the same command begins anew"
        ) from error


def _free(folder: Path, resume: bool) -> bool:
    """Whether a folder is empty, or a run has left it and is to be resumed."""
    if not resume:
        return not any(folder.iterdir())
    return (folder / MANIFEST).exists() or not strangers(folder)


@contextmanager
def fresh(out: Path | None, *, resume: bool = False, keeps: str | None = None) -> Iterator[Path]:
    """The folder to write into, checked before anything long runs, gone again if the run fails.

    Args:
        out: the folder; None for a numbered one.
        resume: whether it may be that of a run before, and stays once it holds any part.
        keeps: a file that is written early and is of use by itself: the folder stays with it.

    Raises:
        ValueError: if it exists and is not an empty folder, or cannot be created.
    """
    folder = out
    if folder is None:
        taken = [int(p.name) for p in RUNS.glob("*") if p.name.isdigit()]
        folder = RUNS / f"{max(taken, default=0) + 1:03d}"
    try:
        begun = (folder / MANIFEST).exists() and (folder / UNITS).is_dir()
        if begun and not resume:
            raise ValueError(
                f"--out {folder} holds a run that has not ended; add --resume to go on with it, or "
                "give a new folder"
            )
        if folder.exists() and not (folder.is_dir() and _free(folder, resume)):
            raise ValueError(
                f"--out {folder} exists and is not empty; nothing is overwritten; give a new folder"
            )
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / PROBE
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be written ({error.strerror}); give a folder you may write to"
        ) from error
    try:
        yield folder
    except BaseException:
        early = keeps is not None and (folder / keeps).exists()
        if early or (resume and any((folder / UNITS).glob("*"))):
            raise
        if folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
