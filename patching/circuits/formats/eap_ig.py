"""The graph files of EAP-IG and of the Mechanistic Interpretability Benchmark: .json, and .pt to read.

    {"cfg": {"n_layers", "n_heads", "parallel_attn_mlp", "d_model"},
     "nodes": {"a0.h1": {"in_graph": true}, …},
     "edges": {"input->a0.h1<q>": {"score": 0.3, "in_graph": true}, …}}

There every head has keys and values of its own. Where queries share them, the edges of a group are
written once for each of its heads, with equal parts of the score, and read as their sum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp._files import write_text
from interp.untrusted.limits import CIRCUIT, PARTS
from interp.untrusted.reading import read_json
from interp.untrusted.tensor_files import read_tensors
from patching.circuits.circuit import Circuit
from patching.circuits.graph import LOGITS, Graph

_SIZES = ("n_layers", "n_heads", "parallel_attn_mlp")

#: What a .pt file holds at least.
_PT = ("cfg", "src_nodes", "dst_nodes", "edges_scores", "edges_in_graph")


def read_json_graph(path: Path, graph: Graph | None) -> Circuit:
    """The circuit in a .json graph file.

    Args:
        path: the file.
        graph: of the model it must be of; needed where queries share keys and values.

    Raises:
        ValueError: one line, if it is no graph file, or of another model.
    """
    content = read_json(path, CIRCUIT, unique=True)
    missing = [key for key in ("cfg", "nodes", "edges") if not isinstance(content.get(key), dict)]
    if missing:
        raise ValueError(
            f"{path} must hold cfg, nodes and edges; got no {' and no '.join(missing)}; write it with "
            "EAP-IG's Graph.to_json"
        )
    own = _graph_of(path, content["cfg"], graph)
    if any("neurons" in node for node in content["nodes"].values() if isinstance(node, dict)):
        raise ValueError(f"{path} chooses neurons; expected edges: circuits here are made of edges")
    scores, chosen = torch.full((own.n_edges,), math.nan), torch.zeros(own.n_edges, dtype=torch.bool)
    for name, edge in content["edges"].items():
        place = _edge(path, own, name)
        score = edge.get("score") if isinstance(edge, Mapping) else None
        within = edge.get("in_graph", False) if isinstance(edge, Mapping) else edge
        if not isinstance(within, bool) or not (score is None or isinstance(score, int | float)):
            raise ValueError(
                f"{path} says {str(edge)[:60]} of {name}; expected in_graph, true or false, and score, "
                "a number"
            )
        chosen[place] = within
        try:
            scores[place] = math.nan if score is None else float(score)
        except OverflowError as error:
            raise ValueError(f"{path} gives {name} a score beyond all numbers; mend it") from error
    return _grouped(Circuit(own, chosen, None if bool(scores.isnan().all()) else scores), graph)


def write_json_graph(circuit: Circuit, path: Path, d_model: int) -> Path:
    """Write a circuit as EAP-IG reads it.

    Args:
        circuit: the circuit; edges without a score are written with 0.
        path: the file.
        d_model: width of the residual stream, which EAP-IG asks for.
    """
    single = ungrouped(circuit)
    graph, nodes = single.graph, set(single.nodes)
    scores = torch.zeros(graph.n_edges) if single.scores is None else single.scores.nan_to_num(0.0)
    content = {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": d_model,
        },
        "nodes": {name: {"in_graph": name in nodes or name == LOGITS} for name in graph.nodes},
        "edges": {
            name: {"score": score, "in_graph": within}
            for name, score, within in zip(
                graph.names, scores.tolist(), single.mask.tolist(), strict=True
            )
        },
    }
    return write_text(path, json.dumps(content))


def read_pt_graph(path: Path, graph: Graph | None) -> Circuit:
    """The circuit in a .pt graph file, which may hold tensors, numbers and texts only.

    Args:
        path: the file.
        graph: of the model it must be of; needed where queries share keys and values.

    Raises:
        ValueError: one line, if it holds anything else, is no graph file, or of another model.
    """
    content = read_tensors(path, CIRCUIT)
    missing = [key for key in _PT if key not in content]
    if missing:
        raise ValueError(f"{path} must hold {', '.join(_PT)}; got no {missing[0]}; write it as .json")
    if content.get("neurons_in_graph") is not None:
        raise ValueError(f"{path} chooses neurons; expected edges: circuits here are made of edges")
    own = _graph_of(path, content["cfg"], graph)
    destinations = _columns(own)
    shape = (own.n_forward, len(destinations))
    for key, expected in (("src_nodes", own.sources), ("dst_nodes", own.destinations)):
        told = content[key]
        if not isinstance(told, list | tuple | Mapping) or list(told) != list(expected):
            raise ValueError(
                f"{path} must list its {key} as {expected[0]}, {expected[1]}, …, {expected[-1]}, in "
                "this order; write it as .json, where every edge bears its name"
            )
    tables = [content["edges_scores"], content["edges_in_graph"]]
    if not all(isinstance(table, Tensor) and table.shape == shape for table in tables):
        raise ValueError(f"{path} must hold scores of {shape[0]} sources and {shape[1]} destinations")
    if tables[0].is_complex() or not bool(((tables[1] == 0) | (tables[1] == 1)).all()):
        raise ValueError(
            f"{path} must hold numbers as scores, and true or false for what is in the graph; got "
            f"{tables[0].dtype} and {tables[1].dtype}; write it again"
        )
    column = torch.tensor([destinations[name] for name in own.destinations])[own.destination]
    scores, chosen = (table[own.source, column] for table in tables)
    return _grouped(Circuit(own, chosen.bool(), scores.float()), graph)


def ungrouped(circuit: Circuit) -> Circuit:
    """The circuit with keys and values of each head its own.

    Args:
        circuit: of a model in which they may belong to groups.

    Returns:
        A circuit of a graph without groups; the score of a group's edge in equal parts.
    """
    graph = circuit.graph
    single = replace(graph, n_groups=graph.n_heads)
    if single == graph:
        return circuit
    place, size = _group_edges(single, graph)
    scores = None if circuit.scores is None else circuit.scores[place] / size
    return Circuit(single, circuit.mask[place], scores)


def _grouped(circuit: Circuit, graph: Graph | None) -> Circuit:
    """The circuit of a graph without groups as one of the model's own graph."""
    if graph is None or graph == circuit.graph:
        return circuit
    place, _ = _group_edges(circuit.graph, graph)
    mask = torch.zeros(graph.n_edges).index_add(0, place, circuit.mask.float()) > 0
    if circuit.scores is None:
        return Circuit(graph, mask)
    return Circuit(graph, mask, torch.zeros(graph.n_edges).index_add(0, place, circuit.scores))


