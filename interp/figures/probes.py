"""Figures of what probes read: curves by layer, transfer from base to tuned, generalisation."""

from __future__ import annotations

import pandas as pd

from interp.evidence.boundaries import behind_block, boundary_numbers, last_boundary
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
    curve,
    heat,
    panels,
    rule,
)
from interp.figures.text import kind_of, labelled, order, pairs_of, place, room

_PROBES = {
    "probe": ("probe", None, "solid"),
    "shuffled": ("shuffled labels", GREY, "dot"),
    "control_task": ("control task", ORANGE, "dash"),
    "random_features": ("random features", GREEN, "dashdot"),
    "surface": ("surface baseline", BLACK, "longdash"),
    "surface_tokens": ("surface: tokens", BLACK, "dash"),
    "surface_length": ("surface: length", SKY, "dot"),
    "surface_frequency": ("surface: token frequency", GREY, "longdash"),
    "surface_answer": ("surface: answer length", BLACK, "dashdot"),
    "surface_letters": ("surface: letters", PURPLE, "dashdot"),
}

_MEASURES = {"auroc": "AUROC", "brier": "Brier score", "ece": "calibration error (ECE)"}

_TRANSFER = {
    "frozen": ("base probe, frozen", BLUE, "solid"),
    "mean_shifted": ("base probe, mean-shifted", GREEN, "dash"),
    "aligned": ("base probe, rotated", SKY, "dash"),
    "refit": ("refit on tuned", VERMILLION, "solid"),
    "cosine": ("cosine, base and tuned direction", PURPLE, "solid"),
    "cosine_control": ("cosine, control-task directions", ORANGE, "dash"),
    "cosine_random": ("cosine, random directions", GREY, "dot"),
}


@drawn
def probe_curves(table: pd.DataFrame, *, attribute: str) -> Figure:
    """Held-out probe accuracy by boundary, one column per model and one row per position.

    What was read behind a block is drawn at the boundary after it, in the panel of those before.

    Args:
        table: kind, span, model, condition, layer, estimate, low, high, as
            `interp.figures.tables.probe_curves` gives them; with a column `measure` (of
            `probes.score_table`) the axis bears that measure's name.
        attribute: what the probes read, for the title.

    Returns:
        The figure: each probe with its interval, beside its controls.

    Raises:
        ValueError: for a table without rows, or of several measures.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "kind": ["resid_pre", "resid_pre", "resid_post"], "layer": [0, 1, 1], "span": "last",
        ...     "model": "base", "condition": "probe", "estimate": [0.5, 0.8, 0.9],
        ...     "low": [0.4, 0.7, 0.8], "high": [0.6, 0.9, 1.0]})
        >>> figure = figures.probe_curves(table, attribute="truth")
        >>> [trace.x for trace in figure.data if trace.showlegend]
        [(0.0, 1.0, 2.0)]
    """
    table = _by_boundary(table)
    models = [m for m in ("base", "tuned") if m in set(table["model"])]
    spans = order(table["span"])
    rows = sorted(pairs_of(table, "kind", "span"), key=lambda row: spans.index(row[1]))
    names = [_PROBES[c][0] for c in _PROBES if c in set(table["condition"])]
    figure = panels(
        [[f"{model}, {place(span)}{kind_of(kind)}" for model in models] for kind, span in rows],
        title=f"What probes read: {attribute}",
        x=BOUNDARY,
        y=[_score(table)] * len(rows),
        entries=names,
        row_height=150,
        width=DOUBLE if len(models) > 1 else SINGLE,
    )
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
                curve(
                    figure,
                    line,
                    name=name,
                    colour=own,
                    dash=dash,
                    at=(i, j),
                    width=2.2 if condition == "probe" else 1.4,
                    legend=name not in shown,
                    shade=0.2 if condition == "probe" else 0.1,
                )
                shown.add(name)
    figure.update_yaxes(range=[-0.02, 1.04])
    figure.update_layout(legend_traceorder="reversed")
    return figure


