"""The renderer for paper: the panels of a figure drawn by matplotlib in a given width.

Nothing here depends on the screen, on fonts that are installed, or on the time of day: fonts are those
that matplotlib carries, and the same figure gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interp.figures.paper.marks import draw_notes, draw_shape, draw_trace, markers_of
from interp.figures.paper.panels import Panel, chosen, letter, panels_of
from interp.figures.paper.text import further_fonts, literal, on_paper, width_of, wrapped

#: Points that the narrowest panel of curves, and of a map, may have.
NARROWEST, NARROWEST_MAP = 84.0, 56.0

#: Points by which the height of a drawing may differ from what its panels need.
EXACT = 0.5

#: Largest share of the width that labels beside the panels may take.
LABELS = 0.36

#: Distance of the lines of one text, in multiples of the font's own, which is wide.
LEADING = 0.85


def style(size: float) -> dict[Any, Any]:
    """Matplotlib's settings for a font size in points."""
    return {
        "font.family": ["STIXGeneral", "DejaVu Sans", *further_fonts()],
        "mathtext.fontset": "stix",
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "legend.fontsize": size - 1,
        "xtick.labelsize": size - 1.5,
        "ytick.labelsize": size - 1.5,
        "axes.linewidth": 0.5,
        "axes.edgecolor": "#4A4A4A",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelpad": 3.0,
        "axes.titlepad": 3.0,
        "grid.color": "#E9E9E9",
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.major.size": 2.0,
        "ytick.major.size": 2.0,
        "xtick.major.pad": 1.5,
        "ytick.major.pad": 1.5,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "legend.columnspacing": 1.0,
        "legend.handletextpad": 0.5,
        "legend.labelspacing": 0.25,
        "legend.borderpad": 0.1,
        "legend.borderaxespad": 0.1,
        "figure.constrained_layout.h_pad": 1.5 / 72,
        "figure.constrained_layout.w_pad": 1.5 / 72,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "interp",
        "axes.unicode_minus": True,
        "text.usetex": False,
        "savefig.bbox": None,
    }


@dataclass(frozen=True)
class _Sheet:
    """Measures of a drawing, in points.

    Attributes:
        width: of the whole drawing.
        size: of the font.
        columns: how many panels stand side by side.
        panel_width: of one panel.
        label_width: of the labels beside the panels.
    """

    width: float
    size: float
    columns: int
    panel_width: float
    label_width: float


def draw(
    figure: go.Figure, width: float, size: float, *, panels: Sequence[str] | None = None
) -> Figure:
    """A matplotlib figure of so many points in width; its height follows from what is drawn.

    Args:
        figure: made of the vocabulary of `interp.figures.style`.
        width: in points.
        size: of the font, in points.
        panels: letters or titles of the panels that are drawn; None draws all.

    Raises:
        ValueError: for a panel that there is not.
    """
    with matplotlib.rc_context(style(size)):
        kept = chosen(panels_of(figure), panels)
        sheet = _measured(kept, width, size)
        kept = _arranged(kept, sheet.columns)
        traces = [trace for panel in kept for trace in panel.traces]
        markers = markers_of(traces)
        legend = _Legend.of(figure, traces, sheet)
        heights = _heights(kept, sheet)
        drawing = Figure(figsize=(width / 72, 2 * sum(heights) / 72), layout="constrained")
        grid = drawing.add_gridspec(len(heights), sheet.columns, height_ratios=heights)
        axes: dict[str, Axes] = {}
        rows: dict[int, Axes] = {}
        for number, panel in enumerate(kept):
            shared = _shared(panel, axes)
            ax = drawing.add_subplot(grid[panel.row, panel.column], **shared)
            axes |= {_axis_key(panel, side): axes.get(_axis_key(panel, side), ax) for side in "xy"}
            rows.setdefault(panel.row, ax)
            mesh = _draw_panel(ax, panel, markers, size)
            _label(ax, panel, kept, sheet, heights[panel.row])
            _entitle(ax, panel, number if len(kept) > 1 else None, sheet)
            if mesh is not None and panel.traces[0].get("showscale"):
                _scale(drawing, mesh, panel.traces[0])
        legend.draw(drawing)
        _fit(drawing, rows, heights)
        return drawing