def _group_edges(single: Graph, graph: Graph) -> tuple[Tensor, Tensor]:
    """The group's edge of every edge of a graph without groups, and how many share it."""
    size = graph.n_heads // graph.n_groups
    number = {name: n for n, name in enumerate(graph.destinations)}
    own = []
    for name in single.destinations:
        head, bracket, slot = name.partition("<")
        if slot in ("k>", "v>"):
            layer, _, index = head.partition(".h")
            name = f"{layer}.g{int(index) // size}{bracket}{slot}"
        own.append(number[name])
    destination = torch.tensor(own)[single.destination]
    place = torch.tensor(graph.starts)[destination] + single.source
    return place, place.bincount(minlength=graph.n_edges)[place]


def _columns(graph: Graph) -> dict[str, int]:
    """Column of each destination in a .pt file: a layer's q of all heads, k, v, then its MLP."""
    return {name: column for column, name in enumerate(graph.destinations)}


def _graph_of(path: Path, settings: Any, graph: Graph | None) -> Graph:
    """The graph that a file's sizes describe, without groups.

    Raises:
        ValueError: if they are no sizes, or not those of the expected graph.
    """
    told = settings if isinstance(settings, Mapping) else {}
    layers, heads, parallel = (told.get(name) for name in _SIZES)
    if not all(type(size) is int and 1 <= size <= PARTS for size in (layers, heads)):
        raise ValueError(
            f"{path} must say n_layers and n_heads under cfg, whole numbers up to {PARTS:,}; got "
            f"{layers!r:.20} and {heads!r:.20}; write it again"
        )
    own = Graph(int(str(layers)), int(str(heads)), int(str(heads)), bool(parallel))
    if graph is not None and replace(graph, n_groups=graph.n_heads) != own:
        raise ValueError(
            f"{path} is of a model with {own.n_layers} layers of {own.n_heads} heads"
            f"{', attention and MLP in parallel' * own.parallel}; expected {graph.n_layers} of "
            f"{graph.n_heads}{', in parallel' * graph.parallel}: give the circuit of this model"
        )
    return own


def _edge(path: Path, graph: Graph, name: str) -> int:
    """Number of an edge that a file names.

    Raises:
        ValueError: with the file, for a name that is no edge.
    """
    try:
        return graph.index(name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
