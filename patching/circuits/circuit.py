"""A circuit: some of the edges of a graph, with the scores by which they were chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp._doors import checked, held
from interp.display.html import ROWS, Shown
from patching.circuits.graph import Graph


@held
@dataclass(frozen=True, eq=False, repr=False)
class Circuit(Shown):
    """Some of a graph's edges.

    Two circuits are equal when graph, edges and scores are.

    Attributes:
        graph: the graph.
        mask: True at the edges of the circuit, in the graph's order.
        scores: of every edge of the graph, in it or not; None where edges were given by hand.
    """

    graph: Graph
    mask: Bool[Tensor, " edge"]
    scores: Float[Tensor, " edge"] | None = None

    def __post_init__(self) -> None:
        """Hold mask and scores to the graph.

        Raises:
            ValueError: unless they have an entry for each edge, the mask True or False.
        """
        if self.mask.dtype != torch.bool:
            raise ValueError(f"mask must be of True and False; got {self.mask.dtype}; give mask.bool()")
        for name, values in (("mask", self.mask), ("scores", self.scores)):
            if values is not None and values.shape != (self.graph.n_edges,):
                raise ValueError(
                    f"{name} must have an entry for each of the {self.graph.n_edges:,} edges of "
                    f"{self.graph!r}; got shape {tuple(values.shape)}; it is of another model"
                )

    def __repr__(self) -> str:
        """How many edges of how many."""
        return f"Circuit({len(self):,} of {self.graph.n_edges:,} edges of {self.graph!r})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        chosen = self.mask.nonzero()[:ROWS, 0].tolist()
        scores = [""] * len(chosen) if self.scores is None else self.scores[chosen].tolist()
        rows = [(self.graph.names[i], score) for i, score in zip(chosen, scores, strict=True)]
        return ("edge", "score"), rows, len(self)

    @classmethod
    @checked
    def from_names(
        cls, graph: Graph, edges: Iterable[str], scores: Mapping[str, float] | None = None
    ) -> Circuit:
        """The circuit of these edges.

        Args:
            graph: the graph that they belong to.
            edges: their names.
            scores: of every edge of the graph, by name; those not named have none (NaN).

        Raises:
            ValueError: one line, for a name that is no edge of the graph, or one that closes a cycle.

        Example:
            >>> import patching
            >>> graph = patching.circuits.Graph(2, 2, 2)
            >>> circuit = patching.circuits.Circuit.from_names(graph, ["input->m0", "m0->logits"])
            >>> circuit.names, len(circuit), circuit.nodes
            (('input->m0', 'm0->logits'), 2, ('input', 'm0', 'logits'))
        """
        values = None
        if scores is not None:
            values = torch.full((graph.n_edges,), float("nan"))
            for name, score in scores.items():
                values[graph.index(name)] = score
        return cls(graph, graph.mask(edges), values)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its edges, in the graph's order."""
        return tuple(self.graph.names[i] for i in self.mask.nonzero()[:, 0].tolist())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that its edges touch, in order."""
        touched = torch.zeros(len(self.graph.nodes), dtype=torch.bool)
        touched[self.graph.source[self.mask]] = True
        for number in self.graph.destination[self.mask].unique().tolist():
            nodes = self.graph.nodes_of(number)
            touched[nodes.start : nodes.stop] = True
        return tuple(n for n, there in zip(self.graph.nodes, touched.tolist(), strict=True) if there)

    def complement(self) -> Circuit:
        """The circuit of all other edges."""
        return replace(self, mask=~self.mask)

    def pruned(self) -> Circuit:
        """The circuit without the edges that lie on no path from the input to the logits."""
        return replace(self, mask=self.graph.pruned(self.mask))

    def __len__(self) -> int:
        """Number of its edges."""
        return int(self.mask.sum())

    def __contains__(self, edge: str) -> bool:
        """Whether an edge, by its name, is in the circuit."""
        return bool(self.mask[self.graph.index(edge)])

    def __eq__(self, other: object) -> bool:
        """Whether graph, edges and scores are the same; a missing score equals a missing one."""
        if not isinstance(other, Circuit):
            return NotImplemented
        if self.graph != other.graph or not torch.equal(self.mask, other.mask):
            return False
        if self.scores is None or other.scores is None:
            return self.scores is other.scores
        return torch.allclose(self.scores, other.scores.to(self.scores), rtol=0, atol=0, equal_nan=True)
