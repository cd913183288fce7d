"""One bootstrap for every interval, against scipy's and planted draws."""

import numpy as np
import pytest
from scipy import stats as oracle

from interp import stats
from interp.figures import tables as summaries
from interp.stats.resampling import bootstrap, drawn_units, resample_counts
from interp.verdict.thresholds import Thresholds
from studies.recalling import Curve

SKEWED = np.random.default_rng(0).exponential(size=(25, 2)) ** 2


def means(counts: np.ndarray) -> np.ndarray:
    return counts @ SKEWED / counts.sum(1, keepdims=True)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_every_cell_has_the_bca_interval_of_scipy_and_not_the_percentiles(level: float):
    estimate, low, high = bootstrap(means, 25, draws=100_000, level=level, seed=1)
    np.testing.assert_allclose(estimate, SKEWED.mean(0))
    for cell in (0, 1):
        bca, plain = (
            oracle.bootstrap(
                (SKEWED[:, cell],), np.mean, confidence_level=level, n_resamples=100_000,
                method=method, rng=7,
            ).confidence_interval
            for method in ("BCa", "percentile")
        )  # fmt: skip
        assert low[cell] == pytest.approx(bca.low, rel=0.02)  # other draws: Monte-Carlo error
        assert high[cell] == pytest.approx(bca.high, rel=0.02)
        assert high[cell] > 1.03 * plain.high  # control: percentiles miss the skew


def test_a_ratio_of_sums_has_the_interval_of_scipy():
    above, below = SKEWED[:, 0], 1 + SKEWED[:, 1]
    _, low, high = bootstrap(
        lambda counts: ((counts @ above) / (counts @ below))[:, None], 25, draws=20_000
    )
    bca = oracle.bootstrap(
        (above, below), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="BCa", rng=7,
    ).confidence_interval  # fmt: skip
    assert (low[0], high[0]) == pytest.approx((bca.low, bca.high), rel=0.04)


def test_every_way_to_an_interval_takes_the_same_draws_and_rule():
    grouped = [stats.group_bootstrap(SKEWED[:, cell], range(25), seed=3) for cell in (0, 1)]
    tables = (summaries.intervals(means, 25, 3), bootstrap(means, 25, seed=3))
    curve = Curve.of(SKEWED, seed=3)
    for _, low, high in (*tables, (None, curve.low, curve.high)):
        np.testing.assert_allclose(low, [one.low for one in grouped])
        np.testing.assert_allclose(high, [one.high for one in grouped])
    assert len(curve.peaks) == Thresholds().draws  # the declared number
    other = bootstrap(means, 25, seed=3, draws=1_000)
    assert not np.allclose(other[1], tables[1][1])  # control: another number of draws shows


def test_counts_name_the_units_that_they_count():
    counts = resample_counts(7, 50, seed=0)
    assert (counts.sum(1) == 7).all()
    units = drawn_units(counts)
    assert units.shape == (50, 7)
    again = np.stack([np.bincount(row, minlength=7) for row in units])
    np.testing.assert_array_equal(again, counts)


def test_many_units_are_drawn_in_parts_and_counted_alike(monkeypatch):
    whole = bootstrap(means, 25, draws=300, seed=5)
    monkeypatch.setattr("interp.stats.resampling._CHUNK", 25 * 32)  # 32 draws at a time
    for one, other in zip(whole, bootstrap(means, 25, draws=300, seed=5), strict=True):
        np.testing.assert_allclose(one, other)


def test_undefined_draws_are_left_out_and_undefined_cells_have_no_bounds():
    def of(counts: np.ndarray) -> np.ndarray:
        share = counts[:, 0] / np.minimum(counts[:, 0], 1)  # 0 / 0 where unit 0 was not drawn
        return np.stack([share, np.full(len(counts), np.nan), np.ones(len(counts))], 1)

    estimate, low, high = bootstrap(of, 25)
    assert estimate[0] == 1 and low[0] >= 1 and np.isfinite(high[0])
    assert np.isnan([low[1], high[1]]).all()
    assert (low[2], high[2]) == (1, 1)


def test_one_unit_has_no_bounds_and_none_is_refused():
    estimate, low, high = bootstrap(lambda counts: counts * 2.0, 1)
    assert estimate[0] == 2 and np.isnan([low[0], high[0]]).all()
    with pytest.raises(ValueError, match="needs units and draws, got 0 and 2000"):
        bootstrap(means, 0)
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1; got 95"):
        bootstrap(means, 25, level=95.0)
