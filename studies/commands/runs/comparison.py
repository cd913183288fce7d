"""A comparison as the command line asks for it: on facts or on prompts, here or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import typer

from interp.progress import announce, announced
from interp.runs.manifest import remove_units
from interp.untrusted.reading import printable
from studies.commands.options import KeptError
from studies.commands.runs.folders import VERDICT
from studies.commands.runs.work import Loaded, Work, notes_of
from studies.comparison.stages import ASKED, CONTINUED, LOADING, with_depth

if TYPE_CHECKING:
    from interp.facts.prompts.files import PromptSet
    from interp.facts.types import FactSet
    from studies.comparison.comparing import Answered
    from studies.comparison.result import Comparison
    from studies.planning.plans import JobPlan


@dataclass(frozen=True, kw_only=True)
class ComparisonWork(Work):
    """One comparison.

    Attributes:
        facts: name or file of the facts; None where prompts are asked.
        null: a null tune of the base.
        readout: of prompts, whose final norm and unembedding read all cells.
        depth: of facts, whether the depth of the change is asked too.
        csv: whether the evidence is written as CSV too; it is no other comparison.
    """

    facts: str | None = None
    null: str | None = None
    readout: str = "tuned"
    depth: bool = False
    csv: bool = field(default=False, compare=False)

    command: ClassVar[str] = "compare"
    page: ClassVar[str] = "report.html"

    @property
    def title(self) -> str:
        """The work in a few words."""
        return f"comparing {self.tuned} with {self.base}"

    @property
    def stages(self) -> Mapping[str, int]:
        """Its stages and their rough shares of the time."""
        return {**LOADING, **with_depth(ASKED if self.prompts is None else CONTINUED, self.depth)}

    @property
    def early(self) -> str | None:
        """The verdict, where its depth is asked after it."""
        return VERDICT if self.depth else None

    @property
    def models(self) -> tuple[str | None, ...]:
        """The names of the models."""
        return self.base, self.tuned, self.null

    @property
    def asked(self) -> str:
        """Name of the facts, or file of the prompts."""
        return str(self.facts if self.prompts is None else self.prompts)

    def to_dict(self) -> dict[str, Any]:
        """The options by name; those of prompts for prompts alone."""
        left = {"csv"} | ({"tokens", "readout"} if self.prompts is None else {"depth"})
        return {name: value for name, value in super().to_dict().items() if name not in left}

    def read(self) -> FactSet | PromptSet:
        """The facts or the prompts."""
        from interp.facts.loading import load_facts
        from interp.facts.prompts.files import load_prompts

        return load_facts(self.asked) if self.prompts is None else load_prompts(self.prompts)

    def loaded(self) -> Loaded:
        """What is asked, the models, and a null tune."""
        pair, task, _ = super().loaded()
        if self.null is None:
            return Loaded(pair, task)
        from interp.models.loading import load_model

        placed = pair.base.placement
        null = load_model(self.null, base=self.base, device=placed, dtype=self.dtype)
        return Loaded(pair, task, null)

    def about(self, loaded: Loaded) -> dict[str, Any]:
        """What its folder is known by."""
        from interp.verdict.thresholds import Thresholds
        from studies.comparison.comparing import Asked, job_of

        how = Asked(
            self.way, self.tokens, self.reader, loaded.null, Thresholds(), self.seed, self.depth
        )
        return job_of(loaded.pair, loaded.task, how)

    def measured(self, loaded: Loaded, folder: Path | None = None) -> Comparison:
        """The comparison; a folder gets the verdict before its depth is asked."""
        from studies.comparison.comparing import compare

        def first(comparison: Comparison) -> None:
            if folder is not None:
                path = comparison.save_verdict(folder)
                announce(f"{comparison.verdict.sentence} ({path}); its depth is asked now …")

        def answered(found: Answered) -> None:
            if announced():
                from studies.planning.jobs import seconds_ahead

                seconds = seconds_ahead(
                    loaded.pair, found, budget=self.max_bytes, null=loaded.null, depth=self.depth,
                    seed=self.seed,
                )  # fmt: skip
                self.tell_ahead(len(self.stages) - len(LOADING), seconds)

        return compare(
            loaded.pair, loaded.task, budget=self.max_bytes, prompt=self.way, tokens=self.tokens,
            readout=self.reader, null=loaded.null, seed=self.seed, depth=self.depth,
            answered=answered, first=first,
        )  # fmt: skip

    def done(self, folder: Path, *, run: bool = False, shard: str | None = None) -> Comparison | None:
        """Do it, write its page into a folder, and tell what came out; see `Work.done`.

        Raises:
            KeptError: in place of an interrupt, where the verdict is written already.
        """
        try:
            return super().done(folder, run=run, shard=shard)
        except KeyboardInterrupt as error:
            if run or self.early is None or not (folder / self.early).exists():
                raise
            raise KeptError(
                f"interrupted; the verdict without its depth is kept in {folder / self.early}"
            ) from error

    def planned(self, loaded: Loaded) -> JobPlan:
        """What the comparison would cost."""
        from studies.planning.jobs import plan

        return plan(
            loaded.pair, loaded.task, budget=self.max_bytes, prompt=self.way, tokens=self.tokens,
            readout=self.reader, null=loaded.null, depth=self.depth, seed=self.seed,
        )  # fmt: skip

    def ahead(self, loaded: Loaded) -> JobPlan | None:
        """What a comparison of prompts would cost if half of them changed.

        None of facts, of which it is told once they are answered.
        """
        if self.prompts is None:
            return None
        from studies.planning.open.jobs import prompts_ahead

        task: Any = loaded.task
        return prompts_ahead(
            loaded.pair, task, budget=self.max_bytes, prompt=self.way, tokens=self.tokens,
            readout=self.reader, null=loaded.null, seed=self.seed,
        )  # fmt: skip

    def saved(self, result: Comparison, folder: Path) -> None:
        """Write the report and everything behind it."""
        result.save(folder, csv=self.csv)

    def tell(self, result: Comparison, notes: Sequence[str], folder: Path) -> None:
        """Say what came out."""
        typer.echo(printable(result.verdict.sentence))
        if result.verdict.depth is not None:
            typer.echo(printable(result.verdict.depth.sentence))
        for note in notes:
            typer.echo(printable(f"note: {note}"))
        typer.echo(f"report: {folder / self.page}")
        for line in undecided(result.verdict.to_dict(), folder):
            typer.echo(printable(line))

    def distributed(
        self, out: Path, address: str | None, workers: int | None, gpus: int | None
    ) -> None:
        """Do it in a folder by the workers of a Ray cluster, from where a run before has come to.

        Each has `gpus` GPUs: by default one, none with the device "cpu", and with "auto" one where the
        cluster has any.

        Raises:
            ValueError: as `begin`, and as `interp.distribute`.
        """
        if self.finished(out):
            return
        from interp.runs.distributing import distribute

        if gpus is None and self.device != "auto":
            gpus = int(self.device != "cpu")
        with self.kept(out) as folder:
            comparison, notes = distribute(
                self.loaded, self._with_notes, folder, job=self.about, workers=workers, gpus=gpus,
                address=address,
            )  # fmt: skip
            self.note(folder)
            self.saved(comparison, folder)
            remove_units(folder)
        self.tell(comparison, notes, folder)

    def _with_notes(self, loaded: Loaded) -> tuple[Comparison, list[str]]:
        """The comparison, and what is to be said of what was compared."""
        return self.measured(loaded), notes_of(loaded)

    @property
    def reader(self) -> Literal["tuned", "base", "both"]:
        """Whose final norm and unembedding read all cells."""
        for known in ("tuned", "base", "both"):
            if self.readout == known:
                return known
        raise ValueError(f"--readout must be tuned, base or both, got {self.readout!r}; choose one")


def undecided(verdict: Mapping[str, Any], folder: Path) -> list[str]:
    """The first reason for which a word is missing, and what tells the others; nothing if none is.

    Args:
        verdict: has the keys of verdict.json.
        folder: that of the run.
    """
    from interp.verdict.summary import open_points

    points = open_points(verdict)
    if not points:
        return []
    heading, reasons = points[0]
    return [f"undetermined, {heading}: {reasons[0]}", f"all reasons: interp explain {folder}"]
