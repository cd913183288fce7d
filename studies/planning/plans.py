"""What a job is expected to cost: stage by stage, and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from interp.display.html import Shown

#: Head and numbers of the printed table.
HEAD = ("stage", "passes", "loop", "layer-tokens", "memory", "disk", "time")


@dataclass(frozen=True)
class StagePlan:
    """What one stage is expected to cost.

    Attributes:
        name: of the stage, as the job's progress calls it.
        passes: batches of edited copies.
        forwards: whole forward passes that a loop over edits would take.
        layer_tokens: tokens put through one block each, the unit of the progress bar.
        rows: rows of evidence it leaves.
        peak_bytes: memory at most while it runs, models included: of the process on a CPU, else of
            the device.
        disk_bytes: what it leaves in the folder.
        seconds: expected time.
    """

    name: str
    passes: int = 0
    forwards: int = 0
    layer_tokens: int = 0
    rows: int = 0
    peak_bytes: int = 0
    disk_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, repr=False)
class JobPlan(Shown):
    """What a comparison is expected to cost.

    Attributes:
        base: the base's name.
        tuned: the tuned model's name.
        facts: how many facts are asked.
        known: how many the base knows.
        changed: on how many of these the tuned model differs.
        stages: in the order in which the job runs them.
        assumed: what was taken for granted, a sentence each.
    """

    base: str
    tuned: str
    facts: int
    known: int
    changed: int
    stages: tuple[StagePlan, ...]
    assumed: tuple[str, ...] = ()

    @property
    def total(self) -> StagePlan:
        """All stages together; memory is that of the largest."""
        return StagePlan(
            "total",
            passes=sum(stage.passes for stage in self.stages),
            forwards=sum(stage.forwards for stage in self.stages),
            layer_tokens=sum(stage.layer_tokens for stage in self.stages),
            rows=sum(stage.rows for stage in self.stages),
            peak_bytes=max((stage.peak_bytes for stage in self.stages), default=0),
            disk_bytes=sum(stage.disk_bytes for stage in self.stages),
            seconds=sum(stage.seconds for stage in self.stages),
        )

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
        before = [StagePlan(name, seconds=taken) for name, taken in seconds.items()]
        return replace(self, stages=(*before, *self.stages))

    def to_dict(self) -> dict[str, Any]:
        """Everything as data, for JSON."""
        return {**asdict(self), "total": asdict(self.total)}

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
        told = f"{self.facts} facts, {self.known} known, {self.changed} changed: {_words(self.total)}"
        return "\n".join([*lines, told, *self.assumed])

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        stages = (*self.stages, self.total)
        return HEAD, [_row(stage) for stage in stages], len(stages)


def _row(stage: StagePlan) -> tuple[str, ...]:
    """A stage's cells; a dash for none."""
    counts = [f"{n:,}" if n else "–" for n in (stage.passes, stage.forwards, stage.layer_tokens)]
    sizes = [in_bytes(n) if n else "–" for n in (stage.peak_bytes, stage.disk_bytes)]
    return (stage.name, *counts, *sizes, in_time(stage.seconds))


def _words(total: StagePlan) -> str:
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
