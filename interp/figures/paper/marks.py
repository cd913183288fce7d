"""What plotly's traces, shapes and notes look like by matplotlib: one function for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from interp.figures.paper.text import on_paper

#: Strokes and gaps of plotly's names for them, in line widths.
DASHES: dict[str, Any] = {
    "solid": "solid",
    "dash": (0, (4.0, 2.0)),
    "dot": (0, (1.0, 1.6)),
    "dashdot": (0, (4.0, 1.6, 1.0, 1.6)),
    "longdash": (0, (8.0, 2.5)),
}

#: Markers that tell series apart which share their strokes, so that colour is not needed.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")

#: Points of a line for each of plotly's pixels.
THIN = 0.6

#: Most markers on one curve.
MOST_MARKERS = 7

#: Cells below this share of the scale's end bear a dash, since both ends are dark in grey.
NEGATIVE = -0.1


def markers_of(traces: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A marker for every series whose strokes another series has too, and for every series of dots."""
    lines: dict[str, list[str]] = {}
    for trace in traces:
        if trace["type"] == "scatter" and trace.get("hoverinfo") != "skip":
            has_line = "lines" in trace.get("mode", "lines")
            dash = (trace.get("line") or {}).get("dash", "solid") if has_line else "dots"
            lines.setdefault(dash, [])
            if trace["name"] not in lines[dash]:
                lines[dash].append(trace["name"])
    shared = [name for names in lines.values() if len(names) > 1 for name in names]
    alone = [name for name in lines.get("dots", []) if name not in shared]
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(dict.fromkeys(shared + alone))}


def draw_trace(ax: Axes, trace: Mapping[str, Any], markers: Mapping[str, str]) -> QuadMesh | None:
    """Draw a trace; a map is given back, since its scale needs it."""
    if trace["type"] == "heatmap":
        return _map(ax, trace)
    draw = _bars if trace["type"] == "bar" else _band if trace.get("fill") == "toself" else _series
    draw(ax, trace, markers)
    return None


def _numbers(values: Sequence[Any] | None) -> np.ndarray:
    return np.array([np.nan if v is None else float(v) for v in values or ()], dtype=float)


def _band(ax: Axes, trace: Mapping[str, Any], _: Mapping[str, str]) -> None:
    red, green, blue, alpha = trace["fillcolor"].removeprefix("rgba(").removesuffix(")").split(",")
    colour = (int(red) / 255, int(green) / 255, int(blue) / 255, float(alpha))
    ax.fill(_numbers(trace["x"]), _numbers(trace["y"]), color=colour, linewidth=0, zorder=1.5)


def _series(ax: Axes, trace: Mapping[str, Any], markers: Mapping[str, str]) -> None:
    """A curve or dots, with error bars where the trace has them."""
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    line, marker = trace.get("line") or {}, trace.get("marker") or {}
    has_line = "lines" in trace.get("mode", "lines")
    colour = line.get("color") if has_line else marker.get("color")
    for axis in ("x", "y"):
        bar = trace.get(f"error_{axis}")
        if bar:
            ends = np.stack([_numbers(bar["arrayminus"]), _numbers(bar["array"])])
            known = np.isfinite(ends).all(axis=0) & np.isfinite(x if axis == "x" else y)
            ends, at = np.abs(ends[:, known]), (x[known], y[known])
            width: dict[str, Any] = {f"{axis}err": ends}
            ax.errorbar(*at, **width, fmt="none", ecolor=colour, elinewidth=0.8)
    step = max(1, -(-len(x) // MOST_MARKERS)) if has_line else 1  # of dots every one is a number
    shape = markers.get(trace["name"])
    ax.plot(
        x,
        y,
        color=colour,
        linestyle=DASHES[line.get("dash") or "solid"] if has_line else "none",
        linewidth=THIN * float(line.get("width") or 1.8),
        marker="|" if "line-ns" in str(marker.get("symbol")) else shape or ("" if has_line else "o"),
        markersize=3.2,
        markerfacecolor="none" if "-open" in str(marker.get("symbol")) else colour,
        markeredgewidth=0.8,
        markevery=(list(markers).index(trace["name"]) % step if shape else 0, step),
        label=on_paper(trace["name"]),
    )


def _bars(ax: Axes, trace: Mapping[str, Any], _: Mapping[str, str]) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    ax.bar(x, y, width=0.8, color=trace["marker"]["color"], zorder=2)
    bar = trace.get("error_y")
    if bar:
        ends = np.abs(np.stack([_numbers(bar["arrayminus"]), _numbers(bar["array"])]))
        known = np.isfinite(ends).all(axis=0)
        ax.errorbar(
            x[known], y[known], yerr=ends[:, known], fmt="none", ecolor="#333333", elinewidth=0.7
        )


def _map(ax: Axes, trace: Mapping[str, Any]) -> QuadMesh:
    """A diverging map; cells well below zero bear a dash, which tells the two ends apart in grey."""
    z = np.array([_numbers(row) for row in trace["z"]])
    colours = LinearSegmentedColormap.from_list("diverging", [tuple(c) for c in trace["colorscale"]])
    rows, columns = z.shape
    mesh = ax.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(z),
        cmap=colours,
        vmin=trace["zmin"],
        vmax=trace["zmax"],
        edgecolors="white",
        linewidth=0.3,
    )
    below = np.argwhere(z < NEGATIVE * trace["zmax"])
    for row, column in below:
        dark = z[row, column] < -0.6 * trace["zmax"]
        ends = [column - 0.25, column + 0.25]
        ax.plot(ends, [row, row], color="white" if dark else "black", linewidth=0.6, label="_dash")
    ax.grid(False)
    return mesh


def draw_shape(ax: Axes, shape: Mapping[str, Any]) -> None:
    """A reference line or a shaded stretch across the panel."""
    if shape["type"] == "rect":
        colour = to_rgba(shape["fillcolor"], shape.get("opacity", 1.0))
        ax.axvspan(shape["x0"], shape["x1"], color=colour, linewidth=0, zorder=0.5)
        return
    line = shape["line"]
    look: dict[str, Any] = {
        "color": line["color"],
        "linewidth": THIN * line["width"],
        "linestyle": DASHES[line.get("dash") or "solid"],
        "zorder": 0.8 if shape.get("layer") == "below" else 2.5,
        "label": "_rule",
    }
    upright = "domain" in shape.get("yref", "y")
    rule: Callable[..., Any] = ax.axvline if upright else ax.axhline
    rule(shape["x0"] if upright else shape["y0"], **look)


def draw_notes(ax: Axes, notes: Sequence[Mapping[str, Any]], size: float) -> None:
    """Texts in the middle of cells, and names of marked places above the panel.

    Names of neighbouring places stand on either side of their lines, so that they do not meet.
    """
    named: dict[float, list[str]] = {}
    for note in notes:
        if "domain" in note.get("yref", "y"):
            named.setdefault(float(note["x"]), []).append(on_paper(note.get("text")))
        else:
            look = {"fontsize": size - 2, "color": (note.get("font") or {}).get("color", "black")}
            ax.text(note["x"], note["y"], on_paper(note.get("text")), ha="center", va="center", **look)
    left, right = ax.get_xlim()
    places = sorted(named)
    close = [b - a < 0.2 * (right - left) for a, b in zip(places, places[1:], strict=False)]
    for i, place in enumerate(places):
        after, before = [*close, False][i], [False, *close][i]
        ax.annotate(
            ", ".join(named[place]),
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="right" if after else "left" if before else "center",
            va="bottom",
            fontsize=size - 1.5,
            color="#4A4A4A",
        )
