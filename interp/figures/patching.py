"""Figures of patched pairs: handover curves, maps of many pairs, and the tokens of one.

Each takes a table (`interp.figures.patch_tables`). The grid that takes evidence as it stands is
`interp.figures.patch_grid`.
"""

from __future__ import annotations

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.patch_tables import token_labels
from interp.figures.style import (
    BLACK,
    BLUE,
    BOUNDARY,
    GREEN,
    SINGLE,
    VERMILLION,
    curve,
    heat,
    mark,
    panels,
    rule,
)
from interp.figures.text import labelled, order, place, plain, room, shorten

#: Pixels that one row of a map takes.
ROW_HEIGHT = 19


@drawn
def handover_curves(table: pd.DataFrame, *, handover: int | float | None) -> Figure:
    """Recovery of the clean answer when one span of the clean state is restored in the base.

    Args:
        table: span, layer, estimate, low, high (0 corrupted, 1 clean).
        handover: the handover, marked where it is known.

    Returns:
        The figure, a curve with its interval for each span.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "span": ["subject", "subject", "last", "last"], "layer": [0, 1, 0, 1],
        ...     "estimate": [1.0, 0.1, 0.0, 0.9], "low": [0.9, 0.0, 0.0, 0.8],
        ...     "high": [1.0, 0.2, 0.1, 1.0]})
        >>> figure = figures.handover_curves(table, handover=1)
        >>> sorted(trace.name for trace in figure.data if trace.showlegend)
        ['last token', 'subject tokens']
    """
    styles = {"last": (VERMILLION, "solid"), "subject": (BLUE, "solid")}
    spans = order(table["span"])
    figure = panels(
        [[""]],
        title="Handover from subject to last token",
        x=BOUNDARY,
        y=["recovery"],
        entries=[place(span) for span in spans],
        width=SINGLE,
        row_height=190,
    )
    for value, dash in ((0.0, "solid"), (0.5, "dot"), (1.0, "solid")):
        rule(figure, y=value, dash=dash)
    for span in spans:
        colour, dash = styles.get(span, (GREEN, "dash"))
        curve(figure, table[table["span"] == span], name=place(span), colour=colour, dash=dash)
    mark(figure, handover, "κ")
    return figure


@drawn
def handover_heatmap(table: pd.DataFrame, *, handover: int | float | None) -> Figure:
    """Recovery of each clean/corrupted pair by boundary, one panel per span.

    Args:
        table: span, pair, layer, value; pairs are drawn in the order in which they come.
        handover: the handover, marked where it is known.

    Returns:
        The figure, a row of cells for each pair in the panel of each span.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "span": "last", "pair": ["Rome ← Paris", "Rome ← Paris"], "layer": [0, 1],
        ...     "value": [0.0, 0.9]})
        >>> figure = figures.handover_heatmap(table, handover=1)
        >>> [list(row) for row in figure.data[0].z]
        [[0.0, 0.9]]
    """
    spans, pairs = order(table["span"]), list(dict.fromkeys(table["pair"]))
    figure = panels(
        [[place(span) for span in spans]],
        title="Handover, pair by pair",
        x=BOUNDARY,
        y=[""],
        row_height=max(120, min(520, 11 * len(pairs))),
    )
    for j, span in enumerate(spans, start=1):
        part = table[table["span"] == span].drop_duplicates(["pair", "layer"])
        grid = part.pivot(index="pair", columns="layer", values="value").reindex(pairs)
        hover = [[f"{plain(p)}, boundary {k}" for k in grid.columns] for p in grid.index]
        heat(figure, grid, unit="recovery", hover=hover, at=(1, j), bar=j == len(spans))
        figure.update_xaxes(labelled([str(k) for k in grid.columns], most=9), row=1, col=j)
        if handover is not None and handover in list(grid.columns):
            mark_at = list(grid.columns).index(handover) - 0.5
            figure.add_vline(x=mark_at, line={"color": BLACK, "width": 1, "dash": "dot"}, row=1, col=j)
    labels = [shorten(pair, 32) for pair in pairs]
    figure.update_yaxes({**labelled(labels, most=48), "tickfont": {"size": 9}}, row=1, col=1)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(margin_l=room(labels), margin_r=58)
    return figure


@drawn
def patch_heatmap(table: pd.DataFrame, *, pair: str | None = None) -> Figure:
    """Recovery by layer and token when the clean state is written into the corrupted run.

    Args:
        table: layer, position, clean, corrupted, value, and where known model, kind and pair, of one
            example of `interp.figures.patch_tables.patch_grid`. The tokens are labels and are shown
            as text.
        pair: name of the pair in the title; that of the table by default.

    Returns:
        The figure, a row of cells for each token.

    Raises:
        ValueError: for a table without rows, or of several examples.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({
        ...     "layer": [0, 0, 1, 1], "position": [0, 1, 0, 1], "value": [1.0, 0.0, 0.1, 0.9],
        ...     "clean": [" Rome", " is"] * 2, "corrupted": [" Oslo", " is"] * 2})
        >>> figure = figures.patch_heatmap(table, pair="Rome ← Oslo")
        >>> [list(row) for row in figure.data[0].z]
        [[1.0, 0.1], [0.0, 0.9]]
    """
    if table.empty or table.duplicated(["layer", "position"]).any():
        held = table["example"].nunique() if "example" in table else "several"
        raise ValueError(
            f"a heatmap shows one example, got {len(table)} rows of {held}; expected one example's, "
            "such as grid[grid['example'] == 0]"
        )
    names = {name: str(table[name].iloc[0]) for name in ("model", "kind", "pair") if name in table}
    kind = names.get("kind", "resid_pre")
    patched = f"Patching the {names['model']}" if "model" in names else "Patching"
    tokens = table.drop_duplicates("position").sort_values("position")
    labels = token_labels(tokens["clean"], tokens["corrupted"])
    grid = table.pivot(index="position", columns="layer", values="value").sort_index()
    figure = panels(
        [[""]],
        title=f"{patched}: {pair or names.get('pair', 'one pair')}",
        x="layer (block input)" if kind == "resid_pre" else f"layer ({kind})",
        y=["token, clean | corrupted"],
        row_height=max(90, ROW_HEIGHT * len(labels)),
    )
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
