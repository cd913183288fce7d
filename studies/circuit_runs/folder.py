"""The folder of a circuit: what was asked, every edge with its scores, the prompts, and what follows.

settings.json   model, task, prompts asked and used, method, ablation, positions, sizes, seed, and the
                numbers of the search
prompts.json    what was asked, as auto-circuit reads it
edges.csv       edge, sender, receivers, score, frequency, word: every edge of the model
exact.csv       edge, screen, exact, kind: the edges that were patched exactly
faithfulness.csv, areas.csv   of `interp circuits evaluate`
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from interp._files import write_csv, write_text
from interp.circuit_tasks.own import write_items
from interp.untrusted.limits import CIRCUIT
from interp.untrusted.reading import inside, read_bytes, read_json
from patching.circuits import Circuit, Graph

if TYPE_CHECKING:
    from interp.circuit_tasks.task import Task
    from patching.circuits import Discovery, EdgeScores

SETTINGS, PROMPTS, EDGES, EXACT = "settings.json", "prompts.json", "edges.csv", "exact.csv"
#: What settings.json tells at least.
NEEDED = (
    "model", "base", "task", "prompts", "method", "ablation", "positions", "edges", "seed", "device",
    "dtype", "width",
)  # fmt: skip
FAITHFULNESS, AREAS = "faithfulness.csv", "areas.csv"


def keep_discovery(out: Path, found: Discovery, task: Task, settings: dict[str, Any]) -> None:
    """Write what a search found.

    Args:
        out: a new folder.
        found: of `patching.circuits.discover`.
        task: what was asked.
        settings: what else was.
    """
    graph = found.graph
    sources, destinations = graph.source.tolist(), graph.destination.tolist()
    table = pd.DataFrame(
        {
            "edge": graph.names,
            "sender": [graph.sources[i] for i in sources],
            "receivers": [graph.destinations[i] for i in destinations],
            "score": found.scores.mean.tolist(),
            "frequency": found.frequency.tolist(),
            "word": found.words,
        }
    )
    halves = found.jaccard[np.isfinite(found.jaccard)]
    told = {
        **settings,
        "graph": asdict(graph),
        "used": len(task),
        "dropped": dict(task.dropped),
        "unit": found.scores.unit,
        "size": found.size,
        "absolute": found.absolute,
        "split_half_jaccard": {
            "mean": float(halves.mean()) if len(halves) else None,
            "null_mean": found.null_mean,
            "null_high": found.null_high,
        },
        "cutoffs": found.cutoffs.as_dict(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / EDGES, table)
    write_items(task.items, out / PROMPTS)
    write_text(out / SETTINGS, json.dumps(told, indent=1) + "\n")


def keep_exact(out: Path, screen: EdgeScores, exact: EdgeScores, highest: int) -> pd.DataFrame:
    """Write the edges that were patched exactly beside their screen.

    Args:
        out: the folder.
        screen: the scores that chose them.
        exact: of `patching.circuits.verify`.
        highest: how many of the screen's highest were patched; the others were drawn.
    """
    best = set(screen.order(absolute=True)[:highest].tolist())
    rows = exact.mean.isfinite().nonzero()[:, 0].tolist()
    table = pd.DataFrame(
        {
            "edge": [screen.graph.names[i] for i in rows],
            "screen": screen.mean[rows].tolist(),
            "exact": exact.mean[rows].tolist(),
            "kind": ["highest" if i in best else "sampled" for i in rows],
        }
    )
    write_csv(out / EXACT, table)
    return table


def settings_of(folder: Path) -> dict[str, Any]:
    """What was asked.

    Raises:
        ValueError: if the folder is none that `interp circuits discover` wrote.
    """
    if not (folder / SETTINGS).is_file():
        raise ValueError(
            f"{folder} must be a folder of `interp circuits discover`; got one without {SETTINGS}; run "
            "that first"
        )
    settings = read_json(inside(folder, SETTINGS))
    missing = [name for name in NEEDED if name not in settings]
    if missing:
        raise ValueError(
            f"{folder / SETTINGS} must tell {', '.join(NEEDED)}; got none of {', '.join(missing)}; run "
            "the search again"
        )
    graph = settings.get("graph")
    sizes = ("n_layers", "n_heads", "n_groups")
    if not isinstance(graph, dict) or not all(type(graph.get(size)) is int for size in sizes):
        raise ValueError(
            f"{folder / SETTINGS} must tell the graph's sizes; got {graph!r:.60}; run it again"
        )
    return settings


def graph_of(settings: dict[str, Any]) -> Graph:
    """The graph that the settings tell."""
    sizes = settings["graph"]
    return Graph(sizes["n_layers"], sizes["n_heads"], sizes["n_groups"], bool(sizes.get("parallel")))


def table_of(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of the folder; None where there is none.

    Raises:
        ValueError: if it is too large or no table.
    """
    path = inside(folder, name)
    if not path.is_file():
        return None
    read_bytes(path, CIRCUIT)
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is no table ({error}); run the command again") from error


def circuit_of(folder: Path, least: str = "core") -> Circuit:
    """The circuit of a folder: the edges that are at least this, with every edge's score.

    Args:
        folder: of `interp circuits discover`.
        least: "core", or "contingent" for these too.

    Raises:
        ValueError: if its table of edges is not that of its graph.
    """
    graph, table = graph_of(settings_of(folder)), table_of(folder, EDGES)
    if table is None or list(table.get("edge", [])) != list(graph.names):
        raise ValueError(f"{folder / EDGES} must hold every edge of {graph!r}; run the search again")
    if not {"word", "score"} <= set(table) or not pd.api.types.is_numeric_dtype(table["score"]):
        raise ValueError(
            f"{folder / EDGES} must have the column word, and score with numbers alone; run the search "
            "again"
        )
    words = ("core",) if least == "core" else ("core", "contingent")
    mask = torch.tensor(table["word"].isin(words).to_numpy())
    return Circuit(graph, mask, torch.tensor(table["score"].to_numpy(float)).float())
