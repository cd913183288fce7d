"""Every node's score on every pair: all edges out of it ablated at once, or its weights exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.contrasts import Contrast
from interp.display.html import ROWS, Shown
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.circuits.graph import Graph
from patching.circuits.running.ablations import Ablation
from patching.circuits.running.setting import Prepared, Setting, metric_of_rows
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add


@dataclass(frozen=True, eq=False, repr=False)
class NodeScores(Shown):
    """A score of every node on every pair; above zero where ablating the node lowers the metric.

    Attributes:
        graph: the graph of the model; the nodes are its sources.
        values: of every node and pair.
        ablation: what stands for the node's output; "tuned" or "base" for the other model's node.
        positions: where.
        metric: name of the metric.
        unit: its unit.
        groups: the entity of each pair.
        templates: the form of each pair's prompt.
        model: role of the model that ran.
    """

    graph: Graph
    values: Float[Tensor, "node example"]
    ablation: str
    positions: str | int
    metric: str
    unit: str
    groups: tuple[str, ...]
    templates: tuple[str, ...]
    model: str

    def __repr__(self) -> str:
        """How many nodes and pairs."""
        return (
            f"NodeScores({self.values.shape[0]:,} nodes on {self.values.shape[1]} pairs, ablation "
            f"{self.ablation!r} at {self.positions!r}, in {self.unit})"
        )

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        mean = self.mean
        order = mean.abs().argsort(descending=True)[:ROWS].tolist()
        return ("node", "score"), [(self.graph.sources[i], float(mean[i])) for i in order], len(mean)

    @property
    def mean(self) -> Float[Tensor, " node"]:
        """Mean over pairs."""
        return self.values.mean(1)

    def evidence(self) -> Evidence:
        """A row for each node and pair.

        Returns:
            Evidence of method "circuit_nodes": condition "ablated"; columns sender, kind, layer and
            head of the node, donor (the ablation), span (the positions), example.
        """
        nodes, n = self.graph.sources, self.values.shape[1]
        sites = [site_of(self.graph, i) for i in range(len(nodes))]
        heads = [int(name.split(".h")[1]) if ".h" in name else None for name in nodes]
        return Evidence.build(
            self.values.double().cpu().numpy().reshape(-1),
            sender=np.repeat(np.array(nodes, dtype=object), n),
            kind=np.repeat(np.array([str(s.kind) for s in sites], dtype=object), n),
            layer=np.repeat([s.layer for s in sites], n),
            head=np.repeat(np.array(heads, dtype=object), n),
            example=np.tile(np.arange(n), len(nodes)),
            group=np.tile(np.array(self.groups, dtype=object), len(nodes)),
            template=np.tile(np.array(self.templates, dtype=object), len(nodes)),
            condition="ablated",
            donor=self.ablation,
            span=str(self.positions),
            metric=self.metric,
            unit=self.unit,
            model=self.model,
            method="circuit_nodes",
            provenance={
                "level": "nodes",
                "ablation": self.ablation,
                "positions": str(self.positions),
                "patched": "one node at a time",
            },
        )


def score_nodes(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    ablation: Ablation = "counterfactual",
    positions: str | int = "all",
    reference: Examples | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> NodeScores:
    """How much each node carries of the metric: m(clean) - m(clean, all edges out of it ablated).

    Exact, on the sweep engine; a head behind a norm is taken out of the norm's output.

    Args:
        model: the model that runs.
        contrast: aligned pairs; the clean prompts run.
        metric: for instance `interp.logit_difference(contrast)`.
        ablation: what stands for the node's output; see `score_edges`.
        positions: where.
        reference: prompts behind means and resampling.
        seed: of resampling.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Scores of every node on every pair, in the metric's unit.

    Raises:
        ValueError: as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> patching.circuits.score_nodes(model, pairs, interp.logit_difference(pairs))
        NodeScores(31 nodes on 1 pairs, ablation 'counterfactual' at 'all', in logits)
    """
    setting = Setting.of(model, contrast, metric, ablation, positions, reference, seed, max_bytes)
    return node_scores(setting)


def node_scores(setting: Setting) -> NodeScores:
    """Scores of every node in a setting; see `score_nodes`."""
    graph, contrast = setting.parts.graph, setting.contrast
    values = torch.empty(graph.n_forward, len(contrast), dtype=setting.model.metric_dtype)
    for prepared in setting.prepared():
        values[:, prepared.batch.rows.cpu()] = _score_batch(setting, prepared).to(values)
    return NodeScores(
        graph=graph,
        values=values,
        ablation=setting.ablation,
        positions=setting.positions,
        metric=setting.metric.name,
        unit=setting.metric.unit,
        groups=tuple(contrast.clean.groups),
        templates=tuple(contrast.clean.templates),
        model=setting.model.role,
    )


def _score_batch(setting: Setting, prepared: Prepared) -> Float[Tensor, "node row"]:
    """One batch's scores, every node a cell of one sweep."""
    rows, change = prepared.batch.rows, prepared.change
    examples = setting.contrast.clean.subset(rows.tolist())
    differs = (change != 0).any(-1).any(0).any(0)
    start = int(differs.int().argmax())
    columns = prepared.batch.columns
    where = torch.zeros_like(examples.mask).scatter_(1, columns[:, start:], True)
    row = torch.arange(len(rows), device=columns.device)[:, None]
    cells = []
    for node, lost in enumerate(change):
        full = lost.new_zeros(*examples.mask.shape, lost.shape[-1])
        full[row, columns] = -lost
        cells.append(Cell((Edit(site_of(setting.parts.graph, node), where, Add(full)),)))
    metrics = {"metric": metric_of_rows(setting.metric, rows)}
    swept = sweep(
        setting.model, examples, cells, metrics, max_bytes=setting.max_bytes // 2, progress="nodes"
    )
    return swept.baseline["metric"] - swept.values["metric"]


def site_of(graph: Graph, node: int) -> Site:
    """Where a source's output is added to the residual stream."""
    if node == 0:
        return Site(Kind.RESID_PRE, 0)
    layer, place = divmod(node - 1, graph.n_heads + 1)
    return Site(Kind.MLP_OUT if place == graph.n_heads else Kind.ATTN_OUT, layer)


def exchanged_scores(setting: Setting, other: Model) -> NodeScores:
    """m(clean) - m(clean with one node's weights from another model), for every node and pair.

    What the other model's node would write on what the node reads in the model's own run stands for
    its output: a node whose weights are the same scores exactly zero but for rounding.

    Args:
        setting: the model that runs, and the pairs.
        other: of the same architecture.
    """
    theirs = replace(setting.parts, model=other)

    def source(batch: Any, nodes: Any) -> Tensor:
        return theirs.on_inputs(nodes, batch.clean)

    exchanged = replace(setting, source=source, _kept=[])
    return replace(node_scores(exchanged), ablation=other.role)
