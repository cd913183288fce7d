"""Figures of many things in order: heads by their effect, and comparisons beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import BLUE, DOUBLE, GREY, SINGLE, VERMILLION, error_bar, panels, rule
from interp.figures.text import kind_of, labelled, numbers, place, plain, room, shorten

#: The columns that tell heads of one table apart, and how their values are said.
_TOLD = {"model": str, "metric": str, "kind": kind_of, "position": "position {}".format, "span": place}

#: Numbers of a comparison that a forest plot shows, and what they are called.
MEASURES = {
    "share_lower": "share lower",
    "sufficiency": "sufficiency",
    "retention": "retention",
    "persistence": "persistence",
}


@drawn
def head_ranking(table: pd.DataFrame, *, most: int = 15) -> Figure:
    """The heads with the largest effects, in order, with their intervals.

    Args:
        table: layer, head and estimate, and where known low, high and unit, one row for each head: of
            `interp.figures.tables.head_effects`, or of `patching.recovery` on a grid of heads.
        most: how many heads are drawn, those with the largest effect in either direction.

    Returns:
        The figure; effects below zero are of another colour and marker.

    Raises:
        ValueError: for a table without heads.

    Example:
        >>> import interp, patching
        >>> from interp import figures
        >>> model = interp.load_model("organism-base")
        >>> facts = interp.load_facts("world").subset([1, 2])
        >>> pairs = interp.Contrast.from_text(
        ...     model, facts.prompts(0)[:1], facts.prompts(0)[1:], facts.answers[:1], facts.answers[1:])
        >>> heads = interp.every_head(interp.Kind.Z, model.n_layers, model.n_heads)
        >>> grid = patching.patch_sites(
        ...     model, pairs, heads, interp.logit_difference(pairs), positions="all")
        >>> figure = figures.head_ranking(patching.recovery(grid), most=5)
        >>> len(figure.layout.yaxis.ticktext)
        5
    """
    if not {"layer", "head", "estimate"} <= set(table) or not table["head"].notna().any():
        raise ValueError(
            f"a ranking needs the columns layer, head and estimate; got {', '.join(map(str, table))}; "
            "give figures.tables.head_effects(evidence) or patching.recovery(grid of heads)"
        )
    heads = table[table["head"].notna() & table["estimate"].notna()]
    largest = heads["estimate"].abs().sort_values(ascending=False, kind="stable").index[:most]
    heads = heads.loc[largest].sort_values("estimate", ascending=False, kind="stable")
    told = [name for name in _TOLD if name in heads and heads[name].nunique() > 1]
    labels = [
        f"layer {int(row['layer'])}, head {int(row['head'])}"
        + "".join(f", {_TOLD[name](row[name])}" for name in told)
        for row in heads.to_dict("records")
    ]
    units = heads["unit"].dropna().astype(str).unique() if "unit" in heads else ["recovery"]
    figure = panels(
        [[""]],
        title="Heads by their effect",
        x="effect"
        if len(units) != 1
        else str(units[0])
        if units[0] == "recovery"
        else f"effect ({units[0]})",
        y=[""],
        row_height=max(60, 16 * len(labels)),
        left=room(labels),
        width=SINGLE,
    )
    rule(figure, x=0.0)
    bounds = [
        heads[name] if name in heads else heads["estimate"] * float("nan") for name in ("low", "high")
    ]
    for name, colour, symbol, keep in (
        ("raises", VERMILLION, "circle", (heads["estimate"] >= 0).to_numpy()),
        ("lowers", BLUE, "square", (heads["estimate"] < 0).to_numpy()),
    ):
        part = heads[keep]
        if part.empty:
            continue
        ends = [bound[keep].astype(float) for bound in bounds]
        figure.add_scatter(
            x=numbers(part["estimate"]),
            y=[i for i, kept in enumerate(keep) if kept],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 6, "symbol": symbol},
            error_x=error_bar(part["estimate"].astype(float), *ends, colour=colour, cap=0),
            customdata=[plain(labels[i]) for i, kept in enumerate(keep) if kept],
            hovertemplate="%{customdata}: %{x:.3g}<extra></extra>",
            row=1,
            col=1,
        )
    figure.update_yaxes({**labelled(labels, most=200), "range": [len(labels) - 0.4, -0.6]})
    return figure


@drawn
def forest(table: pd.DataFrame, *, measures: Sequence[str] = tuple(MEASURES)) -> Figure:
    """Several comparisons beside each other: one row each, one panel for each number.

    Args:
        table: run and, for each measure, columns NAME, NAME_low, NAME_high, NAME_floor and
            NAME_ceiling, as `studies.summary` gives them.
        measures: which numbers are shown, in order.

    Returns:
        The figure: estimates with intervals; open marks are floor and ceiling.

    Raises:
        ValueError: for a table without rows or without one of the measures.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> row = {"run": "evasive", "sufficiency": 0.9, "sufficiency_low": 0.8,
        ...        "sufficiency_high": 1.0, "sufficiency_floor": 0.0, "sufficiency_ceiling": 1.0}
        >>> figure = figures.forest(pd.DataFrame([row]), measures=["sufficiency"])
        >>> list(figure.layout.yaxis.ticktext)
        ['evasive']
    """
    missing = [name for name in ("run", *measures) if name not in table]
    if missing or table.empty or not measures:
        raise ValueError(
            f"a forest plot needs a row for each run and the columns run, {', '.join(measures)}; got "
            f"{len(table)} rows without {missing}; give studies.summary([...])"
        )
    labels = [shorten(str(run), 44) for run in table["run"]]
    figure = panels(
        [[MEASURES.get(name, name.replace("_", " ")) for name in measures]],
        title="Comparisons",
        x="",
        y=[""],
        row_height=max(60, 18 * len(labels)),
        entries=["estimate", "floor", "ceiling"],
        left=room(labels),
        width=DOUBLE,
    )
    for j, measure in enumerate(measures, start=1):
        _forest_panel(figure, table, measure, j)
    figure.update_yaxes({**labelled(labels, most=200), "range": [len(labels) - 0.4, -0.6]})
    figure.update_yaxes(showticklabels=True, col=1)
    return figure


def _forest_panel(figure: Figure, table: pd.DataFrame, measure: str, panel: int) -> None:
    """Draw one number of every comparison, with floor and ceiling where they are known."""
    columns = [measure, *(f"{measure}_{end}" for end in ("low", "high", "floor", "ceiling"))]
    value, low, high, floor, ceiling = (
        table.reindex(columns=columns)[c].astype(float) for c in columns
    )
    rows = list(range(len(table)))
    for name, ends, colour, symbol in (
        ("floor", floor, GREY, "triangle-right-open"),
        ("ceiling", ceiling, GREY, "triangle-left-open"),
        ("estimate", value, BLUE, "circle"),
    ):
        figure.add_scatter(
            x=numbers(ends),
            y=rows,
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=panel == 1,
            marker={"color": colour, "size": 6, "symbol": symbol},
            error_x=error_bar(value, low, high, colour=colour, cap=0) if name == "estimate" else None,
            hovertemplate=f"{name}: %{{x:.3g}}<extra></extra>",
            row=1,
            col=panel,
        )
