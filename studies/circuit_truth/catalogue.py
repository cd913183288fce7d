"""Models whose circuit is known, by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interp.circuit_tasks.items import TaskItem
from interp.display.html import Shown

if TYPE_CHECKING:
    from patching.circuits.circuit import Circuit

HOME = Path(__file__).parent


@dataclass(frozen=True, repr=False)
class KnownCircuit(Shown):
    """A model, its true circuit, and prompts that show every edge of it.

    Attributes:
        name: of the model, as `interp.load_model` takes it.
        kind: "compiled" (every edge is known exactly) or "trained" (edges by alignment).
        circuit: the true edges.
        items: prompts and counterfactuals; `interp.load_task(model, truth.items)` makes a task.
    """

    name: str
    kind: str
    circuit: Circuit
    items: tuple[TaskItem, ...]

    def __repr__(self) -> str:
        """Which model, and how many of its edges are true."""
        return f"KnownCircuit({self.name!r}: {self.kind}; {self.circuit!r}; {len(self.items)} prompts)"


def known_circuit_names() -> list[str]:
    """List the models whose circuit is known.

    Returns:
        Names that `known_circuit` and `interp.load_model` take.

    Example:
        >>> import studies
        >>> "tracr-reverse" in studies.known_circuit_names()
        True
    """
    return sorted(path.stem for path in (HOME / "truths").glob("*.json") if "." not in path.stem)


def known_circuit(name: str) -> KnownCircuit:
    """The true circuit of a shipped model, and prompts that show it.

    Args:
        name: one of `known_circuit_names`.

    Returns:
        Model, circuit and prompts. In a compiled model an edge is true where patching it alone from
        any counterfactual of equal length changes a logit of any input at the last token: all pairs of
        inputs were run.

    Raises:
        ValueError: for another name.

    Example:
        >>> import interp, studies
        >>> truth = studies.known_circuit("tracr-reverse")
        >>> model = interp.load_model(truth.name)
        >>> bool(interp.load_task(model, truth.items).performance(model)["says"].all())
        True
    """
    from interp.circuit_tasks.own import read_items
    from interp.untrusted.reading import read_json
    from patching.circuits.circuit import Circuit
    from patching.circuits.graph import Graph

    if name not in known_circuit_names():
        raise ValueError(
            f"name must be one of {', '.join(known_circuit_names())}; got {name!r}: choose one"
        )
    told = read_json(HOME / "truths" / f"{name}.json")
    config = json.loads((HOME / "models" / name / "config.json").read_text("utf-8"))
    graph = Graph(config["n_layer"], config["n_head"], config["n_head"])
    circuit = Circuit.from_names(graph, told["edges"])
    return KnownCircuit(
        name, told["kind"], circuit, read_items(HOME / "truths" / f"{name}.prompts.json")
    )
