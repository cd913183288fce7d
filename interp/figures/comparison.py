"""Figures of the main job: each takes a table of estimates and draws it; none computes a number.

The tables come from `interp.figures.tables` (columns are named in each docstring), so a figure's data
can be written beside it as it stands. Shaded bands are the intervals in the columns `low` and `high`.
This module, `interp.figures.probes` and their style sheet are the only ones that import plotly.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

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
    heat,
    labelled,
    mark,
    numbers,
    order,
    panels,
    place,
    plain,
    room,
    rule,
    shorten,
    visible,
)

_SHIFTS = {
    "sufficiency": ("sufficiency (predicted shift)", BLUE, "solid"),
    "sufficiency_mean": ("sufficiency (mean shift)", SKY, "dash"),
    "retention": ("retention of the base's answer", GREEN, "solid"),
    "retention_control": ("retention control (class mean)", GREY, "dot"),
    "persistence": ("persistence without the shift", VERMILLION, "solid"),
}

_GRADES = {
    "supported": BLUE, "decodable-inert": ORANGE, "causal-uncharacterised": PURPLE,
    "null": GREY, "undetermined": BLACK, "not measured": SKY,
}  # fmt: skip


def handover_curves(table: pd.DataFrame, *, handover: int | float | None) -> go.Figure:
    """Recovery of the clean answer when one span of the clean state is restored in the base.

    `table`: span, layer, estimate, low, high (0 corrupted, 1 clean).
    """
    styles = {"last": (VERMILLION, "solid"), "subject": (BLUE, "solid")}
    spans = order(table["span"])
    figure = panels(
        [[""]], title="Handover from subject to last token", x=BOUNDARY, y=["recovery"],
        entries=[place(s) for s in spans], width=SINGLE, row_height=190,
    )  # fmt: skip
    for value, dash in ((0.0, "solid"), (0.5, "dot"), (1.0, "solid")):
        rule(figure, y=value, dash=dash)
    for span in spans:
        colour, dash = styles.get(span, (GREEN, "dash"))
        curve(figure, table[table["span"] == span], name=place(span), colour=colour, dash=dash)
    mark(figure, handover, "κ")
    return figure


def handover_heatmap(table: pd.DataFrame, *, handover: int | float | None) -> go.Figure:
    """Recovery of each clean/corrupted pair by boundary, one panel per span.

    `table`: span, pair, layer, value; pairs are drawn in the order in which they come.
    """
    spans, pairs = order(table["span"]), list(dict.fromkeys(table["pair"]))
    figure = panels(
        [[place(s) for s in spans]], title="Handover, pair by pair", x=BOUNDARY, y=[""],
        row_height=max(120, min(520, 11 * len(pairs))),
    )  # fmt: skip
    for j, span in enumerate(spans, start=1):
        part = table[table["span"] == span].drop_duplicates(["pair", "layer"])
        grid = part.pivot(index="pair", columns="layer", values="value").reindex(pairs)
        hover = [[f"{plain(p)}, boundary {k}" for k in grid.columns] for p in grid.index]
        heat(figure, grid, unit="recovery", hover=hover, at=(1, j), bar=j == len(spans))
        figure.update_xaxes(labelled([str(k) for k in grid.columns], most=9), row=1, col=j)
        if handover is not None and handover in list(grid.columns):
            mark_at = list(grid.columns).index(handover) - 0.5
            figure.add_vline(x=mark_at, line={"color": BLACK, "width": 1, "dash": "dot"}, row=1, col=j)
    labels = [shorten(p, 26) for p in pairs]
    figure.update_yaxes({**labelled(labels, most=48), "tickfont": {"size": 9}}, row=1, col=1)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(margin_l=room(labels), margin_r=58)
    return figure


def patch_heatmap(table: pd.DataFrame, *, pair: str | None = None) -> go.Figure:
    """Recovery by layer and token when the clean state is written into the corrupted run.

    `table`: layer, position, clean, corrupted, value, and where known model, kind and pair, of one
    example of `interp.figures.tables.patch_grid`. The tokens are labels and are shown as text.

    Raises:
        ValueError: for a table without rows, or of several examples.
    """
    if table.empty or table.duplicated(["layer", "position"]).any():
        held = table["example"].nunique() if "example" in table else "several"
        raise ValueError(
            f"a heatmap shows one example, got {len(table)} rows of {held}; expected one example's, "
            "such as grid[grid['example'] == 0]"
        )
    own = {name: str(table[name].iloc[0]) for name in ("model", "kind", "pair") if name in table}
    kind = own.get("kind", "resid_pre")
    patched = f"Patching the {own['model']}" if "model" in own else "Patching"
    tokens = table.drop_duplicates("position").sort_values("position")
    labels = [
        visible(a) if a == b else f"{visible(a)} | {visible(b)}"
        for a, b in zip(tokens["clean"], tokens["corrupted"], strict=True)
    ]
    grid = table.pivot(index="position", columns="layer", values="value").sort_index()
    figure = panels([[""]], title=f"{patched}: {pair or own.get('pair', 'one pair')}",
                    x="layer (block input)" if kind == "resid_pre" else f"layer ({kind})",
                    y=["token, clean | corrupted"], row_height=max(90, 19 * len(labels)))  # fmt: skip
    hover = [
        [f"{plain(label)} (position {p}), layer {k}" for k in grid.columns]
        for label, p in zip(labels, grid.index, strict=True)
    ]
    heat(figure, grid, unit="recovery", hover=hover)
    short = [shorten(label, 30) for label in labels]
    figure.update_xaxes(labelled([str(k) for k in grid.columns], most=18))
    figure.update_yaxes({**labelled(short), "autorange": "reversed"})
    figure.update_layout(margin_l=room(short) + 14, margin_r=58)
    figure.update_yaxes(title_standoff=8)
    return figure


def stitch_curves(
    table: pd.DataFrame, *, cut: int | float | None, handover: int | float | None
) -> go.Figure:
    """The contrast in the two orders of stitching, by boundary, with both models' own values.

    `table`: panel, series (base, tuned, U, V), layer (null for base and tuned), estimate, low, high.
    """
    titles = list(dict.fromkeys(table["panel"]))
    series = {
        "U": ("U: base below, tuned above", VERMILLION), "V": ("V: tuned below, base above", BLUE),
    }  # fmt: skip
    figure = panels(
        [titles], title="Stitching base and tuned", x=BOUNDARY, y=["contrast (logits)"],
        entries=[*(n for n, _ in series.values()), "base alone", "tuned alone"],
        shared_y=False, row_height=200, width=DOUBLE if len(titles) > 1 else SINGLE,
    )  # fmt: skip
    for j, title in enumerate(titles, start=1):
        part = table[table["panel"] == title]
        reach = part["layer"].dropna()
        for own, dash in (("base", "dash"), ("tuned", "dot")):
            row = part[part["series"] == own]
            if len(row):
                line = pd.concat([row, row]).assign(layer=[reach.min(), reach.max()])
                # U_0 and V_L are the tuned model, U_L and V_0 the base: their bands say it all.
                curve(figure, line, name=f"{own} alone", colour=GREY if own == "tuned" else BLACK,
                      dash=dash, width=1.2, at=(1, j), legend=j == 1, shade=0.0)  # fmt: skip
        for key, (name, colour) in series.items():
            line = part[part["series"] == key]
            if len(line):
                curve(figure, line, name=name, colour=colour, at=(1, j), legend=j == 1)
    mark(figure, cut, "cut")
    mark(figure, handover, "κ", high=False)
    return figure


def responsibility_bars(
    table: pd.DataFrame, *, span: Sequence[int] | None, handover: int | float | None
) -> go.Figure:
    """Share of the change that each block causes; embedding and unembedding stand apart.

    `table`: part (embedding, 0, 1, ..., unembedding), share, low, high. `span`: first and last block
    of the middle 90% of the responsibility.
    """
    parts = [str(p) for p in table["part"]]
    colours = [GREY if p in ("embedding", "unembedding") else BLUE for p in parts]
    low, high, share = (numbers(table[c]) for c in ("low", "high", "share"))
    above = [None if h is None or s is None else h - s for h, s in zip(high, share, strict=True)]
    below = [None if a is None or s is None else s - a for a, s in zip(low, share, strict=True)]
    shaded = span is not None and all(str(int(b)) in parts for b in span)
    middle = f"shaded: blocks {int(span[0])}–{int(span[1])}, the middle 90%" if shaded and span else ""
    figure = panels([[middle]], title="Responsibility for the change in output", x="block",
                    y=["share of the change"], row_height=180)  # fmt: skip
    figure.add_bar(
        x=list(range(len(parts))), y=share, marker_color=colours, customdata=parts, name="share",
        error_y={"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 2,
                 "color": "#333333"} if any(a is not None for a in above) else None,
        hovertemplate="%{customdata}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    rule(figure, y=0.0)
    if shaded and span:
        first, last = (parts.index(str(int(b))) for b in span)
        figure.add_vrect(
            x0=first - 0.5, x1=last + 0.5, fillcolor=YELLOW, opacity=0.22, line_width=0, layer="below"
        )  # fmt: skip
    if handover is not None and str(int(handover)) in parts:
        mark(figure, parts.index(str(int(handover))) - 0.5, "κ")
    names = {"embedding": "emb.", "unembedding": "unemb."}
    sparse = [names.get(p) or (p if len(parts) <= 18 or int(p) % 3 == 0 else "") for p in parts]
    figure.update_xaxes(labelled(sparse, most=200), showgrid=False, tickangle=0)
    return figure


def shared_shift_curves(
    table: pd.DataFrame,
    *,
    boundary: int | float | None,
    handover: int | float | None,
    low: float,
    high: float,
) -> go.Figure:
    """Does one shift, predictable from the base's state, carry the change; does the fact survive?

    `table`: condition, layer, estimate, low, high (shares of groups). `low` and `high` are the
    declared bounds of the words low and high.
    """
    conditions = [c for c in _SHIFTS if c in set(table["condition"])]
    figure = panels(
        [[""]], title="Shared shift", x=BOUNDARY, y=["share of groups"], row_height=200,
        entries=[_SHIFTS[c][0] for c in conditions],
    )  # fmt: skip
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


def cross_patch_curves(table: pd.DataFrame, *, handover: int | float | None) -> go.Figure:
    """Share of the change that crosses when one span of the other model's state is written in.

    `table`: model (the one that runs), span, layer, estimate, low, high; 0 is the running model's own
    contrast and 1 the other's.
    """
    spans, models = order(table["span"]), order(table["model"])
    colours = {"all": BLACK, "last": VERMILLION, "subject": BLUE}
    titles = {"base": "tuned state into base", "tuned": "base state into tuned"}
    figure = panels(
        [[titles.get(m, m) for m in models]], title="Cross-model patching by position", x=BOUNDARY,
        y=["share of the change"], entries=[place(s) for s in spans],
        width=DOUBLE if len(models) > 1 else SINGLE, row_height=180,
    )  # fmt: skip
    for j, model in enumerate(models, start=1):
        for value in (0.0, 1.0):
            rule(figure, y=value, at=(1, j))
        for span in spans:
            line = table[(table["model"] == model) & (table["span"] == span)]
            if len(line):
                curve(figure, line, name=place(span), colour=colours.get(span, GREEN), at=(1, j),
                      legend=j == 1)  # fmt: skip
    mark(figure, handover, "κ")
    return figure


def claim_dots(table: pd.DataFrame, *, margin: float) -> go.Figure:
    """Every graded claim: what is read (selectivity) beside what is used (effect of the swap).

    `table`: claim, grade, selectivity, selectivity_low, selectivity_high, effect, effect_low,
    effect_high, control, control_low, control_high (mean and extremes of the control-task directions).
    """
    labels = [shorten(str(c), 58) for c in table["claim"]]
    grades = [g for g in _GRADES if g in set(table["grade"])]
    figure = panels(
        [["read: selectivity", "used: effect of the swap"]], title="Claims and their grades",
        x="accuracy above control", y=[""], row_height=max(60, 16 * len(labels)),
        entries=[*grades, "control task"], left=room(labels),
    )  # fmt: skip
    order = list(range(len(labels)))
    for j, column in enumerate(("selectivity", "effect"), start=1):
        rule(figure, x=0.0, at=(1, j))
        for grade in grades:
            chosen = (table["grade"] == grade).to_numpy()
            part = table[chosen]
            value = part[column].astype(float)
            figure.add_scatter(
                x=numbers(value), y=[i for i in order if chosen[i]], mode="markers", name=grade,
                legendgroup=grade, showlegend=j == 1, marker={"color": _GRADES[grade], "size": 6},
                error_x={"type": "data", "array": numbers(part[f"{column}_high"] - value),
                         "arrayminus": numbers(value - part[f"{column}_low"]), "thickness": 1,
                         "width": 0, "color": _GRADES[grade]},
                customdata=[plain(c) for c in part["claim"]],
                hovertemplate="%{customdata}: %{x:.3g}<extra>" + grade + "</extra>", row=1, col=j,
            )  # fmt: skip
    control = table["control"].astype(float)
    figure.add_scatter(
        x=numbers(control), y=[i + 0.28 for i in order], mode="markers", name="control task",
        marker={"symbol": "line-ns-open", "size": 7, "color": ORANGE},
        error_x={"type": "data", "array": numbers(table["control_high"] - control), "width": 0,
                 "arrayminus": numbers(control - table["control_low"]), "color": ORANGE,
                 "thickness": 1.5},
        hovertemplate="control task: %{x:.3g}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    for side in (-margin, margin):
        rule(figure, x=side, at=(1, 2), dash="dot")
    figure.update_yaxes({**labelled(labels), "range": [len(labels) - 0.4, -0.6]})
    figure.update_yaxes(showticklabels=False, row=1, col=2)
    figure.update_xaxes(title_text="share of clean − corrupted", row=1, col=2)
    return figure
