"""Circuits found by exact removal: edges go one by one where the metric does not miss them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.contrasts import Contrast
from interp.metrics import Metric
from interp.models.model import Model
from interp.progress import tracked
from patching.circuits.circuit import Circuit
from patching.circuits.running.passes import Below, circuit_values
from patching.circuits.running.setting import Choices, Setting

#: Removals that are tried in one run, each with those before it.
TOGETHER = 16


def prune(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    threshold: float,
    start: Circuit | None = None,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Circuit:
    """Remove edges one by one, from the logits down, where the mean metric falls by less (ACDC).

    For each destination from the last to the first, and for each edge into it from the last source to
    the first: the edge is ablated for good if m(circuit) - m(circuit without it) < threshold, m the
    mean over pairs of the run of the circuit as it then stands (2304.14997). Removals are tried in
    chains of several, from the destination's block on; the result is that of one at a time. Without a
    start this is ACDC on the whole graph; with the best edges of a screen it prunes these exactly, at
    a small part of the cost.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        metric: higher where the behaviour is there.
        threshold: in the metric's unit, above 0.
        start: the circuit that is pruned; all edges by default.
        seed: of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        What is left, without edges on no path from the input to the logits. Its scores are the fall of
        the metric when each edge was tried, NaN for edges outside of the start.

    Raises:
        ValueError: for a threshold of 0 or less, a start of another graph, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> metric = interp.logit_difference(pairs)
        >>> start = patching.circuits.score_edges(model, pairs, metric).top(200)
        >>> found = patching.circuits.prune(model, pairs, metric, threshold=0.2, start=start)
        >>> 0 < len(found) < len(start)
        True
    """
    setting = Setting.of(model, contrast, metric, seed, **choices)
    graph = setting.parts.graph
    if not threshold > 0:
        raise ValueError(
            f"threshold must be above 0, got {threshold:g}; it is in {setting.metric.unit}"
        )
    if start is not None:
        setting.parts.graph.require(start.graph, "start")
    mask = graph.mask() if start is None else start.mask.clone()
    falls = torch.full((graph.n_edges,), float("nan"))
    below = Below.of(setting, mask)
    current = float(circuit_values(setting, mask[None]).mean())
    for destination in tracked(list(reversed(range(len(graph.destinations)))), "edges", "destinations"):
        layer = _block(setting, destination)
        edges = _last_first(setting, mask, destination)
        while len(edges):
            some = edges[:TOGETHER]
            chain = mask.repeat(len(some), 1)
            for i, edge in enumerate(some.tolist()):
                chain[i:, edge] = False
            values = circuit_values(setting, chain, below=replace(below, layer=layer)).mean(1).tolist()
            done = 0
            for edge, value in zip(some.tolist(), values, strict=True):
                falls[edge] = current - value
                done += 1
                if current - value >= threshold:
                    break  # it stays: those after it were tried without it
                mask[edge], current = False, value
            edges = edges[done:]
    return Circuit(graph, mask, falls).pruned()


def _block(setting: Setting, destination: int) -> int:
    """The block that a destination belongs to; L for the logits."""
    graph = setting.parts.graph
    return destination // (graph.n_heads + 2 * graph.n_groups + 1)


def _last_first(
    setting: Setting, mask: Bool[Tensor, " edge"], destination: int
) -> Int[Tensor, " inside"]:
    """The edges into a destination that are there, from the last source to the first."""
    graph = setting.parts.graph
    inside = mask[graph.edges_into(destination)].nonzero()[:, 0]
    return (inside + graph.starts[destination]).flip(0)
