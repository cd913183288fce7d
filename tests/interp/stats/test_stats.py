"""Intervals and tests against closed forms, other libraries and planted answers."""

import numpy as np
import pytest
from scipy import stats as oracle
from statsmodels.stats.proportion import proportion_confint

from interp import stats
from interp.stats.crossing import first_crossing
from interp.stats.intervals import Interval
from interp.stats.resampling import resample_counts


def test_group_means_average_within_groups_first():
    means, labels = stats.group_means(np.array([1.0, 3.0, 10.0]), ["b", "b", "a"])
    assert labels.tolist() == ["a", "b"]
    assert means.tolist() == [10.0, 2.0]


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bca_equals_scipy(level: float):
    means = np.random.default_rng(0).exponential(size=25)
    mine = stats.group_bootstrap(means, list(range(25)), level=level, draws=20_000, seed=2)
    theirs = oracle.bootstrap(
        (means,), np.mean, confidence_level=level, n_resamples=20_000, method="BCa", rng=2
    ).confidence_interval
    assert mine.estimate == pytest.approx(means.mean())
    assert mine.low == pytest.approx(theirs.low)  # the same seed draws the same groups
    assert mine.high == pytest.approx(theirs.high)
    # The plain percentile interval is a different one on skewed data: BCa is really applied.
    plain = oracle.bootstrap(
        (means,), np.mean, confidence_level=level, n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    assert abs(mine.high - plain.high) > 0.02


def test_bootstrap_resamples_groups_not_rows():
    rng = np.random.default_rng(0)
    effects = rng.normal(size=15)
    values, groups = np.repeat(effects, 40), np.repeat(np.arange(15), 40)
    grouped = stats.group_bootstrap(values, groups)
    as_rows = stats.group_bootstrap(values, np.arange(len(values)))
    expected = 2 * 1.96 * effects.std() / np.sqrt(15)
    assert grouped.n == 15
    assert grouped.width == pytest.approx(expected, rel=0.2)
    assert as_rows.width < grouped.width / 4  # control: pseudo-replication is far too sure


def test_bootstrap_of_another_statistic_and_degenerate_cases():
    values = np.arange(21.0)
    median = stats.group_bootstrap(values, values, statistic=lambda x: np.median(x, axis=-1))
    assert median.estimate == 10 and median.low < 10 < median.high
    constant = stats.group_bootstrap(np.ones(12), range(12))
    assert (constant.estimate, constant.low, constant.high) == (1, 1, 1)
    single = stats.group_bootstrap(np.ones(3), ["a"] * 3)
    assert single.n == 1 and np.isnan(single.low)
    assert not single.inside(0.0, 2.0) and single.contains(7.0)  # nothing is shown by one group


def test_bootstrap_is_seeded():
    values = np.random.default_rng(0).normal(size=20)
    first = stats.group_bootstrap(values, range(20), seed=1)
    assert first == stats.group_bootstrap(values, range(20), seed=1)
    assert first != stats.group_bootstrap(values, range(20), seed=2)


def test_mean_interval_and_p_equal_scipy():
    values = np.random.default_rng(3).normal(0.4, 1, size=14)
    mine = stats.mean_interval(values, range(14))
    theirs = oracle.ttest_1samp(values, 0.0)
    bounds = theirs.confidence_interval(0.95)
    assert (mine.low, mine.high) == (pytest.approx(bounds.low), pytest.approx(bounds.high))
    for side in ("less", "greater"):
        _, expected = oracle.ttest_1samp(values, -0.1, alternative=side)
        assert stats.mean_p(values, range(14), null=-0.1, side=side) == pytest.approx(expected)
    assert stats.mean_p(np.zeros(9), range(9), null=-0.1, side="less") == 1.0
    assert stats.mean_p(np.full(9, -1.0), range(9), null=-0.1, side="less") == 0.0


def test_fieller_equals_its_definition():
    rng = np.random.default_rng(0)
    below = rng.normal(4, 1, size=12)
    above = 0.6 * below + rng.normal(0, 0.5, size=12)
    interval = stats.fieller(above, below)
    assert interval.estimate == pytest.approx(above.mean() / below.mean())
    for ratio in (interval.low, interval.high):  # t test of a - r b is exactly at the bound
        _, p = oracle.ttest_1samp(above - ratio * below, 0)
        assert p == pytest.approx(0.05)


def test_fieller_covers_where_percentiles_fall_short():
    rng = np.random.default_rng(1)
    n, trials, ratio = 8, 1_000, 0.5
    covered = percentile = 0
    for _ in range(trials):
        below = rng.normal(2, 1, size=n)
        above = ratio * below + rng.normal(0, 0.7, size=n)
        covered += stats.fieller(above, below).contains(ratio)
        pick = rng.integers(n, size=(200, n))
        low, high = np.quantile(above[pick].mean(1) / below[pick].mean(1), [0.025, 0.975])
        percentile += low <= ratio <= high
    assert 0.93 <= covered / trials <= 0.97
    assert percentile / trials < 0.93


def test_fieller_is_unbounded_when_the_denominator_may_be_zero():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, size=20)
    interval = stats.fieller(np.ones(20), noise - noise.mean() + 0.05)
    assert interval.unbounded and interval.contains(1e9)
    assert not interval.inside(-1e9, 1e9)
    assert stats.fieller(np.ones(5), np.zeros(5)).unbounded
    assert not stats.fieller(np.ones(20), 5 + noise).unbounded
    assert stats.fieller(np.full(9, 0.8), np.ones(9)).low == pytest.approx(0.8)  # no spread


