"""Statements with labels from CSV, JSONL, parquet or a DataFrame, with every bad row named."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.fact_files import Row, cell_problem, cell_text, frame_rows, read_table, repeated_columns
from interp.fact_truths import STATEMENT_NAMES, truth_statements
from interp.fact_types import Statements

_TRUE, _FALSE = frozenset({"1", "true", "1.0"}), frozenset({"0", "false", "0.0"})
#: Columns that name the entity, in the order they are looked for; the later ones are those of the
#: published files (cities.csv, larger_than.csv, companies_true_false.csv, ...).
_ENTITIES = ("group", "entity", "subject", "city", "n1", "company", "element", "animal")


def load_statements(source: str | Path | pd.DataFrame, *, group: str | None = None) -> Statements:
    """Labelled statements by name, from a file (.csv, .jsonl, .parquet) or from a DataFrame.

    Files and frames have the columns statement and label (1, 0, true or false), as those published
    with 2310.06824 have. `group` names the column of the entity; by default group, entity, subject,
    city, n1, company, element or animal, the first there is; without any, statements of equal text
    aside from the last word share a group, so that a true and a false end of one sentence stay
    together. A column block overrides the group as the unit to split by. Nothing is balanced: compare
    the share of true statements with a reader's accuracy.

    Raises:
        ValueError: unknown name, missing file or column, one class only, or malformed rows: one line
            that names every such row.
    """
    if isinstance(source, str) and source.removeprefix("neg_") in STATEMENT_NAMES:
        return truth_statements(source)
    if isinstance(source, pd.DataFrame):
        columns = [str(column) for column in source.columns]
        return _assembled("dataframe", "dataframe", columns, frame_rows(source), group)
    path = Path(source)
    if isinstance(source, str) and not path.suffix and not path.exists():
        raise ValueError(
            f"statements must be one of {', '.join(STATEMENT_NAMES)}, or a file; got {source!r}: "
            "choose a name or give a path"
        )
    columns, rows, _ = read_table(path, "statements")
    return _assembled(path.stem, path.name, columns, rows, group)


def _assembled(
    name: str,
    source: str,
    columns: Sequence[str],
    rows: Sequence[Row] | Iterator[Row],
    group: str | None,
) -> Statements:
    rows = list(rows)
    needed = ["statement", "label", *([group] if group else [])]
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"{source} must have the columns {', '.join(needed)}; got {list(columns)}: add "
            f"{', '.join(missing)}"
        )
    repeated_columns(source, columns)
    entity = group or next((column for column in _ENTITIES if column in columns), None)
    block = "block" if "block" in columns else None
    read = [column for column in dict.fromkeys(("statement", entity, block)) if column]
    found: list[tuple[str, bool, str, str]] = []
    wrong: list[str] = []
    seen: dict[str, tuple[str, bool]] = {}
    for where, cells in rows:
        if isinstance(cells, str):
            wrong.append(f"{where}: {cells}")
            continue
        problems = [
            f"{column} {problem}" for column in read if (problem := cell_problem(cells.get(column)))
        ]
        label = _label(cells, problems)
        if problems:
            wrong.append(f"{where}: {' and '.join(problems)}")
            continue
        assert label is not None  # else it is a problem
        text = cell_text(cells["statement"])
        if text in seen and seen[text][1] != label:
            wrong.append(f"{where}: contradicts the label of {seen[text][0]}")
            continue
        if text in seen:
            continue  # the published files repeat a few
        seen[text] = (where, label)
        about = cell_text(cells[entity]) if entity else text.rpartition(" ")[0] or text
        found.append((text, label, about, cell_text(cells[block]) if block else about))
    if wrong:
        shown = "; ".join(wrong[:20]) + (f"; and {len(wrong) - 20} more" if len(wrong) > 20 else "")
        raise ValueError(
            f"{source} must give one statement and a label 1 or 0 in every row; got {len(wrong)} "
            f"malformed: {shown}: correct or remove these rows"
        )
    true = sum(label for _, label, _, _ in found)
    if not 0 < true < len(found):
        raise ValueError(
            f"{source} must hold true and false statements; got {true} true of {len(found)}: add the "
            "other class"
        )
    texts, labels, groups, blocks = zip(*found, strict=True)
    values = tuple(text.rstrip(".").rpartition(" ")[2] for text in texts)
    return Statements(name, texts, labels, groups, values, blocks)


def _label(cells: Mapping[str, Any], problems: list[str]) -> bool | None:
    """The label of a row, or None and what is wrong with it."""
    given = cells.get("label")
    word = str(given).strip().casefold() if given is not None and given is not pd.NA else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    problems.append(
        f"label must be 1, 0, true or false, got {word[:20]!r}" if word else "label is empty"
    )
    return None
