"""The figures of a circuit's folder, from its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interp import figures
from interp.untrusted.reading import inside, read_json
from studies.circuit_runs import folder

#: Edges that a layered graph shows, the highest of the core.
SHOWN = 80


def draw(
    source: Path, *, venue: str = "icml", columns: int = 2, format: str = "svg", top: int = SHOWN
) -> list[Path]:
    """Draw what a folder's tables hold, each figure with its data beside it.

    Args:
        source: a folder of `interp circuits discover` or `diff`.
        venue: icml, neurips, iclr or acl.
        columns: of a page that a figure spans.
        format: svg, pdf or png.
        top: edges that the layered graph shows.

    Raises:
        ValueError: if the folder holds nothing that can be drawn.
    """
    made = dict(_compared(source) if (source / "verdict.json").is_file() else _found(source, top))
    target = source / "figures"
    return [
        figure.save(target / f"{name}.{format}", venue=venue, columns=columns)[0]
        for name, figure in made.items()
    ]


def _found(source: Path, top: int) -> Iterator[tuple[str, Any]]:
    """Figures of a search: the graph, its map, the screen against exact scores, faithfulness."""
    settings = folder.settings_of(source)
    edges = folder.table_of(source, folder.EDGES)
    if edges is None:
        raise ValueError(f"{source} holds no {folder.EDGES}; run the search again")
    graph, method = folder.graph_of(settings), str(settings.get("method", "screen"))
    told = f"{settings.get('model')} on {settings.get('task')}"
    kept = edges[edges["word"] != "noise"]
    if len(kept):
        order = kept.assign(size=kept["score"].abs()).sort_values(
            ["frequency", "size"], ascending=False
        )
        yield (
            "graph",
            figures.circuit_graph(
                order.head(top), title=f"Circuit of {told}",
                heads_per_group=graph.n_heads // graph.n_groups,
            ),
        )  # fmt: skip
        yield "edges", figures.edge_heatmap(kept, title=f"Edges of {told}")
    exact = folder.table_of(source, folder.EXACT)
    if exact is not None:
        unit = str(settings.get("unit", ""))
        yield "screen", figures.score_scatter(exact, screen=method, unit=unit)
    curves = folder.table_of(source, folder.FAITHFULNESS)
    if curves is not None:
        yield "faithfulness", figures.faithfulness_curves(curves, title=f"Faithfulness: {told}")


def _compared(source: Path) -> Iterator[tuple[str, Any]]:
    """Figures of a comparison: what changed, edge by edge and node by node."""
    verdict = read_json(inside(source, "verdict.json"))
    edges, nodes = (folder.table_of(source, f"{name}.csv") for name in ("edges", "nodes"))
    if edges is None or nodes is None:
        raise ValueError(f"{source} holds no tables of edges and nodes; run the comparison again")
    told = f"{verdict.get('tuned')} against {verdict.get('model')}: {verdict.get('word')}"
    changed = edges.assign(score=edges["difference"])[edges["changed"].astype(bool)]
    if len(changed):
        yield "edges", figures.edge_heatmap(changed, title=told, compared=True)
        groups = verdict.get("graph") or {}
        size = int(groups.get("n_heads", 1)) // max(1, int(groups.get("n_groups", 1)))
        shown = changed.head(SHOWN)
        yield (
            "graph",
            figures.circuit_graph(shown, title=told, heads_per_group=size, compared=True),
        )
    yield "nodes", figures.node_heatmap(nodes, title=told)
