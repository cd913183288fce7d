"""The numbers of a figure as a table in the page: boundaries down, series across."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.figures.text import place
from interp.verdict.summary import interval, number

#: Columns that hold numbers or bounds, which name no series.
_MEASURED = (
    "layer",
    "estimate",
    "low",
    "high",
    "n",
    "value",
    "position",
    "clean",
    "corrupted",
    "example",
)


@dataclass(frozen=True)
class NumberTable:
    """A table of text.

    Attributes:
        heads: headings; the first is that of the rows.
        rows: cells, the first of each row is its heading.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number_table(data: pd.DataFrame) -> NumberTable:
    """Numbers that a figure shows, in as few cells as hold them.

    Args:
        data: the table that it draws.

    Returns:
        Series by boundary where there are boundaries, otherwise the rows as they are.
    """
    if "position" in data:
        position = data["position"].astype(int).astype(str)
        names = position + ": " + data["clean"].astype(str) + " | " + data["corrupted"].astype(str)
        return _crossed(names, data["layer"], data["value"].map(number), "token")
    if "pair" in data:
        series = data["span"].map(place) + ", " + data["pair"]
        return _crossed(series, data["layer"], data["value"].map(number), "pair")
    if "layer" in data:
        keys = [c for c in data if c not in _MEASURED and data[c].nunique(dropna=False) > 1]
        series = data[keys].astype(str).agg(", ".join, axis=1) if keys else "value"
        at = data["layer"].map(lambda k: "alone" if pd.isna(k) else f"{k:g}")
        return _crossed(at, pd.Series(series, index=data.index), _cells(data), "boundary")
    texts = data.astype(object).map(_text)
    heads = tuple(str(name).replace("_", " ") for name in data)
    return NumberTable(heads, tuple(tuple(row) for row in texts.to_numpy()))


def _text(value: Any) -> str:
    """A number rounded, a dash for nothing, all else as it is."""
    if pd.isna(value):
        return number(None)
    return number(value, 3) if isinstance(value, float) else str(value)


def _cells(data: pd.DataFrame) -> pd.Series:
    """Estimate and interval of each row as one text."""
    bounds = [interval(row) for row in data.to_dict("records")]
    estimates = data["estimate"].map(number)
    return estimates + pd.Series([f" {b}" if b != "–" else "" for b in bounds], index=data.index)


def _crossed(rows: pd.Series, columns: pd.Series, cells: pd.Series, head: str) -> NumberTable:
    """A table of the cells, rows and columns in their order of appearance."""
    wide: dict[str, dict[str, str]] = {}
    for row, column, cell in zip(rows, columns, cells, strict=True):
        wide.setdefault(str(row), {})[str(column)] = cell
    heads = list(dict.fromkeys(str(column) for column in columns))
    body = tuple((name, *(cells.get(h, "") for h in heads)) for name, cells in wide.items())
    return NumberTable((head, *heads), body)
