"""Figures of the main job: each takes a table of estimates and draws it; none computes a number.

The tables come from `interp.figures.tables` (columns are named in each docstring), so a figure's data
can be written beside it as it stands. Shaded bands are the intervals in the columns `low` and `high`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from interp.figures.figure import Figure, drawn
from interp.figures.style import (
    BLACK,
    BLUE,
    BOUNDARY,
    DOUBLE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SINGLE,
    SKY,
    VERMILLION,
    YELLOW,
    curve,
    error_bar,
    mark,
    panels,
    rule,
)
from interp.figures.text import labelled, numbers, order, place, plain, room, shorten

_SHIFTS = {
    "sufficiency": ("sufficiency (predicted shift)", BLUE, "solid"),
    "sufficiency_mean": ("sufficiency (mean shift)", SKY, "dash"),
    "retention": ("retention of the base's answer", GREEN, "solid"),
    "retention_control": ("retention control (class mean)", GREY, "dot"),
    "persistence": ("persistence without the shift", VERMILLION, "solid"),
}

_GRADES = {
    "supported": BLUE,
    "decodable-inert": ORANGE,
    "causal-uncharacterised": PURPLE,
    "null": GREY,
    "undetermined": BLACK,
    "not measured": SKY,
}


@drawn
def stitch_curves(
    table: pd.DataFrame, *, cut: int | float | None, handover: int | float | None
) -> Figure:
    """Contrast in the two orders of stitching, by boundary, with both models' own values.

    Args:
        table: panel, series (base, tuned, U, V), layer (null for base and tuned), estimate, low, high.
        cut: boundary between lower and upper blocks, marked where it is known.
        handover: the handover, likewise.

    Returns:
        The figure, one panel for each contrast: U and V with their intervals, both models alone.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "panel": "output", "series": ["base", "tuned", "U", "U", "V", "V"],
        ...     "layer": [None, None, 0, 1, 0, 1], "estimate": [2.0, -3.0, -3.0, 2.0, 2.0, -3.0],
        ...     "low": [1.5, -3.5, -3.5, 1.5, 1.5, -3.5], "high": [2.5, -2.5, -2.5, 2.5, 2.5, -2.5]})
        >>> figure = figures.stitch_curves(table, cut=1, handover=None)
        >>> [trace.name for trace in figure.data if trace.showlegend]
        ['base alone', 'tuned alone', 'U: base below, tuned above', 'V: tuned below, base above']
    """
    titles = list(dict.fromkeys(table["panel"]))
    series = {
        "U": ("U: base below, tuned above", VERMILLION),
        "V": ("V: tuned below, base above", BLUE),
    }
    figure = panels(
        [titles],
        title="Stitching base and tuned",
        x=BOUNDARY,
        y=["contrast (logits)"],
        entries=[*(name for name, _ in series.values()), "base alone", "tuned alone"],
        shared_y=False,
        row_height=200,
        width=DOUBLE if len(titles) > 1 else SINGLE,
    )
    for j, title in enumerate(titles, start=1):
        part = table[table["panel"] == title]
        for model, colour, dash in (("base", BLACK, "dash"), ("tuned", GREY, "dot")):
            row = part[part["series"] == model]
            if len(row):
                ends = [part["layer"].min(), part["layer"].max()]
                line = pd.concat([row, row]).assign(layer=ends)
                # U_0 and V_L are the tuned model, U_L and V_0 the base: their bands say it all.
                look = {"colour": colour, "dash": dash, "width": 1.2, "shade": 0.0}
                curve(figure, line, name=f"{model} alone", at=(1, j), legend=j == 1, **look)
        for key, (name, colour) in series.items():
            line = part[part["series"] == key]
            if len(line):
                curve(figure, line, name=name, colour=colour, at=(1, j), legend=j == 1)
    mark(figure, cut, "cut")
    mark(figure, handover, "κ", high=False)
    return figure


@drawn
def responsibility_bars(
    table: pd.DataFrame, *, span: Sequence[int] | None, handover: int | float | None
) -> Figure:
    """Share of the change that each block causes; embedding and unembedding stand apart.

    Args:
        table: part (embedding, 0, 1, ..., unembedding), share, low, high.
        span: first and last block of the middle 90% of the responsibility, shaded.
        handover: the handover, marked where it is known.

    Returns:
        The figure, a bar for each part with its interval.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "part": ["embedding", 0, 1, "unembedding"], "share": [0.0, 0.1, 0.9, 0.0],
        ...     "low": [0.0, 0.0, 0.8, 0.0], "high": [0.0, 0.2, 1.0, 0.0]})
        >>> figure = figures.responsibility_bars(table, span=(0, 1), handover=None)
        >>> figure.data[0].y
        (0.0, 0.1, 0.9, 0.0)
    """
    parts = [str(part) for part in table["part"]]
    bounds = table[["share", "low", "high"]].astype(float)
    shaded = span is not None and all(str(int(block)) in parts for block in span)
    middle = f"shaded: blocks {int(span[0])}–{int(span[1])}, the middle 90%" if shaded and span else ""
    figure = panels(
        [[middle]],
        title="Responsibility for the change in output",
        x="block",
        y=["share of the change"],
        row_height=180,
    )
    figure.add_bar(
        x=list(range(len(parts))),
        y=numbers(bounds["share"]),
        marker_color=[GREY if part in ("embedding", "unembedding") else BLUE for part in parts],
        customdata=parts,
        name="share",
        error_y=error_bar(bounds["share"], bounds["low"], bounds["high"], colour="#333333", cap=2)
        if bounds[["share", "high"]].notna().all(axis=1).any()
        else None,
        hovertemplate="%{customdata}: %{y:.3g}<extra></extra>",
    )
    rule(figure, y=0.0)
    if shaded and span:
        first, last = (parts.index(str(int(block))) for block in span)
        shade = {"fillcolor": YELLOW, "opacity": 0.22, "line_width": 0, "layer": "below"}
        figure.add_vrect(x0=first - 0.5, x1=last + 0.5, **shade)
    if handover is not None and str(int(handover)) in parts:
        mark(figure, parts.index(str(int(handover))) - 0.5, "κ")
    names = {"embedding": "emb.", "unembedding": "unemb."}
    sparse = [names.get(p) or (p if len(parts) <= 18 or int(p) % 3 == 0 else "") for p in parts]
    figure.update_xaxes(labelled(sparse, most=200), showgrid=False, tickangle=0)
    return figure


@drawn
def shared_shift_curves(
    table: pd.DataFrame,
    *,
    boundary: int | float | None,
    handover: int | float | None,
    low: float,
    high: float,
) -> Figure:
    """Shares of groups that follow one shift, and whose fact survives it, by boundary.

    Args:
        table: condition, layer, estimate, low, high (shares of groups).
        boundary: k*, marked where it is known.
        handover: the handover, likewise.
        low: declared upper bound of the word low.
        high: declared lower bound of the word high.

    Returns:
        The figure, a curve with its interval for each condition of the table.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "condition": ["sufficiency", "sufficiency", "retention", "retention"],
        ...     "layer": [1, 2, 1, 2], "estimate": [0.2, 1.0, 0.9, 0.8],
        ...     "low": [0.1, 0.9, 0.8, 0.7], "high": [0.3, 1.0, 1.0, 0.9]})
        >>> figure = figures.shared_shift_curves(table, boundary=2, handover=None, low=0.2, high=0.8)
        >>> [trace.name for trace in figure.data if trace.showlegend]
        ['sufficiency (predicted shift)', "retention of the base's answer"]
    """
    conditions = [condition for condition in _SHIFTS if condition in set(table["condition"])]
    figure = panels(
        [[""]],
        title="Shared shift",
        x=BOUNDARY,
        y=["share of groups"],
        row_height=200,
        entries=[_SHIFTS[condition][0] for condition in conditions],
    )
    for value in (low, high):
        rule(figure, y=value, dash="dot")
    for condition in conditions:
        name, colour, dash = _SHIFTS[condition]
        line = table[table["condition"] == condition]
        curve(figure, line, name=name, colour=colour, dash=dash)
    figure.update_yaxes(range=[-0.03, 1.05])
    mark(figure, boundary, "k*")
    mark(figure, handover, "κ", high=False)
    return figure


@drawn
def cross_patch_curves(table: pd.DataFrame, *, handover: int | float | None) -> Figure:
    """Share of the change that crosses when one span of the other model's state is written in.

    Args:
        table: model (the one that runs), span, layer, estimate, low, high; 0 is the running model's
            own contrast and 1 the other's.
        handover: the handover, marked where it is known.

    Returns:
        The figure, one panel for each model that runs, a curve with its interval for each span.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "model": "base", "span": ["last", "last", "subject", "subject"], "layer": [0, 1, 0, 1],
        ...     "estimate": [0.0, 0.9, 0.1, 0.0], "low": [0.0, 0.8, 0.0, 0.0],
        ...     "high": [0.0, 1.0, 0.2, 0.0]})
        >>> figure = figures.cross_patch_curves(table, handover=1)
        >>> sorted(trace.name for trace in figure.data if trace.showlegend)
        ['last token', 'subject tokens']
    """
    spans, models = order(table["span"]), order(table["model"])
    colours = {"all": BLACK, "last": VERMILLION, "subject": BLUE}
    titles = {"base": "tuned state into base", "tuned": "base state into tuned"}
    figure = panels(
        [[titles.get(model, model) for model in models]],
        title="Cross-model patching by position",
        x=BOUNDARY,
        y=["share of the change"],
        entries=[place(span) for span in spans],
        width=DOUBLE if len(models) > 1 else SINGLE,
        row_height=180,
    )
    for j, model in enumerate(models, start=1):
        for value in (0.0, 1.0):
            rule(figure, y=value, at=(1, j))
        for span in spans:
            line = table[(table["model"] == model) & (table["span"] == span)]
            if len(line):
                colour = colours.get(span, GREEN)
                curve(figure, line, name=place(span), colour=colour, at=(1, j), legend=j == 1)
    mark(figure, handover, "κ")
    return figure


@drawn
def claim_dots(table: pd.DataFrame, *, margin: float) -> Figure:
    """Every graded claim: what is read (selectivity) beside what is used (effect of the swap).

    Args:
        table: claim, grade, selectivity, selectivity_low, selectivity_high, effect, effect_low,
            effect_high, control, control_low, control_high (mean and extremes of the control-task
            directions).
        margin: effects within plus or minus it count as none.

    Returns:
        The figure, one row for each claim: the reading left, the effect and its control right.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> names = ("selectivity", "effect", "control")
        >>> bounds = {f"{name}{end}": [0.4] for name in names for end in ("", "_low", "_high")}
        >>> table = pd.DataFrame({"claim": ["color = red"], "grade": ["supported"], **bounds})
        >>> figures.claim_dots(table, margin=0.1).layout.yaxis.ticktext
        ('color = red',)
    """
    labels = [shorten(str(claim), 58) for claim in table["claim"]]
    grades = [grade for grade in _GRADES if grade in set(table["grade"])]
    figure = panels(
        [["read: selectivity", "used: effect of the swap"]],
        title="Claims and their grades",
        x="accuracy above control",
        y=[""],
        row_height=max(60, 16 * len(labels)),
        entries=[*grades, "control task"],
        left=room(labels),
    )
    for j, column in enumerate(("selectivity", "effect"), start=1):
        rule(figure, x=0.0, at=(1, j))
        for grade in grades:
            _graded_dots(figure, table, grade, column, j)
    control = [table[f"control{end}"].astype(float) for end in ("", "_low", "_high")]
    figure.add_scatter(
        x=numbers(control[0]),
        y=[row + 0.28 for row in range(len(table))],
        mode="markers",
        name="control task",
        marker={"symbol": "line-ns-open", "size": 7, "color": ORANGE},
        error_x=error_bar(*control, colour=ORANGE, cap=0, thickness=1.5),
        hovertemplate="control task: %{x:.3g}<extra></extra>",
        row=1,
        col=2,
    )
    for side in (-margin, margin):
        rule(figure, x=side, at=(1, 2), dash="dot")
    figure.update_yaxes({**labelled(labels), "range": [len(labels) - 0.4, -0.6]})
    figure.update_yaxes(showticklabels=False, row=1, col=2)
    figure.update_xaxes(title_text="share of clean − corrupted", row=1, col=2)
    return figure


def _graded_dots(figure: go.Figure, table: pd.DataFrame, grade: str, column: str, panel: int) -> None:
    """Draw the claims of one grade into one panel, each in its own row, with intervals."""
    rows = [row for row, of_claim in enumerate(table["grade"]) if of_claim == grade]
    part = table.iloc[rows]
    bounds = [part[f"{column}{end}"].astype(float) for end in ("", "_low", "_high")]
    figure.add_scatter(
        x=numbers(bounds[0]),
        y=rows,
        mode="markers",
        name=grade,
        legendgroup=grade,
        showlegend=panel == 1,
        marker={"color": _GRADES[grade], "size": 6},
        error_x=error_bar(*bounds, colour=_GRADES[grade], cap=0),
        customdata=[plain(claim) for claim in part["claim"]],
        hovertemplate="%{customdata}: %{x:.3g}<extra>" + grade + "</extra>",
        row=1,
        col=panel,
    )
