"""A circuit as circuit-tracer's page of attribution graphs shows it: written only.

There a node stands at a token and a layer. A circuit whose edges hold at every position is written at
the last token; its components are nodes like that page's own, named after what they are.

Source: the graph files of github.com/safety-research/circuit-tracer (metadata, qParams, nodes, links).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp._files import write_text
from patching.circuits.circuit import Circuit
from patching.circuits.graph import INPUT, LOGITS, Graph

_MARKS = str.maketrans({"\n": "⏎", "\t": "→", "\r": "↵"})


def write_tracer(
    circuit: Circuit, path: str | Path, *, tokens: Sequence[str], answer: str, name: str = "model"
) -> Path:
    """Write a circuit for circuit-tracer's page, `<slug>.json`.

    Args:
        circuit: the circuit; links weigh what its edges score, 0 where one has none, and 1 where none
            has.
        path: a .json file; its name without the ending is the slug.
        tokens: of the prompt that is shown above the graph; joined they are its text.
        answer: the token that the logits node stands for.
        name: of the model.

    Returns:
        The path.

    Raises:
        ValueError: for another ending, or no tokens.

    Example:
        >>> import json, pathlib, patching, tempfile
        >>> graph = patching.circuits.Graph(2, 2, 2)
        >>> circuit = patching.circuits.Circuit.from_names(graph, ["input->m0", "m0->logits"])
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.json"
        >>> _ = patching.circuits.write_tracer(circuit, file, tokens=["The", " end"], answer=" is")
        >>> [(link["source"], link["target"]) for link in json.loads(file.read_text())["links"]]
        [('E_0_1', '0_2_1'), ('0_2_1', '3_0_1')]
    """
    path = Path(path)
    if path.suffix != ".json" or not tokens:
        raise ValueError(
            f"circuit-tracer reads .json files of a prompt; got {path.name} and {len(tokens)} tokens; "
            "give a name that ends in .json and the prompt's tokens"
        )
    graph, last = circuit.graph, len(tokens) - 1
    shown = [str(token).translate(_MARKS) for token in tokens]
    weights: dict[tuple[str, str], float] = {}
    for number in circuit.mask.nonzero()[:, 0].tolist():
        score = 1.0 if circuit.scores is None else float(circuit.scores[number])
        if not math.isfinite(score):  # JSON has no such numbers
            score = 0.0
        source = graph.sources[int(graph.source[number])]
        for place in graph.nodes_of(int(graph.destination[number])):
            link = (_identity(graph, source, last), _identity(graph, graph.nodes[place], last))
            weights[link] = weights.get(link, 0.0) + score
    content = {
        "metadata": {
            "slug": path.stem, "scan": name, "transcoder_list": [], "prompt_tokens": shown,
            "prompt": "".join(map(str, tokens)), "node_threshold": None,
        },
        "qParams": {
            "pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": "",
        },
        "nodes": [_node(graph, node, last, answer) for node in circuit.nodes],
        "links": [
            {"source": source, "target": target, "weight": weight}
            for (source, target), weight in weights.items()
        ],
    }  # fmt: skip
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _place(graph: Graph, node: str) -> tuple[int, int]:
    """Layer and number within the layer of a head or an MLP."""
    return divmod(graph.node(node) - 1, graph.n_heads + 1)


def _identity(graph: Graph, node: str, last: int) -> str:
    """A node's name on the page: layer, number, token."""
    if node == INPUT:
        return f"E_0_{last}"
    if node == LOGITS:
        return f"{graph.n_layers + 1}_0_{last}"
    layer, number = _place(graph, node)
    return f"{layer}_{number}_{last}"


def _node(graph: Graph, node: str, last: int, answer: str) -> dict[str, Any]:
    """A node as the page reads it."""
    identity = _identity(graph, node, last)
    layer, number = (0, 0) if node in (INPUT, LOGITS) else _place(graph, node)
    kind = {INPUT: "embedding", LOGITS: "logit"}.get(node, "cross layer transcoder")
    return {
        "node_id": identity,
        "feature": number,
        "layer": {INPUT: "E", LOGITS: str(graph.n_layers + 1)}.get(node, str(layer)),
        "ctx_idx": last,
        "feature_type": kind,
        "token_prob": 0.0,
        "is_target_logit": node == LOGITS,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{identity}-0",
        "clerp": f'Output "{answer.translate(_MARKS)}"' if node == LOGITS else node,
        "influence": None,
        "activation": None,
    }
