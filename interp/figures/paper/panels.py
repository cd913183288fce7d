"""The panels of a plotly figure, read back from what the vocabulary of `interp.figures.style` drew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import plotly.graph_objects as go

from interp.figures.text import text_of

#: What stands in a plotly label for emphasis, and is not text.


@dataclass(frozen=True)
class Panel:
    """One panel: its place in the grid, its title, its axes, and what is drawn in it.

    Attributes:
        row: counted from the top, from 0.
        column: counted from the left, from 0.
        title: plain text, which may be empty.
        x: the plotly settings of its horizontal axis.
        y: of its vertical axis.
        traces: the plotly traces, in the order in which they are drawn.
        shapes: lines and areas behind or across them.
        notes: texts at a place of the axes.
    """

    row: int
    column: int
    title: str
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    traces: list[Mapping[str, Any]] = field(default_factory=list)
    shapes: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[Mapping[str, Any]] = field(default_factory=list)


def panels_of(figure: go.Figure) -> list[Panel]:
    """Every panel of a figure, row by row."""
    spec = figure.to_plotly_json()
    layout = spec["layout"]
    axes = {key: value for key, value in layout.items() if re.fullmatch(r"[xy]axis\d*", key)}
    anchors = {
        _short(key): axis.get("anchor", "y") for key, axis in axes.items() if key.startswith("x")
    }
    frames = {x: (_long(x), _long(y)) for x, y in sorted(anchors.items(), key=lambda pair: pair[0])}
    lefts = sorted({_domain(axes[x])[0] for x, _ in frames.values()})
    tops = sorted({_domain(axes[y])[1] for _, y in frames.values()}, reverse=True)
    notes = list(layout.get("annotations") or ())
    found = []
    for short, (x, y) in frames.items():
        panel = Panel(
            row=tops.index(_domain(axes[y])[1]),
            column=lefts.index(_domain(axes[x])[0]),
            title=_title(notes, axes[x], axes[y]),
            x={"name": short, **axes[x]},
            y={"name": _short(y), **axes[y]},
        )
        panel.traces.extend(t for t in spec["data"] if t.get("xaxis", "x") == short)
        panel.shapes.extend(s for s in layout.get("shapes") or () if _belongs(s, short, _short(y)))
        panel.notes.extend(n for n in notes if _belongs(n, short, _short(y)))
        found.append(panel)
    return sorted(found, key=lambda panel: (panel.row, panel.column))


def chosen(panels: Sequence[Panel], names: Sequence[str] | None) -> list[Panel]:
    """The panels of some letters or titles, in the order of the figure, in one row.

    Raises:
        ValueError: for a name that no panel has.
    """
    if names is None:
        return list(panels)
    by_name = {panel.title: panel for panel in panels if panel.title}
    by_name |= {letter(i): panel for i, panel in enumerate(panels)}
    unknown = [name for name in names if name not in by_name]
    if unknown or not names:
        known = ", ".join(f"{letter(i)} {p.title!r}" for i, p in enumerate(panels))
        raise ValueError(
            f"panels got {unknown[0] if unknown else 'none'!r}; expected letters or titles of: {known}"
        )
    wanted = {id(by_name[name]) for name in names}
    kept = [panel for panel in panels if id(panel) in wanted]
    titles = {panel.row: panel.y.get("title") for panel in panels if panel.column == 0}
    return [
        replace(panel, row=0, column=i, y={**panel.y, "title": titles.get(panel.row)})
        for i, panel in enumerate(kept)
    ]


def letter(number: int) -> str:
    """Letter of a panel, counted from 0."""
    return chr(ord("a") + number)


def _short(key: str) -> str:
    """Name by which a trace refers to an axis: xaxis2 is x2."""
    return key[0] + key[5:]


def _long(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"


def _domain(axis: Mapping[str, Any]) -> tuple[float, float]:
    low, high = axis.get("domain") or (0.0, 1.0)
    return round(float(low), 6), round(float(high), 6)


def _belongs(drawn: Mapping[str, Any], x: str, y: str) -> bool:
    """Whether a shape or a text is placed by a panel's axes."""
    bound = drawn.get("xref", "x").split()[0], drawn.get("yref", "y").split()[0]
    return bound == (x, y)


def _title(notes: Sequence[Mapping[str, Any]], x: Mapping[str, Any], y: Mapping[str, Any]) -> str:
    """Title of a panel: the text above its middle."""
    middle, top = sum(_domain(x)) / 2, _domain(y)[1]
    for note in notes:
        placed = note.get("xref") == note.get("yref") == "paper"
        if placed and abs(note["x"] - middle) < 1e-4 and abs(note["y"] - top) < 1e-4:
            return text_of(note.get("text"))
    return ""
