"""The graph of a model: heads and MLPs that write to the residual stream, and what reads each of them.

Every component adds its output to the residual stream, and every component above reads the sum. So
each pair of a source and a destination above it is an edge, along which the source's output alone can
be replaced while all else that the destination reads stays.

Sources stand in the order in which they write: `input`, then of each layer its heads `a2.h0`, `a2.h1`,
… and its MLP `m2`. What a destination reads are always the first so many of them, so the edges into
one destination stand in a row, source after source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp._doors import held
from interp.arguments import said
from interp.display.html import Shown
from interp.models.model import Model

#: What an attention head reads the residual stream through.
SLOTS = ("q", "k", "v")

INPUT, LOGITS = "input", "logits"


@held
@dataclass(frozen=True, repr=False)
class Graph(Shown):
    """The nodes and edges of an architecture.

    An edge is written `source->destination`: `a0.h1->a2.h0<q>` into a head's queries,
    `input->m3`, `m11->logits`. Where queries share keys and values, these belong to a group of heads:
    `m0->a2.g1<k>` is read by every head of group 1.

    Attributes:
        n_layers: blocks.
        n_heads: heads of a block, as queries count them.
        n_groups: groups of heads that share keys and values; as many as heads where none do.
        parallel: whether a block's MLP reads what its heads read, not what they write.
    """

    n_layers: int
    n_heads: int
    n_groups: int
    parallel: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no architecture.

        Raises:
            ValueError: unless heads fall into groups of one size.
        """
        if min(self.n_layers, self.n_heads, self.n_groups) < 1 or self.n_heads % self.n_groups:
            raise ValueError(
                f"a graph has at least one layer, and heads in groups of one size; got {self!r}; use "
                "Graph.of(model)"
            )

    @classmethod
    def of(cls, model: Model) -> Graph:
        """The graph of a model.

        Args:
            model: any model of blocks with attention and an MLP.

        Example:
            >>> import interp, patching
            >>> patching.circuits.Graph.of(interp.load_model("organism-base"))
            Graph(n_layers=6, n_heads=4, n_groups=4, parallel=False)
        """
        if not isinstance(model, Model):
            raise ValueError(f"model got {said(model)}; expected a Model, as load_model gives")
        parallel = bool(getattr(model.bridge.cfg, "parallel_attn_mlp", False))
        return cls(model.n_layers, int(model.n_heads), model.n_key_value_heads, parallel)

    def require(self, other: Graph, what: str) -> None:
        """Hold scores or a circuit to this graph, their model's.

        Args:
            other: the graph that they are of.
            what: they are called in the message.

        Raises:
            ValueError: for another model's.
        """
        if other != self:
            raise ValueError(f"{what} got {other!r}, the model has {self!r}; give this model's own")

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the nodes that write, in order: 1 + L (H + 1)."""
        by_layer = [
            name
            for layer in range(self.n_layers)
            for name in (*(f"a{layer}.h{head}" for head in range(self.n_heads)), f"m{layer}")
        ]
        return (INPUT, *by_layer)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes: the sources, then `logits`."""
        return (*self.sources, LOGITS)

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """What reads: of each layer the queries, keys and values of its heads, its MLP; `logits`."""
        group = "h" if self.n_groups == self.n_heads else "g"
        names = []
        for layer in range(self.n_layers):
            names += [f"a{layer}.h{head}<q>" for head in range(self.n_heads)]
            names += [f"a{layer}.{group}{one}<{s}>" for s in ("k", "v") for one in range(self.n_groups)]
            names.append(f"m{layer}")
        return (*names, LOGITS)

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """How many sources each destination reads: the first so many."""
        step, slots = self.n_heads + 1, self.n_heads + 2 * self.n_groups
        counts = []
        for layer in range(self.n_layers):
            below = 1 + layer * step
            counts += [below] * slots + [below if self.parallel else below + self.n_heads]
        return (*counts, len(self.sources))

    @property
    def n_forward(self) -> int:
        """Number of sources, 1 + L (H + 1)."""
        return len(self.sources)

    @cached_property
    def n_edges(self) -> int:
        """Number of edges."""
        return sum(self.reads)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Number of the first edge into each destination."""
        return tuple(torch.tensor((0, *self.reads[:-1])).cumsum(0).tolist())

    @cached_property
    def source(self) -> Int[Tensor, " edge"]:
        """Number of each edge's source, among `sources`."""
        return torch.cat([torch.arange(count) for count in self.reads])

    @cached_property
    def destination(self) -> Int[Tensor, " edge"]:
        """Number of each edge's destination, among `destinations`."""
        return torch.repeat_interleave(torch.tensor(self.reads))

    def nodes_of(self, destination: int) -> range:
        """Numbers of the nodes that a destination belongs to: one, or the heads of a group.

        Args:
            destination: its number among `destinations`.
        """
        if destination == len(self.destinations) - 1:
            return range(self.n_forward, self.n_forward + 1)
        step, slots = self.n_heads + 1, self.n_heads + 2 * self.n_groups
        layer, place = divmod(destination, slots + 1)
        first = 1 + layer * step
        if place == slots:
            return range(first + self.n_heads, first + step)
        if place < self.n_heads:
            return range(first + place, first + place + 1)
        size = self.n_heads // self.n_groups
        group = (place - self.n_heads) % self.n_groups
        return range(first + group * size, first + (group + 1) * size)

    def edges_into(self, destination: int) -> slice:
        """The edges into a destination, by its number."""
        return slice(self.starts[destination], self.starts[destination] + self.reads[destination])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of every edge, by its number."""
        return tuple(
            f"{source}->{name}"
            for name, count in zip(self.destinations, self.reads, strict=True)
            for source in self.sources[:count]
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Number of every source and destination, by name."""
        sources = {name: number for number, name in enumerate(self.sources)}
        return sources | {f">{name}": number for number, name in enumerate(self.destinations)}

    def index(self, edge: str) -> int:
        """Number of an edge, by its name.

        Args:
            edge: such as `a0.h1->a2.h0<q>`.

        Raises:
            ValueError: one line, for a name that is no edge of this graph, with the nearest that are.

        Example:
            >>> import patching
            >>> graph = patching.circuits.Graph(12, 12, 12)
            >>> graph.n_edges, graph.names[graph.index("m11->logits")]
            (32491, 'm11->logits')
        """
        source, arrow, destination = str(edge).strip().partition("->")
        if not arrow:
            raise ValueError(
                f"edge got {edge!r}; expected source->destination, such as {self.names[-1]!r}"
            )
        if source not in self._numbers:
            raise ValueError(f"edge {edge!r} starts at {self._unknown(source, self.sources)}")
        if f">{destination}" not in self._numbers:
            raise ValueError(f"edge {edge!r} ends at {self._unknown(destination, self.destinations)}")
        first, last = self._numbers[source], self._numbers[f">{destination}"]
        if first >= self.reads[last]:
            raise ValueError(
                f"edge {edge!r} closes a cycle: {source} is computed after what {destination} reads; "
                f"expected a source up to {self.sources[self.reads[last] - 1]}"
            )
        return self.starts[last] + first

    def _unknown(self, name: str, known: tuple[str, ...]) -> str:
        """What to say of a node that there is not."""
        near = get_close_matches(name, known, n=3, cutoff=0.5) or [*known[:2], known[-1]]
        grouped = self.n_groups < self.n_heads and name.endswith(("<k>", "<v>"))
        note = f"; keys and values belong to groups, g0 to g{self.n_groups - 1}" if grouped else ""
        return f"{name!r}, which is no such node of {self!r}; nearest: {', '.join(near)}{note}"

    def node(self, name: str) -> int:
        """Number of a node among `nodes`, by its name.

        Args:
            name: such as `a2.h0`, `m3`, `input` or `logits`.

        Raises:
            ValueError: one line, for a node that there is not.
        """
        if name == LOGITS:
            return self.n_forward
        if name not in self._numbers or name.startswith(">"):
            raise ValueError(f"node got {self._unknown(name, self.nodes)}")
        return self._numbers[name]

    def reached(
        self, mask: Bool[Tensor, "*circuit edge"], node: str = INPUT
    ) -> Bool[Tensor, "*circuit node"]:
        """Which nodes a node reaches through the edges of a mask, itself among them.

        Args:
            mask: True at the edges that are there; of several circuits, each is followed by itself.
            node: where the paths begin.
        """
        seen = torch.zeros(*mask.shape[:-1], self.n_forward + 1, dtype=torch.bool)
        seen[..., self.node(node)] = True
        for number, count in enumerate(self.reads):
            nodes = self.nodes_of(number)
            fed = (mask[..., self.edges_into(number)] & seen[..., :count]).any(-1, keepdim=True)
            seen[..., nodes.start : nodes.stop] |= fed
        return seen

    def reaching(
        self, mask: Bool[Tensor, "*circuit edge"], node: str = LOGITS
    ) -> Bool[Tensor, "*circuit node"]:
        """Which nodes reach a node through the edges of a mask, itself among them.

        Args:
            mask: True at the edges that are there; of several circuits, each is followed by itself.
            node: where the paths end.
        """
        seen = torch.zeros(*mask.shape[:-1], self.n_forward + 1, dtype=torch.bool)
        seen[..., self.node(node)] = True
        for number in reversed(range(len(self.reads))):
            nodes = self.nodes_of(number)
            alive = seen[..., nodes.start : nodes.stop].any(-1, keepdim=True)
            seen[..., : self.reads[number]] |= mask[..., self.edges_into(number)] & alive
        return seen

    def pruned(self, mask: Bool[Tensor, "*circuit edge"]) -> Bool[Tensor, "*circuit edge"]:
        """The edges of a mask that lie on some path from the input to the logits.

        Args:
            mask: True at the edges that are there; of several circuits, each by itself.

        Returns:
            The mask without the others. A key, value or query that is fed keeps its head alive.
        """
        start, end = self.reached(mask), self.reaching(mask)
        owners = [self.nodes_of(d) for d in range(len(self.reads))]
        used = torch.stack([end[..., n.start : n.stop].any(-1) for n in owners], -1)
        return mask & start[..., self.source] & used[..., self.destination]

    def ancestors(self, node: str, edges: Iterable[str] | None = None) -> tuple[str, ...]:
        """Nodes from which a path leads to this one, in order.

        Args:
            node: its name.
            edges: names of the edges that paths may take; all by default.
        """
        return self._others(self.reaching(self.mask(edges), node), node)

    def descendants(self, node: str, edges: Iterable[str] | None = None) -> tuple[str, ...]:
        """Nodes to which a path leads from this one, in order.

        Args:
            node: its name.
            edges: names of the edges that paths may take; all by default.
        """
        return self._others(self.reached(self.mask(edges), node), node)

    def _others(self, seen: Bool[Tensor, " node"], node: str) -> tuple[str, ...]:
        """Names of the nodes that were seen, without the one that was asked about."""
        return tuple(
            n for n, there in zip(self.nodes, seen.tolist(), strict=True) if there and n != node
        )

    def mask(self, edges: Iterable[str] | None = None) -> Bool[Tensor, " edge"]:
        """True at the named edges, at all of them by default.

        Args:
            edges: their names.

        Raises:
            ValueError: one line, for a name that is no edge.
        """
        chosen = torch.full((self.n_edges,), edges is None, dtype=torch.bool)
        if edges is not None:
            chosen[[self.index(name) for name in edges]] = True
        return chosen
