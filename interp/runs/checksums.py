"""Checksums of a finished folder, in the form that `sha256sum --check` reads too."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

from interp._files import is_temporary, write_text
from interp.runs.manifest import is_trace

SUMS = "SHA256SUMS"

#: Names of this many files are a few megabytes; a longer list is none of ours.
LARGEST = 2**24


def write_checksums(folder: Path) -> Path:
    """Write the checksum of every file in a folder, but for what a run keeps to itself.

    Args:
        folder: whose files, those in folders below too.

    Returns:
        The file with a line for each.
    """
    lines = [f"{_sum(path)}  {name}\n" for name, path in _files(folder).items()]
    return write_text(folder / SUMS, "".join(lines))


def differences(folder: Path) -> list[str]:
    """What is not as it was when the checksums were written: one line for each file.

    Args:
        folder: with the file that `write_checksums` wrote.

    Returns:
        Nothing where all is as it was.

    Raises:
        ValueError: for a folder without checksums, or with lines that name no file within it.
    """
    expected, found = _read(folder), _files(folder)
    told = [f"{name} is missing" for name in expected if name not in found]
    told += [f"{name} was not there when it was saved" for name in found if name not in expected]
    for name in sorted(expected.keys() & found.keys()):
        if _sum(found[name]) != expected[name]:
            told.append(f"{name} has changed since it was saved")
    return told


def _files(folder: Path) -> dict[str, Path]:
    """Name within the folder -> file, in order."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    named = {path.relative_to(folder).as_posix(): path for path in paths if not is_temporary(path)}
    return {n: named[n] for n in sorted(named) if n != SUMS and not is_trace(n)}


def _read(folder: Path) -> dict[str, str]:
    """The checksums of a folder, by the names of its files."""
    path = folder / SUMS
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is too large to be a list of checksums; restore it")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{folder} has no {SUMS} that can be read; give one of `interp compare` or `interp scan`"
        ) from error
    expected = {}
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        name = "" if match is None else match[2]
        inside = PurePosixPath(name)
        if match is None or inside.is_absolute() or ".." in inside.parts or "\\" in name:
            raise ValueError(f"{path} holds a line that names no file of it: {line[:80]!r}; restore it")
        expected[name] = match[1]
    return expected


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