def test_fieller_averages_within_groups():
    rows = stats.fieller(
        np.array([1.0, 3.0, 4.0, 1.0]), np.array([2.0, 6.0, 5.0, 2.0]), ["a", "a", "b", "c"]
    )
    means = stats.fieller(np.array([2.0, 4.0, 1.0]), np.array([4.0, 5.0, 2.0]))
    assert rows == means and rows.n == 3


@pytest.mark.parametrize(("k", "n"), [(0, 59), (3, 20), (20, 20), (50, 81)])
def test_shares_equal_statsmodels(k: int, n: int):
    wilson, exact = stats.wilson(k, n), stats.clopper_pearson(k, n)
    low, high = proportion_confint(k, n, 0.05, "wilson")
    assert (wilson.low, wilson.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high))
    low, high = proportion_confint(k, n, 0.10, "beta")  # each side at 95%
    assert (exact.low, exact.high) == (pytest.approx(low), pytest.approx(high))
    assert stats.share_p(k, n, null=0.05) == pytest.approx(
        oracle.binomtest(k, n, 0.05, alternative="greater").pvalue
    )


def test_zero_flips_need_59_groups():
    assert stats.clopper_pearson(0, 59).high < 0.05 < stats.clopper_pearson(0, 58).high
    nothing = stats.wilson(0, 0)
    assert (nothing.low, nothing.high) == (0, 1)


def test_corrections_have_their_closed_form():
    p = np.array([0.01, 0.04, 0.03])
    assert stats.holm(p) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.benjamini_hochberg(p) == pytest.approx([0.03, 0.04, 0.04])
    assert len(stats.holm(np.array([]))) == 0


def test_max_statistic_finds_a_planted_site_and_holds_the_error():
    rng = np.random.default_rng(0)
    null = rng.normal(size=(199, 40))
    planted = rng.normal(size=40)
    planted[7] = 9.0
    p = stats.max_statistic_p(planted, null)
    assert p[7] == 1 / 200
    assert np.delete(p, 7).min() > 0.01
    false = alone = 0
    for _ in range(200):
        draw = rng.normal(size=40)
        false += stats.max_statistic_p(draw, null).min() < 0.05
        alone += ((1 + (null >= draw).sum(0)) / 200).min() < 0.05
    assert false / 200 < 0.12
    assert alone / 200 > 0.5  # control: uncorrected, a claim is nearly always found


def test_equivalence_needs_narrow_bounds():
    small = np.random.default_rng(0).normal(0, 0.01, size=30)
    assert stats.equivalent(stats.mean_interval(small, range(30), level=0.9), 0.05)
    wide = stats.mean_interval(small * 50, range(30), level=0.9)
    assert not stats.equivalent(wide, 0.05)  # absence of evidence is not evidence of absence
    assert not stats.equivalent(Interval(0.0, np.nan, np.nan, 1), 0.05)
    assert not stats.equivalent(Interval(0.0, -np.inf, np.inf, 9), 0.05)


def test_balanced_accuracy_and_auroc():
    labels = ["a"] * 90 + ["b"] * 10
    always_a = np.array([1.0] * 90 + [0.0] * 10)
    assert stats.balanced_accuracy(always_a, labels) == 0.5  # plain accuracy would say .9
    assert stats.auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])) == 0.875
    with pytest.raises(ValueError, match="got 3 True of 3"):
        stats.auroc(np.ones(3), np.ones(3, dtype=bool))


