"""Scores of edges and of nodes: their order, the circuits of the best, and their rows as evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.arguments import at_least_one
from interp.display.html import ROWS, Shown
from interp.evidence import Evidence
from interp.sites import Kind, Site
from patching.circuits.circuit import Circuit
from patching.circuits.graph import Graph
from patching.circuits.running.ablations import Ablation
from patching.circuits.running.setting import Setting


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Shown, ABC):
    """A score of every edge or node on every pair; above zero where ablating it lowers the metric.

    Attributes:
        graph: the graph of the model.
        values: of every edge or node, and pair; NaN for what was not scored.
        ablation: what stands for what is ablated.
        positions: where.
        metric: name of the metric.
        unit: its unit.
        groups: the entity of each pair, the unit of resampling.
        templates: the form of each pair's prompt.
        model: role of the model that ran.
    """

    graph: Graph
    values: Float[Tensor, "unit example"]
    ablation: str
    positions: str | int
    metric: str
    unit: str
    groups: tuple[str, ...]
    templates: tuple[str, ...]
    model: str

    #: What is scored, in the singular.
    scored: ClassVar[str]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of what is scored, in the order of the values."""

    def __repr__(self) -> str:
        """How many on how many pairs, and the choices behind them."""
        count, pairs = self.values.shape
        return (
            f"{type(self).__name__}({count:,} {self.scored}s{self._by()} on {pairs} pairs, ablation "
            f"{self.ablation!r} at {self.positions!r}, in {self.unit})"
        )

    def _by(self) -> str:
        return ""

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        order, mean = self.order(absolute=True)[:ROWS].tolist(), self.mean
        return (self.scored, "score"), [(self.names[i], float(mean[i])) for i in order], len(mean)

    @property
    def mean(self) -> Float[Tensor, " unit"]:
        """Mean over pairs."""
        return self.values.mean(1)

    def order(self, *, absolute: bool = False) -> Tensor:
        """Numbers of what was scored, the highest mean score first.

        Args:
            absolute: the largest first, whatever the sign.
        """
        mean = self.mean.abs() if absolute else self.mean
        order = mean.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
        return order[mean[order].isfinite()].cpu()

    def _evidence(
        self, chosen: Sequence[int], of_each: Mapping[str, Sequence[Any]], **about: Any
    ) -> Evidence:
        """A row for each of some scores and each pair."""
        n = self.values.shape[1]
        each = {name: np.repeat(np.array(values, dtype=object), n) for name, values in of_each.items()}
        return Evidence.build(
            self.values[chosen].double().cpu().numpy().reshape(-1),
            **each,
            example=np.tile(np.arange(n), len(chosen)),
            group=np.tile(np.array(self.groups, dtype=object), len(chosen)),
            template=np.tile(np.array(self.templates, dtype=object), len(chosen)),
            donor=self.ablation,
            span=str(self.positions),
            metric=self.metric,
            unit=self.unit,
            model=self.model,
            method=f"circuit_{self.scored}s",
            condition=about.pop("condition"),
            provenance={
                "level": f"{self.scored}s",
                "ablation": self.ablation,
                "positions": str(self.positions),
                "patched": f"one {self.scored} at a time",
                **about,
            },
        )


