"""A circuit of a folder or file, written for another program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from interp._files import require_folder_of
from interp.circuit_tasks.own import read_items, write_items
from patching.circuits import (
    Circuit,
    Graph,
    read_circuit,
    write_circuit,
    write_mib,
    write_tracer,
)
from studies.circuit_runs import folder

FORMATS = ("eap-ig", "mib", "csv", "yaml", "circuit-tracer", "auto-circuit")
_ENDINGS = {
    "eap-ig": ".json",
    "csv": ".csv",
    "yaml": ".yaml",
    "circuit-tracer": ".json",
    "auto-circuit": ".json",
}


def export(
    source: Path, format: str, out: Path, *, least: str = "core", model: str | None = None
) -> Path:
    """Write a circuit in another program's format.

    Args:
        source: a folder of `interp circuits discover`, or a circuit's file.
        format: one of `FORMATS`; auto-circuit writes the prompts.
        out: a file with the format's ending, or for mib a new folder.
        least: of a folder, "core" or "contingent" for these too.
        model: of a file, whose sizes it must have; needed for grouped heads and for .csv.

    Raises:
        ValueError: for another format or ending, or what a file cannot give.
    """
    if format not in FORMATS:
        raise ValueError(f"format got {format!r}; expected one of {', '.join(FORMATS)}")
    ending = _ENDINGS.get(format)
    if ending and out.suffix.lower() != ending:
        raise ValueError(f"{format} is written to a file that ends in {ending}; got {out}; name it so")
    if ending and out.exists():
        raise ValueError(f"{out} must be a new file; got one that is there; name another or remove it")
    require_folder_of(out)
    if format == "auto-circuit":
        return write_items(_items(source), out)
    circuit, width = _circuit(source, least, model)
    if format in ("csv", "yaml"):
        return write_circuit(circuit, out)
    if format == "circuit-tracer":
        first = _items(source)[0]
        words = re.findall(r"\s*\S+|\s+$", first.clean)
        return write_tracer(circuit, out, tokens=words, answer=first.answers[0], name=str(source))
    if width is None:
        raise ValueError(f"{format} tells the model's width; got none for {source}; give --model")
    if format == "mib":
        return write_mib({"importances": circuit}, out, d_model=width)
    return write_circuit(circuit, out, d_model=width)


def _circuit(source: Path, least: str, model: str | None) -> tuple[Circuit, int | None]:
    """The circuit, and the width of its model where that is known."""
    if source.is_dir():
        return folder.circuit_of(source, least), int(folder.settings_of(source)["width"])
    graph, width = None, None
    if model is not None:
        import interp

        loaded: Any = interp.load_model(model)
        graph, width = Graph.of(loaded), loaded.d_model
    return read_circuit(source, graph=graph), width


def _items(source: Path) -> Any:
    """The prompts of a folder.

    Raises:
        ValueError: for a file, which has none.
    """
    if not source.is_dir():
        raise ValueError(f"{source} holds no prompts; expected a folder of `interp circuits discover`")
    return read_items(source / folder.PROMPTS)
