"""Tasks by name, from a file, or of items of one's own."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from interp.arguments import at_least_one, frames_inside, reader_of
from interp.circuit_tasks.checking import Asked, asked
from interp.circuit_tasks.copying import docstring, induction
from interp.circuit_tasks.items import Draw, TaskItem
from interp.circuit_tasks.numbers import arithmetic, greater_than
from interp.circuit_tasks.own import SUFFIXES, read_items
from interp.circuit_tasks.questions import capital_country, colour_choice
from interp.circuit_tasks.sentences import agreement, gendered_pronoun, indirect_object
from interp.circuit_tasks.task import Task
from interp.models.tokens import encode

if TYPE_CHECKING:
    from interp.models.model import Model

MAKERS: dict[str, Callable[[Draw], Iterator[TaskItem]]] = {
    "indirect_object": indirect_object,
    "greater_than": greater_than,
    "gendered_pronoun": gendered_pronoun,
    "docstring": docstring,
    "induction": induction,
    "agreement": agreement,
    "capital_country": capital_country,
    "arithmetic": arithmetic,
    "colour_choice": colour_choice,
}

#: Candidates that are tried for each item that is wanted.
TRIED = 20

#: Items below which a task that is made here is refused: no interval rests on fewer.
FEWEST = 8


def task_names() -> list[str]:
    """List the tasks that `load_task` makes.

    Returns:
        Names such as "indirect_object".

    Example:
        >>> import interp
        >>> {"indirect_object", "greater_than"} <= set(interp.task_names())
        True
    """
    return list(MAKERS)


def load_task(
    model: Model, source: str | Path | Sequence[TaskItem], *, n: int | None = None, seed: int = 0
) -> Task:
    """Make a task for a model's tokenizer: prompts, counterfactuals of equal length, answers, a metric.

    Items that the tokenizer cannot ask (a counterfactual of another length, an answer that differs from
    its foil in no token, a word that the vocabulary lacks) are left out and counted in `Task.dropped`.
    Answers of several tokens are scored on the first in which they differ.

    Args:
        model: whose tokenizer and context length are used.
        source: a name that `task_names` lists, a .json or .jsonl file as `read_items` reads it, or
            items.
        n: how many items; 32 by default for a task by name, and all of a file or a list.
        seed: of the drawing of items; the same items come of the same seed.

    Returns:
        The task; `Task.contrast` and `Task.metric` go into every method of `patching`.

    Raises:
        ValueError: for an unknown name, a file that cannot be read, or too few items that this
            tokenizer can ask, with what was wrong with the others.

    Warns:
        UserWarning: if items of one's own are left out, or a task by name has fewer items than asked.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> (clean, corrupted), (answer, foil) = facts.prompts(0)[1:3], facts.answers[1:3]
        >>> task = interp.load_task(model, [interp.TaskItem(clean, corrupted, (answer,), (foil,))])
        >>> len(task), task.metric.unit, bool(task.performance(model)["prefers"].all())
        (1, 'logits', True)
    """
    tokenizer = reader_of(model)
    wanted = None if n is None else at_least_one("n", n)
    if isinstance(source, str) and source in MAKERS:
        wanted = 32 if wanted is None else wanted
        draw = Draw(Random(f"{source}:{seed}"), lambda text: len(encode(tokenizer, text)))
        candidates = islice(MAKERS[source](draw), TRIED * wanted)
        task = _made(model, source, candidates, wanted, min(wanted, FEWEST))
        if len(task) < wanted:
            warnings.warn(
                f"task {source} has {len(task)} different items for {model.name}, {wanted} were asked",
                stacklevel=frames_inside(),
            )
        return task
    if isinstance(source, str | Path):
        if Path(source).suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"a task must be one of {', '.join(MAKERS)}, or a file ending in "
                f"{' or '.join(SUFFIXES)}; got {str(source)!r}: choose a name or give a path"
            )
        name, items = Path(source).stem, list(read_items(source))
    else:
        name, items = "own", list(source)
    if not items or not all(isinstance(item, TaskItem) for item in items):
        raise ValueError(
            f"a task's items got {len(items)} of {sorted({type(i).__name__ for i in items})}; expected "
            "one interp.TaskItem or more"
        )
    if wanted is not None:
        items = Random(f"{name}:{seed}").sample(items, min(wanted, len(items)))
    task = _made(model, name, items, len(items), 1)
    if task.dropped:
        warnings.warn(
            f"{sum(task.dropped.values())} of {len(items)} items of {name} are left out: "
            f"{_told(task.dropped)}",
            stacklevel=frames_inside(),
        )
    return task


def _made(model: Model, name: str, candidates: Iterable[TaskItem], wanted: int, fewest: int) -> Task:
    """The first items that the tokenizer can ask, each once."""
    kept: list[Asked] = []
    seen: set[tuple[str, str]] = set()
    dropped: Counter[str] = Counter()
    check = partial(asked, model.tokenizer, context=model.context)
    for item in candidates:
        if (item.clean, item.corrupted) in seen:
            continue
        seen.add((item.clean, item.corrupted))
        made = check(item)
        if isinstance(made, str):
            dropped[made] += 1
        else:
            kept.append(made)
        if len(kept) == wanted:
            break
    if len(kept) < fewest:
        raise ValueError(
            f"task {name} needs {fewest} items that the tokenizer of {model.name} can ask, got "
            f"{len(kept)} of {len(seen)}: {_told(dropped)}; choose another task, or give your own items"
        )
    return Task.of(model, name, kept, dropped)


def _told(dropped: Mapping[str, int]) -> str:
    """Reasons and how often each was one, the most frequent first."""
    return "; ".join(f"{count} × {reason}" for reason, count in Counter(dropped).most_common())
