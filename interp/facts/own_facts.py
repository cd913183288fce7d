"""A user's own facts from a table, with what was left out in notes and every bad row named."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.facts.cells import CellProblem, EmptyCell, attribute_text, cell_text, truth_value
from interp.facts.tables import RowProblem, Table, checked_rows, listed, read_table
from interp.facts.types import Fact, FactSet, check_templates

_REQUIRED = ("subject", "answer")

_UNTUNED = "untuned"

_NAMES = (*_REQUIRED, "group", _UNTUNED)

#: What stands between several answers in one cell.
_BETWEEN = re.compile(r"\||;|\s/\s")


def facts_from_table(
    source: Path | pd.DataFrame, templates: Sequence[str] | str | None = None
) -> FactSet:
    """Read facts from a .csv, .tsv, .jsonl or .parquet file or from a DataFrame.

    Templates may also stand in the file, or in `frame.attrs["templates"]`. Rows that cannot be read
    and attribute values that are no single value are left out and counted in `FactSet.notes`. A column
    untuned (1 or 0, true or false, yes or no; empty is no) declares facts that were never tuned on.

    Raises:
        ValueError: no such file, another suffix, unreadable contents, a missing column, no
            templates, several answers for one subject, several subjects in one group, a value of
            untuned that is neither yes nor no, or more than a quarter of the rows malformed (named in
            one line).
    """
    table = read_table(source, "facts", _NAMES)
    readable = any(not isinstance(cells, str) for _, cells in table.rows)
    missing = [column for column in _REQUIRED if column not in table.columns]
    if missing and (readable or not table.rows):
        raise ValueError(
            f"{table.source} must have the columns subject, answer (optional: group, untuned, "
            f"attributes); got {list(table.columns)}: add {', '.join(missing)}"
        )
    facts, notes = _facts(table)
    if not facts:
        raise ValueError(
            f"{table.source} must hold at least one row; got 0: add rows with a subject and an answer"
        )
    chosen, statement = _sentences(table, templates)
    name = str(table.metadata.get("name") or table.name)
    return FactSet(name, chosen, facts, statement, table.source, notes=notes)


def _sentences(table: Table, templates: Sequence[str] | str | None) -> tuple[tuple[str, ...], str]:
    chosen = table.metadata.get("templates") if templates is None else templates
    if isinstance(chosen, str):
        chosen = [chosen]
    texts = isinstance(chosen, (list, tuple)) and all(isinstance(t, str) for t in chosen)
    if not chosen or not texts:
        raise ValueError(
            f"{table.source} must come with at least one template (two for a graded result); got "
            f'{chosen!r}: pass templates=["The capital of {{subject}} is"], or write them into the '
            'file (CSV: a line "# template: ..." above the header; JSONL: a first line '
            '{"templates": [...]}; DataFrame and parquet: attrs["templates"])'
        )
    statement = table.metadata.get("statement") or f"{chosen[0]} {{answer}}."
    check_templates(tuple(chosen), str(statement))
    return tuple(chosen), str(statement)


def _facts(table: Table) -> tuple[tuple[Fact, ...], tuple[str, ...]]:
    """Every fact that can be read, and the notes on what is left out."""
    needed = (*_REQUIRED, "group") if "group" in table.columns else _REQUIRED
    answered: dict[str, tuple[str, str]] = {}
    unread: Counter[str] = Counter()
    first: dict[str, str] = {}

    def parse(where: str, cells: Mapping[str, Any]) -> Fact:
        text = _texts(cells, needed)
        subject, answer = text["subject"], text["answer"]
        if subject in answered:
            before, other = answered[subject]
            if other == answer:
                raise RowProblem(f"subject {subject!r} repeats {before}")
            raise RowProblem(f"subject {subject!r} contradicts (answer {other!r}) {before}", fatal=True)
        answered[subject] = (where, answer)
        attributes = {}
        for column in table.columns:
            try:
                if column not in _NAMES:
                    attributes[column] = attribute_text(cells.get(column))
            except EmptyCell:
                continue
            except CellProblem as problem:
                unread[column] += 1
                first.setdefault(column, f"{where}: {column} {problem}")
        return Fact(subject, answer, text.get("group", subject), attributes, _is_untuned(cells))

    facts, notes = checked_rows(table, parse, "one subject and one answer")
    lost = [f"{n} of {len(facts)} values of {c!r} ({first[c]})" for c, n in unread.items()]
    if lost:
        notes = (*notes, f"{table.source}: left out as no single value: {listed(lost)}")
    return tuple(facts), notes


def _is_untuned(cells: Mapping[str, Any]) -> bool:
    """Whether a row declares its fact never tuned on.

    Raises:
        RowProblem: for a cell that says neither yes nor no.
    """
    try:
        return _UNTUNED in cells and truth_value(cells[_UNTUNED])
    except EmptyCell:
        return False
    except CellProblem as problem:
        raise RowProblem(f"{_UNTUNED} {problem}", fatal=True) from problem


def _texts(cells: Mapping[str, Any], needed: Sequence[str]) -> dict[str, str]:
    """The cells that every row must fill.

    Raises:
        RowProblem: naming every cell that cannot be read, or several answers.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for column in needed:
        try:
            texts[column] = cell_text(cells.get(column))
        except CellProblem as problem:
            problems.append(f"{column} {problem}")
    answers = _several(cells.get("answer"))
    if answers:
        problems.append(f"answer gives several (one is scored: keep {' or '.join(answers)})")
    if problems:
        raise RowProblem(" and ".join(problems), fatal=bool(answers))
    return texts


def _several(value: Any) -> list[str]:
    """The answers in one cell if they are more than one."""
    if isinstance(value, str):
        parts = [" ".join(part.split()) for part in _BETWEEN.split(value) if part.strip()]
    elif isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        parts = [" ".join(str(part).split()) for part in value]
    else:
        return []
    return parts if len(parts) > 1 else []
