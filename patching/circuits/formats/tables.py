"""A circuit as a table, and as a list written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp._files import write_csv, write_text
from interp.facts.cells import CellProblem, truth_value
from interp.facts.tables import RowProblem, checked_rows, read_table
from interp.untrusted.yaml_files import read_yaml
from patching.circuits.circuit import Circuit
from patching.circuits.graph import Graph

COLUMNS = ("edge", "in_circuit", "score")
_SIZES = ("n_layers", "n_heads", "n_groups", "parallel")


def read_csv_circuit(path: Path, graph: Graph) -> Circuit:
    """The circuit in a table with the columns edge, in_circuit and score, of which the last may miss.

    Args:
        path: a .csv file; edges that it does not name are not in the circuit.
        graph: of the model.

    Raises:
        ValueError: one line, for a missing column, an edge that the graph lacks or that comes twice, or
            a cell that is no number or truth value.
    """
    table = read_table(path, "circuit", COLUMNS)
    missing = {"edge", "in_circuit"} - set(table.columns)
    if missing:
        raise ValueError(
            f"{path.name} must have the columns edge and in_circuit (optional: score); got "
            f"{list(table.columns)}: name them so"
        )
    scores, chosen = (
        torch.full((graph.n_edges,), math.nan),
        torch.zeros(graph.n_edges, dtype=torch.bool),
    )
    seen: set[int] = set()

    def parse(where: str, cells: Mapping[str, Any]) -> None:
        try:
            place = graph.index(str(cells["edge"]).strip())
            if place in seen:
                raise ValueError(f"edge {cells['edge']!r} comes twice")
            chosen[place] = truth_value(cells["in_circuit"])
            score = str(cells.get("score", "")).strip()
            scores[place] = float(score) if score else math.nan
        except CellProblem as problem:
            raise RowProblem(f"in_circuit {problem}", fatal=True) from problem
        except ValueError as problem:
            raise RowProblem(str(problem), fatal=True) from problem
        seen.add(place)

    checked_rows(table, parse, "an edge of this model")
    return Circuit(graph, chosen, None if bool(scores.isnan().all()) else scores)


def write_csv_circuit(circuit: Circuit, path: Path) -> Path:
    """Write every edge of the graph, whether it is in the circuit, and its score.

    Args:
        circuit: the circuit.
        path: a .csv file.
    """
    columns: dict[str, Any] = {"edge": circuit.graph.names, "in_circuit": circuit.mask.int().tolist()}
    if circuit.scores is not None:
        columns["score"] = circuit.scores.tolist()
    return write_csv(path, pd.DataFrame(columns))


def read_yaml_circuit(path: Path, graph: Graph | None) -> Circuit:
    """The circuit of a list of edges, written by hand.

        model: {n_layers: 12, n_heads: 12}    # may be left out where the graph is given
        edges: [input->m0, m0->logits]

    Args:
        path: a .yaml or .yml file without anchors.
        graph: of the model; by default that of `model`.

    Raises:
        ValueError: one line, for unknown nodes, an edge that closes a cycle, or another model's sizes.
    """
    content = read_yaml(path)
    if set(content) - {"model", "edges"}:
        raise ValueError(
            f"{path} must hold edges and, if you like, model; got {sorted(map(str, content))}; leave "
            "the others out"
        )
    told, edges = content.get("model"), content.get("edges")
    if not isinstance(edges, list) or not all(isinstance(edge, str) for edge in edges):
        raise ValueError(
            f"{path} must hold a list of edges, each as text; got {type(edges).__name__}; write "
            "edges: [input->m0, m0->logits]"
        )
    own = graph if told is None else _sizes(path, told)
    if own is None:
        raise ValueError(
            f"{path} must say of which model it is; got neither model nor a graph; write model: "
            "{n_layers: 12, n_heads: 12}, or give graph="
        )
    if graph is not None and own != graph:
        raise ValueError(f"{path} is of {own!r}; expected {graph!r}: give the circuit of this model")
    try:
        return Circuit.from_names(own, edges)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_yaml_circuit(circuit: Circuit, path: Path) -> Path:
    """Write the sizes of the model and the names of the circuit's edges, without scores.

    Args:
        circuit: the circuit.
        path: a .yaml or .yml file.
    """
    sizes = ", ".join(f"{name}: {json.dumps(getattr(circuit.graph, name))}" for name in _SIZES)
    edges = "".join(f"- {json.dumps(name)}\n" for name in circuit.names)
    return write_text(path, f"model: {{{sizes}}}\nedges:{' []' * (not edges)}\n{edges}")


def _sizes(path: Path, told: Any) -> Graph:
    """The graph of the sizes that a file gives."""
    sizes = told if isinstance(told, dict) else {}
    layers: Any = sizes.get("n_layers")
    heads: Any = sizes.get("n_heads")
    groups, parallel = sizes.get("n_groups", heads), sizes.get("parallel", False)
    whole = all(type(size) is int and 1 <= size <= 1024 for size in (layers, heads, groups))
    if not whole or not isinstance(parallel, bool) or set(sizes) - set(_SIZES):
        raise ValueError(
            f"{path} says model: {told!r:.80}; expected n_layers and n_heads, and where they apply "
            "n_groups and parallel"
        )
    return Graph(layers, heads, groups, parallel)
