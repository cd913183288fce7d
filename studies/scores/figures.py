"""Figures of a scorecard: who was called what."""

from __future__ import annotations

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import BLACK, DOUBLE, SINGLE, heat, panels
from interp.figures.text import labelled, room

_SHADE = "#084C7A"
#: How dark a cell is from which on its text is white.
DARK = 0.6


@drawn
def confusion_heatmap(table: pd.DataFrame, *, word: str) -> Figure:
    """Known words (rows) against those of the verdict (columns): counts, on their share of the row.

    Args:
        table: as `confusion` gives it.
        word: that of `confusion`, for the title.
    """
    shares = table.div(table.sum(axis=1), axis=0)
    known, said = list(map(str, table.index)), list(map(str, table.columns))
    figure = panels(
        [[""]],
        title=f"Known {word} (rows), the verdict's (columns)",
        x="",
        y=[""],
        entries=[],
        width=max(SINGLE, min(DOUBLE, 140 + 56 * len(said))),
        row_height=max(120, 26 * len(known)),
    )
    hover = [[f"{truth} called {called}, share" for called in said] for truth in known]
    heat(figure, shares, unit="share", hover=hover, shade=_SHADE)
    dark = shares.to_numpy(dtype=float) > DARK
    for i, j in ((i, j) for i in range(len(known)) for j in range(len(said))):
        figure.add_annotation(
            x=j,
            y=i,
            text=f"{table.iloc[i, j]}",
            showarrow=False,
            font={"size": 9, "color": "white" if dark[i, j] else BLACK},
        )
    figure.update_xaxes({**labelled(said), "tickangle": -40, "automargin": True})
    figure.update_yaxes({**labelled(known), "range": [len(known) - 0.5, -0.5]})
    figure.update_layout(margin_l=room(known), margin_r=58)
    return figure
