"""Progress of long work: a bar in a terminal, elsewhere one plain line a minute at most.

Every bar of the toolkit is made here. `TQDM_DISABLE=1` silences them all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

#: Work that takes less than this many seconds shows nothing.
QUIET_SECONDS = 2.0
#: Where standard error is no terminal, at least this long between two lines.
LINE_SECONDS = 60.0

T = TypeVar("T")
_last_line = time.monotonic()


@contextmanager
def counted(total: int, what: str | None, unit: str) -> Iterator[Callable[[int], object]]:
    """Show work of so many units while it is done.

    Args:
        total: how many units there are.
        what: names the work; None shows nothing.
        unit: what the units are called.

    Yields:
        A function to be called with the number of units done since the last call.
    """
    if what is None or _disabled():
        yield lambda done: None
    elif watched():
        from tqdm.auto import tqdm

        with tqdm(
            total=total, desc=what, unit=f" {unit}", unit_scale=total > 10_000, delay=QUIET_SECONDS,
            leave=False,
        ) as bar:  # fmt: skip
            yield bar.update
    else:
        yield _lines(total, what, unit)


def tracked(items: Sequence[T], what: str | None, unit: str = "batches") -> Iterator[T]:
    """Yield items one by one, shown as they are worked through.

    Args:
        items: what is worked on.
        what: names the work; None shows nothing.
        unit: what the items are called.
    """
    with counted(len(items), what, unit) as step:
        for item in items:
            yield item
            step(1)


def announce(text: str) -> None:
    """Write what begins, in a terminal only."""
    if watched() and not _disabled():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _lines(total: int, what: str, unit: str) -> Callable[[int], None]:
    """A counter that writes a line where none of any work was written for a minute."""
    done = 0

    def step(more: int = 1) -> None:
        global _last_line
        nonlocal done
        done += more
        now = time.monotonic()
        if now - _last_line >= LINE_SECONDS:
            _last_line = now
            sys.stderr.write(f"{what}: {done:,} of {total:,} {unit}\n")
            sys.stderr.flush()

    return step


def watched() -> bool:
    """Whether standard error is a terminal, where a line can be drawn anew."""
    return bool(sys.stderr is not None and sys.stderr.isatty())


def _disabled() -> bool:
    return os.environ.get("TQDM_DISABLE", "").strip().lower() not in ("", "0", "false", "no")
