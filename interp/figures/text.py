"""Texts of figures: escaping, visible spaces, names of positions, and the room that labels take.

Nothing here draws: the shapes stand in `interp.figures.style`.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

#: Words for the positions that spans name.
PLACES = {
    "last": "last token",
    "subject_last": "subject's last token",
    "subject": "subject tokens",
    "all": "all positions",
}

_TAGS = re.compile(r"</?b>")


def visible(text: object) -> str:
    """Model text with every character that would not be seen made visible.

    Spaces become a middle dot, newlines and tabs arrows; control and direction-changing characters
    become their escapes. The result is plain text: it is not safe as markup.
    """
    marks = {" ": "·", "\n": "↵", "\t": "⇥"}
    return "".join(
        marks.get(c) or (c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}")
        for c in str(text)
    )


def text_of(label: object) -> str:
    """Plain text of a plotly label."""
    return html.unescape(_TAGS.sub("", str(label or "")))


def plain(text: object) -> str:
    """Text for a plotly label: plotly reads a little HTML, so markup characters are escaped."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text))
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, length: int) -> str:
    """Text cut to a length with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def fitted(title: str, width: int) -> str:
    """Title cut to what fits beside a figure's buttons; of two sides each keeps its beginning."""
    most = int((width - 64) / 6.4)
    if width_of(title) <= most:
        return title
    sides = title.split(" ← ")
    each = (most - 3 * (len(sides) - 1)) // len(sides)
    return " ← ".join(shorten(side, each) for side in sides)


def width_of(text: str) -> int:
    """How wide a text is drawn, in Latin letters: full-width characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def room(labels: Sequence[str]) -> int:
    """Pixels that the longest label needs beside an axis."""
    return 16 + int(5.6 * max((width_of(label) for label in labels), default=0))


def legend_rows(entries: Sequence[str], width: int) -> int:
    """Rows that the entries of a legend take in a width in pixels."""
    rows, used = 1, 0.0
    for entry in entries:
        size = 44 + 5.4 * len(entry)
        if used and used + size > width:
            rows, used = rows + 1, 0.0
        used += size
    return rows


def labelled(axis: Mapping[int, str] | Sequence[str], *, most: int = 60) -> dict[str, Any]:
    """Axis settings that write labels at 0, 1, 2, ...: every one, or every n-th of very many."""
    labels = list(axis.values()) if isinstance(axis, Mapping) else list(axis)
    step = max(1, math.ceil(len(labels) / most))
    ticks = list(range(0, len(labels), step))
    return {"tickmode": "array", "tickvals": ticks, "ticktext": [plain(labels[i]) for i in ticks]}


def numbers(column: pd.Series) -> list[float | None]:
    """Column as plain floats, null where nothing was measured."""
    return [None if pd.isna(v) else float(v) for v in column]


def place(span: object) -> str:
    """Name of a position in words."""
    return PLACES.get(str(span), str(span))


def kind_of(kind: object) -> str:
    """Kind of a site in brackets; nothing for the residual stream."""
    return "" if str(kind) in ("resid_pre", "<NA>", "nan", "") else f" ({kind})"


def order(column: pd.Series) -> list[str]:
    """Values of a column, the usual ones in their usual order."""
    usual = ["base", "tuned", "all", "subject", "subject_last", "last"]
    values = dict.fromkeys(str(value) for value in column.dropna())
    return sorted(values, key=lambda value: usual.index(value) if value in usual else len(usual))


def pairs_of(table: pd.DataFrame, first: str, second: str) -> list[tuple[str, str]]:
    """Pairs of values of two columns, in order of appearance."""
    return list(dict.fromkeys(zip(table[first].astype(str), table[second].astype(str), strict=True)))
