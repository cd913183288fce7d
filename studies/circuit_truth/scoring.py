"""How well each method of scoring edges finds the circuits that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp import stats
from interp.progress import tracked
from studies.circuit_truth.catalogue import known_circuit

if TYPE_CHECKING:
    from patching.circuits import Circuit, EdgeScores

#: Methods that are compared: exact patching, its screens, and two that see no metric.
METHODS = (
    "exact", "eap", "eap_ig", "eap_ig_activations", "clean_corrupted", "relp", "information_flow",
    "weights", "random",
)  # fmt: skip

_DRAWS = 500


def score_known_circuits(
    names: Sequence[str], *, methods: Sequence[str] = METHODS, seed: int = 0
) -> pd.DataFrame:
    """Find known circuits by every method, and count how well true edges rank above the others.

    AUROC of the size of the mean score; an edge without a score ranks last, so a true edge that is
    missed counts as a miss. Intervals: BCa bootstrap over groups of prompts; those of the mean over
    models are over models.

    Args:
        names: of models, such as `known_circuit_names` lists.
        methods: as `patching.circuits.score_edges` takes them.
        seed: of the draws, and of chance.

    Returns:
        A row for each model and method: model, kind ("compiled", "trained"), method, estimate, low,
        high, n (groups), true and edges (how many of each); and for each kind and method one for the
        mean over its models, "all", n of them.

    Raises:
        ValueError: for another model or method.

    Source: Mueller et al., 2504.13151 (AUROC against a known circuit); Gupta et al., 2407.14494.

    Example:
        >>> import studies
        >>> table = studies.score_known_circuits(["tracr-histogram"], methods=["exact"])
        >>> table["model"].tolist(), float(table["estimate"][0])
        (['tracr-histogram', 'all'], 1.0)
    """
    import interp
    from patching.circuits import score_edges

    rows = []
    for name in tracked(list(names), "known circuits"):
        truth, model = known_circuit(name), interp.load_model(name)
        task = interp.load_task(model, truth.items)
        for method in methods:
            scores = score_edges(model, task.contrast, task.metric, method=method, seed=seed)  # type: ignore[arg-type]
            estimate, low, high, n = _auroc(scores, truth.circuit, seed)
            rows.append(
                {
                    "model": name, "kind": truth.kind, "method": method, "estimate": estimate,
                    "low": low, "high": high, "n": n, "true": len(truth.circuit),
                    "edges": truth.circuit.graph.n_edges,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    return pd.concat([table, _means(table, seed)], ignore_index=True)


def _auroc(scores: EdgeScores, truth: Circuit, seed: int) -> tuple[float, float, float, int]:
    """AUROC of the mean score's size, with its interval over groups of prompts."""
    labels, index = np.unique(np.asarray(scores.groups), return_inverse=True)
    member = np.eye(len(labels))[index]
    means = scores.values.double().nan_to_num(0.0).cpu().numpy() @ (member / member.sum(0))
    missing = ~scores.mean.isfinite().cpu().numpy()
    true = truth.mask.cpu().numpy()

    def ranked(counts: np.ndarray) -> np.ndarray:
        size = np.abs(means @ counts.T / counts.sum(1)).T
        size[:, missing] = -1.0
        return np.array([[stats.auroc(_ranks(row), true)] for row in size])

    found = stats.bootstrap(ranked, len(labels), draws=_DRAWS, seed=seed)
    estimate, low, high = (float(part[0]) for part in found)
    return estimate, low, high, len(labels)


def _ranks(size: np.ndarray) -> np.ndarray:
    """Ranks in which sizes that differ by rounding alone are equal."""
    largest = size.max()
    rounded = np.round(size / largest, 6) if largest > 0 else size
    return np.unique(rounded, return_inverse=True)[1].astype(float)


def _means(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Mean over the models of a kind, with its interval over models."""
    rows = []
    for (kind, method), part in table.groupby(["kind", "method"], sort=False):
        values = part["estimate"].to_numpy(float)
        interval = stats.mean_interval(values, list(part["model"]))
        rows.append(
            {
                "model": "all", "kind": kind, "method": method, "estimate": interval.estimate,
                "low": interval.low, "high": min(1.0, interval.high), "n": len(part),
                "true": int(part["true"].sum()), "edges": int(part["edges"].sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
