"""Circuits chosen from scores: by number, by threshold, or grown from the logits; and their check."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import torch

from interp.arguments import at_least_one
from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics import Metric
from interp.models.model import Model
from patching.circuits.circuit import Circuit
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores
from patching.circuits.scores.results import EdgeScores, fields_of
from patching.engine.schedule import MAX_BYTES


def above(scores: EdgeScores, threshold: float, *, absolute: bool = True) -> Circuit:
    """The circuit of all edges whose mean score reaches a threshold.

    Args:
        scores: of every edge.
        threshold: in the unit of the scores.
        absolute: whether the size counts, whatever the sign.

    Returns:
        The circuit, without edges on no path from the input to the logits.

    Raises:
        ValueError: for a threshold that is no number.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> scores = patching.circuits.score_edges(model, pairs, interp.logit_difference(pairs))
        >>> len(patching.circuits.above(scores, 1e9))
        0
    """
    if math.isnan(threshold):
        raise ValueError(f"threshold got {threshold}; expected a number in {scores.unit}")
    mean = scores.mean.abs() if absolute else scores.mean
    return Circuit(scores.graph, (mean >= threshold).cpu(), scores.mean.cpu()).pruned()


def greedy(scores: EdgeScores, n: int, *, absolute: bool = True) -> Circuit:
    """Grow a circuit down from the logits, each time by the best edge into a node that is in it.

    Every edge then leads to the logits; an edge whose destination never enters is not taken, however
    high its score.

    Args:
        scores: of every edge.
        n: edges taken before pruning.
        absolute: whether the size counts, whatever the sign.

    Returns:
        The circuit, without edges that no path from the input reaches.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> scores = patching.circuits.score_edges(model, pairs, interp.logit_difference(pairs))
        >>> grown = patching.circuits.greedy(scores, 30)
        >>> "logits" in grown.nodes
        True
    """
    graph, n = scores.graph, at_least_one("n", n)
    size = (scores.mean.abs() if absolute else scores.mean).nan_to_num(nan=-torch.inf).tolist()
    into: dict[int, list[int]] = {}
    for destination in range(len(graph.destinations)):
        for node in graph.nodes_of(destination):
            into.setdefault(node, []).append(destination)
    mask = torch.zeros(graph.n_edges, dtype=torch.bool)
    waiting: list[tuple[float, int]] = []
    reached: set[int] = set()

    def enter(node: int) -> None:
        if node in reached:
            return
        reached.add(node)
        for destination in into.get(node, ()):
            edges = range(graph.edges_into(destination).start, graph.edges_into(destination).stop)
            for edge in edges:
                heapq.heappush(waiting, (-size[edge], edge))

    enter(graph.n_forward)
    taken = 0
    while waiting and taken < n:
        value, edge = heapq.heappop(waiting)
        if value == torch.inf or bool(mask[edge]):
            continue
        mask[edge], taken = True, taken + 1
        enter(int(graph.source[edge]))
    return Circuit(graph, mask, scores.mean.cpu()).pruned()


def verify(
    model: Model,
    contrast: Contrast,
    scores: EdgeScores,
    metric: Metric | Callable[..., Any],
    *,
    n: int = 200,
    sample: int = 50,
    reference: Examples | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> EdgeScores:
    """Patch the edges that a screen ranks highest exactly, and a random sample of the others.

    Args:
        model: the model that runs.
        contrast: the pairs; those that were screened, or others.
        scores: of a screen; its ablation and positions are used.
        metric: read on every run.
        n: how many of the largest edges are patched.
        sample: how many of the others, drawn at random; they show what the screen would have missed.
        reference: prompts behind means and resampling: those that the screen was given.
        seed: of the sample and of resampling.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Exact scores of these edges; NaN for all others.

    Raises:
        ValueError: for scores of another graph, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> metric = interp.logit_difference(pairs)
        >>> screen = patching.circuits.score_edges(model, pairs, metric)
        >>> exact = patching.circuits.verify(model, pairs, screen, metric, n=10, sample=5)
        >>> int(exact.mean.isfinite().sum())
        15
    """
    setting = Setting.of(
        model,
        contrast,
        metric,
        seed,
        ablation=scores.ablation,
        positions=scores.positions,
        reference=reference,
        max_bytes=max_bytes,
    )
    setting.parts.graph.require(scores.graph, "scores")
    sample = at_least_one("sample", sample) if sample else 0
    order = scores.order(absolute=True)
    mask = torch.zeros(scores.graph.n_edges, dtype=torch.bool)
    mask[order[: at_least_one("n", n)]] = True
    others = order[n:]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:sample]
    mask[others[drawn]] = True
    return EdgeScores(values=exact_scores(setting, mask).cpu(), method="exact", **fields_of(setting))
