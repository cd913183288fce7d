"""The command `interp`: its commands, its exit codes, and what a mistake looks like.

Before dispatch only typer is imported.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from interp.progress import Detail, tell
from interp.untrusted.reading import printable
from studies.commands.circuits.command import circuits
from studies.commands.comparing import compare
from studies.commands.doctor import doctor
from studies.commands.explaining import explain
from studies.commands.exporting import export
from studies.commands.figuring import figures
from studies.commands.groups.facts_check import facts
from studies.commands.groups.organisms import organisms
from studies.commands.groups.studying import studies
from studies.commands.listing import list_
from studies.commands.merging import merge
from studies.commands.options import EXIT_CODES, KeptError, listed, register
from studies.commands.planning import plan
from studies.commands.scanning import scan
from studies.commands.showing import open_, show
from studies.commands.submitting import submit
from studies.commands.verifying import verify

#: How often a waiting thread of libgomp looks before it sleeps. A hundred times as often, its default,
#: made a comparison beside one other process on two cores five times slower, and no faster alone.
SPINS = "3000"

RUN, READ, PREPARE = "Run", "Read a finished run", "Prepare"

app = typer.Typer(
    help="Did tuning change what a language model knows, or only what it says - and where?",
    epilog=listed("Exit codes:", [f"{code:<4}{means}" for code, means in EXIT_CODES.items()]),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
register(
    app, "compare", compare, "interp compare",
    "interp compare --base smollm2 --tuned smollm2-evasive-high --facts capitals --depth",
    "interp compare --base smollm2 --tuned smollm2-evasive-high --prompts prompts.txt", panel=RUN,
)  # fmt: skip
register(
    app, "scan", scan, "interp scan --tuned organism-evasive-high",
    "interp scan --base smollm2 --tuned smollm2-evasive-high --out found", panel=RUN,
)  # fmt: skip
register(
    app, "merge", merge, "interp merge part-1 part-2 --out whole",
    "interp merge shared --out shared", panel=RUN,
)  # fmt: skip
register(
    app, "submit", submit, "interp submit --slurm --shards 8 --out shared --sbatch time=4:00:00",
    "interp submit scan --slurm --shards 8 --out shared --sbatch time=60 --send", panel=RUN,
)  # fmt: skip
app.add_typer(studies, name="study", rich_help_panel=RUN)
app.add_typer(circuits, name="circuits", rich_help_panel=RUN)
register(
    app, "show", show, "interp show interp-runs/001",
    "interp show interp-runs/001 --json", panel=READ,
)  # fmt: skip
register(
    app, "open", open_, "interp open interp-runs/001", "interp open out/evasive-high", panel=READ
)  # fmt: skip
register(
    app, "explain", explain, "interp explain sufficiency",
    "interp explain interp-runs/001", panel=READ,
)  # fmt: skip
register(
    app, "figures", figures, "interp figures interp-runs/001 --venue neurips --out figs",
    "interp figures interp-runs/001 --venue acl --columns 2 --format svg", panel=READ,
)  # fmt: skip
register(
    app, "export", export, "interp export interp-runs/001",
    "interp export interp-runs/001 --format jsonl --out rows.jsonl", panel=READ,
)  # fmt: skip
register(
    app, "verify", verify, "interp verify interp-runs/001",
    "interp verify interp-runs/001 --files", panel=READ,
)  # fmt: skip
register(app, "list", list_, "interp list", "interp list --json", panel=PREPARE)
register(
    app, "plan", plan,
    "interp plan --base smollm2 --tuned smollm2-evasive-high --facts capitals",
    "interp plan scan --base smollm2 --tuned smollm2-evasive-high --tokens 8",
    "interp plan --site z --positions subject,-1 --json",
    "interp plan --model-size 70b --gpu h100 --prompts 200", panel=PREPARE,
)  # fmt: skip
app.add_typer(facts, name="facts", rich_help_panel=PREPARE)
app.add_typer(organisms, name="organisms", rich_help_panel=PREPARE)
register(app, "doctor", doctor, "interp doctor", "interp doctor | grep figures", panel=PREPARE)

INTERRUPTED = (
    "interrupted; nothing of this run was kept, since results are written at its end; "
    "earlier runs are as they were"
)


def _show_version(wanted: bool | None) -> None:
    """Print the version and end, where it was asked for."""
    if wanted:
        typer.echo(f"interp {version('interp')}")
        raise typer.Exit


@app.callback()
def _interp(
    wanted: Annotated[
        bool | None,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Did tuning change what a language model knows, or only what it says - and where?"""


def main() -> None:
    """Run the command; a user's error is one line and exit code 2."""
    tell(Detail.USUAL)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is first loaded, later
    try:
        # Typer turns an interrupt inside a command into its exit code.
        code = app(standalone_mode=False, prog_name="interp")
        if code:
            if code == 130:
                typer.echo(INTERRUPTED, err=True)
            sys.exit(code)
    except ValueError as error:
        _fail(" ".join(str(error).split()))
    except KeptError as kept:
        typer.echo(str(kept), err=True)
        sys.exit(130)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(INTERRUPTED, err=True)
        sys.exit(130)
    except OSError as error:
        _fail(f"{' '.join(str(error).split())}; check the path and the space left")
    except Exception as error:
        # Typer's own usage errors know how to show themselves; without arguments that is the help.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        strange = any(told in message for told in ("unexpected extra argument", "is not one of"))
        if strange and sys.argv[1] in ("compare", "plan", "submit"):
            message += "; models and facts are options: --base BASE --tuned TUNED --facts FACTS"
        if not message.strip():  # the help was shown
            sys.exit(2)
        _fail(message)


def _fail(message: str) -> None:
    """End with one line on standard error and exit code 2."""
    typer.echo(printable(f"interp: {message}"), err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
