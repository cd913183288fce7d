"""What a job is expected to cost: stage by stage, and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from interp._doors import checked
from interp.display.html import Shown

#: Head and numbers of the printed table.
HEAD = ("stage", "passes", "loop", "layer-tokens", "memory", "disk", "time")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some work costs.

    Attributes:
        passes: batches of edited copies.
        forwards: whole forward passes that a loop over edits would take, unedited ones included.
        layer_tokens: tokens put through one block each, the unit of the progress bar.
        rows: rows of evidence it leaves.
        peak_bytes: memory at most while it runs: of a stage models included, of the process on a CPU,
            else of the device; of other work what it takes beside.
        disk_bytes: what it leaves in the folder.
        seconds: expected time.
    """

    passes: int = 0
    forwards: int = 0
    layer_tokens: int = 0
    rows: int = 0
    peak_bytes: int = 0
    disk_bytes: int = 0
    seconds: float = 0.0

    @classmethod
    @checked
    def of(cls, costs: Iterable[Cost]) -> Cost:
        """Work done one after the other: sums, and the memory of what takes most."""
        parts = list(costs)
        names = [f.name for f in fields(Cost) if f.name != "peak_bytes"]
        sums = {name: sum(getattr(part, name) for part in parts) for name in names}
        return Cost(**sums, peak_bytes=max((part.peak_bytes for part in parts), default=0))


@dataclass(frozen=True, kw_only=True)
class StagePlan(Cost):
    """What one stage is expected to cost: the numbers of a `Cost`, by the stage's name.

    Attributes:
        name: of the stage, as the job's progress calls it.
    """

    name: str

    @classmethod
    @checked
    def named(cls, name: str, cost: Cost, **other: Any) -> StagePlan:
        """A stage of this cost, with other numbers in place of some."""
        numbers = {f.name: getattr(cost, f.name) for f in fields(Cost)}
        return cls(name=name, **{**numbers, **other})


@dataclass(frozen=True, repr=False)
class JobPlan(Shown):
    """What a comparison or a scan is expected to cost.

    Attributes:
        base: the base's name.
        tuned: the tuned model's name.
        counts: how many there are of what is asked, by name: facts, those that are known to the base
            and those of them that changed; or prompts and those that changed.
        stages: in the order in which the job runs them.
        assumed: what was taken for granted, a sentence each.
        most: what it costs at most, where that hangs on what is found; None where it does not.
    """

    base: str
    tuned: str
    counts: Mapping[str, int]
    stages: tuple[StagePlan, ...]
    assumed: tuple[str, ...] = ()
    most: Cost | None = None

    @property
    def total(self) -> StagePlan:
        """All stages together; memory is that of the largest."""
        return StagePlan.named("total", Cost.of(self.stages))

    @property
    def seconds(self) -> float:
        """Expected time of the whole job."""
        return self.total.seconds

    @property
    def peak_bytes(self) -> int:
        """Memory at most."""
        return self.total.peak_bytes

    @property
    def layer_tokens(self) -> int:
        """Tokens put through one block each, in all."""
        return self.total.layer_tokens

    def after(self, seconds: Mapping[str, float]) -> JobPlan:
        """The same job with stages before it that were timed.

        Args:
            seconds: stage -> what it took.
        """
        before = [StagePlan(name=name, seconds=taken) for name, taken in seconds.items()]
        most = None if self.most is None else Cost.of([*before, self.most])
        return replace(self, stages=(*before, *self.stages), most=most)

    def to_dict(self) -> dict[str, Any]:
        """Everything as data, for JSON."""
        return {**asdict(self), **self.counts, "total": asdict(self.total)}

    def __repr__(self) -> str:
        """The job and its whole cost, on one line."""
        return f"JobPlan({self.base} -> {self.tuned}: {_words(self.total)})"

    def __str__(self) -> str:
        """A table of the stages, and a line for the whole."""
        rows = [HEAD, *map(_row, self.stages)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
        ]
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        told = [f"{counts}: {_words(self.total)}", *self.assumed]
        if self.most is not None:
            told.append(f"at most: {_words(self.most)}")
        return "\n".join([*lines, *told])

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        stages = (*self.stages, self.total)
        return HEAD, [_row(stage) for stage in stages], len(stages)


def staged(
    names: Iterable[str], costs: Mapping[str, Cost], held: tuple[int, int]
) -> tuple[StagePlan, ...]:
    """Stages in order, with what is held already beneath the memory of each.

    Args:
        names: of all stages.
        costs: of those that cost anything.
        held: bytes (now, at most so far) before the first.
    """
    now, most = held
    named = ((name, costs.get(name, Cost())) for name in names)
    return tuple(
        StagePlan.named(name, cost, peak_bytes=max(most, now + cost.peak_bytes)) for name, cost in named
    )


def _row(stage: StagePlan) -> tuple[str, ...]:
    """A stage's cells; a dash for none."""
    counts = [f"{n:,}" if n else "–" for n in (stage.passes, stage.forwards, stage.layer_tokens)]
    sizes = [in_bytes(n) if n else "–" for n in (stage.peak_bytes, stage.disk_bytes)]
    return (stage.name, *counts, *sizes, in_time(stage.seconds))


def _words(total: Cost) -> str:
    """A whole cost on one line."""
    return (
        f"{total.passes:,} passes, {total.layer_tokens:,} layer-tokens (a loop: {total.forwards:,} "
        f"forwards), {in_bytes(total.peak_bytes)} of memory, {in_bytes(total.disk_bytes)} of disk, "
        f"about {in_time(total.seconds)}"
    )


def in_bytes(count: int) -> str:
    """A number of bytes in words."""
    if count >= 2**40:
        return f"{count / 2**40:,.1f} TiB"
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def in_time(seconds: float) -> str:
    """A time in words."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"
