"""Where heads attend, with the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from interp.activations.values import Activations
from interp.figures.figure import Figure, drawn
from interp.figures.style import heat, panels
from interp.figures.text import labelled, plain, room, shorten, visible
from interp.sites import Kind, Site

_SHADE = "#084C7A"
MOST_HEADS, ACROSS, LETTERS = 12, 4, 12


def attention_table(patterns: Mapping[Site, Activations], *, example: int = 0) -> pd.DataFrame:
    """The attention of some heads on one prompt as a table.

    Args:
        patterns: of `interp.collect` at sites of `Kind.PATTERN` with a head, positions="all".
        example: number of the prompt.

    Returns:
        A row for each cell: head (a3.h1), query, key (positions of real tokens, from 0), weight.

    Raises:
        ValueError: for other sites or positions, or a prompt that was not read.

    Example:
        >>> import interp
        >>> from interp import figures
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> site = interp.Site(interp.Kind.PATTERN, 1, 2)
        >>> patterns = interp.collect(model, facts.prompts(0)[:1], site, positions="all")
        >>> table = figures.attention_table(patterns)
        >>> table["head"].unique().tolist(), bool((table.groupby("query")["weight"].sum() > 0.99).all())
        (['a1.h2'], True)
    """
    rows = []
    for site, read in patterns.items():
        if site.kind is not Kind.PATTERN or site.head is None or read.position != "all":
            raise ValueError(
                f"attention is of single heads at all positions; got {site!r} at {read.position!r}; "
                'give interp.collect(model, prompt, Site("pattern", layer, head), positions="all")'
            )
        if not 0 <= example < len(read):
            raise ValueError(f"example got {example}; expected 0 to {len(read) - 1}, of those read")
        grid = read.values[example].float().cpu()
        real = grid.isfinite().any(1).nonzero()[:, 0].tolist()
        for i, query in enumerate(real):
            for j, key in enumerate(real[: i + 1]):
                weight = float(grid[query, key])
                rows.append((f"a{site.layer}.h{site.head}", i, j, weight))
    return pd.DataFrame(rows, columns=["head", "query", "key", "weight"])


@drawn
def attention_patterns(
    table: pd.DataFrame, *, tokens: Sequence[str], title: str = "Attention"
) -> Figure:
    """Attention patterns of some heads on one prompt, with its tokens.

    Args:
        table: head (its name), query and key (positions) and weight, a row for each cell, as
            `attention_table` gives it.
        tokens: of the prompt, as text.
        title: of the figure.

    Returns:
        The figure, a panel for each head: the token that reads downwards, the one that is read across.

    Raises:
        ValueError: without rows, for more than 12 heads, or positions beyond the tokens.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"head": "a0.h1", "query": [0, 1, 1], "key": [0, 0, 1],
        ...                       "weight": [1.0, 0.3, 0.7]})
        >>> figure = figures.attention_patterns(table, tokens=["A", " cat"])
        >>> list(figure.layout.yaxis.ticktext)
        ['A', '·cat']
    """
    missing = [name for name in ("head", "query", "key", "weight") if name not in table]
    heads = [] if missing else list(dict.fromkeys(table["head"]))
    if missing or not 0 < len(heads) <= MOST_HEADS:
        raise ValueError(
            f"attention needs head, query, key and weight of 1 to {MOST_HEADS} heads; got {len(heads)} "
            f"heads, without {missing}; choose some"
        )
    n = len(tokens)
    if int(table[["query", "key"]].to_numpy().max()) >= n:
        raise ValueError(f"attention is of more positions than the {n} tokens; give all tokens")
    labels = [shorten(visible(token), LETTERS) for token in tokens]
    across = min(ACROSS, len(heads))
    rows = [heads[i : i + across] for i in range(0, len(heads), across)]
    figure = panels(
        [[*row, *[""] * (across - len(row))] for row in rows],
        title=title,
        x="token read",
        y=["token that reads"] * len(rows),
        row_height=max(120, 13 * n),
        left=room(labels) + 14,
    )
    for i, row in enumerate(rows, start=1):
        for j, head in enumerate(row, start=1):
            part = table[table["head"] == head]
            grid = part.pivot(index="query", columns="key", values="weight")
            grid = grid.reindex(range(n), columns=range(n))
            hover = [[f"{plain(a)} reads {plain(b)}" for b in labels] for a in labels]
            last = head == heads[-1]
            heat(figure, grid, unit="attention", hover=hover, at=(i, j), bar=last, shade=_SHADE)
            figure.update_xaxes(labelled(labels, most=40), tickangle=-60, row=i, col=j)
            figure.update_yaxes(labelled(labels, most=40), autorange="reversed", row=i, col=j)
    figure.update_layout(margin_r=64, margin_b=90)
    return figure
