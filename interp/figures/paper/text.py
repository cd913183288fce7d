"""Texts on paper: mathematics in labels, and how much room a text takes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from interp.figures.text import text_of

#: What is mathematics in our own labels, and how it is written.
_MATHS = {
    "κ": r"$\kappa$",
    "k*": r"$k^{*}$",
    "block k": "block $k$",
    "U:": "$U$:",
    "V:": "$V$:",
}

#: Fonts that have the letters of other scripts, in the order in which they are asked.
_FURTHER = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Arial Unicode MS",
)


@cache
def further_fonts() -> tuple[str, ...]:
    """Those of the fonts for other scripts that this machine has."""
    found = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _FURTHER if name in found)


@contextmanager
def missing_letters_told() -> Iterator[None]:
    """Say once, in one line, which letters no font has: they are drawn as boxes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing: list[str] = []
    for warning in caught:
        glyph = re.match(r"Glyph (\d+) .*missing from", str(warning.message))
        if glyph is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif chr(int(glyph[1])) not in missing:
            missing.append(chr(int(glyph[1])))
    if missing:
        some = "".join(missing[:12]) + "…" * (len(missing) > 12)
        warnings.warn(
            f"no font on this machine has the letters {some}, which are drawn as boxes; install a font "
            "that has them, such as Noto Sans CJK, or save as .html",
            stacklevel=3,
        )


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
