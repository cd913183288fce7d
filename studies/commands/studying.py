"""`interp study NAME`: questions of the literature, asked of one model. Only typer is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import (
    MODELS,
    NAMED_MODEL,
    OUTPUT,
    STATISTICS,
    Quiet,
    Seed,
    Verbose,
    register,
)
from studies.commands.work import kept

studies = typer.Typer(
    help="Ask one model what the literature asks, with controls and intervals: knowing, recalling.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Out = Annotated[
    Path | None, typer.Option(help="A new folder that keeps the tables.", rich_help_panel=OUTPUT)
]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="A folder that keeps the parts as they are made; go on with what is there.",
        rich_help_panel=OUTPUT,
    ),
]


def knowing(
    model: Annotated[
        str, typer.Option(help=f"The model: {NAMED_MODEL}.", rich_help_panel=MODELS)
    ] = "smollm2",
    base: Annotated[
        str | None,
        typer.Option(help="The base, where --model is an adapter.", rich_help_panel=MODELS),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """What linear probes read in a model.

    Four tables: truth of city statements at every boundary, with its controls; a truth probe of each
    set tested on each, negations included; attributes of entities against trivial readers; and where
    the model says of a statement what a held-out probe does not read. A few minutes on smollm2.
    """
    if base is not None and model == "smollm2":
        raise typer.BadParameter(
            f"--base is what an adapter given by --model stands on; got --base {base} without one; to "
            f"study a full model write --model {base}"
        )
    from studies.knowing import report

    with kept(resume):
        typer.echo(report(model, base=base, out=out, seed=seed))


def recalling(
    base: Annotated[
        str, typer.Option(help=f"The model: {NAMED_MODEL}.", rich_help_panel=MODELS)
    ] = "smollm2",
    facts: Annotated[
        str | None,
        typer.Option(
            help="Facts: a name, or a .csv, .tsv, .jsonl or .parquet file (default: capitals; world "
            "for the models of that world).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    window: Annotated[
        int,
        typer.Option(
            min=1, help="Layers that are cut or restored together.", rich_help_panel=STATISTICS
        ),
    ] = 5,
    out: Out = None,
    resume: Resume = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """How a model recalls the facts it knows.

    Three findings: the boundary from which the last position alone carries the answer; what it costs
    to forbid it to attend to the subject; and where restoring MLPs and attention under noise peaks.
    """
    from studies.recalling import report

    if facts is None:
        facts = "world" if base.startswith("organism-") else "capitals"
    with kept(resume):
        typer.echo(report(base, facts, window=window, out=out, seed=seed))


register(
    studies, "knowing", knowing, "interp study knowing",
    "interp study knowing --model ./mine --out tables",
)  # fmt: skip
register(
    studies, "recalling", recalling, "interp study recalling",
    "interp study recalling --base organism-base --window 3 --out tables",
)  # fmt: skip
