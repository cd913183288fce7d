"""Progress of long work: bars in a terminal or a notebook, elsewhere one plain line a minute at most.

A `job` is work of several stages, shown as one bar with its stage, its percentage and the time left;
the work that is `counted` inside of it stands below as a bar of its own. Every bar of the toolkit is
made here. `TQDM_DISABLE=1` silences them all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib.util import find_spec
from typing import Any, TypeVar

#: Work that takes less than this many seconds shows nothing.
QUIET_SECONDS = 2.0
#: Where nothing can be drawn anew, at least this long between two lines.
LINE_SECONDS = 60.0
#: Of the bar of a whole job: its share is what counts, and no number of units.
JOB_FORMAT = "{desc} {percentage:3.0f}%|{bar:20}| {elapsed}, {remaining} left"

T = TypeVar("T")
_last_line = time.monotonic()


class Detail(IntEnum):
    """How much is told."""

    QUIET = 0
    USUAL = 1
    VERBOSE = 2


_detail = Detail.USUAL


def tell(detail: Detail) -> None:
    """Set how much is told from here on.

    Args:
        detail: QUIET for nothing; VERBOSE for a line at every stage, in log files too.
    """
    global _detail
    _detail = detail


class _Job:
    """Stages of work with their shares of the time, and how far it is.

    Args:
        what: names the work.
        shares: stage -> its share of the time; they need not sum to one.
        draw: whether a bar is drawn.
    """

    def __init__(self, what: str, shares: Mapping[str, int], draw: bool) -> None:
        whole = sum(shares.values())
        self.what, self.shares = what, {name: share / whole for name, share in shares.items()}
        self.begun, self.stage, self.start, self.share = time.monotonic(), "", 0.0, 0.0
        self.parts, self.finished, self.done, self.counting = 1, 0, 0.0, False
        self.taken: dict[str, float] = {}
        self.entered = self.begun
        self.bar: Any = None
        if draw:
            self.bar = _bars()(
                total=1.0, desc=what, bar_format=JOB_FORMAT, leave=False, smoothing=0.0
            )  # fmt: skip

    def enter(self, stage: str, parts: int) -> None:
        """Turn to a stage; one that was not announced takes no share of its own."""
        self.leave()
        before = list(self.shares)[: list(self.shares).index(stage)] if stage in self.shares else None
        self.start = self.done if before is None else sum(self.shares[name] for name in before)
        self.stage, self.share = stage, self.shares.get(stage, 0.0)
        self.parts, self.finished = parts, 0
        self.reach(0.0)
        if self.bar is not None:
            self.bar.set_description_str(f"{self.what}: {stage}")

    def leave(self) -> None:
        """Note what the current stage took."""
        now = time.monotonic()
        if self.stage:
            self.taken[self.stage] = self.taken.get(self.stage, 0.0) + now - self.entered
        self.entered = now

    def reach(self, part: float) -> None:
        """The share of the current part of the stage that is done."""
        within = min(1.0, (self.finished + part) / self.parts)
        done = max(self.done, min(1.0, self.start + self.share * within))
        if self.bar is not None:
            self.bar.update(done - self.done)
        self.done = done

    def told(self) -> str:
        """How far it is, as a line says it."""
        spent, line = time.monotonic() - self.begun, f"{self.what}: {self.done:.0%}, {self.stage}"
        if self.done < 0.05:  # too early to tell
            return line
        return f"{line}, about {_duration(spent * (1 - self.done) / self.done)} left"


_job: _Job | None = None


@contextmanager
def job(what: str, shares: Mapping[str, int]) -> Iterator[Mapping[str, float]]:
    """Show work of several stages as one whole; inside of another job it is part of that one.

    Args:
        what: names the work.
        shares: stage -> its share of the time, in the order of the stages.

    Yields:
        The seconds that each finished stage took, complete when the `with` is left.
    """
    global _job
    if _job is not None:
        yield _job.taken
        return
    _job = _Job(what, shares, draw=drawn() and not _silent())
    try:
        yield _job.taken
    finally:
        _job.leave()
        if _job.bar is not None:
            _job.bar.close()
        _job = None


def stage(name: str, parts: int = 1) -> None:
    """Begin the next stage of the job; nothing where there is none.

    Args:
        name: one of the job's stages.
        parts: how many works are counted in it, one after another; about so many will do.
    """
    if _job is None:
        return
    _job.enter(name, parts)
    if _detail is Detail.VERBOSE and not _silent():
        _write(f"{_job.what}: {name} … ({_duration(time.monotonic() - _job.begun)} so far)")
    elif not drawn():
        _line(_job.told)


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
    if what is None or _silent():
        yield lambda done: None
    elif drawn():
        with _bars()(
            total=total, desc=what if _job is None else f"  {what}", unit=f" {unit}",
            unit_scale=total > 10_000, delay=QUIET_SECONDS, leave=False,
        ) as bar, _of_job(bar.update, total) as step:  # fmt: skip
            yield step
    else:
        with _of_job(_lines(total, what, unit), total) as step:
            yield step


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
    """Write what begins, where `announced`."""
    if announced():
        _write(text)


def announced() -> bool:
    """Whether it is told what begins: in a terminal; elsewhere only where everything is told."""
    return (watched() or _detail is Detail.VERBOSE) and not _silent()


def word(text: str) -> None:
    """Write one line that is told whatever is silenced: what went wrong and was mended."""
    _write(text)


def watched() -> bool:
    """Whether standard error is a terminal, where a line can be drawn anew."""
    return bool(sys.stderr is not None and sys.stderr.isatty())


def drawn() -> bool:
    """Whether bars are drawn: in a terminal, and in a notebook that has widgets."""
    return watched() or _notebook()


def _notebook() -> bool:
    """Whether this is a notebook that shows widgets; without them it is told in lines."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None


def _bars() -> Any:
    """The kind of bar that is drawn here."""
    if _notebook():
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return tqdm


@contextmanager
def _of_job(step: Callable[[int], object], total: int) -> Iterator[Callable[[int], object]]:
    """A counter whose steps move the whole job too, unless it is counted inside of another."""
    if _job is None or _job.counting:
        yield step
        return
    whole, done = _job, 0

    def both(more: int = 1) -> None:
        nonlocal done
        done += more
        whole.reach(min(1.0, done / max(total, 1)))
        step(more)

    whole.counting = True
    try:
        yield both
    finally:
        whole.reach(1.0)
        whole.finished, whole.counting = whole.finished + 1, False


def _lines(total: int, what: str, unit: str) -> Callable[[int], None]:
    """A counter that writes a line where none of any work was written for a minute."""
    done = 0

    def told() -> str:
        counted_so_far = f"{what}: {done:,} of {total:,} {unit}"
        return counted_so_far if _job is None else f"{_job.told()} ({counted_so_far})"

    def step(more: int = 1) -> None:
        nonlocal done
        done += more
        _line(told)

    return step


def _line(told: Callable[[], str]) -> None:
    """Write a line, where none was written for a minute."""
    global _last_line
    now = time.monotonic()
    if now - _last_line >= LINE_SECONDS and not _silent():
        _last_line = now
        _write(told())


def _write(text: str) -> None:
    """A line on standard error, above the bars that stand there."""
    if _job is not None and _job.bar is not None:
        _job.bar.write(text, file=sys.stderr)
        return
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _silent() -> bool:
    disabled = os.environ.get("TQDM_DISABLE", "").strip().lower() not in ("", "0", "false", "no")
    return disabled or _detail is Detail.QUIET
