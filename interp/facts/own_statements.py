"""Statements with labels from a table, with what was left out in notes and every bad row named."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.facts.cells import CellProblem, cell_text
from interp.facts.entities import entities, naming_another
from interp.facts.tables import RowProblem, Table, checked_rows, listed, read_table
from interp.facts.truth import STATEMENT_NAMES, truth_statements
from interp.facts.types import Statements

_TRUE, _FALSE = frozenset({"1", "true", "1.0"}), frozenset({"0", "false", "0.0"})

#: Columns that hold the sentence and its entity, in the order in which they are looked for.
_SENTENCES = ("statement", "sentence", "claim", "example", "examples")

_ENTITIES = ("group", "entity", "subject", "city", "n1", "company", "element", "animal")


@dataclass(frozen=True)
class _Stated:
    """One row of a table of statements.

    Attributes:
        where: where the row stands, for messages.
        text: the sentence.
        label: whether it is true.
        group: the entity, if a column names it.
        block: the unit to split by, if a column names it.
    """

    where: str
    text: str
    label: bool
    group: str | None
    block: str | None


def load_statements(source: str | Path | pd.DataFrame, *, group: str | None = None) -> Statements:
    """Load labelled statements by name, from a file (.csv, .tsv, .jsonl, .parquet) or from a DataFrame.

    Files and frames have the columns statement (or sentence, claim, examples) and label (1, 0, true
    or false), as those published with 2310.06824 have. Nothing is balanced: compare the share of true
    statements with a reader's accuracy. A column block overrides the group as the unit to split by.

    Rows that cannot be read, repeats, and statements given both as true and as false are left out;
    `Statements.notes` counts them.

    Args:
        source: a name, a file or a table.
        group: the column of the entity; by default group, entity, subject, city, n1, company,
            element or animal, the first one present. Without any, the entity is read from the
            words before the verb, so that all that is said of one stays together; a note says how
            many groups there are and how many hold one statement.

    Returns:
        The sentences with their truth, entity and block.

    Raises:
        ValueError: unknown name, missing file or column, one class only, or more than a quarter of
            the rows malformed (named in one line).

    Source: 2310.06824 (the layout).

    Example:
        >>> import interp, pandas as pd
        >>> rows = {"statement": ["Oz is far.", "Oz is near."], "label": [1, 0], "city": ["Oz", "Oz"]}
        >>> told = interp.load_statements(pd.DataFrame(rows))
        >>> told.labels, told.groups
        ((True, False), ('Oz', 'Oz'))
    """
    if isinstance(source, str) and source.removeprefix("neg_") in STATEMENT_NAMES:
        return truth_statements(source)
    if isinstance(source, str):
        path = Path(source)
        if not path.suffix and not os.path.exists(path):
            raise ValueError(
                f"statements must be one of {', '.join(STATEMENT_NAMES)}, or a file; got {source!r}: "
                "choose a name or give a path"
            )
        source = path
    named = () if group is None else (group,)
    names = dict.fromkeys((*_SENTENCES, "label", "block", *_ENTITIES, *named))
    return _assembled(read_table(source, "statements", tuple(names)), group)


def _assembled(table: Table, group: str | None) -> Statements:
    sentence = next((c for c in _SENTENCES if c in table.columns), "statement")
    needed = [sentence, "label", *([group] if group else [])]
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"{table.source} must have the columns {', '.join(needed)}; got {list(table.columns)}: add "
            f"{', '.join(missing)}"
        )
    entity = group or next((column for column in _ENTITIES if column in table.columns), None)
    block = "block" if "block" in table.columns else None

    def parse(where: str, cells: Mapping[str, Any]) -> _Stated:
        return _stated(where, cells, sentence, entity, block)

    rows, notes = checked_rows(table, parse, "one statement and a label 1 or 0")
    stated, more = _agreeing(rows)
    notes = (*notes, *more)
    true = sum(row.label for row in stated)
    if not 0 < true < len(stated):
        because = f" ({'; '.join(notes)})" if notes else ""
        raise ValueError(
            f"{table.source} must hold true and false statements; got {true} true of "
            f"{len(stated)}{because}: add the other class"
        )
    texts = tuple(row.text for row in stated)
    groups = tuple(row.group or "" for row in stated)
    if entity is None:
        groups = entities(texts)
        notes = (*notes, _on_entities(table.source, texts, groups))
    blocks = tuple(row.block or of for row, of in zip(stated, groups, strict=True))
    notes = (*notes, *_on_blocks(groups, blocks))
    values = tuple(text.rstrip(".").rpartition(" ")[2] for text in texts)
    labels = tuple(row.label for row in stated)
    return Statements(table.name, texts, labels, groups, values, blocks, notes=notes)


def _stated(
    where: str, cells: Mapping[str, Any], sentence: str, entity: str | None, block: str | None
) -> _Stated:
    """One row of the table.

    Raises:
        RowProblem: naming every cell that cannot be read.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for column in dict.fromkeys(c for c in (sentence, entity, block) if c):
        try:
            texts[column] = cell_text(cells.get(column), lines=column == sentence)
        except CellProblem as problem:
            problems.append(f"{column} {problem}")
    label = _label(cells.get("label"))
    if isinstance(label, str):
        problems.append(label)
    if problems:
        raise RowProblem(" and ".join(problems))
    return _Stated(
        where, texts[sentence], label is True, texts.get(entity or ""), texts.get(block or "")
    )


def _label(value: Any) -> bool | str:
    """The label of a row, or what is wrong with it."""
    word = "" if value is None or value is pd.NA else str(value).strip().casefold()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    if word in ("", "nan", "nat"):
        return "label is empty"
    return f"label must be 1, 0, true or false, got {word[:20]!r}"


def _agreeing(rows: Sequence[_Stated]) -> tuple[list[_Stated], tuple[str, ...]]:
    """Each statement once, without those whose labels differ; and notes on the others."""
    by_text: defaultdict[str, list[_Stated]] = defaultdict(list)
    for row in rows:
        by_text[row.text].append(row)
    kept, apart, repeats = [], [], 0
    for same in by_text.values():
        other = next((row for row in same if row.label != same[0].label), None)
        if other is None:
            kept.append(same[0])
            repeats += len(same) - 1
        else:
            apart.append(f"{other.where} contradicts the label of {same[0].where}")
    notes = []
    if apart:
        notes.append(
            f"{len(apart)} of {len(by_text)} statements are given as true and as false and are left "
            f"out: {listed(apart)}"
        )
    if repeats:
        notes.append(f"{repeats} of {len(rows)} rows repeat a statement and are left out")
    return kept, tuple(notes)


def _on_entities(source: str, texts: Sequence[str], groups: Sequence[str]) -> str:
    """The note on entities that no column names."""
    sizes = Counter(groups)
    alone = sum(size == 1 for size in sizes.values())
    note = (
        f"{source} has no column of the entity: {len(sizes)} groups were read from the words before "
        f"the verb, {alone} of them of one statement"
    )
    shared = naming_another(texts, groups)
    if shared:
        note += f"; {shared} of {len(texts)} statements also name the entity of another group"
    return note + "; give the column with group= if there is one"


def _on_blocks(groups: Sequence[str], blocks: Sequence[str]) -> tuple[str, ...]:
    """The note on entities that stand in several blocks, if there are any."""
    counts = Counter(group for group, _ in set(zip(groups, blocks, strict=True)))
    torn = sum(count > 1 for count in counts.values())
    if not torn:
        return ()
    return (f"{torn} of {len(counts)} entities stand in several blocks: splits by block divide them",)
