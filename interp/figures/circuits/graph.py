"""A circuit as a layered graph, and as a map of what writes to what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.figures.figure import Figure, drawn
from interp.figures.style import BLACK, BLUE, VERMILLION, heat, panels
from interp.figures.text import labelled, plain, room

#: A node's name: input, logits, a2.h0 (a2.g0 for keys and values of a group), m3; <q> where it reads.
_NODE = re.compile(
    r"(?:a(?P<layer>\d+)\.(?P<part>[hg])(?P<head>\d+)(?:<(?P<slot>[qkv])>)?|m(?P<mlp>\d+))"
)

#: Where queries, keys and values enter a head, in widths of the figure.
_SLOTS = {"q": -0.013, "k": 0.0, "v": 0.013}

#: Widths of lines, by third of the size of their scores.
_WIDTHS = (0.7, 1.5, 2.8)

#: Colours of a positive and of a negative score.
_COLOURS = (VERMILLION, BLUE)

#: Rows or columns of a map beyond which a layer's heads are added up.
MOST_NODES = 48


@dataclass(frozen=True)
class _Edge:
    """One line of the graph.

    Attributes:
        sender: the node that it comes from.
        receiver: what it enters, such as a2.h0<q>.
        score: of the edge.
        core: whether it is in the core.
    """

    sender: str
    receiver: str
    score: float
    core: bool

    @property
    def node(self) -> str:
        """The node that it leads to."""
        return self.receiver.partition("<")[0]


@dataclass(frozen=True)
class _Layout:
    """Where nodes stand: a row for each layer's heads and one for its MLP, heads by their number.

    Attributes:
        layers: how many rows of heads there are.
        heads: how many columns of heads; the MLPs stand to their right.
    """

    layers: int
    heads: int

    @classmethod
    def of(cls, names: Sequence[str]) -> _Layout:
        """The places that these nodes need."""
        found = [match for name in names if (match := _NODE.fullmatch(name))]
        layers = [int(match["layer"] or match["mlp"] or 0) for match in found]
        heads = [int(match["head"]) for match in found if match["head"]]
        return cls(1 + max(layers, default=0), 1 + max(heads, default=0))

    def place(self, name: str) -> tuple[float, float]:
        """Where a node stands."""
        found = _NODE.fullmatch(name)
        if found is None:
            return (self.heads - 1) / 2, 0.0 if name == "input" else 2.0 * self.layers + 1
        if found["mlp"]:
            return self.heads + 0.25, 2.0 * int(found["mlp"]) + 2
        return float(found["head"]), 2.0 * int(found["layer"]) + 1

    def end(self, receiver: str) -> tuple[float, float]:
        """Where an edge into a node ends: a head's queries, keys and values beside each other."""
        name, _, slot = receiver.partition("<")
        x, y = self.place(name)
        return x + _SLOTS.get(slot[:1], 0.0) * (self.heads + 1.4), y - 0.12

    def axes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ticks of both axes: numbers of heads, and what stands in each row."""
        rows = ["input", *(f"{kind}{i}" for i in range(self.layers) for kind in "am"), "logits"]
        columns = [*map(str, range(self.heads)), "MLP"]
        across = {**labelled(columns, most=40), "showgrid": False, "range": [-0.7, self.heads + 0.7]}
        if len(columns) <= 40:
            across["tickvals"] = [*range(self.heads), self.heads + 0.25]
        return across, {**labelled(rows, most=64), "range": [-0.6, len(rows) - 0.4]}


#: What the two colours of edges mean: of scores, and of their differences.
_SCORED = ("lowers the metric if ablated", "raises it")
_COMPARED = ("scores higher in the tuned model", "lower")


@drawn
def circuit_graph(
    table: pd.DataFrame,
    *,
    title: str = "Circuit",
    heads_per_group: int = 1,
    compared: bool = False,
) -> Figure:
    """A circuit as a layered graph: the input below, the logits above, heads and MLPs between.

    Lines are edges: vermillion where ablating them lowers the metric (a positive score), blue where it
    raises it, as in `edge_heatmap`, or of two models where the score is higher and lower in the tuned
    one; thicker in the upper thirds of the scores' size, dotted where an
    edge is not in the core. They enter a head at its left (queries), middle (keys) or right (values).

    Args:
        table: a row for each edge: sender, receivers, and where known score and word ("core",
            "contingent"), as `Discovery.table` of `patching.circuits` gives them.
        title: of the figure.
        heads_per_group: how many heads share keys and values; an edge into a group (a2.g0) is drawn to
            each of its heads that is in the circuit.
        compared: whether scores are differences, tuned less base.

    Returns:
        The figure.

    Raises:
        ValueError: for a table without edges, or a node of another spelling.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"sender": ["input", "a0.h1"], "receivers": ["a0.h1<v>", "logits"],
        ...                       "score": [0.5, -0.2]})
        >>> figure = figures.circuit_graph(table)
        >>> list(figure.layout.yaxis.ticktext)
        ['input', 'a0', 'm0', 'logits']
    """
    edges = _edges(table, heads_per_group)
    names = list(dict.fromkeys(name for edge in edges for name in (edge.sender, edge.node)))
    layout = _Layout.of(names)
    entries = _COMPARED if compared else _SCORED
    across, upwards = layout.axes()
    figure = panels(
        [[""]], title=title, x="head", y=[""], entries=list(entries),
        row_height=max(160, 24 * len(upwards["ticktext"])), left=room(["logits"]),
    )  # fmt: skip
    _draw_edges(figure, edges, layout, entries)
    _draw_nodes(figure, edges, names, layout)
    figure.update_xaxes(across)
    figure.update_yaxes(upwards)
    return figure


@drawn
def edge_heatmap(table: pd.DataFrame, *, title: str = "Edges", compared: bool = False) -> Figure:
    """What writes to what: the scores of edges between senders and receivers, added up.

    Small graphs are drawn node by node; of larger ones all heads of a layer are one, "a3", and q, k and
    v of it are added up.

    Args:
        table: sender, receivers and score, a row for each edge.
        title: of the figure.
        compared: whether scores are differences of two models, tuned less base.

    Returns:
        The figure: senders upwards, receivers across; cells without an edge are empty.

    Raises:
        ValueError: for a table without scored edges.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"sender": ["input", "input"], "receivers": ["a0.h1<v>", "logits"],
        ...                       "score": [0.5, -0.2]})
        >>> list(figures.edge_heatmap(table).layout.yaxis.ticktext)
        ['input']
    """
    _needed(table, "sender", "receivers", "score")
    known = table[table["score"].notna()]
    senders, receivers = (known[c].astype(str) for c in ("sender", "receivers"))
    if max(senders.nunique(), receivers.nunique()) > MOST_NODES:
        senders, receivers = senders.map(_whole), receivers.map(_whole)
    grid = known["score"].astype(float).groupby([senders, receivers]).sum().unstack()
    rows, columns = (sorted(names, key=_numbers) for names in (grid.index, grid.columns))
    grid = grid.reindex(rows, columns=columns)
    figure = panels(
        [[""]], title=title, x="receiver", y=["sender"], row_height=max(120, 14 * len(rows)),
        left=room(rows) + 14,
    )  # fmt: skip
    hover = [[f"{plain(row)} to {plain(column)}" for column in columns] for row in rows]
    limit = float(grid.abs().max().max()) or 1.0
    heat(
        figure, grid, unit=f"sum of {'differences' if compared else 'scores'}", hover=hover, limit=limit
    )
    figure.update_xaxes(labelled(columns, most=40), tickangle=-60)
    figure.update_yaxes(labelled(rows, most=48))
    figure.update_layout(margin_r=64, margin_b=74)
    return figure


def _needed(table: pd.DataFrame, *columns: str) -> None:
    """Refuse a table that lacks a column or has no rows.

    Raises:
        ValueError: with what is missing.
    """
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        raise ValueError(
            f"edges need the columns {', '.join(columns)}; got {len(table)} rows without {missing}; "
            "give the table of a discovery, or of a circuit"
        )


def _edges(table: pd.DataFrame, heads_per_group: int) -> list[_Edge]:
    """Every edge; one into a group's keys or values as one into each of its heads that writes too.

    Raises:
        ValueError: for a table without edges or a node that is none.
    """
    _needed(table, "sender", "receivers")
    words = table["word"].astype(str) if "word" in table else pd.Series("core", index=table.index)
    scores = table["score"] if "score" in table else pd.Series(1.0, index=table.index)
    columns = (table["sender"].astype(str), table["receivers"].astype(str), scores, words)
    known = set(columns[0]) | {name.partition("<")[0] for name in columns[1]}
    for name in known - {"input", "logits"}:
        if not _NODE.fullmatch(name):
            raise ValueError(f"node {name!r} is none; expected input, a2.h0, m3 or logits")
    edges = []
    for sender, receiver, score, word in zip(*columns, strict=True):
        into = [receiver]
        if ".g" in receiver:
            layer, _, rest = receiver.partition(".g")
            group, _, slot = rest.partition("<")
            first = int(group) * heads_per_group
            heads = [f"{layer}.h{first + i}" for i in range(heads_per_group)]
            into = [f"{head}<{slot}" for head in heads if head in known] or [receiver]
        edges += [_Edge(sender, name, float(score), word == "core") for name in into]
    return edges


def _draw_edges(
    figure: Figure, edges: Sequence[_Edge], layout: _Layout, entries: Sequence[str]
) -> None:
    """One line for each edge, those of one look together."""
    sizes = sorted(abs(edge.score) for edge in edges)
    thirds = [sizes[len(sizes) * i // 3] for i in (1, 2)]
    looks: dict[tuple[int, bool, bool], tuple[list[Any], list[Any]]] = {}
    for edge in edges:
        look = (sum(abs(edge.score) >= third for third in thirds), edge.score < 0, edge.core)
        xs, ys = looks.setdefault(look, ([], []))
        (x0, y0), (x1, y1) = layout.place(edge.sender), layout.end(edge.receiver)
        xs += [x0, x1, None]
        ys += [y0, y1, None]
    for (third, negative, core), (xs, ys) in sorted(looks.items()):
        line = {
            "color": _COLOURS[negative],
            "width": _WIDTHS[third],
            "dash": "solid" if core else "dot",
        }
        figure.add_scatter(
            x=xs, y=ys, mode="lines", line=line, opacity=(0.45, 0.7, 0.9)[third],
            hoverinfo="skip", showlegend=False, name=f"{entries[negative]}, third {third}, {core}",
            row=1, col=1,
        )  # fmt: skip
    for name, colour in zip(entries, _COLOURS, strict=True):
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name=name, line={"color": colour, "width": 2},
            hoverinfo="skip", row=1, col=1,
        )  # fmt: skip


def _draw_nodes(figure: Figure, edges: Sequence[_Edge], names: Sequence[str], layout: _Layout) -> None:
    """A dot for every node, which says how many edges lead into and out of it."""
    told = [
        f"{name}: {sum(e.node == name for e in edges)} edges in, "
        f"{sum(e.sender == name for e in edges)} out"
        for name in names
    ]
    xs, ys = zip(*map(layout.place, names), strict=True)
    figure.add_scatter(
        x=xs, y=ys, mode="markers", customdata=told, showlegend=False, name="nodes",
        marker={"color": BLACK, "size": 6}, hovertemplate="%{customdata}<extra></extra>",
        row=1, col=1,
    )  # fmt: skip


def _numbers(name: str) -> tuple[float, int, int, str]:
    """By which nodes are sorted: as they write."""
    if name in ("input", "logits"):
        return (-1.0 if name == "input" else float("inf"), 0, 0, "")
    found = re.fullmatch(r"([am])(\d+)(?:\.[hg](\d+))?(?:<([qkv])>)?", name)
    if found is None:
        return (float("inf"), 0, 0, name)
    slot = {"q": 0, "k": 1, "v": 2}.get(found[4] or "", 0)
    return (int(found[2]) + 0.5 * (found[1] == "m"), slot, int(found[3] or 0), "")


def _whole(name: str) -> str:
    """A layer's attention or MLP, all heads together."""
    return name.partition(".")[0]
