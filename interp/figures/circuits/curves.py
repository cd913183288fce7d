"""Faithfulness of circuits by their size, and screens beside exact scores."""

from __future__ import annotations

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import BLUE, GREY, ORANGE, SINGLE, VERMILLION, curve, panels, rule
from interp.figures.text import labelled, numbers, plain

#: Pixels in which ten sizes stand beside each other.
_WIDE = 440

_RANKINGS = {"signed": (BLUE, "solid"), "absolute": (VERMILLION, "dash")}


@drawn
def faithfulness_curves(table: pd.DataFrame, *, title: str = "Faithfulness") -> Figure:
    """Faithfulness of circuits by their size: 0 is the graph without edges, 1 the model.

    Args:
        table: condition ("signed", "absolute"), share (of the edges), estimate, low, high, as
            `patching.circuits.faithfulness` gives them; where there is a column method, a panel each.
        title: of the figure.

    Returns:
        The figure: nominal sizes across at equal distances, one curve for each ranking.

    Raises:
        ValueError: for a table without such rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"condition": "signed", "share": [0.01, 0.1, 1.0],
        ...                       "estimate": [0.2, 0.7, 1.0], "low": [0.1, 0.6, 1.0],
        ...                       "high": [0.3, 0.8, 1.0]})
        >>> list(figures.faithfulness_curves(table).layout.xaxis.ticktext)
        ['0.01', '0.1', '1']
    """
    missing = [name for name in ("condition", "share", "estimate") if name not in table]
    kept = table if missing else table[table["condition"].isin(list(_RANKINGS))]
    if missing or kept.empty:
        raise ValueError(
            f"faithfulness needs rows of a ranking at several sizes; got {len(kept)} without {missing}"
            "; give patching.circuits.faithfulness(evaluate(...))"
        )
    methods = list(kept["method"].unique()) if "method" in kept else [""]
    sizes = sorted(kept["share"].unique())
    figure = panels(
        [methods], title=title, x="share of all edges", y=["f"], entries=list(_RANKINGS),
        row_height=190, width=_WIDE if len(methods) == 1 else 2 * SINGLE,
    )  # fmt: skip
    for j, method in enumerate(methods, start=1):
        for level in (0.0, 1.0):
            rule(figure, y=level, at=(1, j))
        part = kept[kept["method"] == method] if "method" in kept else kept
        for name, (colour, dash) in _RANKINGS.items():
            rows = part[part["condition"] == name]
            if rows.empty:
                continue
            rows = rows.assign(place=rows["share"].map(sizes.index))
            rows = rows.reindex(columns=rows.columns.union(["low", "high"], sort=False))
            curve(
                figure, rows, name=name, colour=colour, dash=dash, at=(1, j), legend=j == 1, x="place"
            )
        figure.update_xaxes(labelled([f"{size:g}" for size in sizes]), row=1, col=j)
    return figure


@drawn
def score_scatter(table: pd.DataFrame, *, screen: str = "screen", unit: str = "") -> Figure:
    """Scores of a screen against the exact ones of the same edges.

    Args:
        table: edge, screen and exact, and where known kind ("highest" of the screen or "sampled" from
            the others), a row for each edge.
        screen: name of the screen.
        unit: of the scores.

    Returns:
        The figure; on the grey line the screen is exact.

    Raises:
        ValueError: for a table without such rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"edge": ["input->m0"], "screen": [0.5], "exact": [0.4]})
        >>> figures.score_scatter(table, screen="eap").layout.xaxis.title.text
        'exact'
    """
    missing = [name for name in ("screen", "exact") if name not in table]
    known = table if missing else table[table["exact"].notna() & table["screen"].notna()]
    if missing or known.empty:
        raise ValueError(
            f"a scatter needs edges with a screen's and an exact score; got {len(known)} without "
            f"{missing}; give both"
        )
    kinds = known["kind"].astype(str) if "kind" in known else pd.Series("edges", index=known.index)
    names = list(dict.fromkeys(kinds))
    told = f" ({unit})" if unit else ""
    figure = panels(
        [[""]], title=f"{screen} against exact scores", x=f"exact{told}", y=[f"{screen}{told}"],
        entries=names if len(names) > 1 else (), row_height=230, width=SINGLE,
    )  # fmt: skip
    both = known[["screen", "exact"]].to_numpy(float)
    ends = [float(both.min()), float(both.max())]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", hoverinfo="skip", showlegend=False, name="equal",
        line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=1,
    )  # fmt: skip
    for name, colour in zip(names, (BLUE, ORANGE, VERMILLION), strict=False):
        part = known[kinds == name]
        labels = part["edge"].map(plain).tolist() if "edge" in part else None
        figure.add_scatter(
            x=numbers(part["exact"]), y=numbers(part["screen"]), mode="markers", name=name,
            marker={"color": colour, "size": 5, "opacity": 0.6}, customdata=labels,
            hovertemplate="%{customdata}: %{y:.3g}, exact %{x:.3g}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    return figure
