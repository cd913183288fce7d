"""Learning curves rise where something is planted; the online code counts bits as by hand."""

import numpy as np
import pytest
import torch
from probe_toys import planted

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.logistic import Logistic
from probes.measures.description_length import (
    BLOCKS,
    UNIFORM,
    compression,
    description_length,
    learning_curve,
)

SITE = Site(Kind.RESID_PRE, 1)


def test_the_curve_rises_with_entities_and_stays_flat_without_a_signal() -> None:
    toy, _ = planted(n_groups=150, strength=3.0)
    evidence = learning_curve(toy, shares=(0.05, 0.3, 1.0), seed=0)
    table = probes.balanced_accuracy(evidence, resamples=50).set_index(["layer", "condition"])[
        "estimate"
    ]
    signal = [table[1, f"train_{g}"] for g in (6, 36, 120)]
    assert signal[0] < signal[1] < signal[2] and signal[2] > 0.85
    assert all(abs(table[0, f"train_{g}"] - 0.5) < 0.1 for g in (6, 36, 120))
    whole = probes.balanced_accuracy(probes.cross_validate(toy, controls=(), seed=0), resamples=50)
    assert signal[2] == pytest.approx(whole.set_index("layer")["estimate"][1])
    with pytest.raises(ValueError, match=r"shares must lie in \(0, 1\], got \[0.0\]"):
        learning_curve(toy, shares=(0.0,), seed=0)


def test_the_code_is_the_sum_over_blocks_by_hand() -> None:
    toy, _ = planted(n_groups=64)
    at = toy[SITE]
    assert at.labels is not None
    fixed = Logistic(balanced=False)
    evidence = description_length(at, estimator=fixed, repeats=0, seed=3)
    rank = np.random.default_rng(3).permutation(64)[np.repeat(np.arange(64), 2)]
    ends = (np.array(BLOCKS) * 64).astype(int)
    bits = np.full(128, 1.0)
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        train, rows = torch.from_numpy(rank < start), torch.from_numpy((rank >= start) & (rank < stop))
        labels = torch.where(train, at.labels, -1)[None]
        weight, bias = fixed.solve(at.values, labels, 2)
        chance = (at.values[rows].double() @ weight[0].T + bias[0]).softmax(1)
        own = chance.gather(1, at.labels[rows][:, None])[:, 0].numpy()
        bits[rows.numpy()] = -np.log2((1 - UNIFORM) * own + UNIFORM / 2)
    assert np.allclose(evidence.table["value"], bits, atol=1e-4)
    table = compression(evidence, resamples=50)
    assert table["bits"].iloc[0] == pytest.approx(bits.sum(), rel=1e-5)
    assert table["estimate"].iloc[0] == pytest.approx(128 / bits.sum(), rel=1e-5)


def test_a_signal_compresses_and_a_control_task_does_not() -> None:
    toy, _ = planted(n_groups=256, strength=5.0)
    table = compression(description_length(toy, seed=0), resamples=200)
    table = table.set_index(["layer", "condition"])
    assert table.loc[(1, "probe"), "low"] > 1.5
    assert table.loc[(1, "control_task"), "estimate"] < 1.1
    assert table.loc[(0, "probe"), "high"] < 1.1
    many, _ = planted(n_groups=256, classes=4, per_group=4, strength=6.0)
    four = compression(description_length(many, repeats=0, seed=0), resamples=50).set_index("layer")
    assert four.loc[1, "estimate"] > 1.5


def test_a_label_written_large_costs_little_at_any_size() -> None:
    """A strength fixed for many rows forbids confidence on few: the code chooses its own."""
    for n_groups in (24, 100):
        toy, _ = planted(n_groups=n_groups, per_group=1, d=20, strength=12.0, within=False)
        chosen = description_length(toy[SITE], repeats=0, seed=0)
        fixed = description_length(toy[SITE], estimator=Logistic(balanced=False), repeats=0, seed=0)
        best, poor = (compression(e, resamples=20)["estimate"].iloc[0] for e in (chosen, fixed))
        assert best > 1.8 and best > poor + 0.1, n_groups


def test_an_absent_class_costs_finite_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    labels[5] = 2
    at = Activations(
        SITE, torch.randn(64, 4, generator=generator), tuple(f"g{i}" for i in range(64)), labels
    )
    value = description_length(at, repeats=0, seed=0).table["value"]
    assert np.isfinite(value).all() and value.max() <= np.log2(3 / UNIFORM) + 1e-3
    few = Activations(SITE, torch.randn(4, 4), tuple("abcd"), torch.arange(4) % 2)
    with pytest.raises(ValueError, match="at least 6 groups, got 4"):
        description_length(few, seed=0)


def test_trivial_readers_are_compared_by_name() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(160) % 2
    tokens = torch.randint(5, 50, (160, 6), generator=generator)
    mask = torch.arange(6) < (3 + 2 * labels)[:, None]  # the true ones are longer
    answers = ["word" * int(k) for k in torch.randint(1, 4, (160,), generator=generator)]
    features = probes.surface_features(tokens, mask, answers=answers)
    assert {k: v.shape[1] for k, v in features.items() if k != "tokens"} == {
        "length": 1, "frequency": 3, "answer": 2,
    }  # fmt: skip
    by_hand = (1 + tokens[0, : int(mask[0].sum())].double()).log()
    expected = torch.stack([by_hand.mean(), by_hand.max(), by_hand[-1]]).float()
    assert torch.allclose(features["frequency"][0], expected)
    at = Activations(
        SITE, torch.randn(160, 8, generator=generator), tuple(f"g{i}" for i in range(160)), labels
    )
    evidence = probes.cross_validate(at, surface=features, seed=0)
    table = probes.balanced_accuracy(evidence, resamples=50).set_index("condition")["estimate"]
    assert table["surface_length"] == 1.0 and table["surface_answer"] < 0.65
    gap = probes.selectivity(evidence, against="surface_length", resamples=50)["high"].iloc[0]
    assert gap < -0.3  # the trivial reader wins
    with pytest.raises(ValueError, match="answers must have one entry per example, 160; got 2"):
        probes.surface_features(tokens, mask, answers=["a", "b"])


def test_letters_of_names_read_what_is_spelled_in_them_on_unseen_names() -> None:
    generator = np.random.default_rng(0)
    labels = torch.arange(160) % 2
    ends = ("ium", "on")
    names = ["".join(generator.choice(list("abcdefg"), 5)) + ends[k] for k in labels.tolist()]
    tokens = torch.arange(160)[:, None]  # every name a token of its own
    features = probes.surface_features(tokens, tokens >= 0, names=names)
    at = Activations(SITE, torch.randn(160, 8), tuple(f"g{i}" for i in range(160)), labels)
    table = probes.balanced_accuracy(probes.cross_validate(at, surface=features, seed=0), resamples=50)
    read = table.set_index("condition")["estimate"]
    assert read["surface_letters"] == 1.0 and read["surface_tokens"] < 0.65
    with pytest.raises(ValueError, match="names must have one entry per example, 160; got 1"):
        probes.surface_features(tokens, tokens >= 0, names=["a"])
