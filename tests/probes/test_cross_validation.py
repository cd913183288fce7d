"""Sweeps: planted signal found, controls at chance, leakage traps not fallen into."""

import numpy as np
import pytest
import torch
from probe_toys import halves, part, planted

import probes
from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Kind, Site
from probes.controls import permute_over_groups
from probes.splits import group_folds

SITE = Site(Kind.RESID_PRE, 1)


def score(evidence: Evidence, condition: str, layer: int = 1) -> float:
    """The balanced accuracy of one condition."""
    table = probes.balanced_accuracy(evidence, resamples=50)
    return float(table[(table.condition == condition) & (table.layer == layer)].estimate.iloc[0])


@pytest.mark.parametrize("estimator", ["logistic", "mass_mean"])
@pytest.mark.parametrize("within", [True, False])
def test_signal_is_found_and_controls_are_at_chance(estimator: str, within: bool) -> None:
    toy, _ = planted(n_groups=100, within=within)
    # With so strong a signal a single shuffle lands far on either side of chance: average many.
    draws = 60 if estimator == "mass_mean" else 15
    evidence = probes.cross_validate(toy, estimator=estimator, repeats=draws, seed=0, attribute="truth")
    assert score(evidence, "probe") > 0.9
    assert abs(score(evidence, "probe", layer=0) - 0.5) < 0.1
    for control in ("shuffled", "control_task", "random_features"):
        assert abs(score(evidence, control) - 0.5) < 0.08, control
    table = evidence.where(condition="probe", layer=1)
    assert len(table) == 200 and set(table["value"]) <= {0.0, 1.0}
    assert set(table["metric"]) == {"truth"} and set(table["span"]) == {"last"}
    gaps = probes.selectivity(evidence, resamples=200)
    assert gaps.loc[gaps.layer == 1, "low"].iloc[0] > 0.3
    assert gaps.loc[gaps.layer == 0, "low"].iloc[0] < 0.05


def test_sweep_scores_the_test_examples_only() -> None:
    toy, _ = planted(n_groups=100)
    train, test = halves(toy)
    evidence = probes.train_test(train, test, seed=0)
    assert len(evidence.where(condition="probe", layer=1)) == 100
    assert set(evidence.table["group"].astype(str)) == set(test[SITE].groups)
    assert score(evidence, "probe") > 0.9


def test_shared_groups_are_refused_by_name() -> None:
    toy, _ = planted()
    train, _ = halves(toy)
    with pytest.raises(ValueError, match=r"share no group, got 30 shared: g000, g001"):
        probes.train_test(train, train, seed=0)


def test_an_entity_is_never_split_across_folds() -> None:
    # Every entity has its own vector and a label drawn at random: a probe can only remember.
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (40,), generator=generator).repeat_interleave(5)
    identity = torch.randn(40, 64, generator=generator).repeat_interleave(5, 0)
    values = identity + 0.1 * torch.randn(200, 64, generator=generator)
    groups = tuple(f"e{i // 5}" for i in range(200))
    site = Site(Kind.RESID_PRE, 0)
    ours = probes.cross_validate(Activations(site, values, groups, labels), controls=(), seed=0)
    assert score(ours, "probe", layer=0) < 0.7
    # The trap: rows treated as their own groups, so that entities are on both sides.
    rows = tuple(f"row{i}" for i in range(200))
    leaky = probes.cross_validate(Activations(site, values, rows, labels), controls=(), seed=0)
    assert score(leaky, "probe", layer=0) > 0.9


def test_nothing_is_fitted_on_held_out_rows() -> None:
    # Few rows in many dimensions with an offset between the halves: centring each half, or both
    # together, before the split would move the cut. The training statistics alone must decide.
    toy, _ = planted(n_groups=100)
    train, test = halves(toy)
    probe = probes.fit(train[SITE], seed=0)
    expected = (probe.predict(test[SITE].values) == test[SITE].labels).numpy()
    far = Activations(
        SITE, test[SITE].values.clone(), test[SITE].groups, test[SITE].labels, "last", "base"
    )
    far.values[::2] += 1000.0  # must not reach the scaling that row 1 is judged by
    evidence = probes.train_test({SITE: train[SITE]}, {SITE: far}, controls=(), seed=0)
    values = evidence.where(condition="probe")["value"].to_numpy()
    assert (values[1::2] == expected[1::2]).all()


def test_label_noise_in_wide_data_stays_at_chance() -> None:
    # 60 rows, 2000 features, labels independent of them: selecting features or centring by class
    # before the split gives > .9 here; the trap is shown beside ours.
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 2000, generator=generator), torch.arange(60) % 2
    groups = tuple(f"e{i}" for i in range(60))
    site = Site(Kind.RESID_PRE, 0)
    ours = [
        score(probes.cross_validate(Activations(site, x, groups, y), controls=(), seed=s), "probe", 0)
        for s in range(5)
    ]
    assert 0.35 < np.mean(ours) < 0.65
    keep = (x[y == 1].mean(0) - x[y == 0].mean(0)).abs().topk(40).indices
    trap = probes.cross_validate(Activations(site, x[:, keep], groups, y), controls=(), seed=0)
    assert score(trap, "probe", 0) > 0.9


