"""`interp study NAME`: questions of the literature. Only typer is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import (
    MODELS,
    NAMED_MODEL,
    OUTPUT,
    STATISTICS,
    FirstSeed,
    Quiet,
    Seed,
    Verbose,
    Worlds,
    register,
)
from studies.commands.runs.folders import kept

studies = typer.Typer(
    help="Ask what the literature asks, with controls and intervals: knowing, recalling; and score the "
    "verdict itself on models whose answer is known: scorecard.",
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


def scorecard(
    family: Annotated[
        list[str] | None,
        typer.Option(
            help="Which organisms: shipped (no training), development, held-out, coverage, fresh, "
            "smollm2 (adapters in thirds); give it again for more (default: shipped).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            help="Folder of trained organisms; what is missing is trained there (default: the user's "
            "cache).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    seeds: Worlds = None,
    first_seed: FirstSeed = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this organism; give it again for more.", rich_help_panel=MODELS),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes that train at a time.", rich_help_panel=MODELS)
    ] = 1,
    out: Out = None,
    resume: Resume = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="2/4 for the second of four shares, all with one --resume folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """How often the verdict is right on models whose answer is known.

    Every organism is compared with its base; the words stand beside the known answer and beside what
    single methods alone would have said. About half a minute for each, and a minute or two to train
    one that is missing.
    """
    if out is not None and out.exists():
        raise typer.BadParameter(f"--out must be a new folder, got {out}; choose another")
    if shard is not None and resume is None:
        raise typer.BadParameter(
            "--shard needs the folder that the shares are kept in; add --resume DIR"
        )
    from interp.runs.run import ShareDone
    from studies.scores.scorecard import SHIPPED, scorecard as scored

    try:
        with kept(resume, shard):
            card = scored(
                family or [SHIPPED],
                models=models,
                jobs=jobs,
                only=only,
                seeds=seeds,
                first_seed=first_seed,
                seed=seed,
            )
    except ShareDone as done:
        typer.echo(f"{done}; when all shares are, give the same command without --shard")
        return
    if out is not None:
        card.save(out)
    typer.echo(str(card))


register(
    studies, "knowing", knowing, "interp study knowing",
    "interp study knowing --model ./mine --out tables",
)  # fmt: skip
register(
    studies, "recalling", recalling, "interp study recalling",
    "interp study recalling --base organism-base --window 3 --out tables",
)  # fmt: skip
register(
    studies, "scorecard", scorecard, "interp study scorecard",
    "interp study scorecard --family held-out --jobs 2 --resume run --out card",
)  # fmt: skip