def _measured(panels: Sequence[Panel], width: float, size: float) -> _Sheet:
    """How many panels fit side by side, and how wide they are."""
    labels = [text for panel in panels for text in panel.y.get("ticktext") or ()]
    longest = max((width_of(literal(text), size - 1.5) for text in labels), default=0.0)
    beside = min(longest, LABELS * width) + 1.6 * size
    is_map = any(trace["type"] == "heatmap" for panel in panels for trace in panel.traces)
    beside += 3.2 * size if is_map else 0.0 if labels else 1.8 * size
    several = 1 + max(panel.column for panel in panels)
    narrowest = NARROWEST_MAP if labels else NARROWEST
    fit = max(1, min(several, int((width - beside) // narrowest)))
    if several <= 4:  # rows of equal length; among many panels the last row may be shorter
        fit = max(n for n in range(1, fit + 1) if several % n == 0)
    own = 0.0 if labels or all(p.y.get("matches") for p in panels if p.column) else 2.2 * size
    inside = (width - beside - (fit - 1) * (6.0 + own)) / fit
    return _Sheet(width, size, fit, inside, min(longest, LABELS * width))


def _arranged(panels: Sequence[Panel], columns: int) -> list[Panel]:
    """The panels in rows of so many; a row that is broken keeps its axis title at the left."""
    placed, row = [], -1
    for line in sorted({panel.row for panel in panels}):
        of_line = [panel for panel in panels if panel.row == line]
        title = of_line[0].y.get("title")
        for number, panel in enumerate(of_line):
            row += number % columns == 0
            y = {**panel.y, "title": title if number % columns == 0 else None}
            placed.append(replace(panel, row=row, column=number % columns, y=y))
    return placed


def _tick_lines(panel: Panel, sheet: _Sheet) -> list[str]:
    """Labels of a vertical axis, each on one line or two."""
    most = 1 if any(trace["type"] == "heatmap" for trace in panel.traces) else 2
    return [
        wrapped(literal(text), sheet.label_width + 1, sheet.size - 1.5, most)
        for text in panel.y.get("ticktext") or ()
    ]


def _heights(panels: Sequence[Panel], sheet: _Sheet) -> list[float]:
    """Points that every row of panels is to have, without titles and labels."""
    heights = [0.0] * (1 + max(panel.row for panel in panels))
    ticks = {_axis_key(panel, "y"): _tick_lines(panel, sheet) for panel in panels[::-1]}
    ticks |= {_axis_key(p, "y"): lines for p in panels if (lines := _tick_lines(p, sheet))}
    for panel in panels:
        maps = [len(trace["z"]) for trace in panel.traces if trace["type"] == "heatmap"]
        lines = ticks[_axis_key(panel, "y")]
        rows = max(maps, default=len(lines))
        if rows:
            high = max((text.count("\n") + 1 for text in lines), default=1)
            every = rows / max(len(lines), 1)  # of very many rows only every n-th bears a label
            height = max(34.0, rows / every * (sheet.size - 1.5) * 1.22 * high)
        else:
            height = min(0.3 * sheet.width, max(62.0, 0.66 * sheet.panel_width), 120.0)
        heights[panel.row] = max(heights[panel.row], height)
    return heights


def _fit(drawing: Figure, rows: Mapping[int, Axes], heights: Sequence[float]) -> None:
    """Make the drawing as high as its panels need beside their titles and labels."""
    width, layout = drawing.get_figwidth(), drawing.get_layout_engine()
    assert layout is not None
    for _ in range(4):
        layout.execute(drawing)
        total = 72 * drawing.get_figheight()
        missing = sum(heights[row] - total * ax.get_position().height for row, ax in rows.items())
        if abs(missing) < EXACT:
            break
        drawing.set_size_inches(width, max(40.0, total + missing) / 72)
    drawing.set_layout_engine("none")


def text_title(axis: Mapping[str, Any]) -> str:
    """Title of an axis, which may be empty."""
    return on_paper((axis.get("title") or {}).get("text"))


def _axis_key(panel: Panel, side: str) -> str:
    """Name of the axis with which a panel shares its limits."""
    axis = panel.x if side == "x" else panel.y
    return str(axis.get("matches") or axis["name"])


def _shared(panel: Panel, axes: Mapping[str, Axes]) -> dict[str, Axes]:
    return {f"share{s}": axes[key] for s in "xy" if (key := _axis_key(panel, s)) in axes}


def _draw_panel(ax: Axes, panel: Panel, markers: Mapping[str, str], size: float) -> Any:
    """Draw what stands in a panel, and set its limits."""
    mesh = None
    for shape in panel.shapes:
        draw_shape(ax, shape)
    for trace in panel.traces:
        mesh = draw_trace(ax, trace, markers) or mesh
    for side, axis in (("x", panel.x), ("y", panel.y)):
        if axis.get("range"):
            ax.set(**{f"{side}lim": tuple(axis["range"])})
    if panel.y.get("autorange") == "reversed" and not ax.yaxis_inverted():
        ax.invert_yaxis()
    if panel.y.get("tickvals") is not None and mesh is None:
        ax.grid(False, axis="y")
    draw_notes(ax, panel.notes, size)
    return mesh


def _shows(panel: Panel, panels: Sequence[Panel]) -> bool:
    """Whether a panel bears its own labels below; not where the panel under it has the same."""
    below = [p for p in panels if p.column == panel.column and p.row == panel.row + 1]
    return not below or _scale_of(panel) != _scale_of(below[0])


def _scale_of(panel: Panel) -> object:
    """What the horizontal axis shows."""
    if panel.x.get("matches") or panel.x["name"] == "x" and not text_title(panel.x):
        return "shared"
    values = [v for trace in panel.traces for v in trace.get("x") or () if v is not None]
    words = tuple(panel.x.get("ticktext") or ())
    return text_title(panel.x), words, min(values, default=0), max(values, default=0)


def _label(ax: Axes, panel: Panel, panels: Sequence[Panel], sheet: _Sheet, height: float) -> None:
    """Ticks and axis titles."""
    size, words = sheet.size, [literal(text) for text in panel.x.get("ticktext") or ()]
    if words:
        ticks, angle = list(panel.x["tickvals"]), panel.x.get("tickangle") or 0
        widest = max(width_of(word, size - 1.5) for word in words)
        step = 1 if angle else math.ceil((widest + 3) * len(words) / sheet.panel_width)
        turned: dict[str, Any] = {"rotation": -angle, "rotation_mode": "anchor", "ha": "right"}
        ax.set_xticks(ticks[::step], words[::step], **(turned if angle else {}))
    else:
        whole = _whole(panel)
        most = max(2, int(sheet.panel_width // (26 if whole else 34)))
        ax.xaxis.set_major_locator(MaxNLocator(most, integer=whole))
    if panel.y.get("tickvals") is not None:
        ax.set_yticks(list(panel.y["tickvals"]), _tick_lines(panel, sheet), linespacing=LEADING)
    elif not panel.y.get("matches") or not ax.get_yticklabels():
        ax.yaxis.set_major_locator(MaxNLocator(4))
    inner = bool(panel.column) and ("matches" in panel.y or panel.y.get("showticklabels") is False)
    ax.tick_params(labelleft=not inner, labelbottom=_shows(panel, panels))
    if _shows(panel, panels):
        ax.set_xlabel(
            wrapped(text_title(panel.x), sheet.panel_width + 12, size, 2), linespacing=LEADING
        )
    ax.set_ylabel(wrapped(text_title(panel.y), height + 14, size, 2), linespacing=LEADING)


def _whole(panel: Panel) -> bool:
    """Whether everything on the horizontal axis is a whole number."""
    values = [v for trace in panel.traces for v in trace.get("x") or () if v is not None]
    return all(float(v).is_integer() for v in values) and bool(values)


def _entitle(ax: Axes, panel: Panel, number: int | None, sheet: _Sheet) -> None:
    """Title of a panel within its width, lettered where there are several, above the notes."""
    mark = "" if number is None else rf"$\mathbf{{{letter(number)}}}$  "
    title = wrapped(f"{mark}{on_paper(panel.title)}".strip(), sheet.panel_width, sheet.size)
    if title:
        noted = any("domain" in note.get("yref", "y") for note in panel.notes)
        ax.set_title(title, loc="left", pad=3 + noted * (sheet.size + 1), linespacing=LEADING)


def _scale(drawing: Figure, mesh: Any, trace: Mapping[str, Any]) -> None:
    """The scale of colours, beside the panels."""
    bar = drawing.colorbar(mesh, ax=drawing.axes, aspect=22, fraction=0.06, pad=0.02, shrink=1.0)
    bar.set_label(on_paper(trace["colorbar"]["title"]["text"]))
    bar.outline.set_linewidth(0)  # type: ignore[operator]
    bar.ax.yaxis.set_major_locator(MaxNLocator(4))


@dataclass(frozen=True)
class _Legend:
    """The legend below the panels.

    Attributes:
        names: of the series, in order; none where the figure has no legend.
        columns: how many entries stand side by side.
    """

    names: list[str]
    columns: int

    @classmethod
    def of(cls, figure: go.Figure, traces: Sequence[Mapping[str, Any]], sheet: _Sheet) -> _Legend:
        shown = [t["name"] for t in traces if t.get("showlegend", True) and t.get("name")]
        names = [on_paper(name) for name in dict.fromkeys(shown)]
        if not figure.layout.showlegend:  # type: ignore[attr-defined]
            names = []
        if figure.layout.legend.traceorder == "reversed":  # type: ignore[attr-defined]
            names = names[::-1]
        widths = [width_of(name, sheet.size - 1) + 3.9 * sheet.size for name in names]
        fitting = [n for n in range(1, len(names) + 1) if _columns_width(widths, n) <= sheet.width - 4]
        return cls(names, max(fitting, default=1))

    def draw(self, drawing: Figure) -> None:
        """Draw the entries of the series that are there."""
        handles: dict[str, Any] = {}
        for ax in drawing.axes:
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
                handles.setdefault(str(name), handle)
        names = [name for name in self.names if name in handles]
        if names:
            entries = [handles[name] for name in names]
            drawing.legend(entries, names, loc="outside lower center", ncols=self.columns)


def _columns_width(widths: Sequence[float], columns: int) -> float:
    """Points that entries take in so many columns, filled one after the other."""
    short, long = divmod(len(widths), columns)
    ends = [i * (short + 1) if i < long else long + i * short for i in range(columns + 1)]
    return sum(max(widths[a:b]) for a, b in zip(ends, ends[1:], strict=False))
