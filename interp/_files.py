"""Files that a failure leaves whole: written under a temporary name, then renamed.

The tables among them are CSV that a spreadsheet opens without running what stands in a cell.
"""

from __future__ import annotations

import csv
import os
import socket
from collections.abc import Iterable
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: Rows that are made into text at once.
_ROWS = 50_000


def require_without(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder that holds one of some files: nothing is overwritten.

    Args:
        folder: which may not be there.
        names: of the files.

    Raises:
        ValueError: with the first of them, or for a file in the folder's place.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder, got a file; choose another name")
    there = next((name for name in names if (folder / name).exists()), None)
    if there is not None:
        raise ValueError(
            f"{folder} must not hold {there} yet, got an existing one; nothing is overwritten; choose "
            "another folder"
        )


def require_new(folder: str | Path, resumed: str | Path | None = None) -> None:
    """Refuse a folder that holds anything; one that keeps the parts of a run is held to them elsewhere.

    Args:
        folder: which may not be there.
        resumed: the folder of a run that goes on.

    Raises:
        ValueError: if it holds anything, or is a file.
    """
    path = Path(folder)
    if resumed is not None and path.resolve() == Path(resumed).resolve():
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"{path} must be a new or empty folder; got one with files; nothing is overwritten; choose "
            "another"
        )


def require_folder_of(path: Path) -> None:
    """Refuse a file in a folder that is not there.

    Args:
        path: of the file.

    Raises:
        ValueError: with the folder.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path} must lie in a folder that is there; got {path.parent}; make it first")


def write_atomically(path: Path, write: Any) -> Path:
    """Call `write(temporary_path)`, then rename to `path`; the old file survives a failure."""
    # On a shared disk processes of several machines may bear one number.
    writer = f"{socket.gethostname()}.{os.getpid()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_durably(path: Path, write: Any) -> Path:
    """`write_atomically`, the file on the disk before it bears its name, and then the name as well."""

    def flushed(temporary: Path) -> None:
        write(temporary)
        _flush(temporary, os.O_RDWR)

    write_atomically(path, flushed)
    flush_names(path.parent)
    return path


def flush_names(folder: Path) -> None:
    """Wait until the names of a folder are on the disk, where a system can."""
    if os.name == "posix":
        _flush(folder, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    """Wait until what was written of a file or a folder is on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> Path:
    """Write text under a temporary name and rename it."""
    return write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV under a temporary name and rename it; see `csv_into`."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv_into(file, table)

    return write_atomically(path, write)


def csv_into(file: TextIOBase, table: pd.DataFrame) -> None:
    """Write a table as CSV, a few rows at a time, without its index.

    A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe before it, so that
    no spreadsheet takes it for a formula; numbers stay as they are.
    """
    for start in range(0, max(1, len(table)), _ROWS):
        part = table.iloc[start : start + _ROWS]
        columns = [_as_text(part.iloc[:, i]) for i in range(part.shape[1])]
        names = [inert(name) for name in table.columns]
        cells = [names, *(column for column in columns if column.dtype == object)]
        # Python's writer leaves a lone carriage return bare, at which readers begin a row.
        bare = any(isinstance(cell, str) and "\r" in cell for c in cells for cell in c)
        type(table)(dict(enumerate(columns)), index=part.index).to_csv(
            file,
            index=False,
            header=names if start == 0 else False,
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL,
        )


def _as_text(column: pd.Series) -> pd.Series:
    """A column whose texts are inert."""
    if column.dtype.kind in "biufcmM":
        return column
    if column.dtype == "category":  # each text once, and nothing at the code -1
        words = np.array([*map(inert, column.cat.categories), None], dtype=object)
        return type(column)(words[column.cat.codes.to_numpy()], index=column.index, dtype=object)
    return column.astype(object).map(inert)


def inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def is_temporary(path: Path) -> bool:
    """Whether a file bears a temporary name, as a killed process leaves it behind."""
    return path.name.startswith(".") and ".tmp" in path.name
