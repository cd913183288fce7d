"""Items of one's own from JSON or JSONL, and items written for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp._files import write_text
from interp.circuit_tasks.items import TaskItem
from interp.untrusted.limits import TABLE
from interp.untrusted.reading import parse_json, read_text

SUFFIXES = (".json", ".jsonl")

#: What a field is called here -> what else it may be called.
_FIELDS = {
    "clean": ("clean", "prompt"),
    "corrupted": ("corrupted", "corrupt", "counterfactual"),
    "answers": ("answers", "answer"),
    "foils": ("foils", "foil", "wrong_answers"),
}
_SHOWN = 3


def read_items(path: str | Path) -> tuple[TaskItem, ...]:
    """Read the items of a task from a file.

    A .jsonl file has an object on each line, a .json file a list of them or {"prompts": [...]}, as
    auto-circuit writes it. Each has clean, corrupted (or corrupt), answers and foils (or wrong_answers;
    one text or a list), and may have group, template and between: what stands between prompt and
    answer. Without it that is what running text has there; under "prompts" answers are taken as they
    are written, with their space.

    Args:
        path: a .json or .jsonl file.

    Returns:
        The items, in their order.

    Raises:
        ValueError: for a missing or unreadable file, another ending, token ids in place of texts, or
            objects that lack a field: one line that names the first of them.

    Example:
        >>> import interp, json, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.jsonl"
        >>> _ = file.write_text(json.dumps({"clean": "France:", "corrupted": "Spain:",
        ...                                 "answers": "Paris", "foils": "Madrid"}))
        >>> interp.read_items(file)[0].answers
        ('Paris',)
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"a task's file must end in {' or '.join(SUFFIXES)}; got {path.name}: convert it"
        )
    text = read_text(path, TABLE)
    literal = False
    try:
        if path.suffix.lower() == ".jsonl":
            rows = [parse_json(line) for line in text.split("\n") if line.strip()]
        else:
            rows = parse_json(text)
            literal = isinstance(rows, dict) and "prompts" in rows
            rows = rows["prompts"] if literal else rows
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); write it again") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(
            f"{path} must hold a list of items, or one under 'prompts'; got "
            f"{'an empty list' if rows == [] else type(rows).__name__}; give clean, corrupted, answers "
            "and foils for each"
        )
    items, wrong = [], []
    for number, row in enumerate(rows, 1):
        try:
            items.append(_item(row, "" if literal else None))
        except ValueError as error:
            wrong.append(f"item {number}: {error}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ValueError(
            f"{path} must give a task's item in every entry; got {len(wrong)} of {len(rows)} malformed"
            f": {'; '.join(wrong[:_SHOWN])}{more}: correct or remove them"
        )
    return tuple(items)


def write_items(items: Sequence[TaskItem], path: str | Path) -> Path:
    """Write items as auto-circuit reads them, {"prompts": [{clean, corrupt, answers, wrong_answers}]}.

    Answers are written with what stands between prompt and answer; group and template are kept for
    `read_items`.

    Args:
        items: such as `Task.items`.
        path: a .json file; written under a temporary name and renamed.

    Returns:
        The path.

    Raises:
        ValueError: for another ending, or no items.

    Example:
        >>> import interp, tempfile, pathlib
        >>> item = interp.TaskItem("France:", "Spain:", ("Paris",), ("Madrid",))
        >>> file = interp.write_items([item], pathlib.Path(tempfile.mkdtemp()) / "mine.json")
        >>> interp.read_items(file)[0].answers
        (' Paris',)
    """
    from interp.models.tokens import separator

    path = Path(path)
    if path.suffix.lower() != ".json" or not items:
        raise ValueError(
            f"items are written to a .json file; got {len(items)} for {path.name}; give some, and a "
            "name that ends in .json"
        )

    def shown(item: TaskItem, text: str) -> str:
        return (separator(item.clean, text) if item.between is None else item.between) + text

    prompts = [
        {
            "clean": item.clean,
            "corrupt": item.corrupted,
            "answers": [shown(item, text) for text in item.answers],
            "wrong_answers": [shown(item, text) for text in item.foils],
            "group": item.group,
            "template": item.template,
        }
        for item in items
    ]
    return write_text(path, json.dumps({"prompts": prompts}, indent=1, ensure_ascii=False) + "\n")


def _item(row: Any, between: str | None) -> TaskItem:
    """The item that an object tells.

    Raises:
        ValueError: what is wrong with it, without saying which it is.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"got {type(row).__name__}, expected an object")
    told: dict[str, Any] = {}
    for field, names in _FIELDS.items():
        told[field] = next((row[name] for name in names if name in row), None)
        if told[field] is None:
            raise ValueError(f"has no {' or '.join(names)}")
    for field in ("answers", "foils"):
        several = told[field] if isinstance(told[field], list) else [told[field]]
        told[field] = tuple(several)
    for field, value in (*told.items(), *((f, row.get(f, "")) for f in ("group", "template"))):
        texts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{field} must be text, got {str(value)[:40]}; token ids are of one model")
    between = row.get("between", between)
    if not (between is None or isinstance(between, str)):
        raise ValueError(f"between must be text, got {between!r}")
    rest = {field: row[field] for field in ("group", "template") if row.get(field)}
    return TaskItem(**told, between=between, **rest)
