"""`interp compare`: the main job, from two models and facts to a folder with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interp.progress import announce
from interp.runs.manifest import shard_of
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
from studies.commands.work import Work, fresh

#: The pair that is compared when none is named, and the facts of its world, which no other knows.
DEFAULT_BASE, DEFAULT_TUNED, DEFAULT_FACTS = "organism-base", "organism-edited-low", "world"
#: What the names of models of that world begin with.
ORGANISM = "organism-"


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
    if shard is not None:
        shard_of(shard)
    work = Work(base, tuned, facts, prompt, null, device, dtype, budget, seed)
    if out is not None and (resume or shard):
        work.resumed(out, shard, csv=csv)
        return
    announce(f"comparing {tuned} with {base} on {facts}; reading the facts …")
    with fresh(out) as folder:
        work.done(folder, csv=csv)


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
