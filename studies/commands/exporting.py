"""`interp export DIR`: the evidence of a finished run for another program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import OUTPUT, Run

FORMATS = ("csv", "parquet", "jsonl")


def export(
    folder: Run,
    format: Annotated[str, typer.Option(help="csv, parquet or jsonl.", rich_help_panel=OUTPUT)] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(help="The file (default: evidence.FORMAT in DIR).", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Write every measurement of a finished run to one file for another program.

    A row is one number for one example. In CSV a text that a spreadsheet would take for a formula gets
    an apostrophe before it.
    """
    from studies.runs import evidence_of

    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}; got {format!r}; choose one")
    file = Path(os.path.expanduser(folder)) / f"evidence.{format}" if out is None else out
    if file.suffix != f".{format}":
        raise ValueError(
            f"--out {file} must end in .{format}; got {file.suffix or 'no ending'!r}; give another "
            "name or --format"
        )
    if os.path.lexists(file):
        raise ValueError(f"{file} exists; nothing is overwritten; give another file with --out")
    evidence = evidence_of(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(f"{len(evidence):,} rows: {evidence.export(file)}")
