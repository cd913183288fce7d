"""p values, their adjustment for many tests, and tests of absence."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats as distributions
from statsmodels.stats.multitest import multipletests

from interp.stats.intervals import Array, Interval, check_count, group_means


def mean_p(
    values: Float[Array, " row"], groups: Sequence[Hashable] | Array, *, null: float, side: str
) -> float:
    """One-sided p of a t test that the mean of group means is `side` ("less", "greater") of null.

    Args:
        values: one number per row.
        groups: label of each row.
        null: mean under the null hypothesis.
        side: "less" or "greater".

    Raises:
        ValueError: differing lengths, no rows, values that are not finite, or an unknown side.
    """
    if side not in ("less", "greater"):
        raise ValueError(f'side must be "less" or "greater"; got {side!r}: give one of them')
    means, _ = group_means(values, groups)
    if len(means) < 2:
        return 1.0
    if means.std() == 0:
        beyond = means[0] < null if side == "less" else means[0] > null
        return 0.0 if beyond else 1.0
    t = (means.mean() - null) / (means.std(ddof=1) / np.sqrt(len(means)))
    tail = distributions.t.cdf if side == "less" else distributions.t.sf
    return float(tail(t, len(means) - 1))


def share_p(successes: int, n: int, *, null: float) -> float:
    """Exact one-sided p of a share above `null`: P(X >= successes), X ~ Binomial(n, null).

    Args:
        successes: rows in which it holds.
        n: rows.
        null: share under the null hypothesis.

    Raises:
        ValueError: if successes are not in 0..n.
    """
    check_count(successes, n)
    return float(distributions.binom.sf(successes - 1, n, null))


def holm(p: Float[Array, " test"]) -> Float[Array, " test"]:
    """Holm-adjusted p values (family-wise error; any dependence).

    Args:
        p: of every test, in any order.

    Raises:
        ValueError: if one of them is outside 0..1.
    """
    return _adjusted(p, "holm")


def benjamini_hochberg(p: Float[Array, " test"]) -> Float[Array, " test"]:
    """Benjamini-Hochberg adjusted p values (false discovery rate; positive dependence).

    Args:
        p: of every test, in any order.

    Raises:
        ValueError: if one of them is outside 0..1.
    """
    return _adjusted(p, "fdr_bh")


def max_statistic_p(
    observed: Float[Array, " site"], null: Float[Array, "draw site"]
) -> Float[Array, " site"]:
    """Family-wise p of each site against the distribution of the largest null statistic.

    p_s = (1 + #{draws: max over sites >= observed_s}) / (1 + draws); large means evidence. Scale
    the statistics alike (e.g. accuracies) before. Smallest reachable p: 1 / (draws + 1).
    Source: Westfall & Young 1993.

    Args:
        observed: statistic of every site.
        null: the same of every permuted draw.

    Raises:
        ValueError: differing numbers of sites, no draws, or values that are not finite.
    """
    observed, null = np.asarray(observed, float), np.asarray(null, float)
    if null.ndim != 2 or null.shape[1:] != observed.shape or not len(null):
        raise ValueError(
            f"null must be [draw, site] with {observed.shape} sites; got {null.shape}: draw the "
            "labels once for all sites"
        )
    if not (np.isfinite(observed).all() and np.isfinite(null).all()):
        raise ValueError("statistics must be finite; got NaN or infinity: exclude such sites")
    largest = null.max(axis=1)
    return (1 + (largest[:, None] >= observed[None]).sum(axis=0)) / (1 + len(null))


def equivalent(interval: Interval, margin: float) -> bool:
    """Two one-sided tests: a two-sided 90% interval inside (-margin, margin) shows absence at .05.

    Bounds that are NaN or infinite never show absence.

    Args:
        interval: of level .90.
        margin: largest effect that counts as none.
    """
    return interval.inside(-margin, margin)


def _adjusted(p: Float[Array, " test"], method: str) -> Float[Array, " test"]:
    p = np.asarray(p, float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values must lie in 0..1; got {p.tolist()}: leave out undefined tests")
    return np.asarray(multipletests(p, method=method)[1]) if len(p) else p
