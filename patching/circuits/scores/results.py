"""Scores of edges: their order, the circuits of the best, and their rows as evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.arguments import at_least_one
from interp.display.html import ROWS, Shown
from interp.evidence import Evidence
from patching.circuits.circuit import Circuit
from patching.circuits.graph import Graph
from patching.circuits.running.ablations import Ablation


@dataclass(frozen=True, eq=False, repr=False)
class EdgeScores(Shown):
    """A score of every edge on every pair; above zero where ablating the edge lowers the metric.

    Attributes:
        graph: the graph of the model.
        values: of every edge and pair; NaN for edges that were not scored.
        method: what made them.
        ablation: what an ablated edge carries.
        positions: where it is ablated.
        metric: name of the metric.
        unit: its unit; "share" or "weights" of methods without a metric.
        groups: the entity of each pair, the unit of resampling.
        templates: the form of each pair's prompt.
        model: role of the model.
    """

    graph: Graph
    values: Float[Tensor, "edge example"]
    method: str
    ablation: Ablation
    positions: str | int
    metric: str
    unit: str
    groups: tuple[str, ...]
    templates: tuple[str, ...]
    model: str

    def __repr__(self) -> str:
        """How many edges and pairs, by which method."""
        return (
            f"EdgeScores({self.values.shape[0]:,} edges by {self.method} on {self.values.shape[1]} "
            f"pairs, ablation {self.ablation!r} at {self.positions!r}, in {self.unit})"
        )

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        order = self.order(absolute=True)[:ROWS]
        mean = self.mean
        rows = [(self.graph.names[i], float(mean[i])) for i in order.tolist()]
        return ("edge", "score"), rows, len(mean)

    @property
    def mean(self) -> Float[Tensor, " edge"]:
        """Mean over pairs."""
        return self.values.mean(1)

    def order(self, *, absolute: bool = False) -> Tensor:
        """Numbers of the scored edges, the highest mean score first.

        Args:
            absolute: the largest first, whatever the sign.
        """
        mean = self.mean.abs() if absolute else self.mean
        order = mean.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
        return order[mean[order].isfinite()].cpu()

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
        n = self.values.shape[1]
        names = self.graph
        return Evidence.build(
            self.values[best].double().cpu().numpy().reshape(-1),
            sender=np.repeat([names.sources[i] for i in names.source[best].tolist()], n),
            receivers=np.repeat([names.destinations[i] for i in names.destination[best].tolist()], n),
            example=np.tile(np.arange(n), len(best)),
            group=np.tile(np.array(self.groups, dtype=object), len(best)),
            template=np.tile(np.array(self.templates, dtype=object), len(best)),
            condition=self.method,
            donor=self.ablation,
            span=str(self.positions),
            metric=self.metric,
            unit=self.unit,
            model=self.model,
            method="circuit_edges",
            provenance={
                "level": "edges",
                "ablation": self.ablation,
                "positions": str(self.positions),
                "patched": "one edge at a time",
                "scores": self.method,
                "edges": len(self.values),
                "kept": len(best),
            },
        )
