"""Every node's score on every pair: all edges out of it ablated at once, or its weights exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from interp.contrasts import Contrast
from interp.metrics import Metric
from interp.models.model import Model
from patching.attribution.gradients import Batch
from patching.circuits.running.parts import Nodes
from patching.circuits.running.setting import Choices, Prepared, Setting
from patching.circuits.scores.results import NodeScores, fields_of, site_of
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add


def score_nodes(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> NodeScores:
    """How much each node carries of the metric: m(clean) - m(clean, all edges out of it ablated).

    Exact, on the sweep engine; a head behind a norm is taken out of the norm's output.

    Args:
        model: the model that runs.
        contrast: aligned pairs; the clean prompts run.
        metric: for instance `interp.logit_difference(contrast)`.
        seed: of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

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
    setting = Setting.of(model, contrast, metric, seed, **choices)
    return node_scores(setting)


def node_scores(setting: Setting) -> NodeScores:
    """Scores of every node in a setting; see `score_nodes`."""
    nodes = setting.parts.graph.n_forward
    values = torch.empty(nodes, len(setting.contrast), dtype=setting.model.metric_dtype)
    for prepared in setting.prepared():
        values[:, prepared.batch.rows.cpu()] = _score_batch(setting, prepared).to(values)
    return NodeScores(values=values, **fields_of(setting))


def _score_batch(setting: Setting, prepared: Prepared) -> Float[Tensor, "node row"]:
    """One batch's scores, every node that changes anything a cell of one sweep."""
    rows, change = prepared.batch.rows, prepared.change
    examples = setting.contrast.clean.subset(rows.tolist())
    differs = (change != 0).any(-1)
    start = int(differs.any(0).any(0).int().argmax())
    columns = prepared.batch.columns
    where = torch.zeros_like(examples.mask).scatter_(1, columns[:, start:], True)
    row = torch.arange(len(rows), device=columns.device)[:, None]
    moved = differs.flatten(1).any(1).nonzero()[:, 0].tolist()
    cells = []
    for node in moved:
        full = change.new_zeros(*examples.mask.shape, change.shape[-1])
        full[row, columns] = -change[node]
        cells.append(Cell((Edit(site_of(setting.parts.graph, node), where, Add(full)),)))
    metrics = {"metric": setting.metric.subset(rows)}
    swept = sweep(
        setting.model, examples, cells, metrics, max_bytes=setting.max_bytes // 2, progress="nodes"
    )
    scores = swept.values["metric"].new_zeros(len(change), len(rows))
    scores[moved] = swept.baseline["metric"] - swept.values["metric"]
    return scores


def exchanged_scores(setting: Setting, other: Model) -> NodeScores:
    """m(clean) - m(clean with one node's weights from another model), for every node and pair.

    To what the node writes is added what the other model's node would write more on the input that it
    has in the model's own run: a node whose weights are the same scores exactly zero.

    Args:
        setting: the model that runs, and the pairs.
        other: of the same architecture.
    """
    own, theirs = setting.parts, replace(setting.parts, model=other)

    def source(batch: Batch, nodes: Nodes) -> Float[Tensor, "source row position d"]:
        apart = theirs.on_inputs(nodes, batch.clean) - own.on_inputs(nodes, batch.clean)
        return nodes.outputs + apart

    exchanged = replace(setting, source=source, _kept=[])
    return replace(node_scores(exchanged), ablation=other.role)
