"""`interp show` and `interp open`: a finished run, in the terminal or in a browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer

from studies.commands.options import Json, Run


def show(folder: Run, as_json: Json = False) -> None:
    """Print the verdict of a finished run.

    Its sentence, three outputs side by side, the place, the content with its shares between floor and
    ceiling, and the notes. `interp explain` tells what a word means.
    """
    from interp.report.terminal import shown, summary, telling_outputs
    from interp.untrusted.reading import printable
    from interp.untrusted.verdict_file import read_verdict

    verdict = printable(read_verdict(folder))
    if as_json:
        typer.echo(json.dumps(summary(verdict, telling_outputs(verdict)), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(shown(verdict))
    report = Path(os.path.expanduser(folder)) / "report.html"
    if report.exists():
        typer.echo(f"\nreport: {report}  (interp open {folder})")


def open_(folder: Run) -> None:
    """Open the report of a finished run in a browser; print its path where there is none."""
    import webbrowser

    from interp.untrusted.reading import inside

    report = Path(os.path.expanduser(folder)) / "report.html"
    if not report.is_file():
        raise ValueError(
            f"no report in {folder}: it holds no report.html; give the folder that `interp compare` "
            "printed behind 'report:'"
        )
    report = inside(report.parent, report.name).resolve()
    try:
        opened = webbrowser.open(report.as_uri())
    except webbrowser.Error:
        opened = False
    typer.echo(f"report: {report}" if opened else f"no browser found; open {report}")
