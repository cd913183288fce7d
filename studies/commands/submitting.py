"""`interp submit`: a comparison as an array of jobs for a scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.comparing import work_of
from studies.commands.options import (
    MACHINE,
    OUTPUT,
    Base,
    Budget,
    Device,
    Dtype,
    Facts,
    Null,
    Prompt,
    Quiet,
    Seed,
    Tuned,
)
from studies.commands.work import fresh


def submit(
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
    prompt: Prompt = "raw",
    null: Null = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Write a comparison as an array of Slurm jobs, one for each shard, and a job that joins them.

    The scripts and their logs stand in the folder slurm within --out. A job that is requeued goes on
    from what was made. With --send they are sent as well; without it the line that sends them is shown.
    """
    from interp.runs.slurm import Array, interp_command, sbatch_options

    if not slurm:
        raise ValueError(
            "submit writes jobs for Slurm only; add --slurm, or call `interp compare --shard i/n` in "
            "an array of another scheduler"
        )
    work = work_of(base, tuned, facts, prompt, null, device, dtype, budget, seed)
    if (out / "report.html").exists():
        raise ValueError(
            f"--out {out} holds a report already; nothing is overwritten; give a new folder"
        )
    folder = out.expanduser().resolve()
    compare = interp_command("compare", *work.options(), "--out", str(folder))
    merge = interp_command("merge", str(folder), "--out", str(folder))
    array = Array(folder, Path.cwd(), shards, compare, merge, sbatch_options(sbatch or []))
    with fresh(out, resume=True):
        for path in array.write():
            typer.echo(str(path))
    if send:
        typer.echo(f"sent: {', '.join(array.send())}")
    else:
        typer.echo(f"send them: {array.sending()}")