def _by_boundary(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every row of the residual stream at its boundary."""
    counted = last_boundary(table, {})
    behind = behind_block(table)
    kind = table["kind"].mask(behind, "resid_pre")
    return table.assign(layer=boundary_numbers(table, counted=counted), kind=kind)


def _score(table: pd.DataFrame) -> str:
    """What the numbers of a table of curves are."""
    if table.empty:
        raise ValueError("the table has no rows; expected those of interp.figures.tables.probe_curves")
    if "measure" not in table:
        return "balanced accuracy"
    measures = list(dict.fromkeys(table["measure"].astype(str)))
    if len(measures) > 1:
        raise ValueError(
            f"curves show one measure, got {measures}; expected one, such as "
            "table[table['measure'] == 'auroc']"
        )
    return _MEASURES.get(measures[0], measures[0].replace("_", " "))


@drawn
def transfer_curves(table: pd.DataFrame, *, attribute: str) -> Figure:
    """A base probe read on the tuned model: accuracies above, cosines below, by boundary.

    Args:
        table: span, condition, layer, estimate, low, high, as `interp.figures.tables.transfer_curves`
            gives them.
        attribute: what the probes read, for the title.

    Returns:
        The figure, one column of panels for each position.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "span": "last", "condition": ["frozen", "frozen", "cosine", "cosine"],
        ...     "layer": [0, 1, 0, 1], "estimate": [0.5, 0.9, 0.1, 0.8], "low": [0.4, 0.8, 0.0, 0.7],
        ...     "high": [0.6, 1.0, 0.2, 0.9]})
        >>> figure = figures.transfer_curves(table, attribute="truth")
        >>> [trace.name for trace in figure.data if trace.showlegend]
        ['base probe, frozen', 'cosine, base and tuned direction']
    """
    spans = order(table["span"])
    accuracy = ("frozen", "mean_shifted", "aligned", "refit")
    cosine = tuple(c for c in _TRANSFER if c not in accuracy)
    has_cosine = bool(set(table["condition"]) & set(cosine))
    blocks = [accuracy, cosine] if has_cosine else [accuracy]
    titles = [[place(s) for s in spans]] + [[""] * len(spans)] * (len(blocks) - 1)
    names = [_TRANSFER[c][0] for c in _TRANSFER if c in set(table["condition"])]
    figure = panels(
        titles,
        title=f"Probe transfer, base to tuned: {attribute}",
        x=BOUNDARY,
        y=["balanced accuracy", "cosine"][: len(blocks)],
        entries=names,
        row_height=150,
    )
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


@drawn
def generalisation_heatmap(table: pd.DataFrame, *, condition: str = "probe") -> Figure:
    """Probes trained on one set (rows) and tested on another (columns): balanced accuracy.

    Chance, one half, is white; blue is below it. Cells say percent, their interval on hovering.

    Args:
        table: train, test, condition, estimate, low, high, of one place, as
            `probes.generalisation_matrix` gives them.
        condition: which of the table's rows are drawn.

    Returns:
        The figure.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "train": ["cities", "cities", "capitals", "capitals"],
        ...     "test": ["cities", "capitals", "cities", "capitals"], "condition": "probe",
        ...     "estimate": [1.0, 0.7, 0.6, 0.9], "low": 0.5, "high": 1.0})
        >>> figure = figures.generalisation_heatmap(table)
        >>> [note.text for note in figure.layout.annotations if note.text.isdigit()]
        ['100', '70', '60', '90']
    """
    rows = table[table["condition"].astype(str) == condition]
    names = list(dict.fromkeys(rows["test"].astype(str)))
    wide = {
        column: rows.pivot(index="train", columns="test", values=column).loc[names, names]
        for column in ("estimate", "low", "high")
    }
    figure = panels(
        [[""]],
        title="Trained on rows, tested on columns",
        x="",
        y=[""],
        entries=[],
        width=max(SINGLE, min(DOUBLE, 120 + 46 * len(names))),
        row_height=max(120, 26 * len(names)),
    )
    hover = [
        [
            f"{train} → {test}: {wide['estimate'].loc[train, test]:.2f} "
            f"[{wide['low'].loc[train, test]:.2f}, {wide['high'].loc[train, test]:.2f}]; above chance"
            for test in names
        ]
        for train in names
    ]
    heat(figure, wide["estimate"] - 0.5, unit="accuracy − ½", hover=hover, limit=0.5)
    shares = wide["estimate"].to_numpy(dtype=float)
    for i in range(len(names)):
        for j in range(len(names)):
            value = shares[i, j]
            figure.add_annotation(
                x=j,
                y=i,
                text=f"{100 * value:.0f}",
                showarrow=False,
                font={"size": 9, "color": "white" if abs(value - 0.5) > 0.3 else BLACK},
            )
    figure.update_xaxes({**labelled(names), "tickangle": -40, "automargin": True})
    figure.update_yaxes({**labelled(names), "range": [len(names) - 0.5, -0.5]})
    figure.update_layout(margin_l=room(names), margin_r=58)
    return figure
