"""The logit lens drawn: boundaries upwards, positions across, the likeliest token in each cell."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.figures.figure import Figure
from interp.figures.style import BOUNDARY, heat, panels
from interp.figures.text import labelled, plain, shorten, visible
from interp.lens.logit_lens import LogitLens

ROW_HEIGHT = 18
#: Letters of a token that a cell shows, and columns beyond which cells show none.
LETTERS, MOST_COLUMNS = 9, 14


def logit_lens(lens: LogitLens, *, example: int = 0) -> Figure:
    """What the unembedding reads at every boundary of one prompt; a pair's models stand side by side.

    The colour is the probability of the cell's token; the last boundary is the model's own output.

    Args:
        lens: of `interp.logit_lens`.
        example: number of the prompt.

    Returns:
        The figure: boundaries upwards, the positions that were read across.

    Raises:
        ValueError: for a prompt that was not read.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> lens = interp.logit_lens(model, facts.prompts(0)[0], positions="each")
        >>> figure = interp.figures.logit_lens(lens)
        >>> len(figure.data[0].z) == model.n_layers + 1
        True
    """
    words, chances = lens.grid(example=example), lens.grid(example=example, column="probability")
    models = list(dict.fromkeys(words.columns.get_level_values(0)))
    figure = panels(
        [models if len(models) > 1 else [""]],
        title=f"Logit lens: {shorten(lens.texts[example], 70)}",
        x="position",
        y=[BOUNDARY],
        row_height=max(110, ROW_HEIGHT * len(words)),
    )
    for j, model in enumerate(models, start=1):
        tokens, chance = words[model], chances[model]
        names = [visible(str(name).split(" ", 1)[1]) for name in tokens.columns]
        hover = [
            [_told(word, name, k) for word, name in zip(row, names, strict=True)]
            for k, row in zip(tokens.index, tokens.to_numpy(), strict=True)
        ]
        last = j == len(models)
        heat(figure, chance, unit="probability", hover=hover, at=(1, j), bar=last, shade=_SHADE)
        if len(names) * len(models) <= MOST_COLUMNS:
            cells = [[plain(shorten(visible(w), LETTERS)) for w in row] for row in tokens.to_numpy()]
            figure.data[-1].update(text=cells, texttemplate="%{text}", textfont={"size": 9})
        figure.update_xaxes(labelled([shorten(name, 12) for name in names], most=16), row=1, col=j)
        figure.update_yaxes(labelled([str(k) for k in tokens.index], most=32), row=1, col=j)
    figure.update_layout(margin_r=64)
    drawn = lens.table[(lens.table["example"] == example) & (lens.table["rank"] == 1)]
    return figure.drawn_from("logit_lens", drawn.reset_index(drop=True), example=example)


#: One hue from white, so that a cell's token stays legible on it, in grey as well.
_SHADE = "#7FB2D6"


def _told(word: Any, name: str, boundary: Any) -> str:
    """What a cell says when it is pointed at."""
    shown = "not read" if pd.isna(word) else f"“{visible(word)}”"
    return f"{plain(shown)} at {plain(name)}, boundary {boundary}"
