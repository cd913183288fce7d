"""The command: `interp compare`, `plan`, `study`, `list`. Before dispatch only typer is imported."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from interp.progress import announce
from studies.figure_commands import figures
from studies.study_commands import studies

app = typer.Typer(
    help="Did tuning change what a language model knows, or only what it says - and where?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(studies, name="study")
app.command()(figures)

#: The pair that is compared when none is named, and the facts of its world, which no other knows.
DEFAULT_BASE, DEFAULT_TUNED, DEFAULT_FACTS = "organism-base", "organism-edited-low", "world"
#: What the names of models of that world begin with.
ORGANISM = "organism-"
RUNS = Path("interp-runs")
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


@app.command()
def compare(
    base: Annotated[
        str | None, typer.Option(help="Base model: name, folder, .gguf file or hub id.")
    ] = None,
    tuned: Annotated[
        str | None, typer.Option(help="Tuned model, or an adapter applied to the base.")
    ] = None,
    facts: Annotated[
        str | None, typer.Option(help="Facts: a name, or a .csv, .tsv, .jsonl or .parquet file.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="raw, or chat (the tuned model's template for both).")
    ] = "raw",
    null: Annotated[
        str | None, typer.Option(help="A null tune of the base, as one more placebo.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report (default: a fresh numbered one).")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, …")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    budget: Annotated[
        float, typer.Option(min=0.01, help="Memory for activations beside the models, in GiB.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, placebos and resampling.")] = 0,
) -> None:
    """Compare a tuned model with its base and write report.html and everything behind it.

    Without models, a tiny base and a tune of it are compared on the facts of their own world.
    """
    base, tuned = _pair(base, tuned)
    facts = _facts(base, facts)
    if prompt not in ("raw", "chat"):
        raise ValueError(f"--prompt must be raw or chat, got {prompt!r}; choose one")
    with _fresh(out) as folder:
        announce(f"comparing {tuned} with {base} on {facts}; reading the facts …")
        from interp.facts.loading import load_facts

        task = load_facts(facts)
        announce("loading the models …")
        from interp.models.loading import load_model, load_pair
        from studies.comparison.comparing import compare as run

        pair = load_pair(base, tuned, device=device, dtype=dtype)
        same = {"base": base, "device": device, "dtype": dtype}
        announce("asking, intervening and judging …")
        comparison = run(
            pair,
            task,
            budget=int(budget * 2**30),
            prompt="chat" if prompt == "chat" else "raw",
            null=None if null is None else load_model(null, **same),
            seed=seed,
        )
        written = comparison.save(folder)
    typer.echo(comparison.verdict.sentence)
    for note in (*pair.warnings, *task.notes, *written.messages):
        typer.echo(f"note: {note}")
    typer.echo(f"report: {written.report}")


@app.command()
def plan(
    base: Annotated[str, typer.Option(help="Name, folder, .gguf file or hub id.")] = DEFAULT_BASE,
    facts: Annotated[
        str | None, typer.Option(help="Name, or a .csv, .tsv, .jsonl or .parquet file.")
    ] = None,
    site: Annotated[
        str, typer.Option(help="What would be patched at every layer: resid_pre, mlp_out, z, …")
    ] = "resid_pre",
    positions: Annotated[
        str, typer.Option(help="each, or spans joined by commas: subject,last,all.")
    ] = "each",
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts of the facts.")] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, …")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")] = "float32",
    budget: Annotated[
        float, typer.Option(min=0.01, help="Memory for activations beside the model, in GiB.")
    ] = 2.0,
) -> None:
    """Tell what a patching grid would cost, and how many facts a comparison on them needs."""
    facts = _facts(base, facts)
    announce(f"planning on {base} and {facts} …")
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
        sites = every_head(kind, model.n_layers, model.n_heads(kind))
    else:
        sites = every_layer(kind, model.n_layers)
    where = "each" if positions == "each" else positions.split(",")
    typer.echo(str(cost(model, asked, sites, positions=where, max_bytes=int(budget * 2**30))))
    wordings = f"{len(task.templates)} wording{'s' * (len(task.templates) > 1)}"
    typer.echo(f"facts: {len(task)} in {wordings}. {Thresholds().needs}")


@app.command("list")
def list_() -> None:
    """Models, adapters, facts, and the sets that probes are trained on."""
    from interp.facts.attributes import attribute_sets
    from interp.facts.loading import fact_names
    from interp.facts.truth import truth_sets
    from interp.models import sources

    adapters = [n for n in sources.names() if sources.is_adapter(n)]
    models = [n for n in sources.names() if n not in adapters]
    for title, names in (
        ("models", models),
        ("adapters (applied to --base)", adapters),
        ("facts", fact_names()),
        ("truth sets", [str(card) for card in truth_sets().values()]),
        ("attribute sets", [str(card) for card in attribute_sets().values()]),
    ):
        typer.echo(f"{title}:")
        for name in names:
            typer.echo(f"  {name}")


def _pair(base: str | None, tuned: str | None) -> tuple[str, str]:
    """The two models to compare: a default stands in beside a model of the same world only.

    Raises:
        ValueError: if one model is named and its other half cannot be guessed.
    """
    if base is None and (tuned is None or tuned.startswith(ORGANISM)):
        base = DEFAULT_BASE
    if tuned is None and base == DEFAULT_BASE:
        tuned = DEFAULT_TUNED
    if base is None:
        raise ValueError(f"--tuned {tuned} needs the model it was tuned from; give --base")
    if tuned is None:
        raise ValueError(f"--base {base} needs a version tuned from it; give --tuned")
    return base, tuned


def _facts(base: str, facts: str | None) -> str:
    """The facts to ask about: those of the default pair's world for that base only.

    Raises:
        ValueError: if another base is given without facts.
    """
    if facts is not None:
        return facts
    if base == DEFAULT_BASE:
        return DEFAULT_FACTS
    raise ValueError(
        f"--base {base} needs facts to be asked about; give --facts, a file or a name that "
        "`interp list` shows, such as capitals"
    )


@contextmanager
def _fresh(out: Path | None) -> Iterator[Path]:
    """The folder to write into, checked before anything long runs, gone again if the run fails.

    Raises:
        ValueError: if it exists and is not an empty folder, or cannot be created.
    """
    folder = out
    if folder is None:
        taken = [int(p.name) for p in RUNS.glob("*") if p.name.isdigit()]
        folder = RUNS / f"{max(taken, default=0) + 1:03d}"
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(
                f"--out {folder} exists and is not empty; nothing is overwritten; give a new folder"
            )
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be written ({error.strerror}); give a folder you may write to"
        ) from error
    try:
        yield folder
    except BaseException:
        if folder in created:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def main() -> None:
    """Run the command; a user's error is one line and exit code 2."""
    try:
        # Typer turns an interrupt inside a command into its exit code.
        code = app(standalone_mode=False, prog_name="interp")
        if code:
            if code == 130:
                typer.echo(INTERRUPTED, err=True)
            sys.exit(code)
    except ValueError as error:
        _fail(" ".join(str(error).split()))
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
        if "unexpected extra argument" in message and sys.argv[1] in ("compare", "plan"):
            message += "; models and facts are options: --base BASE --tuned TUNED --facts FACTS"
        if message.startswith("Usage:"):
            typer.echo(message, err=True)
            sys.exit(2)
        _fail(message)


def _fail(message: str) -> None:
    """End with one line on standard error and exit code 2."""
    typer.echo(f"interp: {message}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
