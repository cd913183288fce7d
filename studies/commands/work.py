"""A comparison as the command line asks for it: done at once, or part by part in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import typer

from interp._files import write_text
from interp.progress import announce, job, stage
from interp.runs.checksums import SUMS, write_checksums
from interp.runs.manifest import (
    MANIFEST,
    PROBE,
    UNITS,
    read_json,
    remove_units,
    require_same_job,
    strangers,
)
from interp.untrusted.reading import printable
from studies.commands.options import KeptError
from studies.comparison.stages import WHOLE, with_depth

if TYPE_CHECKING:
    from interp.facts.prompts.files import PromptSet
    from interp.facts.types import FactSet
    from interp.models.model import Model
    from interp.models.pair import ModelPair
    from studies.comparison.result import Comparison

RUNS = Path("interp-runs")

#: What is written before parts that take long.
VERDICT = "verdict.json"

#: What a run does, in its folder, and in it the folder that it was begun from.
COMMAND, WHERE = "command.json", "begun in"


class Loaded(NamedTuple):
    """What is compared: two models, on facts or prompts, and a null tune where one was given."""

    pair: ModelPair
    task: FactSet | PromptSet
    null: Model | None


@dataclass(frozen=True)
class Work:
    """One comparison as the command line asks for it; its attributes are the command's options."""

    base: str
    tuned: str
    facts: str | None
    prompt: str
    null: str | None
    device: str
    dtype: str
    budget: float
    seed: int
    prompts: str | None = None
    tokens: int | None = None
    readout: str = "tuned"
    depth: bool = False

    @property
    def asked(self) -> str:
        """Name of the facts, or file of the prompts."""
        return str(self.facts if self.prompts is None else self.prompts)

    def resumed(self, out: Path, shard: str | None = None, *, csv: bool = False) -> None:
        """Do it part by part in a folder, from where a run before has come to.

        Raises:
            ValueError: if the folder is another run's, or holds something else.
        """
        if not self._finished(out):
            with self._kept(out) as folder:
                self.done(folder, run=True, shard=shard, csv=csv)

    def distributed(
        self,
        out: Path,
        address: str | None,
        workers: int | None,
        gpus: int | None,
        *,
        csv: bool = False,
    ) -> None:
        """Do it in a folder by the workers of a Ray cluster, from where a run before has come to.

        Each has `gpus` GPUs: by default one, none with the device "cpu", and with "auto" one where the
        cluster has any.

        Raises:
            ValueError: as `resumed`, and as `interp.distribute`.
        """
        if self._finished(out):
            return
        from interp.runs.distributing import distribute

        if gpus is None and self.device != "auto":
            gpus = int(self.device != "cpu")
        with self._kept(out) as folder:
            comparison, notes = distribute(
                self.loaded, self._measured, folder, job=self.about, workers=workers,
                gpus=gpus, address=address,
            )  # fmt: skip
            self.noted(folder)
            written = comparison.save(folder, csv=csv)
            remove_units(folder)
        self._tell(comparison, notes, written.report)

    def done(
        self, folder: Path, *, run: bool = False, shard: str | None = None, csv: bool = False
    ) -> None:
        """Do it, write its report into a folder, and tell what came out.

        Args:
            folder: an empty folder, or that of a run.
            run: whether its parts are kept there as they are made.
            shard: which share of them is made, and no report.
            csv: whether the evidence is written as CSV too.
        """
        with job(f"comparing {self.tuned} with {self.base}", with_depth(WHOLE, self.depth)):
            loaded = self.loaded()
            from interp.runs.run import ShareDone, resumable

            parts: AbstractContextManager[Any] = nullcontext()
            if run:
                parts = resumable(folder, job=self.about(loaded), shard=shard)
            try:
                with parts:
                    if run:
                        self.noted(folder)
                    comparison, notes = self._measured(loaded, folder)
                    self.noted(folder)
                    written = comparison.save(folder, csv=csv)
            except KeyboardInterrupt as error:
                if not run and (folder / VERDICT).exists():
                    raise KeptError(
                        f"interrupted; the verdict without its depth is kept in {folder / VERDICT}"
                    ) from error
                raise
            except ShareDone as done:
                typer.echo(f"{done}; when all shards are, join them: interp merge DIR … --out DIR")
                return
            if run:
                remove_units(folder)
        self._tell(comparison, notes, written.report)

    def loaded(self) -> Loaded:
        """What is compared."""
        stage("reading the facts")
        from interp.facts.loading import load_facts
        from interp.facts.prompts.files import load_prompts

        task = load_facts(self.asked) if self.prompts is None else load_prompts(self.prompts)
        from interp.models.named import require_findable

        require_findable(self.base, self.tuned, self.null)
        stage("loading the base")  # and, before it, what it takes to load one
        from interp.models.loading import load_model, load_pair

        pair = load_pair(self.base, self.tuned, device=self.device, dtype=self.dtype)
        same = {"base": self.base, "device": pair.base.placement, "dtype": self.dtype}
        return Loaded(pair, task, None if self.null is None else load_model(self.null, **same))

    def about(self, loaded: Loaded) -> dict[str, Any]:
        """What its folder is known by."""
        from interp.verdict.thresholds import Thresholds
        from studies.comparison.comparing import Asked, job_of

        how = Asked(
            self._prompt, self.tokens, self._readout, loaded.null, Thresholds(), self.seed, self.depth
        )
        return job_of(loaded.pair, loaded.task, how)

    def options(self) -> list[str]:
        """The options of `interp compare` that ask for it."""
        left = ("tokens", "readout") if self.prompts is None else ()  # which are of prompts
        left += ("depth",)  # which has no value
        given = {k: v for k, v in asdict(self).items() if v is not None and k not in left}
        told = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        return [*told, "--depth"] if self.depth else told

    @property
    def _prompt(self) -> Literal["raw", "chat"]:
        return "chat" if self.prompt == "chat" else "raw"

    @property
    def _readout(self) -> Literal["tuned", "base", "both"]:
        for known in ("tuned", "base", "both"):
            if self.readout == known:
                return known
        raise ValueError(f"--readout must be tuned, base or both, got {self.readout!r}; choose one")

    def _measured(self, loaded: Loaded, folder: Path | None = None) -> tuple[Comparison, list[str]]:
        """The comparison, and what is to be said of what was compared.

        Args:
            loaded: what is compared.
            folder: gets the verdict before parts that take long; None writes nothing.
        """
        from studies.comparison.comparing import compare

        def first(comparison: Comparison) -> None:
            if folder is not None:
                path = comparison.save_verdict(folder)
                announce(f"{comparison.verdict.sentence} ({path}); its depth is asked now …")

        pair, task, null = loaded
        comparison = compare(
            pair, task, budget=int(self.budget * 2**30), prompt=self._prompt, tokens=self.tokens,
            readout=self._readout, null=null, seed=self.seed, depth=self.depth, first=first,
        )  # fmt: skip
        return comparison, [*pair.warnings, *task.notes]

    def _tell(self, comparison: Comparison, notes: list[str], report: Path) -> None:
        """Say what came out."""
        typer.echo(printable(comparison.verdict.sentence))
        if comparison.verdict.depth is not None:
            typer.echo(printable(comparison.verdict.depth.sentence))
        for note in notes:
            typer.echo(printable(f"note: {note}"))
        typer.echo(f"report: {report}")
        for line in undecided(comparison.verdict.to_dict(), report.parent):
            typer.echo(printable(line))

    def _finished(self, out: Path) -> bool:
        """Whether a folder holds its report; what is left of the run is then cleared away.

        Raises:
            ValueError: if it holds that of another.
        """
        if not ((out / "report.html").exists() and (out / MANIFEST).exists()):
            return False
        require_same_job(out, asdict(Work.of(out)), asdict(self))
        if not (out / SUMS).exists():  # killed between the two
            write_checksums(out)
        remove_units(out)
        typer.echo(f"finished already\nreport: {out / 'report.html'}")
        return True

    @contextmanager
    def _kept(self, out: Path) -> Iterator[Path]:
        """The folder of a run, whose parts stay when it is interrupted."""
        announce(f"comparing {self.tuned} with {self.base} on {self.asked} in {out} …")
        try:
            with fresh(out, resume=True) as folder:
                yield folder
        except KeyboardInterrupt as error:
            raise KeptError(
                f"interrupted; what was made is kept in {out}; the same command goes on from there"
            ) from error

    def noted(self, folder: Path) -> None:
        """Write it into the folder, so that it can be done from there."""
        write_text(folder / COMMAND, json.dumps({**asdict(self), WHERE: str(Path.cwd())}, indent=1))

    @classmethod
    def of(cls, folder: Path) -> Work:
        """What a folder's run does; files that are not found from here are named in full.

        Raises:
            ValueError: for a folder without it.
        """
        named = read_json(folder / COMMAND) or {}
        began = Path(str(named.pop(WHERE, "")))
        for name in ("base", "tuned", "facts", "prompts", "null"):
            given = named.get(name)
            if isinstance(given, str) and not Path(given).exists() and (began / given).exists():
                named[name] = str(began / given)
        try:
            return cls(**named)
        except TypeError as error:
            raise ValueError(
                f"{folder} holds no {COMMAND} of a comparison; give a folder of `interp compare`"
            ) from error


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


