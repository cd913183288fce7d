"""How far two models' scores lie apart, with intervals, and what would be noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from interp import stats
from interp.stats import Interval
from patching.circuits.cutoffs import Cutoffs
from patching.circuits.scores.results import NodeScores

#: Random splits of the prompts behind the noise floor.
SPLITS = 200


def differences(
    names: Sequence[str],
    values: dict[str, Float[Tensor, "unit example"]],
    groups: Sequence[str],
    cut: Cutoffs,
    seed: int,
) -> pd.DataFrame:
    """Scores in both models, their difference with its interval, and the noise floor.

    Args:
        names: of the edges or nodes.
        values: their scores on every pair, by role.
        groups: the entity of each pair.
        cut: the confidence.
        seed: of the draws and splits.

    Returns:
        A row for each, the largest difference first: name, base, tuned, difference, low, high, floor,
        changed.
    """
    means = {role: of_groups(part, groups) for role, part in values.items()}
    estimate, low, high = _mean(means["tuned"] - means["base"], cut, seed)
    n = means["base"].shape[1]
    rng = np.random.default_rng(seed)
    sides = np.full((SPLITS, n), -1.0 / max(1, n - n // 2))
    for side in sides:
        side[rng.permutation(n)[: n // 2]] = 1.0 / max(1, n // 2)
    floor = np.maximum(*(np.quantile(np.abs(m @ sides.T), cut.level, axis=1) for m in means.values()))
    table = pd.DataFrame(
        {
            "name": list(names),
            "base": means["base"].mean(1),
            "tuned": means["tuned"].mean(1),
            "difference": estimate,
            "low": low,
            "high": high,
            "floor": floor,
            "changed": _passes(estimate, low, high, floor),
        }
    )
    return table.sort_values("difference", key=np.abs, ascending=False, ignore_index=True)


def exchanges(
    scores: dict[str, NodeScores], floor: Float[np.ndarray, " node"], cut: Cutoffs, seed: int
) -> pd.DataFrame:
    """What each node's weights do when they are exchanged, in both directions.

    Args:
        scores: of the exchanged nodes, by the role of the model that ran.
        floor: of every node's ablation, in the graph's order.
        cut: the confidence.
        seed: of the draws.

    Returns:
        A row for each node, the largest effect in the base first: node, in_base and in_tuned with low
        and high, floor, changed (in either direction beyond the floor, with its whole interval on one
        side of zero).
    """
    columns: dict[str, Any] = {"node": scores["base"].names}
    changed = np.zeros(len(floor), dtype=bool)
    for role, found in scores.items():
        interval = _mean(-of_groups(found.values, found.groups), cut, seed)
        names = (f"in_{role}", f"in_{role}_low", f"in_{role}_high")
        columns |= dict(zip(names, interval, strict=True))
        changed |= _passes(*interval, floor)
    table = pd.DataFrame({**columns, "floor": floor, "changed": changed})
    return table.sort_values("in_base", key=np.abs, ascending=False, ignore_index=True)


def share_of(
    apart: Float[np.ndarray, "unit group"],
    inside: Bool[np.ndarray, " unit"],
    level: float,
    seed: int,
) -> Interval:
    """Share of the sizes of mean differences that lies at some of the units, over groups.

    Args:
        apart: each unit's difference in each group.
        inside: which units.
        level: confidence.
        seed: of the bootstrap.
    """

    def share(counts: np.ndarray) -> np.ndarray:
        size = np.abs(counts @ apart.T)
        return (size[:, inside].sum(1) / size.sum(1))[:, None]

    n = apart.shape[1]
    estimate, low, high = (float(part[0]) for part in stats.bootstrap(share, n, level=level, seed=seed))
    return Interval(estimate, low, high, n)


def of_groups(
    values: Float[Tensor, "unit example"], groups: Sequence[str]
) -> Float[np.ndarray, "unit group"]:
    """Mean of each group's pairs."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    member = np.eye(index.max() + 1)[index]
    return values.double().cpu().numpy() @ (member / member.sum(0))


def _mean(
    values: Float[np.ndarray, "unit group"], cut: Cutoffs, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over groups with its interval."""

    def mean(counts: np.ndarray) -> np.ndarray:
        return counts @ values.T / counts.sum(1, keepdims=True)

    return stats.bootstrap(mean, values.shape[1], level=cut.level, seed=seed)


def _passes(
    estimate: np.ndarray, low: np.ndarray, high: np.ndarray, floor: np.ndarray
) -> Bool[np.ndarray, " unit"]:
    """Whether an interval excludes zero and the estimate passes the floor."""
    return ((low > 0) | (high < 0)) & (np.abs(estimate) > floor)
