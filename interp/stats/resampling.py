"""The bootstrap of every interval: units are resampled, bounds are corrected for bias and skew."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

Array = np.ndarray

_CHUNK = 4_000_000  # counts held at once


def bootstrap(
    statistic: Callable[[Array], Array],
    n: int,
    *,
    draws: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Float[Array, " cell"], Float[Array, " cell"], Float[Array, " cell"]]:
    """Estimates and BCa bounds of any number of statistics of the same n units.

    The bounds are the quantiles of the draws at Phi(z0 + (z0 + z) / (1 - a (z0 + z))) for z at
    (1 - level) / 2 and (1 + level) / 2: z0 is the bias (draws equal to the estimate count half), a the
    acceleration of the jackknife (Efron 1987; equals scipy.stats.bootstrap). Draws in which a
    statistic is undefined are left out of its bounds. With fewer than about 20 units the bounds are too
    narrow.

    Args:
        statistic: maps counts [draw, unit], how often each unit was drawn, to values [draw, cell]. All
            rows of one call have the same sum.
        n: units, such as entities.
        draws: bootstrap draws.
        level: confidence of the two-sided interval.
        seed: of the draws, which are those of `resample_counts`.

    Returns:
        Estimate, lower and upper bound of each cell, in the unit of the statistic: NaN bounds with
        fewer than two units or where no draw is defined, the estimate itself where all draws agree.

    Raises:
        ValueError: if level is outside (0, 1), or there are no units or no draws.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}: use .95")
    if n < 1 or draws < 1:
        raise ValueError(
            f"a bootstrap needs units and draws, got {n} and {draws}; expected at least 1 of each"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.asarray(statistic(np.ones((1, n), dtype=int)))[0]
        if n < 2:
            return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
        drawn = np.concatenate([statistic(counts) for counts in _counts(n, draws, seed)])
        left_out = np.concatenate([statistic(counts) for counts in _jackknife(n)])
    bounds = [_bca(*cell, level) for cell in zip(drawn.T, estimate, left_out.T, strict=True)]
    low, high = np.array(bounds, dtype=float).reshape(-1, 2).T
    return estimate, low, high


def resample_counts(n: int, draws: int, seed: int) -> Int[Array, "draw group"]:
    """Counts of how often each of n groups appears in each bootstrap draw of n groups.

    Args:
        n: groups.
        draws: bootstrap draws.
        seed: of the draws.
    """
    return np.concatenate(list(_counts(n, draws, seed)))


def drawn_units(counts: Int[Array, "draw unit"]) -> Int[Array, "draw drawn"]:
    """Numbers of the units behind counts, each as often as it was drawn.

    For a statistic that no sum of weighted units gives, such as a median.

    Args:
        counts: how often each unit was drawn; all rows have one sum.
    """
    units = np.broadcast_to(np.arange(counts.shape[1]), counts.shape)
    return np.repeat(units.ravel(), counts.ravel()).reshape(len(counts), -1)


def _counts(n: int, draws: int, seed: int) -> Iterator[Int[Array, "draw unit"]]:
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // n)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        cell = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(cell.ravel(), minlength=rows * n).reshape(rows, n)


def _jackknife(n: int) -> Iterator[Int[Array, "draw unit"]]:
    step = max(1, _CHUNK // n)
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        yield 1 - (rows[:, None] == np.arange(n)).astype(int)


def _bca(drawn: Array, estimate: float, left_out: Array, level: float) -> tuple[float, float]:
    """Bounds of one statistic."""
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if not len(drawn) or not np.isfinite(estimate):
        return np.nan, np.nan
    if np.ptp(drawn) == 0:
        return float(drawn[0]), float(drawn[0])
    # Ties count half, as in scipy: matters for shares, whose draws often equal the estimate.
    below = (np.mean(drawn < estimate) + np.mean(drawn <= estimate)) / 2
    bias = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    offset = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((offset**2).sum())
    acceleration = (offset**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)