@contextmanager
def kept(folder: Path | None, shard: str | None = None) -> Iterator[None]:
    """Keep the parts of what runs inside in a folder, where one is given; an interrupt says so."""
    if folder is None:
        yield
        return
    from interp.runs.run import resumable

    try:
        with resumable(folder, shard=shard):
            yield
    except KeyboardInterrupt as error:
        raise KeptError(
            f"interrupted; what was made is kept in {folder}; the same command goes on from there"
        ) from error


def _free(folder: Path, resume: bool) -> bool:
    """Whether a folder is empty, or a run has left it and is to be resumed."""
    if not resume:
        return not any(folder.iterdir())
    return (folder / MANIFEST).exists() or not strangers(folder)


@contextmanager
def fresh(out: Path | None, *, resume: bool = False) -> Iterator[Path]:
    """The folder to write into, checked before anything long runs, gone again if the run fails.

    Args:
        out: the folder; None for a numbered one.
        resume: whether it may be that of a run before, and stays once it holds any part.

    Raises:
        ValueError: if it exists and is not an empty folder, or cannot be created.
    """
    folder = out
    if folder is None:
        taken = [int(p.name) for p in RUNS.glob("*") if p.name.isdigit()]
        folder = RUNS / f"{max(taken, default=0) + 1:03d}"
    try:
        begun = (folder / MANIFEST).exists() and (folder / UNITS).is_dir()
        if begun and not resume:
            raise ValueError(
                f"--out {folder} holds a run that has not ended; add --resume to go on with it, or "
                "give a new folder"
            )
        if folder.exists() and not (folder.is_dir() and _free(folder, resume)):
            raise ValueError(
                f"--out {folder} exists and is not empty; nothing is overwritten; give a new folder"
            )
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / PROBE
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be written ({error.strerror}); give a folder you may write to"
        ) from error
    try:
        yield folder
    except BaseException:
        if (resume and any((folder / UNITS).glob("*"))) or (folder / VERDICT).exists():
            raise  # what is there is of use
        if folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
