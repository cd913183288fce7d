"""Texts on paper: mathematics in labels, and how much room a text takes."""

from __future__ import annotations

from functools import cache

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from interp.figures.paper.panels import text_of

#: What is mathematics in our own labels, and how it is written.
_MATHS = {
    "κ": r"$\kappa$",
    "k*": r"$k^{*}$",
    "block k": "block $k$",
    "U:": "$U$:",
    "V:": "$V$:",
}


def literal(label: object) -> str:
    """Text of a label as it stands, with nothing in it read as mathematics."""
    return text_of(label).replace("$", r"\$")


def on_paper(label: object) -> str:
    """Text of one of our own labels with its mathematics set as such."""
    text = literal(label)
    for said, written in _MATHS.items():
        text = text.replace(said, written)
    return text


@cache
def width_of(text: str, size: float) -> float:
    """Points that a text takes in the font that is current."""
    figure = Figure(dpi=72)
    renderer = FigureCanvasAgg(figure).get_renderer()
    return figure.text(0, 0, text, fontsize=size).get_window_extent(renderer).width


def wrapped(text: str, width: float, size: float, most: int = 3) -> str:
    """Text in lines that fit a width in points; the rest ends in an ellipsis."""
    lines, rest = [], text.split(" ")
    while rest and len(lines) < most:
        taken = 1
        while taken < len(rest) and width_of(" ".join(rest[: taken + 1]), size) <= width:
            taken += 1
        last = len(lines) == most - 1
        line = " ".join(rest if last else rest[:taken])
        lines.append(_cut(line, width, size))
        rest = [] if last else rest[taken:]
    return "\n".join(lines)


def _cut(line: str, width: float, size: float) -> str:
    """A line that fits a width in points."""
    if width_of(line, size) <= width or "$" in line:
        return line
    kept = line
    while kept and width_of(f"{kept}…", size) > width:
        kept = kept[:-1]
    return f"{kept}…"
