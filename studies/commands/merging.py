"""`interp merge`: the shards of a comparison or a scan joined, and the work finished from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import OUTPUT, Quiet, Verbose
from studies.commands.runs.asked_for import require_no_page
from studies.commands.runs.begun import work_of


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="The folders of all shards, or the one they share."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the results: a new one, or that of the shards.", rich_help_panel=OUTPUT
        ),
    ],
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join the shards of one comparison or scan and write its report.

    Every unit that the shards made is read; what none could make, because it rests on the results of
    all, is made here. Shards that overlap, are missing, unfinished or of another run are refused by
    name.
    """
    from interp.runs.merging import join

    require_no_page(out)
    join(folders, out)
    work_of(folders[0]).resumed(out)