@dataclass(frozen=True, eq=False, repr=False)
class EdgeScores(Scores):
    """A score of every edge on every pair; above zero where ablating the edge lowers the metric.

    Attributes:
        graph: the graph of the model.
        values: of every edge and pair; NaN for edges that were not scored.
        ablation: what an ablated edge carries.
        positions: where it is ablated.
        metric: name of the metric.
        unit: its unit; "share" or "weights" of methods without a metric.
        groups: the entity of each pair, the unit of resampling.
        templates: the form of each pair's prompt.
        model: role of the model.
        method: what made them.
    """

    ablation: Ablation
    method: str

    scored: ClassVar[str] = "edge"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the edges."""
        return self.graph.names

    def _by(self) -> str:
        return f" by {self.method}"

    def top(self, n: int, *, absolute: bool = False, prune: bool = True) -> Circuit:
        """The circuit of the n edges with the highest mean score.

        Args:
            n: how many; fewer where so many were not scored.
            absolute: the largest, whatever their sign.
            prune: leave out the edges on no path from the input to the logits.

        Example:
            >>> import interp, patching
            >>> model = interp.load_model("organism-base")
            >>> texts = "The home of Farid Jansen is", "The home of Pavel Grimm is"
            >>> pairs = interp.Contrast.from_text(model, *texts, "Norvik", "Quarno")
            >>> scores = patching.circuits.score_edges(model, pairs, interp.logit_difference(pairs))
            >>> len(scores.top(20)) <= 20
            True
        """
        mask = torch.zeros(self.graph.n_edges, dtype=torch.bool)
        mask[self.order(absolute=absolute)[: at_least_one("n", n)]] = True
        circuit = Circuit(self.graph, mask, self.mean.cpu())
        return circuit.pruned() if prune else circuit

    def evidence(self, top: int = 1000) -> Evidence:
        """A row for each pair and each of the edges with the largest mean score.

        Args:
            top: how many edges, by size.

        Returns:
            Evidence of method "circuit_edges": condition is the method of the scores; columns sender,
            receivers, donor (the ablation), span (the positions), example.
        """
        best = self.order(absolute=True)[: at_least_one("top", top)]
        graph = self.graph
        ends = {
            "sender": [graph.sources[i] for i in graph.source[best].tolist()],
            "receivers": [graph.destinations[i] for i in graph.destination[best].tolist()],
        }
        told = {"scores": self.method, "edges": len(self.values), "kept": len(best)}
        return self._evidence(best.tolist(), ends, condition=self.method, **told)


@dataclass(frozen=True, eq=False, repr=False)
class NodeScores(Scores):
    """A score of every node on every pair; above zero where ablating the node lowers the metric.

    Attributes:
        graph: the graph of the model; the nodes are its sources.
        values: of every node and pair.
        ablation: what stands for the node's output; "tuned" or "base" for the other model's node.
        positions: where.
        metric: name of the metric.
        unit: its unit.
        groups: the entity of each pair, the unit of resampling.
        templates: the form of each pair's prompt.
        model: role of the model that ran.
    """

    scored: ClassVar[str] = "node"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return self.graph.sources

    def evidence(self) -> Evidence:
        """A row for each node and pair.

        Returns:
            Evidence of method "circuit_nodes": condition "ablated"; columns sender, kind, layer and
            head of the node, donor (the ablation), span (the positions), example.
        """
        sites = [site_of(self.graph, i) for i in range(len(self.names))]
        nodes = {
            "sender": self.names,
            "kind": [str(site.kind) for site in sites],
            "layer": [site.layer for site in sites],
            "head": [int(n.split(".h")[1]) if ".h" in n else None for n in self.names],
        }
        return self._evidence(range(len(sites)), nodes, condition="ablated")


def fields_of(setting: Setting) -> dict[str, Any]:
    """What scores made in a setting tell of it: every field but their values."""
    examples = setting.contrast.clean
    return {
        "graph": setting.parts.graph,
        "ablation": setting.ablation,
        "positions": setting.positions,
        "metric": setting.metric.name,
        "unit": setting.metric.unit,
        "groups": tuple(examples.groups),
        "templates": tuple(examples.templates),
        "model": setting.model.role,
    }


def site_of(graph: Graph, node: int) -> Site:
    """Where a source's output is added to the residual stream."""
    if node == 0:
        return Site(Kind.RESID_PRE, 0)
    layer, place = divmod(node - 1, graph.n_heads + 1)
    return Site(Kind.MLP_OUT if place == graph.n_heads else Kind.ATTN_OUT, layer)
