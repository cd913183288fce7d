"""Values as HTML for notebooks: a headline, a table of the first rows, and nothing else.

Everything that a model or a file wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from html import escape
from typing import Any

from interp.display.tensors import called

#: Rows that a table shows, and letters that a cell shows.
ROWS, LETTERS = 8, 80


class Shown:
    """A value that shows itself in a few words, and in a notebook with a table where it has rows.

    A dataclass made with ``repr=False`` is shown as the call that makes it, tensors by their shapes.
    """

    def __repr__(self) -> str:
        """The call that makes it."""
        named = fields_of(self)  # pyright: ignore[reportArgumentType]
        return called(self, **{field.name: getattr(self, field.name) for field in named if field.repr})

    def _repr_html_(self) -> str:
        """The value for a notebook."""
        return card(repr(self), *self._rows_shown())

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        """Column names, the first rows, and how many rows there are in all; nothing by default."""
        return (), (), 0


def card(headline: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], total: int) -> str:
    """A headline above a table of the first rows.

    Args:
        headline: the value on one line.
        columns: names of the columns; none for no table.
        rows: the first rows, a cell for each column.
        total: how many rows there are in all.
    """
    told = f"<div><code>{escape(headline)}</code>"
    if not columns:
        return f"{told}</div>"
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in columns)
    shown = [list(row) for row in rows][:ROWS]
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in shown)
    more = f"<p>{total - len(shown):,} more rows</p>" if total > len(shown) else ""
    return f"{told}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"


def fields(values: Mapping[str, Any]) -> tuple[Sequence[str], list[Sequence[Any]], int]:
    """Names and values as the rows of a table.

    Args:
        values: what is shown, by name.
    """
    return ("", "value"), [(name, value) for name, value in values.items()], len(values)


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= LETTERS else text[: LETTERS - 1] + "…")
