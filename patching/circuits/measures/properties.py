"""Whether a circuit holds all that matters, and only that: completeness and minimality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp import stats
from interp.arguments import at_least_one
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric
from interp.models.model import Model
from patching.circuits.circuit import Circuit
from patching.circuits.measures.runs import run_named
from patching.circuits.running.setting import Choices, Setting


def completeness(
    model: Model,
    contrast: Contrast,
    circuit: Circuit,
    metric: Metric | Callable[..., Any],
    *,
    draws: int = 20,
    share: float = 0.3,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Evidence:
    """Take random parts out of the circuit, and the same out of the whole graph (2211.00593).

    A complete circuit C behaves like the model M also when a part K of it is gone: m(C without K) and
    m(M without K) are close for every K. Where the model keeps its behaviour without K and the circuit
    does not, edges outside of the circuit stand in for K.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        circuit: C.
        metric: read on every run.
        draws: how many parts K are drawn.
        share: of the circuit's edges that each K holds.
        seed: of the draws and of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Evidence of method "circuit": conditions "circuit_without" and "model_without" for each K, and
        "full" and "empty"; the raw metric in its unit. Columns that vary: draw (the number of K), share
        (of all edges that are left), donor (the ablation), span (the positions), example.

    Raises:
        ValueError: for a share outside 0 to 1, or a circuit of another graph.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> texts = "The home of Farid Jansen is", "The home of Pavel Grimm is"
        >>> pairs = interp.Contrast.from_text(model, *texts, "Norvik", "Quarno")
        >>> metric = interp.logit_difference(pairs)
        >>> circuit = patching.circuits.score_edges(model, pairs, metric).top(100)
        >>> runs = patching.circuits.completeness(model, pairs, circuit, metric, draws=3)
        >>> runs.table["draw"].nunique()
        3
    """
    if not 0 < share < 1:
        raise ValueError(f"share got {share:g}; expected between 0 and 1, such as .3")
    setting = Setting.of(model, contrast, metric, seed, **choices)
    setting.parts.graph.require(circuit.graph, "circuit")
    inside = circuit.mask.nonzero()[:, 0]
    taken = max(1, int(share * len(inside)))
    generator = torch.Generator().manual_seed(seed)
    masks: list[Bool[Tensor, " edge"]] = []
    columns: list[dict[str, Any]] = []
    for draw in range(at_least_one("draws", draws)):
        part = inside[torch.randperm(len(inside), generator=generator)[:taken]]
        for condition, whole in (("circuit_without", circuit.mask), ("model_without", None)):
            mask = circuit.graph.mask() if whole is None else whole.clone()
            mask[part] = False
            masks.append(mask)
            left = int(mask.sum()) / circuit.graph.n_edges
            columns.append({"condition": condition, "draw": draw, "share": left})
    return run_named(setting, masks, columns)


def minimality(
    model: Model,
    contrast: Contrast,
    circuit: Circuit,
    metric: Metric | Callable[..., Any],
    *,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Evidence:
    """Take each edge out of the circuit: in a minimal one every edge is missed (2211.00593).

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        circuit: whose edges are taken out one by one.
        metric: read on every run.
        seed: of resampling.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Evidence of method "circuit": condition "circuit_without" for each edge, "circuit" for all of
        them, and "full" and "empty"; the raw metric in its unit. Columns that vary: sender and
        receivers (of the edge), share, donor (the ablation), span (the positions), example.

    Raises:
        ValueError: for a circuit of another graph, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> texts = "The home of Farid Jansen is", "The home of Pavel Grimm is"
        >>> pairs = interp.Contrast.from_text(model, *texts, "Norvik", "Quarno")
        >>> metric = interp.logit_difference(pairs)
        >>> circuit = patching.circuits.score_edges(model, pairs, metric).top(10)
        >>> runs = patching.circuits.minimality(model, pairs, circuit, metric)
        >>> len(runs) == len(circuit) + 3
        True
    """
    setting = Setting.of(model, contrast, metric, seed, **choices)
    setting.parts.graph.require(circuit.graph, "circuit")
    graph, n = circuit.graph, len(circuit)
    masks = [circuit.mask]
    columns: list[dict[str, Any]] = [{"condition": "circuit", "share": n / graph.n_edges}]
    for edge in circuit.mask.nonzero()[:, 0].tolist():
        mask = circuit.mask.clone()
        mask[edge] = False
        masks.append(mask)
        sender, receiver = graph.names[edge].split("->")
        columns.append(
            {
                "condition": "circuit_without",
                "sender": sender,
                "receivers": receiver,
                "share": (n - 1) / graph.n_edges,
            }
        )
    return run_named(setting, masks, columns)


def edge_auroc(scores: Any, truth: Circuit, *, absolute: bool = True) -> float:
    """How well scores tell the true edges from the others: the area under the ROC curve.

    An edge without a score ranks below all others, so a true edge that was missed counts as a miss.

    Args:
        scores: `EdgeScores`, or a `Circuit` with or without scores.
        truth: the known circuit.
        absolute: whether the size of a score counts, whatever its sign.

    Returns:
        Share of the pairs of a true and another edge in which the true one scores higher; ties count
        half.

    Raises:
        ValueError: for scores of another graph, or a truth of no edges or of all.

    Example:
        >>> import patching
        >>> graph = patching.circuits.Graph(1, 1, 1)
        >>> truth = patching.circuits.Circuit.from_names(graph, ["input->m0", "m0->logits"])
        >>> patching.circuits.edge_auroc(truth, truth)
        1.0
    """
    if scores.graph != truth.graph:
        raise ValueError(
            f"scores are of {scores.graph!r}, the truth of {truth.graph!r}; give one's own"
        )
    if not 0 < len(truth) < truth.graph.n_edges:
        raise ValueError(f"truth holds {len(truth)} of {truth.graph.n_edges}; expected some, not all")
    if isinstance(scores, Circuit):
        mean = scores.mask.float() if scores.scores is None else scores.scores
    else:
        mean = scores.mean
    size = (mean.abs() if absolute else mean).double().nan_to_num(nan=-np.inf).cpu().numpy()
    rank = np.unique(size, return_inverse=True)[1].astype(float)  # without infinities
    return stats.auroc(rank, truth.mask.cpu().numpy())
