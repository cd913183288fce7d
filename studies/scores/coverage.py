"""Do the intervals of a place cover what they should? Samples of the people of one world tell."""

from __future__ import annotations

import numpy as np

from interp import stats
from interp.verdict.profile import Profile
from interp.verdict.thresholds import Thresholds

#: Samples of people, and people in each.
SAMPLES, SAMPLED = 200, 24


def covered(stitched: Profile, thresholds: Thresholds, *, seed: int = 0) -> float:
    """Share of samples of people whose interval of share_lower holds that of the whole population.

    Truth is mean(below the cut) / mean(whole change) over everyone who changed. A sample draws people
    with replacement, as a world of other people would, and is given Fieller's interval, as a place is.

    Args:
        stitched: profile of everyone who changed.
        thresholds: cut and confidence.
        seed: of the samples.

    Returns:
        The share; 1 - alpha where the interval keeps its word. Samples of one world share its people:
        the world is the unit of what is told of many.
    """
    below = np.mean(stitched.below(int(stitched.n_layers * thresholds.cut)), axis=0)
    truth = below.mean() / stitched.delta.mean()
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(SAMPLES):
        drawn = rng.integers(len(below), size=SAMPLED)
        share = stats.fieller(below[drawn], stitched.delta[drawn], level=1 - thresholds.alpha)
        hits += share.low <= truth <= share.high
    return float(hits / SAMPLES)
