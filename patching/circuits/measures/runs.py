"""Circuits run on pairs of prompts: those of a ranking at every size, and given ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric
from interp.models.model import Model
from patching.circuits.circuit import Circuit
from patching.circuits.running.passes import circuit_values
from patching.circuits.running.setting import Choices, Setting
from patching.circuits.scores.results import EdgeScores

#: Sizes of circuits as shares of the number of edges (MIB, 2504.13151).
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

#: How edges are ranked: by score, or by its size.
RANKINGS = ("signed", "absolute")


def evaluate(
    model: Model,
    contrast: Contrast,
    scores: EdgeScores,
    metric: Metric | Callable[..., Any],
    *,
    sizes: Sequence[float] = SIZES,
    complement: bool = False,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Evidence:
    """Run the circuits of the highest scores, at each size and by both rankings (MIB, 2504.13151).

    Of N edges the circuit of size s holds the first int(s N), signed or by size, without those on no
    path from the input to the logits. Every edge outside carries its source's ablated output.

    Args:
        model: the model that runs; of the graph that the scores are of.
        contrast: aligned pairs, better others than those that the scores were made on.
        scores: of every edge.
        metric: read on every run.
        sizes: shares of the number of edges.
        complement: whether the edges outside are run as circuits too.
        seed: of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Evidence of method "circuit": conditions "signed" and "absolute" (and "signed_complement",
        "absolute_complement"), "full" (all edges: the model) and "empty" (none); the raw metric in
        its unit. Columns that vary: share (the size), donor (the ablation), span (the positions),
        example. `faithfulness` and `benchmark_areas` read it.

    Raises:
        ValueError: for scores of another graph, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> metric = interp.logit_difference(pairs)
        >>> scores = patching.circuits.score_edges(model, pairs, metric)
        >>> runs = patching.circuits.evaluate(model, pairs, scores, metric, sizes=(0.1, 1.0))
        >>> curve = patching.circuits.faithfulness(runs)
        >>> curve.loc[curve["share"] == 1, "estimate"].round(4).tolist()
        [1.0, 1.0]
    """
    setting = Setting.of(model, contrast, metric, seed, **choices)
    setting.parts.graph.require(scores.graph, "scores")
    masks, columns = ranked_masks(scores, sizes, complement=complement)
    return run_named(setting, masks, columns, scores.method)


def ranked_masks(
    scores: EdgeScores, sizes: Sequence[float], *, complement: bool = False
) -> tuple[list[Bool[Tensor, " edge"]], list[dict[str, Any]]]:
    """The circuits of each ranking and size, with their columns.

    Raises:
        ValueError: for a size that is no share, or one of more edges than have a score.
    """
    if not sizes or not all(0 < size <= 1 for size in sizes):
        raise ValueError(f"sizes got {list(sizes)}; expected shares of the edges, above 0 and up to 1")
    graph, masks, columns = scores.graph, [], []
    for ranking in RANKINGS:
        order = scores.order(absolute=ranking == "absolute")
        if len(order) < int(max(sizes) * graph.n_edges):
            raise ValueError(
                f"a size of {max(sizes):g} takes {int(max(sizes) * graph.n_edges):,} edges; got scores "
                f"of {len(order):,}; score every edge, or give smaller sizes="
            )
        for size in sizes:
            mask = torch.zeros(graph.n_edges, dtype=torch.bool)
            mask[order[: int(size * graph.n_edges)]] = True
            masks.append(graph.pruned(mask))
            columns.append({"condition": ranking, "share": size})
            if complement:
                masks.append(~masks[-1])
                columns.append({"condition": f"{ranking}_complement", "share": size})
    return masks, columns


def run_circuits(
    model: Model,
    contrast: Contrast,
    circuits: Circuit | Mapping[str, Circuit],
    metric: Metric | Callable[..., Any],
    *,
    complement: bool = True,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Evidence:
    """Run given circuits, and the edges outside of each as circuits too.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        circuits: one, or several by name.
        metric: read on every run.
        complement: whether the edges outside are run too.
        seed: of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Evidence of method "circuit": conditions "circuit" and "complement", "full" and "empty"; the
        raw metric in its unit. Columns that vary: parameters (the circuit's name), share (its size),
        donor (the ablation), span (the positions), example.

    Raises:
        ValueError: for a circuit of another graph, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> graph = patching.circuits.Graph.of(model)
        >>> whole = patching.circuits.Circuit(graph, graph.mask())
        >>> metric = interp.logit_difference(pairs)
        >>> runs = patching.circuits.run_circuits(model, pairs, whole, metric)
        >>> sorted(runs.table["condition"].unique())
        ['circuit', 'complement', 'empty', 'full']
    """
    setting = Setting.of(model, contrast, metric, seed, **choices)
    named = {"circuit": circuits} if isinstance(circuits, Circuit) else dict(circuits)
    masks, columns = [], []
    for name, circuit in named.items():
        setting.parts.graph.require(circuit.graph, f"circuit {name!r}")
        share = len(circuit) / circuit.graph.n_edges
        masks.append(circuit.mask)
        columns.append({"condition": "circuit", "share": share, "parameters": name})
        if complement:
            masks.append(~circuit.mask)
            columns.append({"condition": "complement", "share": 1 - share, "parameters": name})
    return run_named(setting, masks, columns)


def run_named(
    setting: Setting,
    masks: Sequence[Bool[Tensor, " edge"]],
    columns: Sequence[Mapping[str, Any]],
    scores: str | None = None,
) -> Evidence:
    """Evidence of circuits of the setting's graph, and of the graph with all and with no edges."""
    graph, contrast = setting.parts.graph, setting.contrast
    # Small circuits often are pruned to the same, and the largest are the graph: each runs once.
    every, which = torch.stack([*masks, graph.mask(), graph.mask([])]).unique(
        dim=0, return_inverse=True
    )
    values = circuit_values(setting, every, what="circuits")[which.to(setting.model.device)]
    columns = [*columns, {"condition": "full"}, {"condition": "empty"}]
    n = len(contrast)
    varying = {key for column in columns for key in column}
    return Evidence.build(
        values.double().cpu().numpy().reshape(-1),
        **{
            key: np.repeat(np.array([c.get(key) for c in columns], dtype=object), n)
            for key in sorted(varying)
        },
        example=np.tile(np.arange(n), len(columns)),
        group=np.tile(np.array(contrast.clean.groups, dtype=object), len(columns)),
        template=np.tile(np.array(contrast.clean.templates, dtype=object), len(columns)),
        donor=setting.ablation,
        span=str(setting.positions),
        metric=setting.metric.name,
        unit=setting.metric.unit,
        model=setting.model.role,
        method="circuit",
        provenance={
            **setting.about(),
            "run": "the circuit, or its complement where the condition says so",
            "edges": graph.n_edges,
            **({"scores": scores} if scores else {}),
        },
    )
