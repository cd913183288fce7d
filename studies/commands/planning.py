"""`interp plan`: what a comparison, a patching grid or a larger model would cost, told beforehand."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from interp.progress import announce, job, stage
from studies.commands.comparing import DEFAULT_BASE, facts_of, pair_of
from studies.commands.options import MACHINE, MODELS, NAMED_MODEL, Budget, Device, Json, Quiet, Verbose

GRID, SIZE = "A patching grid instead of a comparison", "Models that are not here"

#: Prompts of a grid, and of models of a size, unless it is said how many.
GRID_PROMPTS, SIZE_PROMPTS = 16, 100


def plan(
    base: Annotated[
        str | None, typer.Option(help=f"Base model: {NAMED_MODEL}.", rich_help_panel=MODELS)
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(help="Tuned model, or an adapter applied to the base.", rich_help_panel=MODELS),
    ] = None,
    facts: Annotated[
        str | None,
        typer.Option(help="Name, or a .csv, .tsv, .jsonl or .parquet file.", rich_help_panel=MODELS),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            help="What would be patched at every layer: resid_pre, mlp_out, z, …", rich_help_panel=GRID
        ),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            help="each (the default), or spans and numbers joined by commas: subject,last,-1.",
            rich_help_panel=GRID,
        ),
    ] = None,
    model_size: Annotated[
        str | None,
        typer.Option(help="Parameters of one model: 7b, 13b, 70b, 1.7b, …", rich_help_panel=SIZE),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="h200, h100 (the default), a100, l40s.", rich_help_panel=SIZE)
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"How many prompts: of a grid {GRID_PROMPTS}, of a size {SIZE_PROMPTS} by default.",
            rich_help_panel=SIZE,
        ),
    ] = None,
    device: Device = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32 (of models that are here), bfloat16 (of a size), float16 or float64.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    budget: Budget = 2.0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell what a comparison would cost, stage by stage, and how many facts it needs.

    With --site, what a patching grid on the base would cost; with --model-size, what a comparison
    would cost on models and cards that are not here.
    """
    max_bytes = int(budget * 2**30)
    if model_size is not None or gpu is not None:
        _refuse("--model-size", base=base, tuned=tuned, facts=facts, site=site, positions=positions)
        if model_size is None:
            raise ValueError(f"--gpu {gpu} needs the size of a model; give --model-size, such as 7b")
        from studies.planning.sizing import plan_size

        count = SIZE_PROMPTS if prompts is None else prompts
        planned: Any = plan_size(
            model_size, gpu or "h100", count, dtype=dtype or "bfloat16", budget=max_bytes
        )
        typer.echo(json.dumps(planned.to_dict(), indent=1) if as_json else str(planned))
        return
    same = {"device": device, "dtype": dtype or "float32"}
    if site is not None:
        _refuse("--site", tuned=tuned)
        base = base or DEFAULT_BASE
        told, line = _grid(base, facts_of(base, facts), site, positions, prompts, max_bytes, same)
    else:
        for name, given in (("positions", positions), ("prompts", prompts)):
            if given is not None:
                raise ValueError(
                    f"--{name} belongs to a patching grid or a size; give --site, such as resid_pre, "
                    "or --model-size, or leave it out for the whole comparison"
                )
        base, tuned = pair_of(base, tuned)
        told, line = _comparison(base, tuned, facts_of(base, facts), max_bytes, same)
    typer.echo(json.dumps(told, indent=1, default=str) if as_json else line)


def _refuse(because: str, **options: str | None) -> None:
    """Refuse options that say nothing beside another.

    Raises:
        ValueError: naming the first that was given.
    """
    for name, given in options.items():
        if given is not None:
            raise ValueError(f"--{name} says nothing beside {because}; leave one of them out")


def _comparison(
    base: str, tuned: str, facts: str, max_bytes: int, same: dict[str, str]
) -> tuple[dict[str, Any], str]:
    """What the main job would cost, loading included: as data, and as lines."""
    announce(f"planning to compare {tuned} with {base} on {facts}; reading the facts …")
    from studies.comparison.stages import LOADING

    with job(f"planning to compare {tuned} with {base}", {**LOADING, "asking": 6}) as taken:
        stage("reading the facts")
        from interp.facts.loading import load_facts
        from interp.models.named import require_findable

        task = load_facts(facts)
        require_findable(base, tuned)
        stage("loading the base")  # and, before it, what it takes to load one
        from interp.models.loading import load_pair
        from studies.planning.jobs import plan as plan_job

        pair = load_pair(base, tuned, **same)
        stage("asking")
        planned = plan_job(pair, task, budget=max_bytes)
    whole = planned.after({name: taken[name] for name in LOADING})
    return {**whole.to_dict(), **_needs(task)}, f"{whole}\n{_needed(task)}"


def _grid(
    base: str,
    facts: str,
    site: str,
    positions: str | None,
    prompts: int | None,
    max_bytes: int,
    same: dict[str, str],
) -> tuple[dict[str, Any], str]:
    """What a patching grid would cost: as data, and as lines."""
    announce(f"planning on {base} and {facts}; loading {base} …")
    from interp.facts.loading import load_facts
    from interp.models.named import require_findable

    task = load_facts(facts)
    require_findable(base)
    from interp.models.loading import load_model
    from interp.models.pair import ModelPair
    from interp.sites import HEADED, Kind, every_head, every_layer
    from patching.engine.planning import plan as cost
    from studies.comparison.questions import ask

    kinds = [str(kind) for kind in Kind if kind is not Kind.EMBED]
    if site not in kinds:
        raise ValueError(f"--site must be one of {', '.join(kinds)}; got {site!r}")
    kind = Kind(site)
    model = load_model(base, **same)
    examples = ask(ModelPair(model, model), task, forms=1).examples
    asked = examples.subset(range(min(prompts or GRID_PROMPTS, len(examples))))
    if kind in HEADED:
        sites = every_head(kind, model.n_layers, model.heads_of(kind))
    else:
        sites = every_layer(kind, model.n_layers)
    where = _places(positions or "each")
    planned = cost(model, asked, sites, positions=where, max_bytes=max_bytes)
    return {**asdict(planned), **_needs(task)}, f"{planned}\n{_needed(task)}"


def _needs(task: Any) -> dict[str, Any]:
    """How many facts there are, and how many a verdict needs, as data."""
    from interp.verdict.thresholds import Thresholds

    needs = Thresholds().needs
    return {"facts": len(task), "wordings": len(task.templates), "needs": needs}


def _needed(task: Any) -> str:
    """The same on one line."""
    told = _needs(task)
    wordings = f"{told['wordings']} wording{'s' * (told['wordings'] > 1)}"
    return f"facts: {told['facts']} in {wordings}. {told['needs']}"


def _places(positions: str) -> str | list[str | int]:
    """The positions that are meant: numbers count tokens, everything else is a name."""
    if positions == "each":
        return positions
    names = [name.strip() for name in positions.split(",")]
    return [int(name) if name.lstrip("+-").isdecimal() else name for name in names]
