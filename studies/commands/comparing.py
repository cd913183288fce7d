"""`interp compare`: from two models and a file to a report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interp.progress import announce
from studies.commands.options import (
    MACHINE,
    Base,
    Budget,
    Csv,
    Depth,
    Device,
    Dtype,
    Facts,
    Null,
    Out,
    Prompt,
    Prompts,
    Quiet,
    Readout,
    Resume,
    Seed,
    Shard,
    Tokens,
    Tuned,
    Verbose,
)
from studies.commands.runs.asked_for import (
    DEFAULT_BASE,
    check_run,
    comparison_of,
    pair_of,
    scan_of,
)
from studies.commands.runs.folders import fresh
from studies.commands.runs.scan import FOUND


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
    out: Out = None,
    csv: Csv = False,
    resume: Resume = False,
    shard: Shard = None,
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
    options: dict[str, Any] = {
        "base": base, "tuned": tuned, "prompt": prompt, "tokens": tokens, "device": device,
        "dtype": dtype, "budget": budget, "seed": seed,
    }  # fmt: skip
    of_comparison: dict[str, Any] = {**options, "null": null, "readout": readout, "csv": csv}
    at_once = not (resume or shard or depth or engine != "local")
    if at_once and facts is None and prompts is None and pair_of(base, tuned)[0] != DEFAULT_BASE:
        with fresh(out) as folder:
            announce("no facts and no prompts are given: scanning both models first …")
            found = scan_of(**options).done(folder / "scan")
            if len(found.held_out) < 2:
                typer.echo("the scan found fewer than two changed prompts: nothing is compared")
                return
            asked = str(folder / "scan" / FOUND)
            comparison_of(prompts=asked, **of_comparison).done(folder)
        return
    work = comparison_of(facts=facts, prompts=prompts, depth=depth, **of_comparison)
    if engine not in ("local", "ray"):
        raise ValueError(f"--engine must be local or ray, got {engine!r}; choose one")
    if engine == "local" and (address or workers or gpus):
        raise ValueError("--address, --workers and --gpus are of a cluster; add --engine ray")
    if gpus is not None and gpus > 1 and device != "auto":
        raise ValueError(f"--gpus {gpus} leaves all but one idle with --device {device}; give auto")
    if engine == "ray" and shard:
        raise ValueError("--engine ray shares the work out by itself; leave --shard out")
    check_run(out, resume=resume, shard=shard, ray=engine == "ray")
    if out is not None and engine == "ray":
        work.distributed(out, address, workers, gpus)
    else:
        work.begin(out, shard, resume=resume)
