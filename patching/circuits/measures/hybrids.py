"""Circuits of hybrids: one model's blocks below a boundary, the other's above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import pandas as pd

from interp.contrasts import Contrast
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.models.pair import ModelPair
from patching.circuits.circuit import Circuit
from patching.circuits.running.passes import circuit_values
from patching.circuits.running.setting import Choices, Setting
from patching.circuits.scores.edges import Method, edge_scores
from patching.weights.parameters import Parameters
from patching.weights.sets import Blocks


def hybrid_circuits(
    pair: ModelPair,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    boundaries: Sequence[int] | None = None,
    n: int = 200,
    method: Method = "eap_ig",
    steps: int = 5,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> pd.DataFrame:
    """The circuit of every stitched hybrid, beside those of the two models.

    At boundary k one model's blocks 0..k-1 stand below the other's; embedding and unembedding are
    those of the model above. Where a hybrid's circuit turns from the one model's into the other's is
    where the circuit changed.

    Args:
        pair: the two models.
        contrast: aligned pairs.
        metric: read on every run.
        boundaries: 1..L-1; by default four, evenly spaced.
        n: edges of each circuit, by size of the score, before pruning.
        method: of the scores; see `score_edges`.
        steps: of integrated gradients.
        seed: of all draws.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        A row for each hybrid and, at boundaries 0 and L, for the models: below (the role of the model
        below), boundary, edges, metric (its mean), empty (without edges), like_base and like_tuned
        (Jaccard of its circuit with theirs).

    Raises:
        ValueError: for a boundary that does not divide the blocks, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> texts = "The home of Farid Jansen is", "The home of Pavel Grimm is"
        >>> pairs = interp.Contrast.from_text(pair.base, *texts, "Norvik", "Quarno")
        >>> metric = interp.logit_difference(pairs)
        >>> table = patching.circuits.hybrid_circuits(pair, pairs, metric, boundaries=[3], steps=1)
        >>> table["boundary"].tolist()
        [0, 0, 3, 3]
    """
    layers = pair.base.n_layers
    default = sorted({round(layers * i / 5) for i in range(1, 5)} & set(range(1, layers)))
    chosen = default if boundaries is None else list(boundaries)
    wrong = [k for k in chosen if not 0 < k < layers]
    if wrong:
        raise ValueError(f"boundaries got {wrong[0]}; expected 1 to {layers - 1}, between blocks")
    metric = as_metric(metric, contrast.clean)

    def found(model: Model) -> tuple[Circuit, float, float]:
        setting = Setting.of(model, contrast, metric, seed, **choices)
        circuit = edge_scores(setting, method, steps, seed).top(n, absolute=True)
        graph = circuit.graph
        ends = circuit_values(
            setting, graph.mask().new_tensor([[True], [False]]).expand(2, graph.n_edges)
        )
        return circuit, float(ends[0].mean()), float(ends[1].mean())

    own = {role: found(pair.base if role == "base" else pair.tuned) for role in ("base", "tuned")}
    rows: list[dict[str, Any]] = [_row(role, 0, own[role], own) for role in own]
    parameters = Parameters(pair)
    for k in chosen:
        for below, above in (("tuned", "base"), ("base", "tuned")):
            with parameters.grafted(above, Blocks(tuple(range(k))).select(parameters)) as hybrid:
                rows.append(_row(below, k, found(hybrid), own))
    return pd.DataFrame(rows)


def _row(
    below: str,
    boundary: int,
    found: tuple[Circuit, float, float],
    own: dict[str, tuple[Circuit, float, float]],
) -> dict[str, Any]:
    """One hybrid beside the two models."""
    circuit, full, empty = found
    alike = {f"like_{role}": _jaccard(circuit, theirs[0]) for role, theirs in own.items()}
    named = {"below": below, "boundary": boundary, "edges": len(circuit)}
    return {**named, "metric": full, "empty": empty, **alike}


def _jaccard(first: Circuit, second: Circuit) -> float:
    """Edges of both as a share of the edges of either."""
    either = int((first.mask | second.mask).sum())
    return int((first.mask & second.mask).sum()) / either if either else float("nan")
