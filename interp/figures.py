"""Figures of the main job: each takes a table of estimates and draws it; none computes a number.

The tables come from `interp.summaries` (columns are named in each docstring), so a figure's data can
be written beside it as it stands. Shaded bands are the intervals in the columns `low` and `high`.
`interp.figures` and its style sheet `interp.figure_style` are the only modules that import plotly.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from interp.figure_style import (
    BLACK,
    BLUE,
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
    figure_json,
    heat,
    labelled,
    mark,
    numbers,
    panels,
    plain,
    plotly_javascript,
    rule,
    shorten,
    visible,
)

__all__ = [
    "claim_dots", "cross_patch_curves", "figure_json", "handover_curves", "handover_heatmap",
    "patch_heatmap", "plotly_javascript", "probe_curves", "responsibility_bars",
    "shared_shift_curves", "stitch_curves", "transfer_curves",
]  # fmt: skip

#: Words for the positions that spans name.
PLACES = {
    "last": "last token", "subject_last": "subject's last token", "subject": "subject tokens",
    "all": "all positions",
}  # fmt: skip

_PROBES = {
    "probe": ("probe", None, "solid"),
    "shuffled": ("shuffled labels", GREY, "dot"),
    "control_task": ("control task", ORANGE, "dash"),
    "random_features": ("random features", GREEN, "dashdot"),
    "surface": ("surface baseline", BLACK, "longdash"),
}
_TRANSFER = {
    "frozen": ("base probe, frozen", BLUE, "solid"),
    "mean_shifted": ("base probe, mean-shifted", GREEN, "dash"),
    "refit": ("refit on tuned", VERMILLION, "solid"),
    "cosine": ("cosine, base and tuned direction", PURPLE, "solid"),
    "cosine_control": ("cosine, control-task directions", ORANGE, "dash"),
    "cosine_random": ("cosine, random directions", GREY, "dot"),
}
_SHIFTS = {
    "sufficiency": ("sufficiency (predicted shift)", BLUE, "solid"),
    "sufficiency_mean": ("sufficiency (mean shift)", SKY, "dash"),
    "retention": ("retention of the base's answer", GREEN, "solid"),
    "retention_control": ("retention control (class mean)", GREY, "dot"),
    "persistence": ("persistence without the shift", VERMILLION, "solid"),
}
_GRADES = {
    "supported": BLUE, "decodable-inert": ORANGE, "causal-uncharacterised": PURPLE,
    "null": GREY, "undetermined": BLACK,
}  # fmt: skip
_BOUNDARY = "boundary (before block k)"


def probe_curves(table: pd.DataFrame, *, attribute: str) -> go.Figure:
    """Held-out probe accuracy by layer, one column per model and one row per position.

    `table`: kind, span, model, condition, layer, estimate, low, high.
    """
    models = [m for m in ("base", "tuned") if m in set(table["model"])]
    rows = _pairs(table, "kind", "span")
    names = [_PROBES[c][0] for c in _PROBES if c in set(table["condition"])]
    figure = panels(
        [[f"{model}, {_place(span)}{_kind(kind)}" for model in models] for kind, span in rows],
        title=f"What probes read: {attribute}", x=_BOUNDARY, y=["balanced accuracy"] * len(rows),
        entries=names, row_height=150, width=DOUBLE if len(models) > 1 else SINGLE,
    )  # fmt: skip
    shown: set[str] = set()
    for i, (kind, span) in enumerate(rows, start=1):
        for j, model in enumerate(models, start=1):
            part = table[(table["kind"] == kind) & (table["span"] == span)]
            part = part[part["model"] == model]
            for condition, (name, colour, dash) in reversed(_PROBES.items()):
                line = part[part["condition"] == condition]
                if line.empty:
                    continue
                own = colour or (BLUE if model == "base" else VERMILLION)
                curve(figure, line, name=name, colour=own, dash=dash, at=(i, j),
                      width=2.2 if condition == "probe" else 1.4, legend=name not in shown,
                      shade=0.2 if condition == "probe" else 0.1)  # fmt: skip
                shown.add(name)
    figure.update_yaxes(range=[-0.02, 1.04])
    figure.update_layout(legend_traceorder="reversed")
    return figure


def transfer_curves(table: pd.DataFrame, *, attribute: str) -> go.Figure:
    """A base probe read on the tuned model: accuracies above, cosines below, by layer.

    `table`: span, condition, layer, estimate, low, high.
    """
    spans = _order(table["span"])
    accuracy = ("frozen", "mean_shifted", "refit")
    cosine = tuple(c for c in _TRANSFER if c not in accuracy)
    has_cosine = bool(set(table["condition"]) & set(cosine))
    blocks = [accuracy, cosine] if has_cosine else [accuracy]
    titles = [[_place(s) for s in spans]] + [[""] * len(spans)] * (len(blocks) - 1)
    names = [_TRANSFER[c][0] for c in _TRANSFER if c in set(table["condition"])]
    figure = panels(
        titles, title=f"Probe transfer, base to tuned: {attribute}",
        x=_BOUNDARY, y=["balanced accuracy", "cosine"][: len(blocks)], entries=names, row_height=150,
    )  # fmt: skip
    for i, conditions in enumerate(blocks, start=1):
        for j, span in enumerate(spans, start=1):
            for condition in conditions:
                line = table[(table["span"] == span) & (table["condition"] == condition)]
                name, colour, dash = _TRANSFER[condition]
                if len(line):
                    curve(figure, line, name=name, colour=colour, dash=dash, at=(i, j), legend=j == 1)
    figure.update_yaxes(range=[-0.02, 1.04], row=1)
    if has_cosine:
        figure.update_yaxes(range=[-1.04, 1.04], row=2)
        for j in range(1, len(spans) + 1):
            rule(figure, y=0.0, at=(2, j))
    if len(blocks) > 1:
        figure.update_xaxes(title_text="", row=1)
    return figure


def handover_curves(table: pd.DataFrame, *, handover: int | float | None) -> go.Figure:
    """Recovery of the clean answer when one span of the clean state is restored in the base.

    `table`: span, layer, estimate, low, high (0 corrupted, 1 clean).
    """
    styles = {"last": (VERMILLION, "solid"), "subject": (BLUE, "solid")}
    spans = _order(table["span"])
    figure = panels(
        [[""]], title="Handover from subject to last token", x=_BOUNDARY, y=["recovery"],
        entries=[_place(s) for s in spans], width=SINGLE, row_height=190,
    )  # fmt: skip
    for value, dash in ((0.0, "solid"), (0.5, "dot"), (1.0, "solid")):
        rule(figure, y=value, dash=dash)
    for span in spans:
        colour, dash = styles.get(span, (GREEN, "dash"))
        curve(figure, table[table["span"] == span], name=_place(span), colour=colour, dash=dash)
    mark(figure, handover, "κ")
    return figure


def handover_heatmap(table: pd.DataFrame, *, handover: int | float | None) -> go.Figure:
    """Recovery of each clean/corrupted pair by boundary, one panel per span.

    `table`: span, pair, layer, value; pairs are drawn in the order in which they come.
    """
    spans, pairs = _order(table["span"]), list(dict.fromkeys(table["pair"]))
    figure = panels(
        [[_place(s) for s in spans]], title="Handover, pair by pair", x=_BOUNDARY, y=[""],
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
    figure.update_layout(margin_l=_room(labels), margin_r=58)
    return figure


def patch_heatmap(table: pd.DataFrame, *, pair: str) -> go.Figure:
    """Recovery by layer and token when the clean state is written into the corrupted run.

    `table`: layer, position, clean, corrupted, value. The tokens are labels and are shown as text.
    """
    tokens = table.drop_duplicates("position").sort_values("position")
    labels = [
        visible(a) if a == b else f"{visible(a)} | {visible(b)}"
        for a, b in zip(tokens["clean"], tokens["corrupted"], strict=True)
    ]
    grid = table.pivot(index="position", columns="layer", values="value").sort_index()
    figure = panels([[""]], title=f"Patching the base: {pair}", x="layer (block input)",
                    y=["token, clean | corrupted"], row_height=max(90, 19 * len(labels)))  # fmt: skip
    hover = [
        [f"{plain(label)} (position {p}), layer {k}" for k in grid.columns]
        for label, p in zip(labels, grid.index, strict=True)
    ]
    heat(figure, grid, unit="recovery", hover=hover)
    short = [shorten(label, 30) for label in labels]
    figure.update_xaxes(labelled([str(k) for k in grid.columns], most=18))
    figure.update_yaxes({**labelled(short), "autorange": "reversed"})
    figure.update_layout(margin_l=_room(short) + 14, margin_r=58)
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
        [titles], title="Stitching base and tuned", x=_BOUNDARY, y=["contrast (logits)"],
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
    figure = panels([[""]], title="Responsibility for the change in output", x="block",
                    y=["share of the change"], row_height=180)  # fmt: skip
    figure.add_bar(
        x=list(range(len(parts))), y=share, marker_color=colours, customdata=parts, name="share",
        error_y={"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 2,
                 "color": "#333333"} if any(a is not None for a in above) else None,
        hovertemplate="%{customdata}: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    rule(figure, y=0.0)
    if span is not None and str(int(span[0])) in parts and str(int(span[1])) in parts:
        first, last = (parts.index(str(int(b))) for b in span)
        figure.add_vrect(
            x0=first - 0.5, x1=last + 0.5, fillcolor=YELLOW, opacity=0.22, line_width=0, layer="below",
            annotation={"text": f"5–95%: blocks {int(span[0])}–{int(span[1])}", "font": {"size": 10},
                        "yanchor": "bottom", "yshift": 1},
            annotation_position="top left",
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
        [[""]], title="Shared shift", x=_BOUNDARY, y=["share of groups"], row_height=200,
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
    spans, models = _order(table["span"]), _order(table["model"])
    colours = {"all": BLACK, "last": VERMILLION, "subject": BLUE}
    titles = {"base": "tuned state into base", "tuned": "base state into tuned"}
    figure = panels(
        [[titles.get(m, m) for m in models]], title="Cross-model patching by position", x=_BOUNDARY,
        y=["share of the change"], entries=[_place(s) for s in spans],
        width=DOUBLE if len(models) > 1 else SINGLE, row_height=180,
    )  # fmt: skip
    for j, model in enumerate(models, start=1):
        for value in (0.0, 1.0):
            rule(figure, y=value, at=(1, j))
        for span in spans:
            line = table[(table["model"] == model) & (table["span"] == span)]
            if len(line):
                curve(figure, line, name=_place(span), colour=colours.get(span, GREEN), at=(1, j),
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
        entries=[*grades, "control task"],
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
    figure.update_layout(margin_l=_room(labels))
    return figure


def _place(span: object) -> str:
    return PLACES.get(str(span), str(span))


def _kind(kind: object) -> str:
    return "" if str(kind) in ("resid_pre", "<NA>", "nan", "") else f" ({kind})"


def _order(column: pd.Series) -> list[str]:
    known = ["base", "tuned", "all", "subject", "subject_last", "last"]
    found = list(dict.fromkeys(str(v) for v in column.dropna()))
    return sorted(found, key=lambda v: known.index(v) if v in known else len(known))


def _pairs(table: pd.DataFrame, first: str, second: str) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(table[first].astype(str), table[second].astype(str), strict=True)))


def _room(labels: Sequence[str]) -> int:
    return 16 + int(5.6 * max((len(label) for label in labels), default=0))
