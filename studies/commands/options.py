"""What commands share: options, their panels, exit codes, and the shape of a help text."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from interp.progress import Detail, tell

#: What an exit code of `interp` means.
EXIT_CODES = {
    0: "done",
    1: "a mistake of interp itself, with its traceback",
    2: "bad input, or `interp verify` found a difference; one line says what to do",
    130: "interrupted; nothing of this run is kept, but with --resume what was made",
}


class KeptError(Exception):
    """A run was interrupted, and what it had made is kept."""


MODELS, OUTPUT, MACHINE, STATISTICS = "Models and facts", "Output", "Machine", "Statistics"

NAMED_MODEL = "name, folder, .gguf file or hub id"

#: What of two commands is meant.
Jobs = Literal["compare", "scan"]
What = Annotated[Jobs, typer.Argument(help="What the job is.")]
Base = Annotated[str | None, typer.Option(help=f"Base model: {NAMED_MODEL}.", rich_help_panel=MODELS)]
Tuned = Annotated[
    str | None,
    typer.Option(help="Tuned model, or an adapter applied to the base.", rich_help_panel=MODELS),
]
Facts = Annotated[
    str | None,
    typer.Option(
        help="Facts: a name, or a .csv, .tsv, .jsonl or .parquet file.", rich_help_panel=MODELS
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        help="Prompts of any kind instead of facts: a .txt, .csv, .tsv, .jsonl or .parquet file.",
        rich_help_panel=MODELS,
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(min=1, help="Of prompts: tokens to generate (default: 32).", rich_help_panel=MODELS),
]
Readout = Annotated[
    str,
    typer.Option(
        help="Of prompts: tuned, base or both; whose final norm and unembedding read all cells.",
        rich_help_panel=MODELS,
    ),
]
Prompt = Annotated[
    str,
    typer.Option(help="raw, or chat (the tuned model's template for both).", rich_help_panel=MODELS),
]
Depth = Annotated[
    bool,
    typer.Option(
        "--depth",
        help="Of facts: also ask what became of the old ones and what the new ones are.",
        rich_help_panel=MODELS,
    ),
]
Null = Annotated[
    str | None,
    typer.Option(help="A null tune of the base, as one more placebo.", rich_help_panel=MODELS),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the results (default: a fresh numbered one).", rich_help_panel=OUTPUT
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep the parts in --out as they are made; go on with what is there.",
        rich_help_panel=OUTPUT,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="Only this share of the work, 2/4 for the second of four; see interp merge.",
        rich_help_panel=OUTPUT,
    ),
]
Csv = Annotated[
    bool,
    typer.Option(
        "--csv",
        help="Also evidence.csv, dozens of times larger than the parquet file.",
        rich_help_panel=OUTPUT,
    ),
]
Device = Annotated[
    str,
    typer.Option(help="cpu, cuda, mps, …; auto: all GPUs that are visible.", rich_help_panel=MACHINE),
]
Dtype = Annotated[
    str, typer.Option(help="float32, bfloat16, float16 or float64.", rich_help_panel=MACHINE)
]
Budget = Annotated[
    float,
    typer.Option(
        min=0.01, help="Memory for activations beside the models, in GiB.", rich_help_panel=MACHINE
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, help="Of splits, placebos, noise and resampling.", rich_help_panel=STATISTICS),
]
Worlds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        help="How many worlds of the family: another seed is another world, base and draw of all "
        "(default: all it has; one of fresh).",
        rich_help_panel=MODELS,
    ),
]
FirstSeed = Annotated[
    int | None,
    typer.Option(min=0, help="Of fresh: seed of the first world.", rich_help_panel=MODELS),
]


def refuse(because: str, **options: str | int | None) -> None:
    """Refuse options that say nothing beside another.

    Raises:
        ValueError: naming the first that was given.
    """
    for name, given in options.items():
        if given is not None:
            raise ValueError(f"--{name} says nothing beside {because}; leave one of them out")


def _quiet(wanted: bool) -> bool:
    if wanted:
        tell(Detail.QUIET)
    return wanted


def _verbose(wanted: bool) -> bool:
    if wanted:
        tell(Detail.VERBOSE)
    return wanted


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_quiet, help="No progress.", rich_help_panel=OUTPUT),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", callback=_verbose, help="A line at every stage, in log files too.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.", rich_help_panel=OUTPUT)]
Run = Annotated[str, typer.Argument(metavar="DIR", help="The folder of a finished run.")]


def register(
    app: typer.Typer, name: str, command: Callable[..., Any], *examples: str, panel: str | None = None
) -> None:
    """Make a function a command whose help ends with examples.

    Args:
        app: the group that gets the command.
        name: of the command.
        command: its docstring is the help, a paragraph on one line each.
        *examples: two or more calls, written out.
        panel: under which the group's help lists it.
    """
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    help_text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(
        name, help=help_text, epilog=listed("Examples:", examples), rich_help_panel=panel
    )(command)  # fmt: skip


def listed(title: str, lines: tuple[str, ...] | list[str]) -> str:
    """A title and lines under it, kept apart in either way of showing help."""
    return "\n".join((title, *(f"  {line}" for line in lines)))
