"""`interp plan`: what a patching grid would cost, told before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from interp.progress import announce
from studies.commands.comparing import DEFAULT_BASE, facts_of
from studies.commands.options import (
    MODELS,
    NAMED_MODEL,
    Budget,
    Device,
    Dtype,
    Json,
    Quiet,
    Verbose,
)

GRID = "Grid"


def plan(
    base: Annotated[
        str, typer.Option(help=f"The model: {NAMED_MODEL}.", rich_help_panel=MODELS)
    ] = DEFAULT_BASE,
    facts: Annotated[
        str | None,
        typer.Option(help="Name, or a .csv, .tsv, .jsonl or .parquet file.", rich_help_panel=MODELS),
    ] = None,
    site: Annotated[
        str,
        typer.Option(
            help="What would be patched at every layer: resid_pre, mlp_out, z, …", rich_help_panel=GRID
        ),
    ] = "resid_pre",
    positions: Annotated[
        str,
        typer.Option(
            help="each, or spans and numbers joined by commas: subject,last,-1.", rich_help_panel=GRID
        ),
    ] = "each",
    prompts: Annotated[
        int, typer.Option(min=1, help="How many prompts of the facts.", rich_help_panel=GRID)
    ] = 16,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell what a patching grid would cost, and how many facts a comparison on them needs."""
    facts = facts_of(base, facts)
    announce(f"planning on {base} and {facts}; loading {base} …")
    from interp.facts.loading import load_facts

    task = load_facts(facts)
    from interp.models.loading import load_model
    from interp.models.pair import ModelPair
    from interp.sites import HEADED, Kind, every_head, every_layer
    from interp.verdict.thresholds import Thresholds
    from patching.engine.planning import plan as cost
    from studies.comparison.questions import ask

    kinds = [str(kind) for kind in Kind if kind is not Kind.EMBED]
    if site not in kinds:
        raise ValueError(f"--site must be one of {', '.join(kinds)}; got {site!r}")
    kind = Kind(site)
    model = load_model(base, device=device, dtype=dtype)
    examples = ask(ModelPair(model, model), task, forms=1).examples
    asked = examples.subset(range(min(prompts, len(examples))))
    if kind in HEADED:
        sites = every_head(kind, model.n_layers, model.heads_of(kind))
    else:
        sites = every_layer(kind, model.n_layers)
    planned = cost(model, asked, sites, positions=_places(positions), max_bytes=int(budget * 2**30))
    needs = Thresholds().needs
    if as_json:
        told = {"facts": len(task), "wordings": len(task.templates), "needs": needs}
        typer.echo(json.dumps({**asdict(planned), **told}, indent=1, default=str))
        return
    typer.echo(str(planned))
    wordings = f"{len(task.templates)} wording{'s' * (len(task.templates) > 1)}"
    typer.echo(f"facts: {len(task)} in {wordings}. {needs}")


def _places(positions: str) -> str | list[str | int]:
    """The positions that are meant: numbers count tokens, everything else is a name."""
    if positions == "each":
        return positions
    names = [name.strip() for name in positions.split(",")]
    return [int(name) if name.lstrip("+-").isdecimal() else name for name in names]
