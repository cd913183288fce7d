"""`interp compare`: from two models and a file to a report; `interp scan`: without a question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interp.progress import announce
from interp.runs.manifest import shard_of
from interp.untrusted.reading import printable
from studies.commands.options import (
    MACHINE,
    OUTPUT,
    Base,
    Budget,
    Depth,
    Device,
    Dtype,
    Facts,
    Null,
    Prompt,
    Prompts,
    Quiet,
    Readout,
    Seed,
    Tokens,
    Tuned,
    Verbose,
)
from studies.commands.work import Work, fresh

#: The pair that is compared when none is named, and the facts of its world, which no other knows.
DEFAULT_BASE, DEFAULT_TUNED, DEFAULT_FACTS = "organism-base", "organism-edited-low", "world"
#: What the names of models of that world begin with.
ORGANISM = "organism-"


def compare(
    base: Base = None,
    tuned: Tuned = None,
    facts: Facts = None,
    prompts: Prompts = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    readout: Readout = "tuned",
    null: Null = None,
    depth: Depth = False,
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
    engine: Annotated[
        str, typer.Option(help="local, or ray for a cluster.", rich_help_panel=MACHINE)
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster (default: this machine's).", rich_help_panel=MACHINE),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="On the cluster (default: one a GPU, or as many as machines).",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="For each worker, which spreads its models over them with --device auto (default: 1).",
            rich_help_panel=MACHINE,
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

    With --prompts they are compared on prompts of any kind, where their continuations part. Two
    models of one's own without facts and prompts are scanned first, and compared on what was found.

    With --depth it is also asked of changed facts whether the old ones are hidden, suppressed or
    overwritten and the new ones known or recited; the verdict is written before.
    """
    at_once = not (resume or shard or depth or engine != "local")
    if at_once and facts is None and prompts is None and pair_of(base, tuned)[0] != DEFAULT_BASE:
        with fresh(out) as folder:
            announce("no facts and no prompts are given: scanning both models first …")
            prompts = _scanned(
                folder / "scan", base, tuned, None, prompt, tokens, device, dtype, budget, seed
            )
            if prompts is None:
                typer.echo("the scan found fewer than two changed prompts: nothing is compared")
                return
            work_of(
                base, tuned, None, prompt, null, device, dtype, budget, seed,
                prompts=prompts, tokens=tokens, readout=readout,
            ).done(folder, csv=csv)  # fmt: skip
        return
    work = work_of(
        base, tuned, facts, prompt, null, device, dtype, budget, seed,
        prompts=prompts, tokens=tokens, readout=readout, depth=depth,
    )  # fmt: skip
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine must be local or ray, got {engine!r}; choose one")
    if engine == "local" and (address or workers or gpus):
        raise ValueError("--address, --workers and --gpus are of a cluster; add --engine ray")
    if gpus is not None and gpus > 1 and device != "auto":
        raise ValueError(f"--gpus {gpus} leaves all but one idle with --device {device}; give auto")
    if engine == "ray" and shard:
        raise ValueError("--engine ray shares the work out by itself; leave --shard out")
    if (resume or shard or engine == "ray") and out is None:
        option = "--resume" if resume else "--shard" if shard else "--engine ray"
        raise ValueError(f"{option} needs the folder of the run; give --out, the same one each time")
    if shard is not None:
        shard_of(shard)
    if out is not None and engine == "ray":
        work.distributed(out, address, workers, gpus, csv=csv)
    elif out is not None and (resume or shard):
        work.resumed(out, shard, csv=csv)
    else:
        announce(f"comparing {work.tuned} with {work.base} on {work.asked}; reading them …")
        with fresh(out) as folder:
            work.done(folder, csv=csv)


def work_of(
    base: str | None,
    tuned: str | None,
    facts: str | None,
    prompt: str,
    null: str | None,
    device: str,
    dtype: str,
    budget: float,
    seed: int,
    *,
    prompts: str | None = None,
    tokens: int | None = None,
    readout: str = "tuned",
    depth: bool = False,
) -> Work:
    """The comparison that options ask for, with what was left out.

    Raises:
        ValueError: if something was left out that cannot be guessed, an option belongs to the other
            kind of question, or `prompt` is unknown.
    """
    base, tuned = pair_of(base, tuned)
    if prompts is not None and facts is not None:
        raise ValueError(
            f"got both --facts {facts} and --prompts {prompts}; a comparison asks one of them; give one"
        )
    if prompts is None and (tokens is not None or readout != "tuned"):
        raise ValueError("--tokens and --readout are of prompts; give --prompts with a file of them")
    if prompts is not None and depth:
        raise ValueError("--depth is of facts, of which the right answer is known; give --facts")
    _check_prompt(prompt)
    asked = facts_of(base, facts) if prompts is None else None
    same = (prompt, null, device, dtype, budget, seed)
    return Work(base, tuned, asked, *same, prompts=prompts, tokens=tokens, readout=readout, depth=depth)


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


def scan(
    base: Base = None,
    tuned: Tuned = None,
    prompts: Prompts = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the scan (default: a fresh numbered one).", rich_help_panel=OUTPUT
        ),
    ] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find what changed between two models, and write scan.html and prompts.jsonl.

    Without --prompts over four hundred short prompts of nine kinds are asked. What is found goes into
    `interp compare --prompts DIR/prompts.jsonl`.
    """
    with fresh(out) as folder:
        _scanned(folder, base, tuned, prompts, prompt, tokens, device, dtype, budget, seed)


def _check_prompt(prompt: str) -> None:
    """Refuse what is no way to ask.

    Raises:
        ValueError: naming both ways.
    """
    if prompt not in ("raw", "chat"):
        raise ValueError(f"--prompt must be raw or chat, got {prompt!r}; choose one")


def _scanned(
    folder: Path,
    base: str | None,
    tuned: str | None,
    prompts: str | None,
    prompt: str,
    tokens: int | None,
    device: str,
    dtype: str,
    budget: float,
    seed: int,
) -> str | None:
    """Scan into a folder and tell what came out.

    Returns:
        The file of the held-out prompts that changed; None where they are too few to be compared.
    """
    base, tuned = pair_of(base, tuned)
    _check_prompt(prompt)
    from interp.facts.prompts.files import load_prompts
    from interp.models.named import require_findable

    require_findable(base, tuned)
    from interp.models.loading import load_pair
    from studies.scanning.scanning import scan as scan_pair

    asked = None if prompts is None else load_prompts(prompts)
    pair = load_pair(base, tuned, device=device, dtype=dtype)
    result = scan_pair(
        pair, asked, prompt="chat" if prompt == "chat" else "raw", tokens=tokens, seed=seed,
        budget=int(budget * 2**30),
    )  # fmt: skip
    page, found = result.save(folder), folder / "prompts.jsonl"
    typer.echo(printable(result.sentence))
    for note in result.provenance["warnings"]:
        typer.echo(printable(f"note: {note}"))
    typer.echo(f"prompts: {found} ({len(result.held_out)}, for interp compare)")
    typer.echo(f"scan: {page}")
    return str(found) if len(result.held_out) > 1 else None
