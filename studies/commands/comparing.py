"""`interp compare`: the main job, from two models and facts to a folder with a report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from interp.progress import announce, job, stage
from interp.untrusted.reading import printable
from studies.commands.options import (
    MODELS,
    NAMED_MODEL,
    OUTPUT,
    Budget,
    Device,
    Dtype,
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
    csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Also evidence.csv, dozens of times larger than the parquet file.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
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
    announce(f"comparing {tuned} with {base} on {facts}; reading the facts …")
    with fresh(out) as folder, job(f"comparing {tuned} with {base}", WHOLE):
        stage("reading the facts")
        from interp.facts.loading import load_facts

        task = load_facts(facts)
        stage("loading the base")  # and, before it, what it takes to load one
        from interp.models.loading import load_model, load_pair
        from studies.comparison.comparing import compare as run

        pair = load_pair(base, tuned, device=device, dtype=dtype)
        same = {"base": base, "device": device, "dtype": dtype}
        comparison = run(
            pair,
            task,
            budget=int(budget * 2**30),
            prompt="chat" if prompt == "chat" else "raw",
            null=None if null is None else load_model(null, **same),
            seed=seed,
        )
        written = comparison.save(folder, csv=csv)
    typer.echo(printable(comparison.verdict.sentence))
    for note in (*pair.warnings, *task.notes):
        typer.echo(printable(f"note: {note}"))
    typer.echo(f"report: {written.report}")


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
def fresh(out: Path | None) -> Iterator[Path]:
    """The folder to write into, checked before anything long runs, gone again if the run fails.

    Raises:
        ValueError: if it exists and is not an empty folder, or cannot be created.
    """
    folder = out
    if folder is None:
        taken = [int(p.name) for p in RUNS.glob("*") if p.name.isdigit()]
        folder = RUNS / f"{max(taken, default=0) + 1:03d}"
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
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
        if folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
