"""Erasure: the theorem holds exactly, fresh probes fall to chance, and they had learned before."""

import numpy as np
import pytest
import torch
from probe_toys import planted
from sklearn.linear_model import LogisticRegression

import probes
from interp.activations import Activations
from interp.directions import AffineEraser
from interp.sites import Kind, Site
from probes.comparisons.erasure import check_erasure, inlp, leace

SITE = Site(Kind.RESID_PRE, 1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("d", [16, 300])
def test_after_leace_the_class_means_are_equal(classes: int, d: int) -> None:
    toy, _ = planted(n_groups=60, d=d, classes=classes, within=False)
    at = toy[SITE]
    assert at.labels is not None
    eraser = leace(at)
    values = at.values.double()
    assert eraser.left.shape == (d, classes - 1)
    gone = eraser.apply(values)
    means = torch.stack([gone[at.labels == c].mean(0) for c in range(classes)])
    before = torch.stack([values[at.labels == c].mean(0) for c in range(classes)])
    assert (means - means[0]).abs().max() < 1e-9 < (before - before[0]).abs().max()
    # No linear reader beats the constant one: the optimum has no weight.
    model = LogisticRegression(C=10.0, class_weight="balanced").fit(gone.numpy(), at.labels.numpy())
    learned = LogisticRegression(C=10.0, class_weight="balanced").fit(values.numpy(), at.labels.numpy())
    assert np.abs(model.coef_).max() < 1e-3 < np.abs(learned.coef_).max()


def test_leace_is_a_projection_that_keeps_the_mean_and_moves_least() -> None:
    toy, u = planted(n_groups=300, d=10)
    at = toy[SITE]
    stretch = torch.linspace(1, 20, 10)
    at = Activations(SITE, at.values * stretch, at.groups, at.labels)
    eraser = leace(at)
    values = at.values.double()
    gone = eraser.apply(values)
    assert torch.allclose(eraser.apply(gone), gone)
    assert torch.allclose(gone.mean(0), values.mean(0))
    assert torch.allclose(values @ eraser.matrix.T + eraser.bias, gone)
    # Projecting out the difference of means equalises them too, and moves the values further.
    gap = torch.nn.functional.normalize(u.double() * stretch, dim=0)
    blunt = values - torch.outer((values - values.mean(0)) @ gap, gap)
    assert (gone - values).square().mean() < 0.95 * (blunt - values).square().mean()
    assert torch.dot(eraser.subspace().basis[:, 0].double(), gap).abs() > 0.95


@pytest.mark.parametrize("method", [leace, inlp])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_fresh_probe_is_at_chance_and_had_learned_before(method, classes: int) -> None:
    toy, _ = planted(n_groups=2000, d=16, classes=classes, per_group=classes)
    evidence = check_erasure(toy[SITE], method=method, seed=0, attribute="truth")
    table = probes.balanced_accuracy(evidence, resamples=200).set_index("condition")
    assert table.loc["intact", "low"] > 1 / classes + 0.3  # the positive control
    assert table.loc["placebo", "low"] > 1 / classes + 0.2
    # Rows the eraser never saw keep the error of its class means, which falls with their number.
    for condition, slack in (("erased", 0.07), ("erased_known", 0.04)):
        assert abs(table.loc[condition, "estimate"] - 1 / classes) < slack, condition
    assert set(evidence.table["method"]) == {"erasure"}


def test_the_eraser_is_tested_on_groups_it_never_saw() -> None:
    toy, _ = planted(n_groups=80, d=12)
    seen: list[set[str]] = []

    def spy(train: Activations) -> AffineEraser:
        seen.append(set(train.groups))
        return leace(train)

    evidence = check_erasure(toy[SITE], method=spy, seed=0)
    assert len(seen) == 1 and len(seen[0]) == 40
    assert not seen[0] & set(evidence.table["group"].astype(str))


def test_inlp_takes_directions_until_chance_and_is_orthogonal() -> None:
    toy, u = planted(n_groups=400, d=16)
    eraser = inlp(toy[SITE])
    rank = eraser.left.shape[1]
    assert 1 <= rank <= 6
    assert torch.allclose(eraser.right @ eraser.left, torch.eye(rank).double(), atol=1e-9)
    assert torch.dot(eraser.left[:, 0], u.double()).abs() > 0.95
    assert eraser.subspace().basis.shape == (16, rank)
    with pytest.raises(ValueError, match="nothing to erase"):
        inlp(toy[Site(Kind.RESID_PRE, 0)], margin=0.1)


def entities(n: int, d: int, seed: int) -> Activations:
    """A label written into five directions, 2.5 standard deviations each, one row per entity."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    values = torch.randn(n, d, generator=generator)
    values[:, :5] += 2.5 * labels[:, None]
    return Activations(SITE, values, tuple(f"{seed}-{i}" for i in range(n)), labels)


def fresh_accuracy(at: Activations, eraser: AffineEraser | None = None) -> float:
    """Of a probe cross-validated on these entities."""
    values = at.values if eraser is None else eraser.apply(at.values)
    probe = probes.fit(Activations(SITE, values, at.groups, at.labels), estimator="mass_mean")
    assert probe.score is not None
    return probe.score


@pytest.mark.parametrize(("n", "d"), [(200, 600), (400, 600)])
def test_inlp_with_more_dimensions_than_rows_goes_on_until_other_entities_say_chance(n, d) -> None:
    seen, fresh = entities(n, d, seed=1), entities(2000, d, seed=2)
    eraser, once = inlp(seen), inlp(seen, rounds=1)
    assert fresh_accuracy(fresh) > 0.97  # the positive control
    # One direction leaves the label in place, though on its own rows the probe is below chance.
    own = Activations(SITE, once.apply(seen.values), seen.groups, seen.labels)
    in_sample = probes.fit(own).score
    assert in_sample is not None and in_sample < 0.53
    assert fresh_accuracy(fresh, once) > 0.95
    assert eraser.left.shape[1] >= 3
    assert fresh_accuracy(fresh, eraser) < 0.75 < fresh_accuracy(fresh, leace(seen))


def test_inlp_with_many_rows_leaves_little_to_other_entities() -> None:
    eraser, fresh = inlp(entities(2000, 64, seed=1)), entities(2000, 64, seed=2)
    assert fresh_accuracy(fresh) > 0.97 and abs(fresh_accuracy(fresh, eraser) - 0.5) < 0.07


def test_the_placebo_falls_where_its_rank_does_the_damage_and_random_directions_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(800) % 2
    values = torch.randn(800, 40, generator=generator)
    values[:, 0] = 10 * values[:, 0] + 30 * labels  # the label in the loudest dimension
    at = Activations(SITE, values, tuple(f"e{i}" for i in range(800)), labels)

    def at_random(train: Activations) -> AffineEraser:
        basis = torch.linalg.qr(torch.randn(40, 20, generator=generator))[0]
        return AffineEraser(train.site, basis, basis.T, train.values.mean(0))

    evidence = check_erasure(at, method=at_random, seed=0)
    table = probes.balanced_accuracy(evidence, resamples=200).set_index("condition")
    assert table.loc["placebo", "high"] < 0.85 < 0.9 < table.loc["intact", "estimate"]
    assert table.loc["erased", "low"] > 0.9
    placebo = evidence.table[evidence.table["condition"] == "placebo"]
    assert set(placebo["draw"]) == {0, 1, 2}


def test_few_groups_are_warned_of() -> None:
    toy, _ = planted(n_groups=40, d=8)
    some = toy[SITE]
    rare = torch.arange(80) // 2 < 4
    few = Activations(SITE, some.values, some.groups, rare.long())
    with pytest.warns(probes.SmallSample, match="class 1 has 4 groups"):
        check_erasure(few, folds=2, seed=0)


def test_bad_input_is_one_line() -> None:
    toy, _ = planted(n_groups=40)
    eraser = leace(toy[SITE])
    with pytest.raises(ValueError, match="32 features, got 5"):
        eraser.apply(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="finite numbers"):
        AffineEraser(SITE, eraser.left * torch.nan, eraser.right, eraser.centre)
    few = Activations(SITE, torch.randn(6, 4), tuple("abcdef"), torch.arange(6) % 2)
    with pytest.raises(ValueError, match="erasure is checked on held-out groups, got 6 groups"):
        inlp(few, folds=7)
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        inlp(toy[SITE], rounds=0)
    with pytest.raises(ValueError, match="as many groups"), pytest.warns(probes.SmallSample):
        check_erasure(few, seed=0)
