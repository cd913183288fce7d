"""A user's own facts from a table, with what was left out in notes and every bad row named."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.facts.cells import CellProblem, EmptyCell, attribute_text, cell_text, truth_value
from interp.facts.further.questions import FurtherQuestions
from interp.facts.tables import RowProblem, Table, checked_rows, listed, read_table
from interp.facts.types import SLOT, Fact, FactSet, check_templates

_REQUIRED = ("subject", "answer")

_UNTUNED = "untuned"

_TEMPLATE = "template"

_NAMES = (*_REQUIRED, "group", _UNTUNED, _TEMPLATE)

#: Columns that hold whole prompts in files of other layouts.
_WHOLE = ("prompt", "question", "query", "text")

#: What stands between several answers in one cell.
_BETWEEN = re.compile(r"\||;|\s/\s")


def facts_from_table(
    source: Path | pd.DataFrame, templates: Sequence[str] | str | None = None
) -> FactSet:
    """Read facts from a .csv, .tsv, .jsonl or .parquet file or from a DataFrame.

    Templates may also stand in the file, in `frame.attrs["templates"]`, or in a column template, all of
    whose values then ask every fact. A column untuned (1 or 0, true or false, yes or no; empty is no)
    declares facts that were never tuned on. Rows that cannot be read and attribute values that are no
    single value are left out and counted in `FactSet.notes`.

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
            f"template, attributes) and a template, the prompt with {SLOT} in place of the subject; "
            f"got {list(table.columns)}: add {', '.join(missing)}{_whole_prompts(table)}"
        )
    given = table.metadata.get("templates") if templates is None else templates
    if _TEMPLATE in table.columns:
        table, column = _template_column(table, given is not None)
        given = given or column
    facts, notes = _facts(table)
    if not facts:
        raise ValueError(
            f"{table.source} must hold at least one row; got 0: add rows with a subject and an answer"
        )
    chosen, statement = _sentences(table, given)
    name = str(table.metadata.get("name") or table.name)
    further = _further(table)
    return FactSet(name, chosen, facts, statement, table.source, notes=notes, further=further)


def _further(table: Table) -> FurtherQuestions:
    """Other wordings and reversed ones that stand above the rows.

    Raises:
        ValueError: for one that is no list of texts, or that lacks its slot.
    """
    given = []
    for key in ("wordings", "reversed"):
        texts = table.metadata.get(key) or ()
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, (list, tuple)) or not all(isinstance(t, str) for t in texts):
            raise ValueError(
                f"{table.source} must give {key} as a list of texts; got {texts!r}: write "
                '{"reversed": ["{answer} is the capital of"]}, or a line "# reversed: ..." each'
            )
        given.append(tuple(texts))
    return FurtherQuestions(*given)


def _whole_prompts(table: Table) -> str:
    """What becomes of a column of whole prompts, for the message on a missing subject."""
    column = next((name for name in table.columns if name.casefold() in _WHOLE), None)
    if column is None:
        return ""
    return (
        f"; split {column!r} into the template and its subjects, or, as a column prompt, compare whole "
        "prompts by interp compare --prompts"
    )


def _template_column(table: Table, replaced: bool) -> tuple[Table, list[str]]:
    """The table with each fact once and a note on the column, and the templates that it holds.

    Args:
        table: has a column of templates; a fact may stand in one row for each of them.
        replaced: whether templates were given in another way, beside which the column is left out.

    Raises:
        ValueError: for several templates of which one is of a single row: a fact is asked in all.
    """
    rows: Counter[str] = Counter()
    first: dict[tuple[str, str], str] = {}
    kept = []
    for where, cells in table.rows:
        template = ""
        if not isinstance(cells, str):
            with suppress(CellProblem):
                template = cell_text(cells.get(_TEMPLATE))
                rows[template] += 1
            fact = (str(cells.get("subject")), str(cells.get("answer")))
            if first.setdefault(fact, template) != template:
                continue  # the same fact in another wording
        kept.append((where, cells))
    alone = [template for template, count in rows.items() if count == 1]
    notes = table.notes
    if replaced:
        notes = (*notes, f"{table.source}: the column template is left out beside the templates given")
    elif len(rows) > 1 and alone:
        raise ValueError(
            f"the column template of {table.source} must hold the same templates for every fact, each "
            f"with {SLOT}; got {len(rows)} in {rows.total()} rows, {alone[0]!r} in one only: give one "
            "or two that ask every subject"
        )
    elif len(rows) > 1 and len(rows) * len(kept) > rows.total():
        notes = (
            *notes,
            f"{table.source}: the {len(rows)} templates of its rows ask every fact, not theirs alone",
        )
    return replace(table, rows=tuple(kept), notes=notes), list(rows)


def _sentences(table: Table, chosen: Any) -> tuple[tuple[str, ...], str]:
    if isinstance(chosen, str):
        chosen = [chosen]
    texts = isinstance(chosen, (list, tuple)) and all(isinstance(t, str) for t in chosen)
    if not chosen or not texts:
        raise ValueError(
            f"{table.source} must come with at least one template (two for a graded result); got "
            f'{chosen!r}: pass templates=["The capital of {{subject}} is"], or write them into the '
            'file (CSV: a line "# template: ..." above the header; JSONL: a first line '
            '{"templates": [...]}; DataFrame and parquet: attrs["templates"]; any: a column template)'
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
