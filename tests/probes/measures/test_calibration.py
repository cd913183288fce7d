"""Scores against scikit-learn's, corrections against hand counts, and intervals that cover."""

import numpy as np
import pytest
import torch
from probe_toys import planted
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import probes
from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Kind, Site
from interp.stats.testing import holm
from probes.measures.calibration import held_out_margins, score_table
from probes.measures.permutation import adjust_p_values

SITE = Site(Kind.RESID_PRE, 1)


def rows(margin: np.ndarray, label: np.ndarray, group: np.ndarray) -> Evidence:
    """Margins as they come from `margins`."""
    return Evidence.build(
        margin, method="margin", condition="probe", unit="margin", metric="label", kind="resid_pre",
        layer=0, label=label.astype(float), group=[f"g{g}" for g in group], model="base",
    )  # fmt: skip


def test_every_measure_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    label = (generator.uniform(size=150) < 0.3).astype(int)
    margin = np.round(2 * generator.normal(size=150) + 1.5 * label - 1, 1)  # with ties
    table = score_table(rows(margin, label, np.arange(150) // 3), resamples=100).set_index("measure")
    assert set(table.index) == {
        "accuracy",
        "balanced_accuracy",
        "auroc",
        "brier",
        "ece",
        "ece_if_calibrated",
    }
    chance = 1 / (1 + np.exp(-margin.astype(np.float32).astype(float)))
    weight = np.where(label == 1, 0.5 / label.sum(), 0.5 / (1 - label).sum())
    expected = {
        "accuracy": ((margin > 0) == label).mean(),
        "balanced_accuracy": balanced_accuracy_score(label, margin > 0),
        "auroc": roc_auc_score(label, margin),
        "brier": (weight * (chance - label) ** 2).sum(),
    }
    for name, value in expected.items():
        assert table.loc[name, "estimate"] == pytest.approx(value, abs=1e-6), name
        assert table.loc[name, "low"] < value < table.loc[name, "high"]
    assert (table["groups"] == 50).all()


def test_calibration_error_is_zero_when_calibrated_and_large_when_overconfident() -> None:
    generator = np.random.default_rng(1)
    true = 1.5 * generator.normal(size=6_000)
    label = (generator.uniform(size=6_000) < 1 / (1 + np.exp(-true))).astype(int)
    group = np.arange(6_000) // 50
    fair = score_table(rows(true, label, group), resamples=50).set_index("measure")["estimate"]
    loud = score_table(rows(6 * true, label, group), resamples=50).set_index("measure")["estimate"]
    assert fair["ece"] < 0.03 < 0.1 < loud["ece"] and fair["brier"] < loud["brier"]
    assert fair["auroc"] == pytest.approx(loud["auroc"])
    part = slice(0, 200)  # at few examples the estimate alone would look like miscalibration
    for stretch, calm in ((1, True), (6, False)):
        few = score_table(rows(stretch * true[part], label[part], group[part]), resamples=200)
        found = few.set_index("measure")
        assert np.isnan(found.loc["ece", ["low", "high"]].to_numpy(dtype=float)).all()
        low, high = found.loc["ece_if_calibrated", ["low", "high"]]
        assert (low <= found.loc["ece", "estimate"] <= high) == calm
    by_hand = 0.0
    weight = np.where(label == 1, 0.5 / label.sum(), 0.5 / (1 - label).sum())
    chance = 1 / (1 + np.exp(-6 * true))
    for k in range(10):
        inside = (chance >= k / 10) & (chance < (k + 1) / 10 + (k == 9))
        by_hand += abs((weight * (label - chance))[inside].sum())
    assert loud["ece"] == pytest.approx(by_hand, abs=1e-3)


def test_intervals_come_from_groups_not_rows() -> None:
    generator = np.random.default_rng(2)
    label = np.tile([0, 1], 20)
    margin = generator.normal(size=40) + label
    once = score_table(rows(margin, label, np.arange(40) // 2))
    many = score_table(
        rows(np.repeat(margin, 50), np.repeat(label, 50), np.repeat(np.arange(40) // 2, 50))
    )
    for measure in ("auroc", "balanced_accuracy", "brier"):
        a, b = (t[t.measure == measure].iloc[0] for t in (once, many))
        assert (b.high - b.low) == pytest.approx(a.high - a.low, rel=0.15)


def test_margins_of_a_planted_truth_rank_and_controls_do_not() -> None:
    toy, _ = planted(n_groups=120, layers=3)
    evidence = held_out_margins(toy, repeats=5, seed=0, attribute="truth")
    table = score_table(evidence, resamples=200)
    auroc = table[table.measure == "auroc"].set_index(["layer", "condition"])
    assert auroc.loc[(1, "probe"), "low"] > 0.9
    assert abs(auroc.loc[(0, "probe"), "estimate"] - 0.5) < 0.1
    assert abs(auroc.loc[(1, "control_task"), "estimate"] - 0.5) < 0.1
    correct = probes.cross_validate(toy, controls=(), seed=0).where(layer=1)["value"].to_numpy()
    kept = evidence.where(layer=1, condition="probe")
    same = (kept["value"].to_numpy() > 0) == (kept["label"].to_numpy(dtype=float) == 1)
    assert (same == correct.astype(bool)).all()
    with pytest.raises(ValueError, match="margins need two classes, got 3"):
        held_out_margins(planted(classes=3, per_group=3)[0], seed=0)


def test_corrections_over_places() -> None:
    toy, _ = planted(n_groups=60, d=8, layers=4)
    evidence = probes.permutation_null(toy, permutations=199, planted=1, seed=0)
    table = adjust_p_values(evidence).set_index("layer")
    assert (table.loc[[1, 2, 3], "p"] == 1 / 200).all() and table.loc[0, "p"] > 0.01
    assert table.loc[1, "p_max"] == 1 / 200 and table.loc[1, "p_holm"] > 1 / 200
    assert np.allclose(table["p_holm"], holm(table["p"].to_numpy()))
    assert (table["p_max"] >= table["p"]).all() and (table["p_bh"] <= table["p_holm"]).all()
    with pytest.raises(ValueError, match="no permutation rows"):
        adjust_p_values(Evidence.concat([]))


def test_small_classes_are_warned_about_and_larger_ones_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=generator)
    labels = (torch.arange(60) < 4).long()
    at = Activations(SITE, x, tuple(f"g{i}" for i in range(60)), labels)
    with pytest.warns(probes.SmallSample, match="class 1 has 4 groups and 7% of the examples"):
        probes.cross_validate(at, controls=(), folds=2, seed=0)
    even = Activations(SITE, x, at.groups, torch.arange(60) % 2)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.cross_validate(even, controls=(), seed=0)
