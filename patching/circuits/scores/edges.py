"""Every edge's score on every pair, by one of many methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.arguments import at_least_one
from interp.contrasts import Contrast
from interp.metrics import Metric
from interp.models.model import Model
from interp.progress import tracked
from patching.circuits.running.setting import Choices, Prepared, Setting
from patching.circuits.scores.baselines import information_flow, weight_sizes
from patching.circuits.scores.exact import exact_scores
from patching.circuits.scores.relevance import relevance_rules
from patching.circuits.scores.results import EdgeScores, fields_of
from patching.circuits.scores.slopes import Slopes, first_order, slopes

Method = Literal[
    "exact",
    "eap",
    "eap_ig",
    "eap_ig_activations",
    "clean_corrupted",
    "relp",
    "information_flow",
    "weights",
    "random",
]


def score_edges(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    method: Method = "eap_ig",
    steps: int = 5,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> EdgeScores:
    """How much each edge of the model carries of the metric, for every pair.

    m(clean) - m(clean, one edge ablated): along the edge its destination reads the source's ablated
    output, and nothing else changes before it computes. "exact" runs that, for every edge, on the
    sweep engine; the others estimate it from gradients ∂m/∂(what the destination reads before its
    norm), or rank edges by something else:

    - "eap": (clean output - ablated output) · gradient of the clean run (2310.10348);
    - "clean_corrupted": with the mean gradient of the clean run and of the run of the ablated input;
    - "eap_ig": with the mean over `steps` inputs between the two (EAP-IG, 2403.17806);
    - "eap_ig_activations": with the mean over runs in which one node's output, or that of the heads of
      one layer, lies between its ablated and its clean value;
    - "relp": with what relevance propagation sends back in place of the gradient (2508.21258);
    - "information_flow": the source's share of what the destination reads (2403.00824);
    - "weights": the size of the product of their weights; "random": chance.

    Args:
        model: the model that runs.
        contrast: aligned pairs; the clean prompts run.
        metric: for instance `interp.logit_difference(contrast)`.
        method: see above.
        steps: of integrated gradients.
        seed: of resampling, and of "random".
        **choices: `ablation`, what an ablated edge carries: "counterfactual" (the corrupted prompt's,
            the default), "mean", "mean_per_position", "zero" or "resample"; `positions`, where: "all"
            (the default), or the name of a span or position; `reference`, prompts behind means and
            resampling, the clean ones by default; `max_bytes`, memory in bytes for activations beside
            the model, which changes no number.

    Returns:
        Scores of every edge on every pair, in the metric's unit.

    Raises:
        ValueError: for words that are not offered, a model whose residual stream is not the plain sum
            of what its heads and MLPs write, or a metric without a gradient.

    Note:
        All but "exact" are screens: `patching.circuits.verify` patches what they rank highest.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> scores = patching.circuits.score_edges(model, pairs, interp.logit_difference(pairs))
        >>> scores
        EdgeScores(1,108 edges by eap_ig on 1 pairs, ablation 'counterfactual' at 'all', in logits)
    """
    if method not in get_args(Method):
        raise ValueError(f"method got {method!r}; expected one of {', '.join(get_args(Method))}")
    steps = at_least_one("steps", steps)
    setting = Setting.of(model, contrast, metric, seed, **choices)
    return edge_scores(setting, method, steps, seed)


def edge_scores(setting: Setting, method: Method, steps: int = 5, seed: int = 0) -> EdgeScores:
    """Scores of every edge in a setting; see `score_edges`."""
    unit = {"information_flow": "share", "weights": "weights", "random": "share"}
    fields = fields_of(setting)
    fields["unit"] = unit.get(method, fields["unit"])
    values = _values(setting, method, steps, seed).cpu()
    return EdgeScores(values=values, method=method, **fields)


def _values(setting: Setting, method: Method, steps: int, seed: int) -> Float[Tensor, "edge example"]:
    """The numbers of one method."""
    graph, n = setting.parts.graph, len(setting.contrast)
    if method == "exact":
        return exact_scores(setting)
    if method == "random":
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(graph.n_edges, generator=generator)[:, None].expand(-1, n)
    if method == "weights":
        return weight_sizes(setting.parts)[:, None].expand(-1, n)
    values = torch.empty(
        graph.n_edges, n, dtype=setting.model.metric_dtype, device=setting.model.device
    )
    for prepared in setting.prepared("edges"):
        if method == "information_flow":
            scores = information_flow(setting.parts, prepared)
        else:
            scores = first_order(setting, prepared, _slopes(setting, prepared, method, steps))
        values[:, prepared.batch.rows] = scores.to(values.dtype)
    return values


def _slopes(setting: Setting, prepared: Prepared, method: Method, steps: int) -> Slopes:
    """The gradients that a first-order method multiplies with."""
    clean, ablated = prepared.nodes.outputs[0], prepared.carried[0]
    if method == "relp":
        with relevance_rules(setting.parts):
            return slopes(setting, prepared, clean)
    if method == "eap":
        return slopes(setting, prepared, clean)
    if method == "clean_corrupted":
        return _mean([slopes(setting, prepared, end) for end in (clean, ablated)])
    if method == "eap_ig":
        between = (ablated + alpha * (clean - ablated) for alpha in _midpoints(steps))
        return _mean([slopes(setting, prepared, point) for point in between])
    return _mean_over_nodes(setting, prepared, steps)


def _midpoints(steps: int) -> list[float]:
    """Where an integral over 0..1 is read; the midpoint rule's error falls with steps⁻²."""
    return [(i + 0.5) / steps for i in range(steps)]


def _mean(runs: Sequence[Slopes]) -> Slopes:
    """The mean of several runs' slopes."""
    of = [torch.stack(parts).mean(0) for parts in zip(*(run.of for run in runs), strict=True)]
    return Slopes(of, torch.stack([run.metric for run in runs]).mean(0))


def _mean_over_nodes(setting: Setting, prepared: Prepared, steps: int) -> Slopes:
    """Mean slopes of runs in which one node, or one layer's heads, lie between ablated and clean."""
    graph, clean, ablated = setting.parts.graph, prepared.nodes.outputs, prepared.carried
    firsts = [0]
    for layer in range(graph.n_layers):
        node = 1 + layer * (graph.n_heads + 1)
        firsts += [node, node + graph.n_heads]
    total: Slopes | None = None
    count = 0
    for moved in tracked(firsts, None):
        for alpha in _midpoints(steps):

            def change(first: int, outputs: Tensor, moved: int = moved, alpha: float = alpha) -> Tensor:
                if first != moved:
                    return outputs
                some = slice(first, first + len(outputs))
                return ablated[some] + alpha * (clean[some] - ablated[some])

            found, count = slopes(setting, prepared, clean[0], change), count + 1
            if total is None:
                total = found
            else:
                of = [a + b for a, b in zip(total.of, found.of, strict=True)]
                total = Slopes(of, total.metric + found.metric)
    assert total is not None
    return Slopes([part / count for part in total.of], total.metric / count)
