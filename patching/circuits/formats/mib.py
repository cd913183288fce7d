"""Folders of circuits as the Mechanistic Interpretability Benchmark takes them.

A folder is named after task and model, `ioi_gpt2`, and holds either one file of importances, from
which circuits of every size are cut, or one circuit for each size.

Source: 2504.13151 and the track's own description of submissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interp._files import require_new
from patching.circuits.circuit import Circuit
from patching.circuits.formats.eap_ig import read_json_graph, read_pt_graph, write_json_graph
from patching.circuits.graph import Graph

#: Shares of all edges for which a folder without importances holds a circuit each.
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

IMPORTANCES = "importances"


def read_mib(folder: str | Path, *, graph: Graph | None = None) -> dict[str, Circuit]:
    """Read the circuits of a folder: `importances.json`, or one file for each size.

    Args:
        folder: such as `ioi_gpt2`, with .json files, or .pt files of tensors alone.
        graph: of the model that they must be of; needed where queries share keys and values.

    Returns:
        Name of each file without its ending -> its circuit, smallest first.

    Raises:
        ValueError: one line, for a folder without circuits, a file that is none, or one of another
            model than the others or than `graph`.

    Example:
        >>> import patching, pathlib, tempfile
        >>> graph = patching.circuits.Graph(2, 2, 2)
        >>> circuit = patching.circuits.Circuit.from_names(graph, ["input->logits"])
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "ioi_tiny"
        >>> _ = patching.circuits.write_mib({"importances": circuit}, folder, d_model=8)
        >>> patching.circuits.read_mib(folder)["importances"].names
        ('input->logits',)
    """
    folder = Path(folder)
    files = sorted(p for p in folder.glob("*") if p.suffix in (".json", ".pt") and p.is_file())
    if not files:
        raise ValueError(
            f"{folder} holds no circuit; expected {IMPORTANCES}.json, or a .json or .pt file for each "
            "size; give the folder of one task and one model"
        )
    read = {
        path.stem: (read_json_graph if path.suffix == ".json" else read_pt_graph)(path, graph)
        for path in files
    }
    kinds = {circuit.graph for circuit in read.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"{folder} holds circuits of {len(kinds)} models; expected one, as a folder is of one task "
            "and one model; divide them"
        )
    return dict(sorted(read.items(), key=lambda named: (len(named[1]), named[0])))


def write_mib(circuits: Mapping[str, Circuit], folder: str | Path, *, d_model: int) -> Path:
    """Write circuits as a folder of the benchmark.

    Args:
        circuits: {"importances": circuit with scores}, or a name -> circuit for each of the nine
            sizes up to half of the edges.
        folder: a new folder, named `task_model` as the benchmark names them.
        d_model: width of the model's residual stream.

    Returns:
        The folder.

    Raises:
        ValueError: for neither of the two, or a folder that holds files.

    Example:
        >>> import patching, pathlib, tempfile
        >>> graph = patching.circuits.Graph(2, 2, 2)
        >>> circuit = patching.circuits.Circuit.from_names(graph, ["input->logits"])
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "ioi_tiny"
        >>> sorted(p.name for p in
        ...        patching.circuits.write_mib({"importances": circuit}, folder, d_model=8).iterdir())
        ['importances.json']
    """
    folder = Path(folder)
    sizes = len(circuits)
    if set(circuits) != {IMPORTANCES} and sizes != len(SIZES):
        raise ValueError(
            f"a folder of the benchmark holds {IMPORTANCES} alone or {len(SIZES)} circuits; got {sizes}"
            f"; cut one for each share of the edges in {', '.join(map(str, SIZES))}"
        )
    for name in circuits:
        if name != Path(name).name or name.startswith("."):
            raise ValueError(f"a circuit's name becomes a file's; got {name!r}; give a plain name")
    require_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, circuit in circuits.items():
        write_json_graph(circuit, folder / f"{name}.json", d_model)
    return folder
