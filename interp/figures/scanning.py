"""Figures of a scan: prompts and tokens by how far two models part, and the context beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SINGLE,
    SKY,
    VERMILLION,
    curve,
    error_bar,
    panels,
    rule,
)
from interp.figures.text import labelled, numbers, plain, room, shorten, visible

#: Colours of matrices, in the order in which they occur.
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)

#: Dashes beside them, so that grey print tells more curves than colours apart.
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

#: Letters of a prompt or token on an axis.
_PROMPT, _TOKEN = 28, 20


@drawn
def ranked_prompts(table: pd.DataFrame, *, most: int = 30) -> Figure:
    """The prompts on which two models part most, by the largest mean KL at one token.

    Args:
        table: prompt, score, kl_base, kl_tuned and changed, those that changed most first, as
            `studies.Scan.prompts` holds them.
        most: how many are drawn.

    Returns:
        The figure: filled marks are changes, open ones near ties and prompts answered alike.

    Raises:
        ValueError: for a table without rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"prompt": ["a", "b"], "score": [9.0, 0.1], "changed": [True, False],
        ...                       "kl_base": [4.0, 0.1], "kl_tuned": [5.0, 0.1]})
        >>> [trace.name for trace in figures.ranked_prompts(table).data]
        ['changed', 'near tie, or the same']
    """
    rows = _first(table, most, "a ranking of prompts")
    labels = [shorten(" ".join(str(text).split()), _PROMPT) for text in rows["prompt"]]
    figure = panels(
        [[""]],
        title="Prompts by how far the two models part",
        x="score: mean KL at one token (nats)",
        y=[""],
        row_height=_height(labels),
        entries=["changed", "near tie, or the same"],
        left=room(labels),
        width=SINGLE,
    )
    for name, colour, symbol, keep in (
        ("changed", VERMILLION, "circle", rows["changed"].astype(bool)),
        ("near tie, or the same", GREY, "circle-open", ~rows["changed"].astype(bool)),
    ):
        part = rows[keep]
        figure.add_scatter(
            x=numbers(part["score"]),
            y=[i for i, kept in enumerate(keep) if kept],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 7, "symbol": symbol},
            customdata=[
                f"{plain(text)}<br>KL along either continuation {a:.3g}, {b:.3g}"
                for text, a, b in zip(
                    part["prompt"].map(lambda text: shorten(str(text), 200)),
                    part["kl_base"],
                    part["kl_tuned"],
                    strict=True,
                )
            ],
            hovertemplate="%{customdata}<br>score %{x:.3g}<extra></extra>",
        )
    figure.update_xaxes({"rangemode": "tozero"})
    return _listed(figure, labels)


@drawn
def token_shifts(table: pd.DataFrame, *, most: int = 12) -> Figure:
    """Tokens that a tune promotes and suppresses, with their mean change of log p.

    Args:
        table: kind (promoted, suppressed), token, mean, low and high, as `studies.Scan.tokens` holds
            them, the largest part of the divergence first.
        most: how many of either kind are drawn.

    Returns:
        The figure: one panel of each kind.

    Raises:
        ValueError: for a table without rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"kind": "promoted", "token": [" unknown"], "mean": [7.0],
        ...                       "low": [6.0], "high": [8.0]})
        >>> len(figures.token_shifts(table).layout.yaxis.ticktext)
        1
    """
    _first(table, most, "a figure of tokens")
    kinds = [kind for kind in ("promoted", "suppressed") if (table["kind"] == kind).any()]
    parts = [table[table["kind"] == kind].head(most) for kind in kinds]
    labels = [[shorten(visible(token), _TOKEN) for token in part["token"]] for part in parts]
    beside = room([text for texts in labels for text in texts])
    figure = panels(
        [[kind] for kind in kinds],
        title="Tokens promoted and suppressed",
        x="mean change of log p (nats)",
        y=[""] * len(kinds),
        row_height=max(_height(texts) for texts in labels),
        left=beside,
        width=SINGLE,
        shared_y=False,
    )
    for row, (kind, part, texts) in enumerate(zip(kinds, parts, labels, strict=True), start=1):
        colour, symbol = (VERMILLION, "circle") if kind == "promoted" else (BLUE, "square")
        values, low, high = (part[name].astype(float) for name in ("mean", "low", "high"))
        rule(figure, x=0.0, at=(row, 1))
        figure.add_scatter(
            x=numbers(values),
            y=list(range(len(part))),
            mode="markers",
            name=kind,
            showlegend=False,
            marker={"color": colour, "size": 6, "symbol": symbol},
            error_x=error_bar(values, low, high, colour=colour, cap=0),
            customdata=[plain(text) for text in texts],
            hovertemplate="%{customdata}: %{x:.3g}<extra></extra>",
            row=row,
            col=1,
        )
        figure.update_yaxes({**labelled(texts, most=200), "range": [len(texts) - 0.4, -0.6]}, row=row)
    return figure


@drawn
def scale_sweep(table: pd.DataFrame) -> Figure:
    """The contrast at held-out sites when the change of the weights is scaled.

    Args:
        table: scale, mean, low and high (the lowest and the highest prompt), as `studies.Scan.scales`
            holds them.

    Returns:
        The figure: the mean, and a band from the lowest to the highest prompt.

    Raises:
        ValueError: for a table without rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"scale": [0.0, 1.0], "mean": [5.0, -6.0], "low": [4.0, -7.0],
        ...                       "high": [6.0, -5.0]})
        >>> figures.scale_sweep(table).data[-1].y
        (5.0, -6.0)
    """
    rows = _first(table, len(table), "a sweep of scales").rename(columns={"mean": "estimate"})
    figure = panels(
        [[""]],
        title="The change of the weights, scaled",
        x="s: 0 the base, 1 the tuned model",
        y=["base's − tuned's token (logits)"],
        width=SINGLE,
    )
    rule(figure, y=0.0)
    for end in (0.0, 1.0):
        rule(figure, x=end, dash="dot")
    curve(figure, rows, name="mean over prompts", colour=BLUE, x="scale", legend=False)
    figure.update_traces(mode="lines+markers", selector={"name": "mean over prompts"})
    return figure


@drawn
def weight_spectrum(table: pd.DataFrame) -> Figure:
    """Size and effective rank of the change of every matrix, by block.

    Args:
        table: layer, matrix, relative (‖ΔW‖ / ‖W‖) and effective_rank, as `studies.Scan.weights` holds
            them.

    Returns:
        The figure: two panels, one curve for each matrix.

    Raises:
        ValueError: for a table without rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"layer": [4, 5], "matrix": "q", "relative": [0.1, 0.2],
        ...                       "effective_rank": [7.0, 8.0], "top": 0.3})
        >>> [trace.y for trace in figures.weight_spectrum(table).data]
        [(0.1, 0.2), (7.0, 8.0)]
    """
    rows = _first(table, len(table), "a spectrum of weights")
    names = list(dict.fromkeys(rows["matrix"].astype(str)))
    figure = panels(
        [["size of the change"], ["effective rank of the change"]],
        title="Change of the weights by block",
        x="block",
        y=["‖ΔW‖ / ‖W‖", "exp(entropy of σ²)"],
        row_height=130,
        entries=names,
        width=SINGLE,
        shared_y=False,
    )
    for i, name in enumerate(names):
        part = rows[rows["matrix"].astype(str) == name].assign(low=None, high=None)
        style: dict[str, Any] = {
            "colour": _COLOURS[i % len(_COLOURS)],
            "dash": _DASHES[i % len(_DASHES)],
        }
        for row, value in enumerate(("relative", "effective_rank"), start=1):
            values = part.rename(columns={value: "estimate"})
            curve(figure, values, name=name, at=(row, 1), legend=row == 1, width=1.4, **style)
    figure.update_yaxes({"rangemode": "tozero"})
    return figure


@drawn
def lens_dots(table: pd.DataFrame) -> Figure:
    """Tokens that the difference of activations is read as, beside random differences of its norm.

    Args:
        table: boundary, token, logit and random, as `studies.Scan.lens` holds them.

    Returns:
        The figure: a panel for each boundary; the dotted line is what random differences reach.

    Raises:
        ValueError: for a table without rows.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"boundary": 6, "token": ["a", "b"], "logit": [3.0, 1.0],
        ...                       "random": 2.0})
        >>> figures.lens_dots(table).data[0].x
        (3.0, 1.0)
    """
    _first(table, len(table), "a lens")
    boundaries = list(dict.fromkeys(int(k) for k in table["boundary"]))
    parts = [table[table["boundary"] == k] for k in boundaries]
    labels = [[shorten(visible(token), _TOKEN) for token in part["token"]] for part in parts]
    figure = panels(
        [[f"boundary {k}"] for k in boundaries],
        title="Activations on unrelated text",
        x="logit through the tuned unembedding",
        y=[""] * len(boundaries),
        row_height=max(_height(texts) for texts in labels),
        entries=["token", "largest logit of random differences"],
        left=room([text for texts in labels for text in texts]),
        width=SINGLE,
        shared_y=False,
    )
    for row, (part, texts) in enumerate(zip(parts, labels, strict=True), start=1):
        where = {"row": row, "col": 1}
        figure.add_scatter(
            x=numbers(part["logit"]),
            y=list(range(len(part))),
            mode="markers",
            name="token",
            showlegend=row == 1,
            marker={"color": BLUE, "size": 6},
            customdata=[plain(text) for text in texts],
            hovertemplate="%{customdata}: %{x:.3g}<extra></extra>",
            **where,
        )
        figure.add_scatter(
            x=[float(part["random"].iloc[0])] * 2,
            y=[-0.6, len(part) - 0.4],
            mode="lines",
            name="largest logit of random differences",
            showlegend=row == 1,
            line={"color": ORANGE, "dash": "dot", "width": 1.6},
            hovertemplate="random: %{x:.3g}<extra></extra>",
            **where,
        )
        figure.update_yaxes({**labelled(texts, most=200), "range": [len(texts) - 0.4, -0.6]}, row=row)
    return figure


def _first(table: pd.DataFrame, most: int, what: str) -> pd.DataFrame:
    """The first rows.

    Raises:
        ValueError: for a table without any.
    """
    if table.empty:
        raise ValueError(f"{what} needs rows, got an empty table; give one of a scan's tables")
    return table.head(most).reset_index(drop=True)


def _height(labels: Sequence[str]) -> int:
    return max(60, 16 * len(labels))


def _listed(figure: Figure, labels: Sequence[str]) -> Figure:
    """The figure with a text for each row, the first at the top."""
    figure.update_yaxes({**labelled(labels, most=200), "range": [len(labels) - 0.4, -0.6]})
    return figure
