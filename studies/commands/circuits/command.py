"""`interp circuits`: find, evaluate, compare, draw and export. Only typer is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import (
    MACHINE,
    MODELS,
    NAMED_MODEL,
    OUTPUT,
    STATISTICS,
    Device,
    Dtype,
    Quiet,
    Seed,
    Verbose,
    register,
)

circuits = typer.Typer(
    help="Circuits: which edges carry a behaviour, how stable they are, what tuning changed of them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Source = Annotated[Path, typer.Argument(help="Folder of a finished `interp circuits discover`.")]
Model = Annotated[str, typer.Option(help=f"The model: {NAMED_MODEL}.", rich_help_panel=MODELS)]
OfBase = Annotated[
    str | None, typer.Option(help="The base, where --model is an adapter.", rich_help_panel=MODELS)
]
Task = Annotated[
    str,
    typer.Option(
        help="A task by name (`interp list`), or a .json or .jsonl file of your own.",
        rich_help_panel=MODELS,
    ),
]
Prompts = Annotated[int, typer.Option(min=2, help="How many prompts.", rich_help_panel=MODELS)]
Method = Annotated[
    str,
    typer.Option(
        help="exact, eap, eap_ig, eap_ig_activations, clean_corrupted, relp, information_flow, weights "
        "or random.",
        rich_help_panel=STATISTICS,
    ),
]
Ablation = Annotated[
    str,
    typer.Option(
        help="counterfactual, mean, mean_per_position, zero or resample.", rich_help_panel=STATISTICS
    ),
]
Positions = Annotated[
    str, typer.Option(help="all, or a named or numbered position.", rich_help_panel=STATISTICS)
]
Edges = Annotated[
    int, typer.Option(min=1, help="Edges that each resample takes.", rich_help_panel=STATISTICS)
]
Out = Annotated[Path, typer.Option(help="A new folder.", rich_help_panel=OUTPUT)]


def discover(
    out: Out,
    model: Model = "smollm2",
    base: OfBase = None,
    task: Task = "indirect_object",
    prompts: Prompts = 32,
    method: Method = "eap_ig",
    ablation: Ablation = "counterfactual",
    positions: Positions = "all",
    edges: Edges = 200,
    resamples: Annotated[
        int, typer.Option(min=1, help="Draws of the prompts.", rich_help_panel=STATISTICS)
    ] = 200,
    verify: Annotated[
        int,
        typer.Option(
            min=0, help="Highest edges that are patched exactly (0: none).", rich_help_panel=STATISTICS
        ),
    ] = 0,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find a circuit: how often each edge is among the best when the prompts are drawn anew.

    Writes every edge with its score and frequency, the prompts, and figures.
    """
    from studies.circuit_runs import running

    asked = running.Asked(
        model, base, task, prompts, method, ablation, positions, edges, seed, device, dtype
    )
    typer.echo(running.discover(asked, out, resamples=resamples, verify=verify))


def evaluate(
    source: Source,
    complement: Annotated[
        bool,
        typer.Option(
            "--complement", help="Also run the edges outside of each circuit.", rich_help_panel=OUTPUT
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a folder's circuits at every size on fresh prompts: faithfulness, CPR and CMD.

    Beside them stands the random baseline.
    """
    from studies.circuit_runs import running

    typer.echo(running.evaluate(source, None, complement=complement))


def diff(
    out: Out,
    base: Annotated[str, typer.Option(help=f"Base model: {NAMED_MODEL}.", rich_help_panel=MODELS)],
    tuned: Annotated[
        str,
        typer.Option(help="Tuned model, or an adapter applied to the base.", rich_help_panel=MODELS),
    ],
    task: Task = "indirect_object",
    prompts: Prompts = 32,
    method: Method = "eap_ig",
    ablation: Ablation = "counterfactual",
    positions: Positions = "all",
    edges: Edges = 200,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare the circuits of a base model and a tuned one on the same prompts.

    Says whether it is one circuit, reused, strengthened or weakened, or another, and which edges and
    nodes changed beyond the noise floor.
    """
    from studies.circuit_runs import running

    asked = running.Asked(
        base, None, task, prompts, method, ablation, positions, edges, seed, device, dtype
    )
    typer.echo(running.diff(asked, tuned, out))


def plot(
    source: Annotated[Path, typer.Argument(help="Folder of `interp circuits discover` or `diff`.")],
    venue: Annotated[str, typer.Option(help="icml, neurips, iclr or acl: width and font.")] = "icml",
    columns: Annotated[int, typer.Option(min=1, max=2, help="Columns that a figure spans.")] = 2,
    format: Annotated[str, typer.Option(help="svg, pdf or png.")] = "svg",
    top: Annotated[int, typer.Option(min=1, help="Edges that the graph shows.")] = 80,
) -> None:
    """Draw the figures of a folder anew, each with its data and caption beside it."""
    from interp.figures.paper.venues import width_and_size
    from studies.circuit_runs.drawing import draw

    width_and_size(venue, columns)
    if format not in ("svg", "pdf", "png"):
        raise ValueError(f"--format must be svg, pdf or png; got {format!r}; choose one")
    for path in draw(source, venue=venue, columns=columns, format=format, top=top):
        typer.echo(str(path))


def export(
    source: Annotated[Path, typer.Argument(help="Folder of `interp circuits discover`, or a circuit.")],
    out: Annotated[Path, typer.Option(help="File, or for mib a new folder.", rich_help_panel=OUTPUT)],
    format: Annotated[
        str,
        typer.Option(
            help="eap-ig, mib, csv, yaml, circuit-tracer or auto-circuit (the prompts).",
            rich_help_panel=OUTPUT,
        ),
    ] = "eap-ig",
    edges: Annotated[
        str, typer.Option(help="core, or contingent for these too.", rich_help_panel=OUTPUT)
    ] = "core",
    model: Annotated[
        str | None,
        typer.Option(help="Of a file: the model that it must be of.", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Write a circuit for another program, or convert a circuit's file."""
    from studies.circuit_runs import exporting

    if edges not in ("core", "contingent"):
        raise ValueError(f"--edges must be core or contingent; got {edges!r}; choose one")
    typer.echo(str(exporting.export(source, format, out, least=edges, model=model)))


register(
    circuits, "discover", discover,
    "interp circuits discover --task greater_than --out found",
    "interp circuits discover --model tracr-reverse --task tracr-reverse --method exact --out found",
)  # fmt: skip
register(
    circuits, "evaluate", evaluate, "interp circuits evaluate found",
    "interp circuits evaluate found --complement",
)  # fmt: skip
register(
    circuits, "diff", diff,
    "interp circuits diff --base smollm2 --tuned smollm2-evasive-high --task capital_country --out d",
    "interp circuits diff --base tracr-reverse --tuned tracr-reverse-upper --task tracr-reverse "
    "--out diff",
)  # fmt: skip
register(
    circuits, "plot", plot, "interp circuits plot found --format pdf",
    "interp circuits plot found --venue acl --columns 1 --top 40",
)  # fmt: skip
register(
    circuits, "export", export, "interp circuits export found --out circuit.json",
    "interp circuits export mine.yaml --format csv --out mine.csv",
)  # fmt: skip
