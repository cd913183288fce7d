"""`interp submit`: a comparison or a scan as an array of jobs for a scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    What,
    refuse,
)
from studies.commands.runs.asked_for import comparison_of, require_no_page, scan_of
from studies.commands.runs.folders import fresh
from studies.commands.runs.work import Work


def submit(
    what: What = "compare",
    *,
    out: Annotated[
        Path,
        typer.Option(help="Folder of the run, on a disk that all nodes share.", rich_help_panel=OUTPUT),
    ],
    shards: Annotated[
        int, typer.Option(min=1, help="How many jobs share it.", rich_help_panel=MACHINE)
    ],
    slurm: Annotated[bool, typer.Option("--slurm", help="For Slurm.", rich_help_panel=MACHINE)] = False,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of sbatch, such as time=4:00:00 or gres=gpu:1; may be given again.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send it too, by submitit.", rich_help_panel=MACHINE)
    ] = False,
    base: Base = None,
    tuned: Tuned = None,
    facts: Facts = None,
    prompts: Prompts = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    readout: Readout = "tuned",
    depth: Depth = False,
    null: Null = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Write a comparison or a scan as an array of Slurm jobs: one for each shard, one that joins them.

    The scripts and their logs stand in the folder slurm within --out. A job that is requeued goes on
    from what was made. With --send they are sent as well; without it the line that sends them is shown.
    """
    from interp.runs.slurm import Array, interp_command, sbatch_options

    if not slurm:
        raise ValueError(
            f"submit writes jobs for Slurm only; add --slurm, or call `interp {what} --shard i/n` in "
            "an array of another scheduler"
        )
    options: dict[str, Any] = {
        "base": base, "tuned": tuned, "prompts": prompts, "prompt": prompt, "tokens": tokens,
        "device": device, "dtype": dtype, "budget": budget, "seed": seed,
    }  # fmt: skip
    work: Work
    if what == "scan":
        other = None if readout == "tuned" else readout
        refuse("scan", facts=facts, null=null, readout=other, depth=depth or None)
        work = scan_of(**options)
    else:
        work = comparison_of(facts=facts, null=null, readout=readout, depth=depth, **options)
    require_no_page(out)
    folder = out.expanduser().resolve()
    share = interp_command(what, *work.options(), "--out", str(folder))
    merge = interp_command("merge", str(folder), "--out", str(folder))
    array = Array(folder, Path.cwd(), shards, share, merge, sbatch_options(sbatch or []))
    with fresh(out, resume=True):
        for path in array.write():
            typer.echo(str(path))
    if send:
        typer.echo(f"sent: {', '.join(array.send())}")
    else:
        typer.echo(f"send them: {array.sending()}")
