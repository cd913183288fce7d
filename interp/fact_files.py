"""A user's own facts from CSV, JSONL, parquet or a DataFrame, with every bad row named."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.fact_types import Fact, FactSet, check_templates

SUFFIXES = (".csv", ".jsonl", ".parquet")
_REQUIRED = ("subject", "answer")
Row = tuple[str, Mapping[str, Any] | str]  # (where, cells or what is wrong with the whole row)


def facts_from_file(path: Path, templates: Sequence[str] | None = None) -> FactSet:
    """Read facts from a .csv, .jsonl or .parquet file.

    Raises:
        ValueError: no such file, another suffix, unreadable contents, a missing column, no
            templates, or malformed rows (all of them named in one line).
    """
    columns, rows, metadata = read_table(path, "facts")
    return _assemble(path.stem, str(path.name), columns, rows, metadata, templates)


def read_table(path: Path, what: str) -> tuple[list[str], list[Row], dict[str, Any]]:
    """Columns, rows (each with where it stands) and metadata of a .csv, .jsonl or .parquet file.

    Raises:
        ValueError: no such file, another suffix, or unreadable contents.
    """
    if not path.is_file():
        raise ValueError(f"{what} must come from an existing file; got {path}: check the path")
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"a {what} file must end in one of {', '.join(SUFFIXES)}; got {path.name}: convert it"
        )
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} must be UTF-8 text; got byte {error.object[error.start]:#04x} at offset "
            f"{error.start}: save it as UTF-8"
        ) from error


def facts_from_frame(
    frame: pd.DataFrame, templates: Sequence[str] | None = None, *, name: str = "dataframe"
) -> FactSet:
    """Read facts from a DataFrame; templates may also stand in `frame.attrs["templates"]`.

    Raises:
        ValueError: a missing column, no templates, or malformed rows (all of them named).
    """
    metadata = {str(key): value for key, value in frame.attrs.items()}
    columns = [str(column) for column in frame.columns]
    return _assemble(name, name, columns, frame_rows(frame), metadata, templates)


def frame_rows(frame: pd.DataFrame) -> Iterator[Row]:
    """Each row of a frame as cells by column."""
    records = frame.astype(object).to_numpy()
    columns = [str(column) for column in frame.columns]
    for number, record in enumerate(records, start=1):
        yield f"row {number}", dict(zip(columns, record, strict=True))


def _read_csv(path: Path) -> tuple[list[str], list[Row], dict[str, Any]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    metadata: dict[str, Any] = {}
    skipped = 0
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            break
        skipped += 1
        key, colon, value = text.removeprefix("#").partition(":")
        if colon and key.strip() == "template":
            metadata.setdefault("templates", []).append(value.strip())
        elif colon and key.strip() in ("statement", "name"):
            metadata[key.strip()] = value.strip()
    reader = csv.reader(lines[skipped:], strict=True)
    rows: list[Row] = []
    columns: list[str] = []
    start = skipped + 1
    try:
        for cells in reader:
            where, start = f"line {start}", skipped + reader.line_num + 1
            if not columns:
                columns = [cell.strip() for cell in cells]
            elif not any(cell.strip() for cell in cells):
                continue
            elif len(cells) != len(columns):
                rows.append((where, f"{len(cells)} cells where the header has {len(columns)}"))
            else:
                rows.append((where, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        rows.append((f"line {start}", f"not readable as CSV ({error})"))
    return columns, rows, metadata


def _read_jsonl(path: Path) -> tuple[list[str], list[Row], dict[str, Any]]:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    metadata: dict[str, Any] = {}
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
            rows.append((where, f"not valid JSON ({reason})"))
        else:
            if not isinstance(record, dict):
                rows.append((where, "not a JSON object"))
            elif first and "templates" in record and "subject" not in record:
                metadata = record
            else:
                columns.update(dict.fromkeys(record))
                rows.append((where, record))
        first = False
    return list(columns), rows, metadata


def _read_parquet(path: Path) -> tuple[list[str], list[Row], dict[str, Any]]:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path.name} must be a parquet file; got something unreadable ({reason}): "
            "write it again with DataFrame.to_parquet"
        ) from error
    columns = [str(column) for column in frame.columns]
    return columns, list(frame_rows(frame)), {str(k): v for k, v in frame.attrs.items()}


def _assemble(
    name: str,
    source: str,
    columns: list[str],
    rows: Sequence[Row] | Iterator[Row],
    metadata: Mapping[str, Any],
    templates: Sequence[str] | None,
) -> FactSet:
    rows = list(rows)
    readable = any(not isinstance(cells, str) for _, cells in rows)
    missing = [column for column in _REQUIRED if column not in columns]
    if missing and (readable or not rows):
        raise ValueError(
            f"{source} must have the columns subject, answer (optional: group, attributes); got "
            f"{columns}: add {', '.join(missing)}"
        )
    repeated_columns(source, columns)
    facts = _facts(source, rows, "group" in columns)
    chosen, statement = _sentences(source, metadata, templates)
    return FactSet(str(metadata.get("name") or name), chosen, facts, statement, source)


def repeated_columns(source: str, columns: Sequence[str]) -> None:
    """Refuse two columns of one name.

    Raises:
        ValueError: naming them.
    """
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ValueError(f"column names in {source} must differ; got {repeated} twice: rename one")


def _sentences(
    source: str, metadata: Mapping[str, Any], templates: Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    given = metadata.get("templates") if templates is None else templates
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, (list, tuple)) or not all(isinstance(t, str) for t in given) or not given:
        raise ValueError(
            f"{source} must come with at least one template (two for a graded result); got "
            f'{given!r}: pass templates=["The capital of {{subject}} is"], or write them into the '
            'file (CSV: a line "# template: ..." above the header; JSONL: a first line '
            '{"templates": [...]}; DataFrame and parquet: attrs["templates"])'
        )
    statement = metadata.get("statement") or f"{given[0]} {{answer}}."
    check_templates(tuple(given), str(statement))
    return tuple(given), str(statement)


def _facts(source: str, rows: Sequence[Row], grouped: bool) -> tuple[Fact, ...]:
    """Build every fact, or name every malformed row in one line."""
    facts: list[Fact] = []
    wrong: list[str] = []
    seen: dict[str, tuple[str, str]] = {}
    for where, cells in rows:
        if isinstance(cells, str):
            wrong.append(f"{where}: {cells}")
            continue
        needed = (*_REQUIRED, "group") if grouped else _REQUIRED
        problems = [
            f"{column} {problem}"
            for column in needed
            if (problem := cell_problem(cells.get(column))) is not None
        ]
        extra = [column for column in cells if column not in (*_REQUIRED, "group")]
        for column in extra:
            problem = cell_problem(cells[column])
            if problem is not None and not problem.startswith("is empty"):
                problems.append(f"{column} {problem}")
        if problems:
            wrong.append(f"{where}: {' and '.join(problems)}")
            continue
        subject, answer = cell_text(cells["subject"]), cell_text(cells["answer"])
        if subject in seen:
            before, answered = seen[subject]
            kind = "repeats" if answered == answer else f"contradicts (answer {answered!r})"
            wrong.append(f"{where}: subject {subject!r} {kind} {before}")
            continue
        seen[subject] = (where, answer)
        attributes = {
            column: cell_text(cells[column]) for column in extra if cell_problem(cells[column]) is None
        }
        group = cell_text(cells["group"]) if grouped else subject
        facts.append(Fact(subject, answer, group, attributes))
    if wrong:
        raise ValueError(
            f"{source} must give one subject and one answer in every row; got {len(wrong)} "
            f"malformed: {'; '.join(wrong)}: correct or remove these rows"
        )
    if not facts:
        raise ValueError(
            f"{source} must hold at least one row; got 0: add rows with a subject and an answer"
        )
    return tuple(facts)


def cell_problem(value: Any) -> str | None:
    """What is wrong with one cell, or None."""
    if value is None or value is pd.NA or value is pd.NaT:
        return "is empty"
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return "is empty"
        if text in ("nan", "NaN"):
            return "is empty (NaN)"
        if any(not character.isprintable() and character != "\u00ad" for character in text):
            return "holds a line break or an unprintable character"
        return None
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return f"must be text or a number, got {type(value).__name__}"
    number = float(value)
    if math.isnan(number):
        return "is empty (NaN)"
    return None if math.isfinite(number) else "is not finite"


def cell_text(value: Any) -> str:
    """A cell as text; whole numbers without a decimal point."""
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if float(value).is_integer() else str(value)
