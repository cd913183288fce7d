"""Whether two models do something by one circuit, by declared cut-offs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp import stats
from interp.evidence import Evidence
from interp.stats import Interval
from patching.circuits.cutoffs import Cutoffs


@dataclass(frozen=True)
class Verdict:
    """One word about two models' circuits, with the numbers behind it.

    Attributes:
        word: "same circuit reused", "same circuit strengthened", "same circuit weakened", "same
            circuit reversed" where the behaviour points the other way, "same circuit, size
            undetermined", "rewired", "undetermined", or "no behaviour" where a model does not show
            what the metric measures.
        base_in_tuned: f of the base's circuit in the tuned model over f of the tuned model's own.
        tuned_in_base: the reverse.
        size: the behaviour's size (all edges less none) in the tuned model over that in the base.
        cutoffs: where the words begin.
    """

    word: str
    base_in_tuned: Interval
    tuned_in_base: Interval
    size: Interval
    cutoffs: Cutoffs


def circuit_verdict(runs: Evidence, cut: Cutoffs, seed: int = 0) -> Verdict:
    """Read the word off both circuits' runs in both models.

    Args:
        runs: method "circuit", the circuits named "circuit of base" and "circuit of tuned".
        cut: the cut-offs.
        seed: of the draws.

    Returns:
        One circuit where either model's circuit reaches `same` of the other's own faithfulness with
        its whole interval, rewired where one stays below it with its whole interval.
    """
    groups = runs.rows(model="base", condition="full")["group"].astype(str).value_counts()
    labels = sorted(groups.index)
    prompts = groups.reindex(labels).to_numpy(float)

    def means(model: str, condition: str, name: str | None = None) -> np.ndarray:
        chosen = runs.rows(model=model, condition=condition)
        chosen = chosen if name is None else chosen[chosen["parameters"] == name]
        return (
            chosen.groupby(chosen["group"].astype(str))["value"].mean().reindex(labels).to_numpy(float)
        )

    roles = ("base", "tuned")
    every = np.stack(
        [
            part
            for role in roles
            for part in (
                means(role, "full"),
                means(role, "empty"),
                *(means(role, "circuit", f"circuit of {owner}") for owner in roles),
            )
        ]
    )

    def statistics(counts: np.ndarray) -> np.ndarray:
        weights = counts * prompts
        drawn = weights @ every.T / weights.sum(1, keepdims=True)
        b_full, b_none, bb, tb, t_full, t_none, bt, tt = drawn.T
        return np.stack(
            [
                (bt - t_none) / (tt - t_none),
                (tb - b_none) / (bb - b_none),
                (t_full - t_none) / (b_full - b_none),
                b_full - b_none,
                t_full - t_none,
            ],
            1,
        )

    found = stats.bootstrap(statistics, len(labels), level=cut.level, seed=seed)
    across, back, size, in_base, in_tuned = (
        Interval(float(e), float(low), float(high), len(labels))
        for e, low, high in zip(*found, strict=True)
    )
    return Verdict(_word(across, back, size, (in_base, in_tuned), cut), across, back, size, cut)


def _word(
    across: Interval, back: Interval, size: Interval, behaviours: tuple[Interval, ...], cut: Cutoffs
) -> str:
    """The word that these intervals allow."""
    if any(b.contains(0.0) for b in behaviours):
        return "no behaviour"
    if across.high < cut.same or back.high < cut.same:
        return "rewired"
    if not (across.low >= cut.same and back.low >= cut.same):
        return "undetermined"
    if size.high < 0:
        return "same circuit reversed"
    if size.low > cut.stronger:
        return "same circuit strengthened"
    if size.low > 0 and size.high < 1 / cut.stronger:
        return "same circuit weakened"
    if size.low >= 1 / cut.stronger and size.high <= cut.stronger:
        return "same circuit reused"
    return "same circuit, size undetermined"
