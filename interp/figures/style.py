"""House style of the figures: colours, sizes and the few shapes they are made of.

Partner of the modules that draw; nothing here computes a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from interp.figures.figure import Figure
from interp.figures.text import fitted, legend_rows, numbers, plain

#: Okabe and Ito's palette, safe for the common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"

YELLOW, BLUE, VERMILLION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#8A8A8A"

#: Diverging map, white at its centre, blue below and vermillion above.
DIVERGING = [
    [0.0, "#084C7A"],
    [0.25, "#5FA3CF"],
    [0.5, "#FAFAFA"],
    [0.75, "#EE9158"],
    [1.0, "#A63C00"],
]

BOUNDARY = "boundary (before block k)"

#: Widths of one and of two columns of a paper, 85 and 178 mm, in CSS pixels (96 per inch).
SINGLE, DOUBLE = 321, 673

_FONT = "Arial, Helvetica, Liberation Sans, sans-serif"

_LINE, _GRID = "#4A4A4A", "#E9E9E9"

_AXIS = {
    "showline": True,
    "linecolor": _LINE,
    "linewidth": 1,
    "ticks": "outside",
    "ticklen": 3,
    "tickcolor": _LINE,
    "gridcolor": _GRID,
    "zeroline": False,
    "automargin": False,
    "title": {"standoff": 7, "font": {"size": 10.5}},
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 10.5, "color": "#1A1A1A"},
        "title": {
            "font": {"size": 12},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 7, "l": 6},
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "colorway": [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK],
        "legend": {
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "font": {"size": 10},
            "itemsizing": "trace",
            "tracegroupgap": 0,
        },
        "hoverlabel": {"font": {"family": _FONT, "size": 11}},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(255,255,255,0.9)", "color": "#8A8A8A"},
    }
)


def panels(
    titles: Sequence[Sequence[str]],
    *,
    title: str,
    x: str,
    y: Sequence[str],
    entries: Sequence[str] = (),
    width: int = DOUBLE,
    row_height: int = 170,
    shared_y: bool = True,
    left: int = 52,
) -> Figure:
    """An empty grid of panels with its titles, axes and room for the legend.

    `titles` has one row of panel titles per row; `y` one axis title per row; `entries` are the
    legend's texts, from which its height is laid out so that nothing overlaps; `left` the pixels
    beside the panels.
    """
    rows, columns = len(titles), len(titles[0])
    legend = 18 * legend_rows(entries, width - left + 28) + 4 if entries else 0
    has_titles = any(t for row in titles for t in row)
    top, bottom, gap = 30 + (18 if has_titles else 0), 44 + legend, 34 if has_titles else 16
    height = top + bottom + rows * row_height + (rows - 1) * gap
    inside = height - top - bottom
    figure = Figure()
    make_subplots(
        figure=figure,
        rows=rows,
        cols=columns,
        shared_xaxes=rows > 1,
        shared_yaxes=shared_y and columns > 1,
        subplot_titles=[plain(t) for row in titles for t in row],
        vertical_spacing=gap / inside if rows > 1 else 0,
        horizontal_spacing=(22 if shared_y else 52) / width if columns > 1 else 0,
    )
    figure.update_annotations(font={"size": 10.5}, yshift=2)
    figure.update_layout(
        template=TEMPLATE,
        width=width,
        height=height,
        title_text=f"<b>{plain(fitted(title, width))}</b>",
        margin={"l": left, "r": 14, "t": top, "b": bottom},
        showlegend=bool(entries),
    )
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text=plain(x), row=rows, col=column)
    for row, text in enumerate(y, start=1):
        figure.update_yaxes(title_text=plain(text), row=row, col=1)
    return figure


def curve(
    figure: go.Figure,
    rows: pd.DataFrame,
    *,
    name: str,
    colour: str,
    dash: str = "solid",
    width: float = 1.8,
    at: tuple[int, int] = (1, 1),
    legend: bool = True,
    x: str = "layer",
    shade: float = 0.16,
) -> None:
    """Draw one series, `estimate` over `x`, with its interval from `low` to `high` as a band.

    `shade` is the band's opacity; 0 leaves it out.
    """
    rows = rows.sort_values(x)
    place, low, high = numbers(rows[x]), numbers(rows["low"]), numbers(rows["high"])
    known = [i for i in range(len(place)) if low[i] is not None and high[i] is not None]
    where: dict[str, Any] = {"row": at[0], "col": at[1]}
    if known and shade:
        figure.add_scatter(
            x=[place[i] for i in known] + [place[i] for i in reversed(known)],
            y=[high[i] for i in known] + [low[i] for i in reversed(known)],
            fill="toself",
            fillcolor=tint(colour, shade),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            name=f"{plain(name)}: interval",
            **where,
        )
    text = [
        "" if a is None or b is None else f" [{a:.3g}, {b:.3g}]" for a, b in zip(low, high, strict=True)
    ]
    figure.add_scatter(
        x=place,
        y=numbers(rows["estimate"]),
        mode="lines" if len(place) > 1 else "markers",
        name=plain(name),
        legendgroup=name,
        showlegend=legend,
        customdata=text,
        line={"color": colour, "dash": dash, "width": width},
        marker={"color": colour, "size": 6},
        hovertemplate=f"{plain(name)}<br>{plain(x)} %{{x}}: %{{y:.3g}}%{{customdata}}<extra></extra>",
        **where,
    )


def error_bar(
    value: pd.Series, low: pd.Series, high: pd.Series, *, colour: str, cap: int, thickness: float = 1.0
) -> dict[str, Any]:
    """Error bars from `low` to `high` around `value`, with caps of so many pixels; null draws none."""
    return {
        "type": "data",
        "array": numbers(high - value),
        "arrayminus": numbers(value - low),
        "thickness": thickness,
        "width": cap,
        "color": colour,
    }


def tint(colour: str, opacity: float) -> str:
    """A hex colour made transparent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def mark(figure: go.Figure, x: int | float | None, text: str, *, high: bool = True) -> None:
    """A thin vertical line with a small label, in every panel; nothing if there is no place."""
    if x is None:
        return
    figure.add_vline(
        x=x,
        line={"color": _LINE, "width": 1, "dash": "dot"},
        annotation={
            "text": plain(text),
            "font": {"size": 10, "color": _LINE},
            "bgcolor": "rgba(255,255,255,0.8)",
            "borderpad": 0,
            "xanchor": "left",
            "xshift": 2,
            "yanchor": "top" if high else "bottom",
        },
        annotation_position="top right" if high else "bottom right",
    )


