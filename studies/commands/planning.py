"""`interp plan`: what a job, a patching grid or a larger model would cost, told beforehand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from interp.progress import announce, job, stage
from studies.commands.options import (
    MACHINE,
    MODELS,
    Base,
    Budget,
    Depth,
    Device,
    Facts,
    Json,
    Null,
    Prompt,
    Quiet,
    Readout,
    Seed,
    Tokens,
    Tuned,
    Verbose,
    What,
    refuse,
)
from studies.commands.runs.asked_for import DEFAULT_BASE, comparison_of, facts_of, scan_of
from studies.commands.runs.work import Work
from studies.comparison.stages import LOADING

GRID, SIZE = "A patching grid instead of a job", "Models that are not here"

#: Prompts of a grid, and of models of a size, unless it is said how many.
GRID_PROMPTS, SIZE_PROMPTS = 16, 100


def plan(
    what: What = "compare",
    *,
    base: Base = None,
    tuned: Tuned = None,
    facts: Facts = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Prompts of any kind instead of facts: a .txt, .csv, .tsv, .jsonl or .parquet file. "
            f"With --site or --model-size how many there are ({GRID_PROMPTS}; {SIZE_PROMPTS}).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    readout: Readout = "tuned",
    depth: Depth = False,
    null: Null = None,
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
    device: Device = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32 (of models that are here), bfloat16 (of a size), float16 or float64.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    budget: Budget = 2.0,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell what a comparison or a scan would cost, stage by stage.

    It takes what the command itself takes: `interp plan` facts, `interp plan --prompts FILE` prompts
    of any kind, `interp plan scan` a scan. With --site, what a patching grid on the base would cost;
    with --model-size, what a job would cost on models and cards that are not here.
    """
    max_bytes = int(budget * 2**30)
    if model_size is not None or gpu is not None:
        refuse(
            "--model-size", base=base, tuned=tuned, facts=facts, null=null, site=site,
            positions=positions, depth=depth or None,
        )  # fmt: skip
        if model_size is None:
            raise ValueError(f"--gpu {gpu} needs the size of a model; give --model-size, such as 7b")
        from studies.planning.sizing import plan_size

        planned: Any = plan_size(
            model_size, gpu or "h100", _number(prompts, SIZE_PROMPTS, "--model-size"), what=what,
            tokens=tokens, dtype=dtype or "bfloat16", budget=max_bytes,
        )  # fmt: skip
        typer.echo(json.dumps(planned.to_dict(), indent=1) if as_json else str(planned))
        return
    same: dict[str, Any] = {"device": device, "dtype": dtype or "float32"}
    if site is not None:
        refuse("--site", tuned=tuned, tokens=tokens, null=null, depth=depth or None)
        base, count = base or DEFAULT_BASE, _number(prompts, GRID_PROMPTS, "--site")
        told, line = _grid(base, facts_of(base, facts), site, positions, count, max_bytes, same)
    else:
        _only_of_grids(positions, prompts)
        options: dict[str, Any] = {
            "base": base, "tuned": tuned, "prompts": prompts, "prompt": prompt, "tokens": tokens,
            "budget": budget, "seed": seed, **same,
        }  # fmt: skip
        if what == "scan":
            other = None if readout == "tuned" else readout
            refuse("scan", facts=facts, null=null, readout=other, depth=depth or None)
            told, line = _job(scan_of(**options))
        else:
            told, line = _job(
                comparison_of(facts=facts, null=null, readout=readout, depth=depth, **options)
            )
    typer.echo(json.dumps(told, indent=1, default=str) if as_json else line)


def _number(prompts: str | None, usual: int, beside: str) -> int:
    """How many prompts are meant, where there is no file of them.

    Raises:
        ValueError: for what is no number from 1.
    """
    if prompts is None:
        return usual
    if not (prompts.isascii() and prompts.isdecimal() and int(prompts) > 0):
        raise ValueError(f"--prompts must be a number from 1 beside {beside}, got {prompts!r}")
    return int(prompts)


def _only_of_grids(positions: str | None, prompts: str | None) -> None:
    """Refuse what belongs to a grid or a size, where a whole job is planned.

    Raises:
        ValueError: naming it.
    """
    number = prompts if prompts is not None and prompts.isdecimal() else None
    number = None if number is not None and Path(number).exists() else number
    for name, given in (("positions", positions), ("prompts", number)):
        if given is not None:
            raise ValueError(
                f"--{name} {given} belongs to a patching grid or a size; give --site, such as "
                "resid_pre, or --model-size, or leave it out for the whole job"
            )


def _job(work: Work) -> tuple[dict[str, Any], str]:
    """What a job would cost, loading included: as data, and as lines."""
    announce(f"planning: {work.title} on {work.asked}; reading them …")
    with job(f"planning: {work.title}", {**LOADING, "asking": 6}) as taken:
        loaded = work.loaded()
        stage("asking")
        planned = work.planned(loaded)
    whole = planned.after({name: taken[name] for name in LOADING})
    if not hasattr(loaded.task, "templates"):  # prompts, of which no answer is known
        return whole.to_dict(), str(whole)
    return {**whole.to_dict(), **_needs(loaded.task)}, f"{whole}\n{_needed(loaded.task)}"


def _grid(
    base: str,
    facts: str,
    site: str,
    positions: str | None,
    count: int,
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
    asked = examples.subset(range(min(count, len(examples))))
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