def test_surface_baseline_reads_tokens_and_nothing_else() -> None:
    toy, _ = planted(n_groups=100)
    labels = toy[SITE].labels
    assert labels is not None
    tokens = torch.stack([labels, 100 + torch.arange(200) // 2, torch.full((200,), 999)], 1)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    bag = probes.bag_of_tokens(tokens, mask)
    assert bag.shape == (200, 2 + 100 + 1 + 1) and (bag[:, -1] == 3).all()
    seen = probes.cross_validate(toy, surface=bag, seed=0)
    assert score(seen, "surface") == 1.0
    assert score(seen, "random_features") > 0.9  # random vectors of tokens that tell the label
    blind = probes.cross_validate(toy, surface=bag[:, 2:], seed=0)
    assert score(blind, "surface") < 0.6
    masked = probes.bag_of_tokens(tokens, mask & (torch.arange(3) > 0))
    assert masked.shape[1] == 100 + 1 + 1


def test_the_surface_of_a_split_is_made_in_one_call() -> None:
    """Words of train and test that never meet: token counts of one call cannot carry anything over."""
    toy, _ = planted(n_groups=100, layers=1)
    at = toy[Site(Kind.RESID_PRE, 0)]
    assert at.labels is not None
    order = torch.arange(200)
    held = order >= 100
    tokens = torch.stack([at.labels + 10 * held, torch.full((200,), 99)], 1)
    surface = {"tokens": probes.bag_of_tokens(tokens, torch.ones_like(tokens).bool())}
    names = tuple(f"e{i}" for i in range(200))
    train, test = (
        Activations(at.site, at.values[rows], names[int(rows[0]) : int(rows[-1]) + 1], at.labels[rows])
        for rows in (order[~held], order[held])
    )
    found = probes.train_test(train, test, surface=surface, controls=(), seed=0)
    assert score(found, "surface_tokens", 0) < 0.65
    joint = probes.cross_validate(
        Activations(at.site, at.values, names, at.labels), surface=surface, controls=(), seed=0
    )
    assert score(joint, "surface_tokens", 0) == 1.0  # the words tell where folds share them
    for wrong, said in ((torch.ones(3, 2), "one row per example"), (torch.ones(200), "a matrix"),
                        (torch.full((200, 1), torch.nan), "must be finite")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            probes.train_test(train, test, surface=wrong, seed=0)


def test_runs_of_two_estimators_are_not_averaged_into_one() -> None:
    toy, _ = planted(n_groups=40)
    both = [
        probes.cross_validate(toy, estimator=name, controls=(), attribute=attribute, seed=0)
        for name, attribute in (("logistic", "label"), ("mass_mean", "label"), ("mass_mean", "other"))
    ]
    with pytest.raises(ValueError, match="holds a row twice"):
        probes.balanced_accuracy(Evidence.concat(both[:2]))
    apart = probes.balanced_accuracy(Evidence.concat([both[0], both[2]]), resamples=20)
    assert len(apart) == 4 and (apart["examples"] == 80).all()


def test_permutations_keep_groups_and_label_counts() -> None:
    groups = np.repeat(np.arange(12), [3] * 6 + [2] * 6)
    labels = np.array([0] * 9 + [1] * 9 + [0, 1] * 6)
    drawn = permute_over_groups(labels, groups, 200, np.random.default_rng(0))
    assert (drawn.sum(1) == labels.sum()).all()
    for g in range(6):
        block = drawn[:, groups == g]
        assert (block == block[:, :1]).all()
    for g in range(6, 12):
        assert (drawn[:, groups == g].sum(1) == 1).all()
    assert 0.35 < drawn[:, 0].mean() < 0.65 and 0.35 < drawn[:, -1].mean() < 0.65


def test_folds_are_group_disjoint_and_reproducible() -> None:
    groups = np.repeat(np.arange(23), 3)
    labels = np.tile([0, 1, 1], 23)
    for given in (None, labels):
        fold = group_folds(groups, 5, seed=1, labels=given)
        assert (fold == group_folds(groups, 5, seed=1, labels=given)).all()
        assert set(fold) == set(range(5))
        assert all(len(set(fold[groups == g])) == 1 for g in range(23))
    with pytest.raises(ValueError, match="at least 2 groups"):
        group_folds(groups, 5, seed=0, labels=(groups == 0).astype(int))


def test_multiclass_attribute_of_the_entity() -> None:
    toy, _ = planted(n_groups=90, classes=3, within=False, strength=6.0)
    evidence = probes.cross_validate(toy, repeats=5, seed=0, attribute="continent")
    assert score(evidence, "probe") > 0.9
    assert abs(score(evidence, "control_task") - 1 / 3) < 0.1
    gone = part(toy, np.array([n != "g000" for n in toy[SITE].groups]))
    assert len(probes.cross_validate(gone, controls=(), seed=0)) == 2 * 178