def rule(
    figure: go.Figure,
    *,
    x: int | float | None = None,
    y: int | float | None = None,
    at: tuple[int, int] = (1, 1),
    dash: str = "solid",
    colour: str = "#B5B5B5",
) -> None:
    """A thin reference line in one panel, vertical at `x` or horizontal at `y`, below the data."""
    where: dict[str, Any] = {"row": at[0], "col": at[1], "layer": "below"}
    where["exclude_empty_subplots"] = False
    line = {"color": colour, "width": 1, "dash": dash}
    if x is not None:
        figure.add_vline(x=x, line=line, **where)
    if y is not None:
        figure.add_hline(y=y, line=line, **where)


def heat(
    figure: go.Figure,
    grid: pd.DataFrame,
    *,
    unit: str,
    hover: Sequence[Sequence[str]],
    limit: float = 1.0,
    at: tuple[int, int] = (1, 1),
    bar: bool = True,
    shade: str | None = None,
) -> None:
    """Draw a table (index = y, columns = x) as a map: diverging about zero, or shares in one hue.

    Args:
        figure: of `panels`.
        grid: the numbers.
        unit: of the numbers, for the bar.
        hover: what each cell says.
        limit: the largest number that has a colour of its own.
        at: row and column of the panel.
        bar: whether the bar of colours stands beside it.
        shade: colour of `limit`, white being 0, of numbers never negative; None for both signs.
    """
    figure.add_heatmap(
        z=[[None if pd.isna(v) else float(v) for v in row] for row in grid.to_numpy(dtype=object)],
        x=list(range(grid.shape[1])),
        y=list(range(grid.shape[0])),
        colorscale=DIVERGING if shade is None else [[0.0, "#FFFFFF"], [1.0, shade]],
        zmin=-limit if shade is None else 0.0,
        zmax=limit,
        zmid=0 if shade is None else None,
        xgap=0.5,
        ygap=0.5,
        customdata=hover,
        showscale=bar,
        colorbar={
            "title": {"text": plain(unit), "side": "right", "font": {"size": 10.5}},
            "tickfont": {"size": 10},
            "thickness": 9,
            "outlinewidth": 0,
            "ticks": "outside",
            "ticklen": 3,
            "xpad": 4,
        },
        hovertemplate="%{customdata}: %{z:.3g}<extra></extra>",
        row=at[0],
        col=at[1],
    )
    figure.update_xaxes(showgrid=False, row=at[0], col=at[1])
    figure.update_yaxes(showgrid=False, row=at[0], col=at[1])


def figure_json(figure: go.Figure) -> str:
    """The figure as JSON that may stand inside a script element (no character can close it).

    Args:
        figure: any figure of plotly.

    Returns:
        JSON, every character that could end the element escaped.

    Example:
        >>> import plotly.graph_objects as go
        >>> from interp import figures
        >>> "</script>" in figures.figure_json(go.Figure(layout={"title": {"text": "</script>"}}))
        False
    """
    text = str(figure.to_json(validate=False, engine="json"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def plotly_javascript() -> str:
    """Source of plotly.js as the installed plotly carries it; no download.

    Returns:
        A script.

    Example:
        >>> from interp import figures
        >>> "Plotly" in figures.plotly_javascript()
        True
    """
    return get_plotlyjs()
