"""Whether a drawing can be read without colour."""

from __future__ import annotations

from itertools import combinations

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

#: Steps of lightness (L*, 0 black to 100 white) that an eye tells apart in thin lines.
STEP = 20.0


def alike_in_grey(drawing: Figure) -> list[tuple[str, str]]:
    """Find the series of a drawing that cannot be told apart when it is printed in grey.

    Two series of a panel are told apart by their markers, their strokes, or their lightness.

    Args:
        drawing: as `interp.figures.Figure.matplotlib` gives it.

    Returns:
        Names of such pairs of series; none where all can be told apart.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> from interp.figures.paper.grey import alike_in_grey
        >>> table = pd.DataFrame({"span": ["last", "subject"] * 2, "layer": [0, 0, 1, 1],
        ...                       "estimate": [0.0, 1.0, 1.0, 0.0], "low": None, "high": None})
        >>> alike_in_grey(figures.handover_curves(table, handover=None).matplotlib())
        []
    """
    pairs = []
    for ax in drawing.axes:
        lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
        for one, other in combinations(lines, 2):
            if one.get_label() != other.get_label() and _alike(one, other):
                pairs.append((str(one.get_label()), str(other.get_label())))
    return pairs


def _alike(one: Line2D, other: Line2D) -> bool:
    same_marks = one.get_marker() == other.get_marker()
    strokes = [line._unscaled_dash_pattern for line in (one, other)]  # type: ignore[attr-defined]
    drawn = [line.get_linestyle() != "None" for line in (one, other)]
    same_strokes = drawn[0] == drawn[1] and strokes[0] == strokes[1]
    return same_marks and same_strokes and abs(_lightness(one) - _lightness(other)) < STEP


def _lightness(line: Line2D) -> float:
    """CIE L* of a line's colour."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(line.get_color())
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance
