"""The batched solver against scikit-learn: the same optimum, whatever the problem and the batch."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.estimators.logistic import Logistic, reference_logistic, solve_logistic
from probes.solver.batch import Design, LogisticBatch
from probes.solver.newton import _newton, minimise

KINDS = ("random", "separable", "ill-conditioned", "imbalanced", "constant")


def dataset(kind: str, n: int, d: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of one of the problem kinds; every class occurs."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, d)) + generator.normal(size=d)
    share = np.full(classes, 1 / classes)
    if kind == "imbalanced":
        share = np.array([1.0] + [0.08] * (classes - 1))
    y = np.concatenate(
        [np.arange(classes), generator.choice(classes, size=n - classes, p=share / share.sum())]
    )
    if kind == "separable":
        x += 6.0 * generator.normal(size=(classes, d))[y]
    if kind == "ill-conditioned":
        turn = np.linalg.qr(generator.normal(size=(d, d)))[0]
        x = x * np.logspace(0, -5, d) @ turn * generator.lognormal(0, 3, size=d)
        x += 1e3 * generator.normal(size=d)
    if kind == "constant":
        x[:, :: max(2, d // 3)] = generator.normal()
    return x, y


def objective(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, c: float, balanced: bool
) -> float:
    """The objective in standardised features of scikit-learn's parameters (one row: binary)."""
    count = np.bincount(y)
    each = (len(y) / (len(count) * count))[y] if balanced else np.ones(len(y))
    z = x @ weight.T + bias
    if len(weight) == 1:
        loss = np.logaddexp(0, z[:, 0]) - y * z[:, 0]
    else:
        loss = logsumexp(z, axis=1) - z[np.arange(len(y)), y]
    return float(0.5 * np.square(weight).sum() + c * (each * loss).sum())


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Between two weight matrices as a whole; 1 where both are zero to rounding."""
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return 1.0 if size < 1e-12 else float((a * b).sum() / size)


def standardised(
    weight: torch.Tensor, bias: torch.Tensor, scaler: StandardScaler
) -> tuple[np.ndarray, np.ndarray]:
    """Raw weights of all classes as scikit-learn's in standardised features."""
    w, b = weight.numpy(), bias.numpy()
    assert scaler.scale_ is not None and scaler.mean_ is not None
    b, w = b + w @ scaler.mean_, w * scaler.scale_
    return (w[1:] - w[:1], b[1:] - b[:1]) if len(w) == 2 else (w, b)


@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(24, 90),
    d=st.integers(2, 120),
    classes=st.sampled_from([2, 2, 3, 5]),
    exponent=st.floats(-4, 3),
    balanced=st.booleans(),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_the_optimum_is_that_of_scikit_learn(
    kind: str, n: int, d: int, classes: int, exponent: float, balanced: bool, seed: int
) -> None:
    x, y = dataset(kind, n, d, classes, seed)
    c = 10.0**exponent
    weight, bias = solve_logistic(
        torch.from_numpy(x),
        torch.from_numpy(y)[None],
        torch.tensor([c], dtype=torch.float64),
        classes,
        balanced=balanced,
    )
    scaler = StandardScaler().fit(x)
    rows = scaler.transform(x)
    oracle = LogisticRegression(
        C=c, solver="newton-cholesky", tol=1e-10, max_iter=500, class_weight=_weights(balanced)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle.fit(rows, y)
    ours, shift = standardised(weight[0], bias[0], scaler)
    best = objective(rows, y, oracle.coef_, oracle.intercept_, c, balanced)
    got = objective(rows, y, ours, shift, c, balanced)
    assert got <= best * (1 + 1e-6)
    if np.linalg.norm(oracle.coef_) > 1e-6:
        assert cosine(ours, oracle.coef_) >= 0.999
    guess = (x @ weight[0].numpy().T + bias[0].numpy()).argmax(1)
    assert abs((guess == y).mean() - oracle.score(rows, y)) <= max(0.005, 1.001 / n)


def _weights(balanced: bool) -> str | None:
    return "balanced" if balanced else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_batch_of_folds_and_strengths_equals_one_fit_each(kind: str, classes: int) -> None:
    x, y = dataset(kind, 150, 40, classes, seed=3)
    fold = np.arange(150) % 5
    strengths = np.logspace(-3, 2, 4)
    labels = torch.from_numpy(np.stack([np.where(fold != k, y, -1) for k in range(5)]))
    batch = labels.repeat(4, 1)
    c = torch.from_numpy(strengths).repeat_interleave(5)
    weight, bias = solve_logistic(torch.from_numpy(x), batch, c, classes)
    gaps, alike, hits = [], [], []
    for i in range(20):
        train = fold != i % 5
        scaler = StandardScaler().fit(x[train])
        rows = scaler.transform(x[train])
        oracle = LogisticRegression(
            C=float(c[i]), solver="newton-cholesky", tol=1e-10, class_weight="balanced"
        ).fit(rows, y[train])
        ours, shift = standardised(weight[i], bias[i], scaler)
        best = objective(rows, y[train], oracle.coef_, oracle.intercept_, float(c[i]), True)
        gaps.append(objective(rows, y[train], ours, shift, float(c[i]), True) / best - 1)
        alike.append(cosine(ours, oracle.coef_))
        held = x[~train]
        guess = (held @ weight[i].numpy().T + bias[i].numpy()).argmax(1)
        hits.append((guess == y[~train]).mean() - oracle.score(scaler.transform(held), y[~train]))
    assert max(gaps) <= 1e-6 and min(alike) >= 0.999
    assert abs(np.mean(hits)) <= 0.005
    # The control: an optimum of another strength is told apart by these margins.
    assert cosine(weight[0].numpy(), weight[19].numpy()) < 0.999


def test_one_row_against_many_in_features_that_are_nearly_alike() -> None:
    """The slope that is left lies where hardly any curvature is: it must not pass for small."""
    for seed in range(12):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(79, 25))
        x = np.repeat(x[:, :1], 25, 1) + 1e-3 * x
        y = (np.arange(79) < 1).astype(int)
        weight, bias = solve_logistic(
            torch.from_numpy(x), torch.from_numpy(y)[None], torch.tensor([75.0]).double(), 2
        )
        scaler = StandardScaler().fit(x)
        rows = scaler.transform(x)
        oracle = LogisticRegression(
            C=75.0, class_weight="balanced", solver="newton-cholesky", tol=1e-10, max_iter=500
        ).fit(rows, y)
        ours, shift = standardised(weight[0], bias[0], scaler)
        best = objective(rows, y, oracle.coef_, oracle.intercept_, 75.0, True)
        assert objective(rows, y, ours, shift, 75.0, True) <= best * (1 + 1e-6)
        assert cosine(ours, oracle.coef_) >= 0.999


@pytest.mark.parametrize("d", [1, 8, 100])
def test_features_that_are_all_constant_leave_the_shares_of_the_classes(d: int) -> None:
    x = torch.full((60, d), 3.0, dtype=torch.float64)
    labels = torch.arange(60) % 3 // 2  # 40 zeros, 20 ones
    for balanced, odds in ((True, 1.0), (False, 2.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            weight, bias = solve_logistic(x, labels[None], torch.tensor([0.1]), 2, balanced=balanced)
        assert not weight.any()
        assert torch.exp(bias[0, 0] - bias[0, 1]).item() == pytest.approx(odds, rel=1e-3)


def test_unseen_rows_and_other_draws_change_nothing() -> None:
    x, y = dataset("random", 80, 30, 3, seed=0)
    values, labels = torch.from_numpy(x), torch.from_numpy(y)
    part = torch.where(torch.arange(80) < 50, labels, -1)
    c = torch.full((1,), 0.1, dtype=torch.float64)
    alone, offset = solve_logistic(values[:50], labels[None, :50], c, 3)
    far = values.clone()
    far[50:] += 1e4
    for drawn in (part[None], torch.stack([part, labels])):
        weight, bias = solve_logistic(far, drawn, c.expand(len(drawn)), 3)
        assert cosine(weight[0].numpy(), alone[0].numpy()) > 1 - 1e-5
        assert torch.allclose(
            bias[0] + far[:50] @ weight[0].T, offset + values[:50] @ alone[0].T, atol=1e-2
        )


def test_a_feature_constant_in_a_fold_gets_no_weight_there() -> None:
    x, y = dataset("random", 60, 8, 2, seed=1)
    x[:40, 2] = 5.0
    labels = torch.from_numpy(np.where(np.arange(60) < 40, y, -1))[None]
    weight, _ = solve_logistic(torch.from_numpy(x), labels, torch.ones(1, dtype=torch.float64), 2)
    assert (weight[0, :, 2] == 0).all() and (weight[0, :, 3] != 0).all()


def test_classes_absent_from_a_draw_are_never_predicted() -> None:
    x, y = dataset("random", 90, 10, 4, seed=2)
    draws = np.stack([y, np.where(y == 3, 0, y), np.where(y >= 2, 1, y), np.zeros_like(y)])
    c = torch.full((4,), 0.5, dtype=torch.float64)
    weight, bias = solve_logistic(torch.from_numpy(x), torch.from_numpy(draws), c, 4)
    reference = reference_logistic(torch.from_numpy(x), torch.from_numpy(draws), c, 4)
    for i, draw in enumerate(draws):
        scores = torch.from_numpy(x) @ weight[i].T + bias[i]
        assert set(scores.argmax(1).tolist()) <= set(draw.tolist())
        theirs = torch.from_numpy(x) @ reference[0][i].T + reference[1][i]
        finite = torch.isfinite(bias[i])
        assert torch.equal(finite, torch.isfinite(reference[1][i]))
        a, b = scores[:, finite], theirs[:, finite]
        gap = (a - a.mean(1, keepdim=True)) - (b - b.mean(1, keepdim=True))
        assert gap.abs().max() < 5e-3


def test_both_backends_are_one_estimator() -> None:
    x, y = dataset("separable", 70, 20, 2, seed=5)
    values, labels = torch.from_numpy(x), torch.from_numpy(y)[None]
    fast = Logistic(c=0.3).solve(values, labels, 2)
    slow = Logistic(c=0.3, backend="sklearn").solve(values, labels, 2)
    assert cosine(fast[0].numpy(), slow[0].numpy()) > 1 - 1e-6
    assert torch.allclose(fast[1], slow[1], atol=1e-3)


def test_a_fit_that_stops_early_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.solver.newton._NEWTON_STEPS", 1)
    x, y = dataset("separable", 50, 10, 2, seed=0)
    with pytest.warns(RuntimeWarning, match="1 of 1 logistic fits did not converge"):
        solve_logistic(torch.from_numpy(x), torch.from_numpy(y)[None], torch.ones(1).double() * 100, 2)


class Coarse(Design):
    """Rows whose single precision is that of a machine with three bits: where it fails, it must."""

    def __init__(self, features: torch.Tensor) -> None:
        if features.dtype == torch.float32:
            fraction, exponent = torch.frexp(features)
            features = torch.ldexp((fraction * 8).round() / 8, exponent)
        super().__init__(features)


def test_double_precision_finishes_what_single_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(120, 30, generator=generator, dtype=torch.float64)
    x = x * torch.logspace(0, -6, 30, dtype=torch.float64)
    y = (torch.randn(120, generator=generator) > 0).double()
    ones = torch.ones(1, 1, 31, dtype=torch.float64)
    weight = torch.full((1, 1, 120), 1e12, dtype=torch.float64)
    problem = LogisticBatch(y[None, None], weight, ones, torch.zeros(1, 1, 1, dtype=torch.float64))

    def slope(weights: torch.Tensor) -> float:
        probability = (x @ weights[:-1] + weights[-1]).sigmoid()
        return float((x.T @ (1e12 * (probability - y)) + weights[:-1]).norm())

    start = torch.zeros(1, 1, 31, dtype=torch.float64)
    gain_per_energy = torch.full((1,), torch.inf, dtype=torch.float64)
    single = start.clone()
    done = _newton(Coarse(x.float()), Coarse(x.float()), problem, single, gain_per_energy, 1e-7)
    assert slope(single[0, 0]) > 1e-2 * slope(start[0, 0])
    done = _newton(Design(x), Coarse(x.float()), problem, single, gain_per_energy, 1e-7)
    assert not done.any()
    monkeypatch.setattr("probes.solver.batch.Design", Coarse)
    assert slope(minimise(x, problem)[0, 0]) < 1e-3 * slope(start[0, 0])


@pytest.mark.parametrize("c", [0.0, -1.0])
def test_bad_strengths_and_empty_draws_are_one_line(c: float) -> None:
    x, y = torch.randn(10, 3), torch.arange(10)[None] % 2
    with pytest.raises(ValueError, match="C must be positive, got"):
        solve_logistic(x, y, torch.tensor([c], dtype=torch.float64), 2)
    with pytest.raises(ValueError, match="each draw needs a training row"):
        solve_logistic(x, torch.full_like(y, -1), torch.ones(1, dtype=torch.float64), 2)