def _pairs(crossing, *, pairs=120, entities=40, boundaries=31, noise=0.3, seed=0):
    """Recovery jumps from 0 to 1 at `crossing` (one number, or one per pair)."""
    rng = np.random.default_rng(seed)
    left = rng.integers(entities, size=pairs)
    right = (left + rng.integers(1, entities, size=pairs)) % entities
    clean, corrupted = rng.normal(4, 1, size=pairs), rng.normal(-4, 1, size=pairs)
    restored = np.arange(boundaries)[None] >= np.broadcast_to(crossing, pairs)[:, None]
    values = np.where(restored, clean[:, None], corrupted[:, None])
    values = values + rng.normal(0, noise, size=values.shape)
    name = [f"e{i}" for i in range(entities)]
    return values, clean, corrupted, [name[i] for i in left], [name[i] for i in right]


def test_handover_finds_the_planted_boundary():
    found = stats.handover(*_pairs(24), draws=500)
    assert (found.estimate, found.low, found.high, found.reason) == (24, 24, 24, "")
    assert found.recovery[23] == pytest.approx(0, abs=0.05)
    assert found.recovery[24] == pytest.approx(1, abs=0.05)


def test_handover_must_stay_above():
    values, clean, corrupted, left, right = _pairs(24)
    values[:, 10] = clean  # a passing spike at boundary 10
    assert stats.handover(values, clean, corrupted, left, right, draws=200).estimate == 24
    values[:, 28] = corrupted  # and a dip at 28: only from 29 on does it stay
    assert stats.handover(values, clean, corrupted, left, right, draws=200).estimate == 29


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (_pairs(99), "no crossing"),
        (_pairs(24, pairs=29), "too few: 29 pairs"),
        (_pairs(24, entities=12), "of 12 entities"),
        (_pairs(np.where(np.arange(40) % 2, 5, 25), pairs=40, noise=2.0), "too wide"),
    ],
)
def test_handover_says_why_there_is_none(case, reason: str):
    found = stats.handover(*case, draws=500)
    assert found.estimate is None and found.low is None and found.high is None
    assert reason in found.reason
    assert found.recovery.shape == (31,)


def test_handover_weighs_a_pair_by_both_entities():
    counts = resample_counts(25, 300, seed=0)
    assert counts.shape == (300, 25) and (counts.sum(axis=1) == 25).all()
    # Every pair shares one odd entity whose pairs cross late: entity draws see it vary,
    # resampling pairs alone would not.
    left = np.array(["hub"] * 60 + [f"e{i % 30}" for i in range(60)])
    right = np.array([f"e{i % 30}" for i in range(60)] + [f"e{(i + 1) % 30}" for i in range(60)])
    crossing = np.where(left == "hub", 12, 4)
    values, clean, corrupted, *_ = _pairs(crossing, noise=0.0, boundaries=16)
    found = stats.handover(values, clean, corrupted, left, right, draws=500)
    assert {4, 12} <= set(found.crossings.tolist())
    assert found.estimate is None and "too wide" in found.reason


def test_undefined_recovery_is_not_a_crossing():
    values, clean, corrupted, left, right = _pairs(5)
    found = stats.handover(values, clean, clean, left, right, draws=100)
    assert found.estimate is None and "no crossing" in found.reason
    assert first_crossing(np.array([[np.nan, 1.0, 1.0], [0, 1, 0]]), 0.5).tolist() == [1, -1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.group_means(np.ones(3), ["a", "b"]),
        lambda: stats.group_means(np.array([]), []),
        lambda: stats.group_means(np.array([1.0, np.nan]), ["a", "b"]),
        lambda: stats.group_bootstrap(np.ones(3), range(3), level=95.0),
        lambda: stats.mean_p(np.ones(3), range(3), null=0.0, side="two-sided"),
        lambda: stats.wilson(5, 4),
        lambda: stats.clopper_pearson(1, 4, level=0.4),
        lambda: stats.holm(np.array([0.1, np.nan])),
        lambda: stats.max_statistic_p(np.array([np.nan]), np.ones((9, 1))),
        lambda: stats.handover(np.ones((3, 2)), np.ones(3), np.ones(3), ["a"] * 2, ["b"] * 3),
        lambda: stats.handover(np.full((3, 2), np.nan), np.ones(3), np.ones(3), ["a"] * 3, ["b"] * 3),
    ],
)
def test_bad_input_is_refused_in_one_line(call):
    with pytest.raises(ValueError, match=r"got .*: ") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_arrays_of_differing_sites_are_refused():
    # By the function itself, or before it where shapes are checked on every call.
    with pytest.raises((ValueError, TypeError)):
        stats.max_statistic_p(np.ones(3), np.ones((9, 2)))
