"""Joining the folders of shards into one that a whole run goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp._files import write_durably
from interp.progress import word
from interp.runs.code import packages
from interp.runs.locks import locked
from interp.runs.manifest import (
    UNITS,
    open_manifest,
    read_manifest,
    remove_temporary,
    require_same_job,
    shares,
)
from interp.runs.unit_files import Damaged, from_bytes


def join(folders: Sequence[Path], out: Path) -> int:
    """Copy the units of all shards of one job into a folder.

    Args:
        folders: of the shards; one folder that all of them wrote to will do.
        out: a new folder, or one of them; running the job with it makes what is still missing.

    Returns:
        How many units are in it.

    Raises:
        ValueError: for no folders, for shards that overlap, are missing, have not done their share,
            or are of another job, naming them.
    """
    check_shards(folders)
    job = read_manifest(folders[0])["job"]
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        open_manifest(out, job, packages(), None)
        remove_temporary(out)
        for folder in folders:
            if folder.resolve() != out.resolve():
                for path in sorted((folder / UNITS).glob("*.safetensors")):
                    _copy(path, out / UNITS / path.name)
        return len(list((out / UNITS).glob("*.safetensors")))


def check_shards(folders: Sequence[Path]) -> None:
    """Refuse folders that are not all shards of one job, each once.

    Raises:
        ValueError: naming the folder or the shard.
    """
    if not folders:
        raise ValueError("merge got no folders; give those of all shards")
    first = read_manifest(folders[0])
    where: dict[tuple[int, int], Path] = {}
    for folder in folders:
        require_same_job(folder, read_manifest(folder)["job"], first["job"])
        done = shares(folder)
        if not done:
            raise ValueError(
                f"{folder} holds no shard that has done its share; run it again with its --shard, and "
                "merge when it has ended"
            )
        for shard in done:
            if shard in where:
                raise ValueError(
                    f"shard {shard[0]} of {shard[1]} is in {where[shard]} and in {folder}; each must "
                    "be given once: leave one out"
                )
            where[shard] = folder
    counts = {count for _, count in where}
    if len(counts) > 1:
        told = ", ".join(f"{i}/{n} in {folder}" for (i, n), folder in sorted(where.items()))
        raise ValueError(f"shards must be of one division, got {told}; leave the others out")
    count = counts.pop()
    missing = [i for i in range(1, count + 1) if (i, count) not in where]
    if missing:
        told = ", ".join(f"{i}/{count}" for i in missing)
        raise ValueError(f"of {count} shards {told} are missing; run them, or give their folders too")


def _copy(source: Path, target: Path) -> None:
    """Copy a unit that is whole and not yet there."""
    if target.exists():
        return
    data = source.read_bytes()
    try:
        from_bytes(data)
    except Damaged as error:
        word(f"{source} is damaged ({error}); it is made again")
        return
    write_durably(target, lambda temporary: temporary.write_bytes(data))
