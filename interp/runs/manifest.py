"""What a run's folder says of itself: the job, the versions, and which shards have done their share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from interp._files import is_temporary, write_durably
from interp.progress import word
from interp.untrusted import reading

MANIFEST, UNITS = "run.json", "units"

#: The file that is written for a moment to see whether a folder can be written to.
PROBE = ".writable"

#: How the name of a file ends that says which worker is making a unit.
CLAIM = ".claim"

#: Where the scripts and logs of jobs stand that make shards of a run.
JOBS = "slurm"

#: The file with a line for every unit that was begun.
LOG = "units.log"

FORMAT = 1

#: A manifest is a few hundred bytes; what is larger is none.
LARGEST = 2**20


def open_manifest(
    folder: Path, job: Mapping[str, Any], packages: Mapping[str, str], shard: tuple[int, int] | None
) -> None:
    """Check what a folder is of, or write what it will be of.

    Args:
        folder: the run's.
        job: what the run is, by name; empty for any.
        packages: versions of today.
        shard: which of how many shards opens it.

    Raises:
        ValueError: if it holds something else, or a run of another job, naming what differs.
    """
    if not (folder / MANIFEST).exists():
        others = strangers(folder)
        if others:
            raise ValueError(
                f"{folder} holds {others[0]} and no {MANIFEST}, so it is no run's folder; give a new "
                "one, or one that a run has left"
            )
        _write(folder / MANIFEST, {"format": FORMAT, "job": dict(job), "packages": dict(packages)})
    found = read_manifest(folder)
    if job:
        require_same_job(folder, found["job"], job)
    moved = [f"{name} {found['packages'].get(name)} → {v}" for name, v in packages.items()
             if found["packages"].get(name) != v]  # fmt: skip
    if moved:
        word(f"{folder} was made with other versions ({', '.join(moved)}): its units are made anew")
    with suppress(OSError):
        (folder / UNITS).mkdir(exist_ok=True)
    if shard is not None:
        share_file(folder, shard).unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a run's folder says of itself.

    Raises:
        ValueError: for a folder that no run has left, or a manifest that cannot be read.
    """
    path = folder / MANIFEST
    held = read_json(path)
    if held is None:
        raise ValueError(
            f"{folder} must be a run's folder, got no {MANIFEST} that can be read; give one that "
            "`interp compare --resume` or `--shard` has left"
        )
    if held.get("format") != FORMAT:
        raise ValueError(
            f"{path} is of format {held.get('format')!r}; expected {FORMAT}; finish the run with the "
            "version of interp that began it, or begin a new one"
        )
    if not isinstance(held.get("job"), dict) or not isinstance(held.get("packages"), dict):
        raise ValueError(f"{path} holds no job; restore it, or begin a new run in another folder")
    return held


def require_same_job(folder: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a folder of another job.

    Raises:
        ValueError: naming everything that differs.
    """
    names = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    if names:
        told = "; ".join(f"{n} was {found.get(n)!r}, is {expected.get(n)!r}" for n in names)
        raise ValueError(
            f"{folder} is of another run: {told}; give the same inputs to go on, or another folder"
        )


def shard_of(text: str) -> tuple[int, int]:
    """The shard that a text such as "2/4" names.

    Raises:
        ValueError: for any other text.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"shard must be NUMBER/COUNT such as 2/4, counted from 1; got {text!r}")
    return int(match[1]), int(match[2])


def share_file(folder: Path, shard: tuple[int, int]) -> Path:
    """The file that says that a shard has done its share."""
    return folder / f"shard-{shard[0]}-of-{shard[1]}.json"


def write_share(folder: Path, shard: tuple[int, int] | None, waiting: int) -> None:
    """Note that a shard has done its share, and how many units of others it missed."""
    if shard is not None:
        _write(share_file(folder, shard), {"shard": list(shard), "waiting": waiting})


def shares(folder: Path) -> list[tuple[int, int]]:
    """The shards that have done their share in this folder."""
    names = (re.fullmatch(r"shard-(\d+)-of-(\d+)\.json", path.name) for path in folder.iterdir())
    return sorted((int(name[1]), int(name[2])) for name in names if name is not None)


def is_trace(name: str) -> bool:
    """Whether a file of a run's folder is none of its results, but of how it came about."""
    first = name.partition("/")[0]
    return (
        first in (MANIFEST, UNITS, LOG, JOBS)
        or re.fullmatch(r"(run|driver|shard-\d+-of-\d+)\.(lock|json)", first) is not None
    )


def strangers(folder: Path) -> list[str]:
    """Names in a folder that no run has left there, not even one killed at its beginning."""
    names = [path.name for path in sorted(folder.iterdir()) if not is_temporary(path)]
    return [name for name in names if name != PROBE and not is_trace(name)]


def remove_temporary(folder: Path) -> None:
    """Remove what killed processes have left half-written."""
    for path in folder.rglob(".*.tmp*"):
        path.unlink(missing_ok=True)


def release(folder: Path, worker: str | None = None) -> None:
    """Give up the units that a worker was making when it died.

    Args:
        folder: the run's.
        worker: its name; None for every worker.
    """
    for path in (folder / UNITS).glob(f"*{CLAIM}"):
        with suppress(FileNotFoundError):  # one that lives has just made it
            # Whoever died between making the file and writing into it has left no name.
            if worker is None or path.read_text(encoding="utf-8") in ("", worker):
                path.unlink()


def remove_units(folder: Path) -> None:
    """Remove the units of a run whose results are written; its manifest stays."""
    for path in (*(folder / UNITS).glob("*.safetensors"), *folder.glob("shard-*-of-*.json")):
        path.unlink(missing_ok=True)
    release(folder)
    remove_temporary(folder)
    for path in (*folder.glob("*.lock"), folder / LOG):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        (folder / UNITS).rmdir()


def read_json(path: Path) -> dict[str, Any] | None:
    """A small JSON object; None where there is none that can be read."""
    try:
        return reading.read_json(path, LARGEST)
    except ValueError:
        return None


def _write(path: Path, held: Mapping[str, Any]) -> None:
    text = json.dumps(held, indent=1, ensure_ascii=False)
    try:
        write_durably(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}); free some space, or give a folder that you "
            "may write to"
        ) from error
