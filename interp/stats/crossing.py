"""Where the last position takes over: the boundary from which recovery stays above a level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from interp.stats.resampling import resample_counts

Array = np.ndarray


@dataclass(frozen=True)
class Handover:
    """Boundary at which the last position alone carries the answer.

    Attributes:
        estimate: the boundary, 0..L; None where there is none.
        low: lower bound of its 95% interval; None without an estimate.
        high: upper bound, likewise.
        pairs: pairs behind it.
        entities: entities behind it.
        reason: why there is no estimate; empty with one.
        recovery: pooled recovery at every boundary, NaN where undefined.
        crossings: the boundary of every bootstrap draw, -1 where there is none.
    """

    estimate: int | None
    low: int | None
    high: int | None
    pairs: int
    entities: int
    reason: str
    recovery: Float[Array, " boundary"]
    crossings: Int[Array, " draw"]


def handover(
    values: Float[Array, "pair boundary"],
    clean: Float[Array, " pair"],
    corrupted: Float[Array, " pair"],
    clean_group: Sequence[str] | Array,
    corrupted_group: Sequence[str] | Array,
    *,
    level: float = 0.5,
    draws: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
    min_pairs: int = 30,
    min_entities: int = 20,
    max_width: int = 2,
) -> Handover:
    """First boundary where restoring the last position recovers `level` and stays there.

    recovery_k = sum_i w_i (v_ik - x_i) / sum_i w_i (c_i - x_i), over pairs i with patched value v,
    clean value c and corrupted value x; in a draw w_i is how often the pair's clean entity was
    drawn times how often its corrupted entity was (pairs that share an entity are not
    independent). None if there are fewer than `min_pairs` or `min_entities`, no crossing in the
    data or in more than a tail of the draws, or an interval wider than `max_width`. Source: 2202.05262
    (the operator). Does not show which earlier position the answer came from.

    Args:
        values: metric of the patched runs, in logits.
        clean: metric of the clean runs.
        corrupted: metric of the corrupted runs.
        clean_group: entity of each clean prompt.
        corrupted_group: entity of each corrupted prompt.
        level: recovery, a share, that must be reached and kept.
        draws: bootstrap draws.
        seed: of the draws.
        confidence: of the two-sided interval.
        min_pairs: fewest pairs.
        min_entities: fewest entities.
        max_width: widest interval, in boundaries.

    Raises:
        ValueError: shapes that do not agree or values that are not finite.
    """
    values, clean, corrupted = (np.asarray(x, float) for x in (values, clean, corrupted))
    pairs = len(values)
    same = {len(clean), len(corrupted), len(clean_group), len(corrupted_group), pairs}
    if values.ndim != 2 or len(same) > 1:
        raise ValueError(
            f"values must be [pair, boundary] with one entry per pair elsewhere; got "
            f"{values.shape} and lengths {sorted(same)}: pass the same pairs everywhere"
        )
    if not all(np.isfinite(x).all() for x in (values, clean, corrupted)):
        raise ValueError("values must be finite; got NaN or infinity: exclude such pairs")
    names = np.unique([*clean_group, *corrupted_group])
    entities = len(names)
    gained, span = values - corrupted[:, None], clean - corrupted
    recovery = _recovery(np.ones((1, pairs)), gained, span)[0]
    none = np.zeros(0, dtype=int)
    if pairs < min_pairs or entities < min_entities:
        reason = f"too few: {pairs} pairs of {entities} entities, {min_pairs} of {min_entities} needed"
        return Handover(None, None, None, pairs, entities, reason, recovery, none)
    counts = resample_counts(entities, draws, seed)
    left, right = np.searchsorted(names, clean_group), np.searchsorted(names, corrupted_group)
    weights = (counts[:, left] * counts[:, right]).astype(float)
    weights = weights[weights.sum(axis=1) > 0]
    crossings = first_crossing(_recovery(weights, gained, span), level)
    estimate = int(first_crossing(recovery[None], level)[0])
    if estimate < 0:
        reason = f"no crossing: recovery never reaches {level:g} and stays there"
        return Handover(None, None, None, pairs, entities, reason, recovery, crossings)
    # Quantiles of the draws that are boundaries themselves, not BCa: a boundary is a step function of
    # the data, its jackknife is flat, and between two boundaries there is none.
    # "Never" lies after the last boundary, so that it widens the interval instead of vanishing.
    after = np.where(crossings < 0, values.shape[1] + max_width + 1, crossings)
    tail = (1 - confidence) / 2
    low = int(np.quantile(after, tail, method="inverted_cdf"))
    high = int(np.quantile(after, 1 - tail, method="inverted_cdf"))
    if high - low > max_width:
        top = f"{high}]" if high < values.shape[1] else "never]"
        reason = f"too wide: [{low}, {top} spans more than {max_width} blocks"
        return Handover(None, None, None, pairs, entities, reason, recovery, crossings)
    return Handover(estimate, low, high, pairs, entities, "", recovery, crossings)


def first_crossing(recovery: Float[Array, "draw boundary"], level: float) -> Int[Array, " draw"]:
    """First boundary from which the recovery stays at or above level to the end; -1 if none.

    NaN (undefined recovery) counts as below.

    Args:
        recovery: of every draw at every boundary.
        level: that must be reached and kept.
    """
    stays = np.flip(np.logical_and.accumulate(np.flip(recovery >= level, axis=1), axis=1), axis=1)
    return np.where(stays.any(axis=1), stays.argmax(axis=1), -1)


def _recovery(
    weights: Float[Array, "draw pair"],
    gained: Float[Array, "pair boundary"],
    span: Float[Array, " pair"],
) -> Float[Array, "draw boundary"]:
    """Weighted means before dividing; NaN where clean does not exceed corrupted."""
    below = weights @ span
    above = weights @ gained
    safe = np.where(below > 0, below, np.nan)
    return above / safe[:, None]
