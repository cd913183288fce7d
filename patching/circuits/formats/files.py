"""Circuits from and to files, by the file's ending."""

from __future__ import annotations

from pathlib import Path

from interp._files import require_folder_of
from patching.circuits.circuit import Circuit
from patching.circuits.formats.eap_ig import read_json_graph, read_pt_graph, write_json_graph
from patching.circuits.formats.tables import (
    read_csv_circuit,
    read_yaml_circuit,
    write_csv_circuit,
    write_yaml_circuit,
)
from patching.circuits.graph import Graph


def read_circuit(path: str | Path, *, graph: Graph | None = None) -> Circuit:
    """Read a circuit from a file.

    - .json: a graph of EAP-IG or of the Mechanistic Interpretability Benchmark, with scores.
    - .pt: the same, if it holds tensors, numbers and texts alone; nothing else is unpickled.
    - .csv: the columns edge, in_circuit and, if there are scores, score.
    - .yaml, .yml: `edges: [input->m0, m0->logits]`, written by hand, with the model's sizes or without.

    Args:
        path: the file.
        graph: of the model that the circuit must be of. A .csv needs it, and so does a .json or .pt of
            a model whose queries share keys and values: there every head has its own, which are added
            up.

    Returns:
        The circuit.

    Raises:
        ValueError: one line, for another ending, a file that is too large or no circuit, an edge that
            is none or closes a cycle, and a circuit of another model.

    Example:
        >>> import pathlib, patching, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.yaml"
        >>> _ = file.write_text("edges: [input->m0, m0->logits]")
        >>> graph = patching.circuits.Graph(2, 2, 2)
        >>> patching.circuits.read_circuit(file, graph=graph).names
        ('input->m0', 'm0->logits')
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_json_graph(path, graph)
    if suffix == ".pt":
        return read_pt_graph(path, graph)
    if suffix in (".yaml", ".yml"):
        return read_yaml_circuit(path, graph)
    if suffix == ".csv":
        if graph is None:
            raise ValueError(
                f"{path.name} does not say of which model it is; expected graph=, such as "
                "Graph.of(model)"
            )
        return read_csv_circuit(path, graph)
    raise ValueError(
        f"a circuit's file must end in .json, .pt, .csv, .yaml or .yml; got {path.name}; convert it"
    )


def write_circuit(circuit: Circuit, path: str | Path, *, d_model: int | None = None) -> Path:
    """Write a circuit to a file, under a temporary name that is then renamed.

    Args:
        circuit: the circuit.
        path: .json for EAP-IG and the Mechanistic Interpretability Benchmark, .csv for every edge with
            its score, .yaml or .yml for the names of its edges alone.
        d_model: width of the model's residual stream (`Model.d_model`), which a .json tells.

    Returns:
        The path.

    Raises:
        ValueError: for another ending, a folder that is not there, or a .json without `d_model`.

    Example:
        >>> import pathlib, patching, tempfile
        >>> graph = patching.circuits.Graph(2, 2, 2)
        >>> circuit = patching.circuits.Circuit.from_names(graph, ["input->m0", "m0->logits"])
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> file = patching.circuits.write_circuit(circuit, folder / "mine.json", d_model=8)
        >>> patching.circuits.read_circuit(file).names == circuit.names
        True
    """
    path = Path(path)
    require_folder_of(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write_csv_circuit(circuit, path)
    if suffix in (".yaml", ".yml"):
        return write_yaml_circuit(circuit, path)
    if suffix != ".json":
        raise ValueError(
            f"a circuit is written to .json, .csv, .yaml or .yml; got {path.name}; choose one of these"
        )
    if d_model is None:
        raise ValueError(f"{path.name} tells the model's width; got none; give d_model=model.d_model")
    return write_json_graph(circuit, path, d_model)
