"""A user's table from CSV, TSV, JSONL, parquet or a DataFrame: columns, rows, and what was left out."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from interp.facts.cells import BYTE_ORDER_MARK, CellProblem, EmptyCell, attribute_text
from interp.untrusted.limits import TABLE
from interp.untrusted.parquet import read_parquet
from interp.untrusted.reading import parse_json, read_text

SUFFIXES = (".csv", ".jsonl", ".parquet", ".tsv")

_SEPARATORS = {".csv": ",;\t", ".tsv": "\t,;"}  # in the order in which they are tried

#: Comments that may stand several times above a header, and what they are kept under.
_LISTS = {"template": "templates", "wording": "wordings", "reversed": "reversed"}

_SHOWN, _SHOWN_IN_NOTE = 5, 3

_MOST_LEFT_OUT = 0.25  # of the rows; beyond it the table is taken for misread

Row = tuple[str, Mapping[str, Any] | str]  # (where, cells or what is wrong with the whole row)

Parsed = TypeVar("Parsed")


class RowProblem(ValueError):
    """What is wrong with one row.

    Attributes:
        fatal: whether the table cannot be used without an answer to it.
    """

    def __init__(self, problem: str, *, fatal: bool = False) -> None:
        super().__init__(problem)
        self.fatal = fatal


@dataclass(frozen=True)
class Table:
    """What a user's table holds.

    Attributes:
        name: the file's name without its ending, or "dataframe".
        source: what messages call it.
        columns: names of the columns, those that the caller reads spelled as it spells them.
        rows: every row: where it stands, and its cells by column or what is wrong with it.
        metadata: what stands above the rows (templates, wordings, reversed, name, statement).
        notes: what was left out so far, one sentence each.
    """

    name: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    metadata: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_table(source: Path | pd.DataFrame, what: str, names: Sequence[str]) -> Table:
    """The table in a .csv, .tsv, .jsonl or .parquet file or in a DataFrame.

    The separator of .csv and .tsv files (comma, semicolon, tab) is found from the header. Columns
    without a name are left out; a frame's index is a column where its name is one of `names`.

    Args:
        source: the file or frame.
        what: "facts" or "statements", for messages.
        names: columns the caller reads: found whatever their case and the white space around them.

    Raises:
        ValueError: no such file, another suffix, unreadable contents, or two columns of one name.
    """
    if isinstance(source, pd.DataFrame):
        return _from_frame("dataframe", "dataframe", source, names)
    if not os.path.isfile(source):
        raise ValueError(f"{what} must come from an existing file; got {source}: check the path")
    suffix = source.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"a {what} file must end in one of {', '.join(SUFFIXES)}; got {source.name}: convert it"
        )
    if suffix == ".parquet":
        return _from_frame(source.stem, source.name, read_parquet(source), names)
    if suffix == ".jsonl":
        return _from_json(source.stem, source.name, read_text(source, TABLE), names)
    return _from_cells(source.stem, source.name, read_text(source, TABLE), _SEPARATORS[suffix], names)


def checked_rows(
    table: Table, parse: Callable[[str, Mapping[str, Any]], Parsed], expected: str
) -> tuple[list[Parsed], tuple[str, ...]]:
    """Parse every row; rows with a problem are left out and counted in a note.

    Args:
        table: the rows.
        parse: from where a row stands and its cells to what it holds; raises `RowProblem`.
        expected: what every row must give, for the message.

    Returns:
        What the rows hold, and the notes: those of the table and at most one more.

    Raises:
        ValueError: a fatal problem, or problems in more than one row and more than a quarter of
            them, or in all: one line that names the rows.
    """
    kept: list[Parsed] = []
    wrong: list[str] = []
    fatal = False
    for where, cells in table.rows:
        try:
            if isinstance(cells, str):
                raise RowProblem(cells)
            kept.append(parse(where, cells))
        except RowProblem as problem:
            wrong.append(f"{where}: {problem}")
            fatal = fatal or problem.fatal
    if fatal or len(wrong) > max(1, _MOST_LEFT_OUT * len(table.rows)) or (wrong and not kept):
        raise ValueError(
            f"{table.source} must give {expected} in every row; got {len(wrong)} malformed: "
            f"{listed(wrong, _SHOWN)}: correct or remove these rows"
        )
    if not wrong:
        return kept, table.notes
    note = f"{len(wrong)} of {len(table.rows)} rows of {table.source} are left out: {listed(wrong)}"
    return kept, (*table.notes, note)


def listed(items: Sequence[str], most: int = _SHOWN_IN_NOTE) -> str:
    """The first items and how many more there are."""
    more = f"; and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more


def _from_frame(name: str, source: str, frame: pd.DataFrame, names: Sequence[str]) -> Table:
    taken = {_column(column, names) for column in frame.columns}
    levels = [
        level
        for level in frame.index.names
        if level is not None and _column(level, names) in set(names) - taken
    ]
    if levels:
        frame = frame.reset_index(level=levels)
    columns = [_column(column, names) for column in frame.columns]
    plain = frame.index.equals(pd.RangeIndex(len(frame)))
    wheres = [f"row {n}" if plain else f"row {n} (index {i!r})" for n, i in enumerate(frame.index, 1)]
    records = [list(record) for record in frame.astype(object).to_numpy()]
    metadata = {str(key): value for key, value in frame.attrs.items()}
    rows = list(zip(wheres, records, strict=True))
    return _of_named_columns(name, source, columns, rows, metadata)


def _from_cells(name: str, source: str, text: str, separators: str, names: Sequence[str]) -> Table:
    lines = io.StringIO(text).readlines()
    comments = [line.strip().lstrip('"')[:1] in ("", "#") for line in lines]
    above = [*comments, False].index(False)
    rows: list[tuple[str, Sequence[Any] | str]] = []
    columns: list[str] = []
    width = 1
    start = above + 1
    try:
        separator = _separator(lines[above:], separators, names)
        reader = csv.reader(lines[above:], delimiter=separator, strict=True)
        for cells in reader:
            where, start = f"line {start}", above + reader.line_num + 1
            filled = [i for i, cell in enumerate(cells, 1) if cell.strip()]
            if not columns:
                columns = [_column(cell, names) for cell in cells[: max(filled, default=0)]]
                width = len(cells)
            elif not filled:
                continue
            elif len(cells) < len(columns) or filled[-1] > len(columns):
                rows.append((where, f"{len(cells)} cells where the header has {len(columns)}"))
            else:
                rows.append((where, cells[: len(columns)]))
    except csv.Error as error:
        raise ValueError(
            f"{source} must be readable to its end; got line {start}: not readable as CSV ({error}): "
            "look for a quotation mark that is not closed"
        ) from error
    metadata = _metadata(lines[:above], separator * (width - 1))
    return _of_named_columns(name, source, columns, rows, metadata)


def _separator(lines: Sequence[str], separators: str, names: Sequence[str]) -> str:
    """The separator under which the header holds the most of the names, then the most columns."""

    def named_columns(separator: str) -> tuple[int, int]:
        header = next(csv.reader(lines, delimiter=separator), [])
        return sum(_column(cell, names) in names for cell in header), len(header)

    return max(separators, key=named_columns)


def _metadata(lines: Sequence[str], padding: str) -> dict[str, Any]:
    """Templates, further wordings, name and statement from the comments above a header.

    Spreadsheets quote a comment that holds a separator, and pad the others to the header's width.
    """
    metadata: dict[str, Any] = {}
    for line in lines:
        text = line.strip("\n")
        bare = text.removesuffix(padding)
        if text.startswith('"'):
            text = next(csv.reader([text], delimiter=padding[:1] or ","))[0]
        elif padding and padding[0] not in bare:
            text = bare
        key, colon, value = text.strip().removeprefix("#").partition(":")
        if colon and key.strip() in _LISTS:
            metadata.setdefault(_LISTS[key.strip()], []).append(value.strip())
        elif colon and key.strip() in ("statement", "name"):
            metadata[key.strip()] = value.strip()
    return metadata


def _from_json(name: str, source: str, text: str, names: Sequence[str]) -> Table:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    metadata: dict[str, Any] = {}
    filled = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    for number, line in filled:
        where = f"line {number}"
        try:
            record = parse_json(line)
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
            rows.append((where, f"not valid JSON ({reason})"))
            continue
        if not isinstance(record, dict):
            rows.append((where, "not a JSON object"))
            continue
        cells = {_column(key, names): value for key, value in record.items()}
        if number == filled[0][0] and "templates" in cells and not set(names) & set(cells):
            metadata = record
        elif len(cells) < len(record):
            rows.append((where, f"two keys of one name among {list(record)}"))
        else:
            columns.update(dict.fromkeys(cells))
            rows.append((where, cells))
    return Table(name, source, tuple(columns), tuple(rows), metadata)


def _of_named_columns(
    name: str,
    source: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Any] | str]],
    metadata: Mapping[str, Any],
) -> Table:
    """The table without its nameless columns.

    Raises:
        ValueError: two columns of one name.
    """
    repeated = sorted({column for column in columns if column and columns.count(column) > 1})
    if repeated:
        raise ValueError(f"column names in {source} must differ; got {repeated} twice: rename one")
    kept = [(i, column) for i, column in enumerate(columns) if column]
    read: list[Row] = []
    nameless: set[int] = set()
    for where, cells in rows:
        if isinstance(cells, str):
            read.append((where, cells))
            continue
        read.append((where, {column: cells[i] for i, column in kept}))
        nameless.update(i for i, column in enumerate(columns) if not column and not _blank(cells[i]))
    notes = ()
    if nameless:
        notes = (f"{len(nameless)} of the columns of {source} have no name and are left out",)
    return Table(name, source, tuple(column for _, column in kept), tuple(read), metadata, notes)


def _blank(cell: Any) -> bool:
    try:
        attribute_text(cell)
    except CellProblem as problem:
        return isinstance(problem, EmptyCell)
    return False


def _column(header: Any, names: Sequence[str]) -> str:
    """A column's name: as the caller spells it if it is one of `names`, empty if there is none."""
    text = " ".join(str(header).replace(BYTE_ORDER_MARK, "").split())
    if re.fullmatch(r"Unnamed: \d+", text):  # pandas' word for a column without a name
        return ""
    return next((name for name in names if name.casefold() == text.casefold()), text)
