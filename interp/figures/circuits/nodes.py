"""Heads and MLPs of two models beside each other, block by block."""

from __future__ import annotations

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import heat, panels
from interp.figures.text import labelled, room


@drawn
def node_heatmap(table: pd.DataFrame, *, title: str = "Nodes") -> Figure:
    """Where two models' heads and MLPs differ: the difference of their scores, block by block.

    Args:
        table: node (a2.h0, m3, input) and difference, tuned less base, a row for each node, as
            `CircuitDiff.nodes` of `patching.circuits` gives them. The input is left out.
        title: of the figure.

    Returns:
        The figure: blocks across, heads and the MLP upwards.

    Raises:
        ValueError: for a table without heads and MLPs.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"node": ["a0.h0", "a0.h1", "m0"], "difference": [0.1, -0.2, 0.4]})
        >>> list(figures.node_heatmap(table).layout.yaxis.ticktext)
        ['h0', 'h1', 'MLP']
    """
    missing = [name for name in ("node", "difference") if name not in table]
    parts = None if missing else table["node"].str.extract(r"^(?:a(\d+)\.h(\d+)|m(\d+))$")
    known = None if parts is None else parts.notna().any(axis=1)
    if parts is None or known is None or not known.any():
        raise ValueError(
            f"a map of nodes needs heads and MLPs with a difference; got {len(table)} rows without "
            f"{missing or 'any'}; give the nodes of patching.circuits.diff"
        )
    named = table[known]
    block = parts.loc[known, 0].fillna(parts.loc[known, 2]).astype(int)
    head = parts.loc[known, 1].astype(float)
    last = 0 if head.isna().all() else int(head.max()) + 1
    grid = pd.DataFrame(
        {"block": block, "row": head.fillna(last).astype(int), "value": named["difference"]}
    ).pivot(index="row", columns="block", values="value")
    rows = ["MLP" if row == last else f"h{row}" for row in grid.index]
    columns = [str(column) for column in grid.columns]
    figure = panels(
        [[""]], title=title, x="block", y=["head"], row_height=max(120, 14 * len(rows)),
        left=room(rows) + 14,
    )  # fmt: skip
    hover = [[f"{row} of block {column}" for column in columns] for row in rows]
    heat(figure, grid, unit="difference", hover=hover, limit=float(grid.abs().max().max()) or 1.0)
    figure.update_xaxes(labelled(columns, most=40))
    figure.update_yaxes(labelled(rows, most=48))
    figure.update_layout(margin_r=64)
    return figure
