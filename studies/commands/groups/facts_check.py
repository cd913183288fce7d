"""`interp facts check`: what of a file of facts can be read, tokenised, told apart, and is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from interp.progress import announce
from interp.untrusted.reading import printable
from studies.commands.options import MODELS, NAMED_MODEL, Device, Dtype, Quiet, register

if TYPE_CHECKING:
    from interp.facts.types import FactSet
    from interp.models.model import Model

facts = typer.Typer(
    help="Look at facts before they are used: check.", no_args_is_help=True, rich_markup_mode="rich"
)
#: Of what would be left out, this many are shown.
MOST_SHOWN = 10
WIDTH = 79


def check(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A .csv, .tsv, .jsonl or .parquet file, or a name."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help=f"The base that would be asked: {NAMED_MODEL}.", rich_help_panel=MODELS),
    ] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    quiet: Quiet = False,
) -> None:
    """Check facts before a comparison: rows, tokens, collisions, and what a model knows of them.

    Without --model only the file is read; with it the facts are tokenised and asked.
    """
    announce(f"reading {source} …")
    from interp.facts.loading import load_facts

    task = load_facts(source)
    _print(_file(task))
    if model is None:
        typer.echo("give --model to see tokens, collisions and what it knows")
        return
    from interp.models.named import require_findable

    require_findable(model)
    announce(f"loading {model} …")
    from interp.models.loading import load_model

    _print(_asked(load_model(model, device=device, dtype=dtype), task))


register(
    facts, "check", check, "interp facts check mine.csv",
    "interp facts check mine.csv --model smollm2",
)  # fmt: skip


def _file(task: FactSet) -> Iterator[str]:
    """What the file itself says."""
    yield f"{task.name}: {len(task)} facts of {len(set(task.groups))} groups from {task.source}"
    for i, template in enumerate(task.templates):
        yield f"wording {i + 1}: {template}"
    if len(task.templates) < 2:
        yield (
            "one wording only: tokens are chosen and effects estimated on the same one, which leaves "
            "place and kind undetermined; add a second template"
        )
    yield f"{len(set(task.answers))} different answers"
    untuned = sum(fact.untuned for fact in task.facts)
    if untuned:
        yield f"untuned: {untuned} of {len(task)} facts are declared never tuned on"
    for name in task.attribute_names:
        values = [value for value in task.attribute(name) if value is not None]
        yield f"attribute {name}: {len(set(values))} values in {len(values)} facts"
    yield from task.notes


def _asked(model: Model, task: FactSet) -> Iterator[str]:
    """What a model makes of the facts: tokens, collisions, what is left out, what it knows."""
    from interp.models.pair import ModelPair
    from interp.verdict.thresholds import Thresholds
    from studies.comparison.answers import answer_all, right_prompts
    from studies.comparison.outcome_table import answer_text
    from studies.comparison.questions import FORMS, ask

    queries = ask(ModelPair(model, model), task)
    lengths = [
        len(lead) + len(answer) for lead, answer in zip(queries.leads, queries.answers, strict=True)
    ]
    prompts = queries.examples.lengths.tolist()
    yield (
        f"tokens of {model.name}: prompts {min(prompts)}–{max(prompts)}, answers "
        f"{min(lengths)}–{max(lengths)} ({sum(n == 1 for n in lengths)} of {len(lengths)} of one token)"
    )
    lead = {model.tokenizer.decode(list(lead)) for lead in queries.leads if lead}
    if lead:
        begin = ", ".join(map(repr, sorted(lead)))
        yield f"every answer begins with {begin}: it is put into the prompt"
    alike = queries.counted_as_one
    yield (
        f"first-token collisions: {len(alike)}"
        + (" (answers that count as one: " if alike else "")
        + "; ".join(" = ".join(answers) for answers in alike[:MOST_SHOWN])
        + (")" if alike else "")
    )
    yield f"left out: {len(queries.excluded)} questions"
    yield from (f"- {text!r}: {reason}" for text, reason in queries.excluded[:MOST_SHOWN])
    announce(f"asking {model.name} {len(queries.examples)} questions …")
    answers = answer_all(model, queries)
    right = right_prompts(queries, answers.tokens, answers.leads)
    asked = len(set(queries.examples.groups))
    yield f"known on every wording that is asked: {len(answers.known)} of {asked}"
    for form in sorted(set(queries.examples.templates)):
        rows = [i for i, letter in enumerate(queries.examples.templates) if letter == form]
        wrong = Counter(answer_text(model, queries, answers, i) for i in rows if not right[i])
        instead = ", ".join(f"{word!r} ({n})" for word, n in wrong.most_common(3))
        yield (
            f"wording {FORMS.index(form) + 1}: {sum(right[i] for i in rows)} of {len(rows)} right"
            + (f"; otherwise mostly {instead}" if instead else "")
        )
    yield f"not known, and so not judged: {asked - len(answers.known)}"
    yield Thresholds().needs


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(fill(printable(line), WIDTH, subsequent_indent="  ", break_on_hyphens=False))
