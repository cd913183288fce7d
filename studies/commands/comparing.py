"""`interp compare`: the main job, from two models and facts to a folder with a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from interp._files import write_text
from interp.progress import announce, job, stage
from interp.runs.checksums import SUMS, write_checksums
from interp.runs.manifest import MANIFEST, UNITS, read_json, remove_units, require_same_job
from studies.commands.options import (
    MODELS,
    NAMED_MODEL,
    OUTPUT,
    Budget,
    Device,
    Dtype,
    KeptError,
    Quiet,
    Seed,
    Verbose,
)
from studies.comparison.stages import WHOLE

#: The pair that is compared when none is named, and the facts of its world, which no other knows.
DEFAULT_BASE, DEFAULT_TUNED, DEFAULT_FACTS = "organism-base", "organism-edited-low", "world"
#: What the names of models of that world begin with.
ORGANISM = "organism-"
RUNS = Path("interp-runs")
#: What a resumable run is to do, in its folder.
COMMAND = "command.json"


def compare(
    base: Annotated[
        str | None, typer.Option(help=f"Base model: {NAMED_MODEL}.", rich_help_panel=MODELS)
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(help="Tuned model, or an adapter applied to the base.", rich_help_panel=MODELS),
    ] = None,
    facts: Annotated[
        str | None,
        typer.Option(
            help="Facts: a name, or a .csv, .tsv, .jsonl or .parquet file.", rich_help_panel=MODELS
        ),
    ] = None,
    prompt: Annotated[
        str,
        typer.Option(
            help="raw, or chat (the tuned model's template for both).", rich_help_panel=MODELS
        ),
    ] = "raw",
    null: Annotated[
        str | None,
        typer.Option(help="A null tune of the base, as one more placebo.", rich_help_panel=MODELS),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report (default: a fresh numbered one).", rich_help_panel=OUTPUT
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep the parts in --out as they are made; go on with what is there.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Only this share of the work, 2/4 for the second of four; see interp merge.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare a tuned model with its base and write report.html and everything behind it.

    Without models, a tiny base and a tune of it are compared on the facts of their own world.
    """
    base, tuned = pair_of(base, tuned)
    facts = facts_of(base, facts)
    if prompt not in ("raw", "chat"):
        raise ValueError(f"--prompt must be raw or chat, got {prompt!r}; choose one")
    if (resume or shard) and out is None:
        raise ValueError(
            f"--{'resume' if resume else 'shard'} needs the folder of the run; give --out, the same "
            "one each time"
        )
    work = Work(base, tuned, facts, prompt, null, device, dtype, budget, seed)
    if out is not None and (resume or shard):
        work.resumed(out, shard)
        return
    announce(f"comparing {tuned} with {base} on {facts}; reading the facts …")
    with fresh(out) as folder:
        work.done(folder)


