"""Files that a failure leaves whole: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any


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
    if os.name == "posix":
        _flush(path.parent, os.O_RDONLY)
    return path


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


def is_temporary(path: Path) -> bool:
    """Whether a file bears a temporary name, as a killed process leaves it behind."""
    return path.name.startswith(".") and ".tmp" in path.name
