"""`interp merge`: the shards of a comparison joined, and the comparison finished from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import OUTPUT, Quiet, Verbose
from studies.commands.work import Work


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="The folders of all shards, or the one they share."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the report: a new one, or that of the shards.", rich_help_panel=OUTPUT
        ),
    ],
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join the shards of one comparison and write its report.

    Every unit that the shards made is read; what none could make, because it rests on the results of
    all, is made here. Shards that overlap, are missing, unfinished or of another comparison are
    refused by name.
    """
    from interp.runs.merging import join

    if (out / "report.html").exists():
        raise ValueError(
            f"--out {out} holds a report already; nothing is overwritten; give a new folder"
        )
    join(folders, out)
    Work.of(folders[0]).resumed(out)
