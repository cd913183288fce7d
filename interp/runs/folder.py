"""An open folder of units: what is there is read, what is missing is made and put there."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from interp._files import write_durably
from interp.progress import word
from interp.runs.locks import locked
from interp.runs.manifest import LOG, UNITS
from interp.runs.unit_files import Damaged, from_bytes, to_bytes

T = TypeVar("T")

#: What to do where a unit cannot be written.
ADVICE = {
    errno.ENOSPC: "free some space and run again with the same folder",
    errno.EDQUOT: "free some space and run again with the same folder",
    errno.ENOENT: "the folder was removed; run again, from the start where it cannot be put back",
}


class Run:
    """An open folder of units.

    Attributes:
        folder: where it is.
        shard: (number from 1, how many), or None for a whole run.
        made: how many units were made since it was opened.
        found: how many were found on disk.
        waiting: how many others have yet to make.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None) -> None:
        self.folder, self.shard = folder, shard
        self.made = self.found = self.waiting = 0

    @property
    def name(self) -> str:
        """Whose share of the units it makes."""
        return "the whole run" if self.shard is None else "shard {} of {}".format(*self.shard)

    @property
    def alone(self) -> bool:
        """Whether nobody else makes units in this folder."""
        return self.shard is None

    @property
    def whole(self) -> bool:
        """Whether every unit so far is there, whoever made it."""
        return self.alone

    def locked(self) -> AbstractContextManager[None]:
        """The folder held while units are made."""
        return locked(self.folder, self.shard)

    def unit(self, key: str, name: str, make: Callable[[], T], *, mine: bool = True) -> T | None:
        """A unit's result, from disk or made; None for one that another has yet to make."""
        value = self.read(key, name)
        if value is not None:
            return value
        if mine:
            return self.write(key, name, make)
        self.waiting += 1
        return None

    def read(self, key: str, name: str) -> Any:
        """A unit's result from disk; None where there is none that is sound."""
        path = unit_file(self.folder, key)
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
        return None

    def write(self, key: str, name: str, make: Callable[[], T]) -> T:
        """Make a unit's result and put it on disk."""
        path = unit_file(self.folder, key)
        with suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{key} {name}\n")
        value = make()
        data = to_bytes(name, value)
        try:
            write_durably(path, lambda temporary: temporary.write_bytes(data))
        except OSError as error:
            raise self.unwritable(name, error) from error
        self.made += 1
        return value

    def unwritable(self, name: str, error: OSError) -> ValueError:
        """What to say where nothing can be written."""
        advice = ADVICE.get(error.errno or 0, "give a folder that you may write to")
        return ValueError(
            f"a unit of {name} cannot be written to {self.folder} ({error.strerror}); all units "
            f"before it are kept; {advice}"
        )


def unit_file(folder: Path, key: str) -> Path:
    """Where a unit's result is kept."""
    return folder / UNITS / f"{key}.safetensors"
