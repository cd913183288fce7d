"""Several workers over one folder: each makes what nobody else has begun, until nothing is missing.

Whoever begins a unit makes a file beside it, its *claim*, which only one can make; who finds a claim
goes on to the next unit. So uneven units are shared out evenly, and any number of workers may come and
go. No clock tells whether a worker lives: whoever knows that it died gives up its claims (`release`).
If it lived after all, a unit is made twice, to the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from interp.runs.folder import Run, unit_file
from interp.runs.locks import joined
from interp.runs.manifest import CLAIM, release
from interp.runs.run import ShareDone, opened

T = TypeVar("T")

#: Seconds between two looks at whether others are done.
PAUSE = 0.2


class SharedRun(Run):
    """An open folder in which other workers make units too.

    Attributes:
        worker: the name of this one, like no other's in the folder.
        missed: the units that others were making.
        failed: whether making a unit failed.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        super().__init__(folder)
        self.worker, self.failed = worker, False
        self.missed: list[str] = []

    @property
    def name(self) -> str:
        """Whose share of the units it makes."""
        return self.worker

    @property
    def alone(self) -> bool:
        """Never: others make units too."""
        return False

    @property
    def whole(self) -> bool:
        """Whether every unit so far is there, whoever made it."""
        return not self.missed

    def locked(self) -> AbstractContextManager[None]:
        """The folder held together with the other workers."""
        return joined(self.folder)

    def unit(self, key: str, name: str, make: Callable[[], T], *, mine: bool = True) -> T | None:
        """A unit's result, from disk or made; None for one that another is making."""
        value = self.read(key, name)
        if value is not None:
            return value
        if not self._claimed(key, name):
            self.missed.append(key)
            self.waiting += 1
            return None
        try:
            # Its maker may have ended between the two looks: the unit first, then the claim goes.
            value = self.read(key, name)
            return self.write(key, name, make) if value is None else value
        except BaseException:
            self.failed = True
            raise
        finally:
            self._claim(key).unlink(missing_ok=True)

    def wait(self) -> None:
        """Wait until all that others were making is there, or one of them has given up."""
        missed = self.missed
        while missed:
            time.sleep(PAUSE)
            # In this order: who ends writes the unit first.
            given_up = [key for key in missed if not self._claim(key).exists()]
            missed = [key for key in missed if not unit_file(self.folder, key).exists()]
            if set(missed) & set(given_up):
                return

    def _claim(self, key: str) -> Path:
        return unit_file(self.folder, key).with_suffix(CLAIM)

    def _claimed(self, key: str, name: str) -> bool:
        """Whether this worker, and no other, is to make a unit."""
        try:
            with self._claim(key).open("x", encoding="utf-8") as file:
                file.write(self.worker)
        except FileExistsError:
            return False
        except OSError as error:
            raise self.unwritable(name, error) from error
        return True


def work_in_rounds(
    folder: Path, worker: str, work: Callable[[], T], job: Mapping[str, Any] | None = None
) -> T:
    """Do the whole of a work over a shared folder, again and again until no unit of it is missing.

    A round reads what is there and makes what nobody else is making; rows that others make are absent
    in its tables. The result is that of the round in which none was.

    Args:
        folder: shared by all workers.
        worker: the name of this one; claims that one of this name has left are given up.
        work: gives the result; begun anew each round.
        job: what the run is, by name.

    Returns:
        What `work` returns when nothing is missing.

    Raises:
        ValueError: as `interp.resumable`. Errors of `work` come as they are, but for those of a round
            that lacked rows: the next one has them.
    """
    release(folder, worker)
    while True:
        run = SharedRun(folder, worker)
        try:
            with opened(run, job):
                result = work()
            if run.whole:
                return result
        except ShareDone:
            pass
        except Exception:
            if run.failed or run.whole:
                raise
        run.wait()