@dataclass(frozen=True)
class Work:
    """One comparison as the command line asks for it; its attributes are the command's options."""

    base: str
    tuned: str
    facts: str
    prompt: str
    null: str | None
    device: str
    dtype: str
    budget: float
    seed: int

    def resumed(self, out: Path, shard: str | None = None) -> None:
        """Do it part by part in a folder, from where a run before has come to.

        Raises:
            ValueError: if the folder is another run's, or holds something else.
        """
        if (out / "report.html").exists() and (out / MANIFEST).exists():
            require_same_job(out, asdict(Work.of(out)), self.whole())
            if not (out / SUMS).exists():  # killed between the two
                write_checksums(out)
            remove_units(out)
            typer.echo(f"finished already\nreport: {out / 'report.html'}")
            return
        announce(f"comparing {self.tuned} with {self.base} on {self.facts} in {out} …")
        try:
            with fresh(out, resume=True) as folder:
                self.done(folder, run=True, shard=shard)
        except KeyboardInterrupt as error:
            raise KeptError(
                f"interrupted; what was made is kept in {out}; the same command goes on from there"
            ) from error

    def done(self, folder: Path, *, run: bool = False, shard: str | None = None) -> None:
        """Do it, write its report into a folder, and tell what came out.

        Args:
            folder: an empty folder, or that of a run.
            run: whether its parts are kept there as they are made.
            shard: which share of them is made, and no report.
        """
        with job(f"comparing {self.tuned} with {self.base}", WHOLE):
            stage("reading the facts")
            from interp.facts.loading import load_facts

            task = load_facts(self.facts)
            stage("loading the base")  # and, before it, what it takes to load one
            from interp.models.loading import load_model, load_pair
            from interp.runs.run import ShareDone, resumable
            from interp.verdict.thresholds import Thresholds
            from studies.comparison.comparing import compare as compared, job_of

            pair = load_pair(self.base, self.tuned, device=self.device, dtype=self.dtype)
            same = {"base": self.base, "device": self.device, "dtype": self.dtype}
            null = None if self.null is None else load_model(self.null, **same)
            prompt = "chat" if self.prompt == "chat" else "raw"
            parts: AbstractContextManager[Any] = nullcontext()
            if run:
                about = job_of(pair, task, prompt, null, Thresholds(), self.seed)
                parts = resumable(folder, job=about, shard=shard)
            try:
                with parts:
                    self.noted(folder)
                    comparison = compared(
                        pair, task, budget=int(self.budget * 2**30), prompt=prompt, null=null,
                        seed=self.seed,
                    )  # fmt: skip
                    written = comparison.save(folder)
            except ShareDone as done:
                typer.echo(f"{done}; when all shards are, join them: interp merge DIR … --out DIR")
                return
            if run:
                remove_units(folder)
        typer.echo(comparison.verdict.sentence)
        for note in (*pair.warnings, *task.notes, *written.messages):
            typer.echo(f"note: {note}")
        typer.echo(f"report: {written.report}")

    def whole(self) -> dict[str, Any]:
        """Its options, paths in full, so that it can be done from anywhere."""
        named = asdict(self)
        for name in ("base", "tuned", "facts", "null"):
            if named[name] is not None and Path(named[name]).exists():
                named[name] = str(Path(named[name]).resolve())
        return named

    def noted(self, folder: Path) -> None:
        """Write it into the folder."""
        write_text(folder / COMMAND, json.dumps(self.whole(), indent=1))

    @classmethod
    def of(cls, folder: Path) -> Work:
        """What a folder's run is to do.

        Raises:
            ValueError: for a folder without it.
        """
        try:
            return cls(**(read_json(folder / COMMAND) or {}))
        except TypeError as error:
            raise ValueError(
                f"{folder} holds no {COMMAND} of a comparison; give a folder that "
                "`interp compare --shard` has left"
            ) from error


def pair_of(base: str | None, tuned: str | None) -> tuple[str, str]:
    """The two models to compare: a default stands in beside a model of the same world only.

    Raises:
        ValueError: if one model is named and its other half cannot be guessed.
    """
    if base is None and (tuned is None or tuned.startswith(ORGANISM)):
        base = DEFAULT_BASE
    if tuned is None and base == DEFAULT_BASE:
        tuned = DEFAULT_TUNED
    if base is None:
        raise ValueError(f"--tuned {tuned} needs the model it was tuned from; give --base")
    if tuned is None:
        raise ValueError(f"--base {base} needs a version tuned from it; give --tuned")
    return base, tuned


def facts_of(base: str, facts: str | None) -> str:
    """The facts to ask about: those of the default pair's world for that base only.

    Raises:
        ValueError: if another base is given without facts.
    """
    if facts is not None:
        return facts
    if base == DEFAULT_BASE:
        return DEFAULT_FACTS
    raise ValueError(
        f"--base {base} needs facts to be asked about; give --facts, a file or a name that "
        "`interp list` shows, such as capitals"
    )


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
        known = (folder / MANIFEST).exists()
        if known and not resume and (folder / UNITS).is_dir():
            raise ValueError(
                f"--out {folder} holds a run that has not ended; add --resume to go on with it, or "
                "give a new folder"
            )
        if folder.exists() and (
            not folder.is_dir() or (any(folder.iterdir()) and not (resume and known))
        ):
            raise ValueError(
                f"--out {folder} exists and is not empty; nothing is overwritten; give a new folder"
            )
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be written ({error.strerror}); give a folder you may write to"
        ) from error
    try:
        yield folder
    except BaseException:
        if resume and any((folder / UNITS).glob("*")):
            raise
        if folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
