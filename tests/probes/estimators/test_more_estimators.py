"""Ridge, discriminants, covariance-aware means, few components and few features against oracles."""

import numpy as np
import pytest
import torch
from probe_toys import planted
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge as SklearnRidge, RidgeClassifier as SklearnRidgeClassifier
from sklearn.preprocessing import StandardScaler

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.choosing import check_choice, check_count, normalised
from probes.estimators.class_means import LDA, MassMean, Principal
from probes.estimators.logistic import Logistic
from probes.estimators.named import ESTIMATORS
from probes.estimators.ridge import Ridge, RidgeClassifier, ridge_path
from probes.estimators.sparse import KSparse
from probes.linear import weight_dtype
from probes.sklearn_api import ProbeRegressor

SITE = Site(Kind.RESID_PRE, 1)


def rows(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated rows with an offset, class means apart, and labels."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 20.0
    return x + 3 * generator.normal(size=(classes, d))[y], y


def one(labels: np.ndarray) -> torch.Tensor:
    """One draw."""
    return torch.from_numpy(labels)[None]


@pytest.mark.parametrize(("n", "d"), [(60, 12), (30, 50)])
@pytest.mark.parametrize("classes", [2, 4])
def test_ridge_classifier_is_scikit_learns(n: int, d: int, classes: int) -> None:
    x, y = rows(n, d, classes)
    y[: n // 3] = 0  # unbalanced
    scaler = StandardScaler().fit(x)
    oracle = SklearnRidgeClassifier(alpha=7.0, class_weight="balanced").fit(scaler.transform(x), y)
    weight, bias = RidgeClassifier(alpha=7.0).solve(torch.from_numpy(x), one(y), classes)
    ours, offset = weight[0].numpy() * scaler.scale_, bias[0].numpy() + weight[0].numpy() @ scaler.mean_
    if classes == 2:  # scikit-learn fits one target of two
        ours, offset = (ours[1:] - ours[:1]) / 2, (offset[1:] - offset[:1]) / 2
    assert np.allclose(ours, oracle.coef_, atol=1e-8)
    assert np.allclose(offset, oracle.intercept_, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 12), (30, 50)])
def test_a_ridge_path_is_one_ridge_per_strength(n: int, d: int) -> None:
    x, _ = rows(n, d, 2)
    generator = np.random.default_rng(1)
    t, s = generator.normal(size=(n, 2)), generator.uniform(0.5, 2, size=n)
    path = torch.tensor([0.1, 10.0, 1000.0], dtype=torch.float64)
    weight, bias = ridge_path(torch.from_numpy(x), torch.from_numpy(t), torch.from_numpy(s), path)
    scaler = StandardScaler().fit(x)
    for k, alpha in enumerate(path.tolist()):
        oracle = SklearnRidge(alpha=alpha).fit(scaler.transform(x), t, sample_weight=s)
        assert np.allclose(weight[k].numpy() * scaler.scale_, oracle.coef_, atol=1e-8)
        guess = x @ weight[k].numpy().T + bias[k].numpy()
        assert np.allclose(guess, oracle.predict(scaler.transform(x)), atol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_mass_mean_with_covariance_is_the_unshrunk_discriminant(classes: int) -> None:
    x, y = rows(200, 10, classes)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(classes, 1 / classes)).fit(x, y)
    weight, bias = MassMean(covariance=True).solve(torch.from_numpy(x), one(y), classes)
    guess = x @ weight[0].numpy().T + bias[0].numpy()
    assert (guess.argmax(1) == oracle.predict(x)).all()
    plain, _ = MassMean().solve(torch.from_numpy(x), one(y), classes)
    gap, theirs = (weight[0, 1] - weight[0, 0]).numpy(), oracle.coef_[-1]
    if classes == 2:
        assert _cosine(gap, theirs) > 0.999
        assert abs(_cosine((plain[0, 1] - plain[0, 0]).numpy(), theirs)) < 0.9


def test_discriminant_is_scikit_learns_and_beats_plain_means_under_a_nuisance() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 2
    x = torch.randn(300, 40, generator=generator)
    x[:, 0] = 30 * torch.randn(300, generator=generator)  # loud and irrelevant
    x[:, 1] += 3.0 * y
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    oracle.fit(x[:200].double().numpy(), y[:200].numpy())
    weight, bias = LDA().solve(x[:200], y[None, :200], 2)
    guess = (x[200:].double() @ weight[0].T + bias[0]).argmax(1)
    assert (guess.numpy() == oracle.predict(x[200:].double().numpy())).all()
    means, cut = MassMean().solve(x[:200], y[None, :200], 2)
    plain = (x[200:].double() @ means[0].T + cut[0]).argmax(1)
    assert (guess == y[200:]).double().mean() > (plain == y[200:]).double().mean() + 0.1


def test_principal_reads_the_first_component_and_no_quieter_one() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 20, generator=generator)
    x[:, 4] *= 12  # the first component, without the label
    x[:, 7] += 9.0 * y  # the second, with it
    top = PCA(1).fit(x.numpy()).components_[0]
    weight, _ = Principal().solve(x, y[None], 2)
    assert abs(_cosine((weight[0, 1] - weight[0, 0]).numpy(), top)) > 1 - 1e-6
    groups = tuple(f"g{i // 2}" for i in range(200))
    seen = Activations(SITE, x, groups, y)
    scores = [probes.fit(seen, estimator=Principal(components=k)).score for k in (1, 2)]
    assert scores[0] is not None and scores[1] is not None
    assert abs(scores[0] - 0.5) < 0.12 and scores[1] > 0.95


def test_k_sparse_finds_the_neurons_and_uses_no_other() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 3
    x = torch.randn(240, 50, generator=generator)
    x[:, 11] += 5.0 * (y == 1)
    x[:, 30] += 5.0 * (y == 2)
    x[:, 5] = 1.0
    weight, bias = KSparse(k=2).solve(x, y[None], 3)
    assert set(torch.nonzero(weight[0].abs().sum(0))[:, 0].tolist()) == {11, 30}
    assert ((x.double() @ weight[0].T + bias[0]).argmax(1) == y).double().mean() > 0.95
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        KSparse(k=0).solve(x, y[None], 3)


def test_features_are_chosen_inside_the_folds() -> None:
    # 60 rows of pure noise in 2,000 features: chosen on all rows, forty of them give > .9.
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 2000, generator=generator), torch.arange(60) % 2
    groups = tuple(f"e{i}" for i in range(60))
    inside = [
        probes.fit(Activations(SITE, x, groups, y), estimator=KSparse(k=40), seed=s).score
        for s in range(5)
    ]
    assert 0.35 < np.mean([s for s in inside if s is not None]) < 0.65
    weight, _ = KSparse(k=40).solve(x, y[None], 2)
    chosen = weight[0].abs().sum(0) > 0
    leaky = probes.fit(Activations(SITE, x[:, chosen], groups, y), seed=0).score
    assert leaky is not None and leaky > 0.9


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"pca"}))
def test_every_estimator_finds_the_planted_direction(name: str) -> None:
    toy, u = planted(n_groups=400)
    probe = probes.fit(toy[SITE], estimator=name, seed=0)
    assert probe.estimator == name
    assert abs(torch.dot(probe.direction().vector, u).item()) >= (0.75 if name == "k_sparse" else 0.95)
    assert probe.score is not None and probe.score > 0.85
    empty = probes.fit(toy[Site(Kind.RESID_PRE, 0)], estimator=name, seed=0)
    assert empty.score is not None and abs(empty.score - 0.5) < 0.08


def test_a_quantity_is_scikit_learns_ridge_on_the_rows_seen() -> None:
    x, _ = rows(50, 8, 2)
    t = x[:, 0] * 0.3 - x[:, 5]
    part = np.where(np.arange(50) < 40, t, np.nan)
    weight, bias = Ridge(alpha=2.0).solve_quantity(torch.from_numpy(x), one(part))
    scaler = StandardScaler().fit(x[:40])
    oracle = SklearnRidge(alpha=2.0).fit(scaler.transform(x[:40]), t[:40])
    guess = x @ weight[0, 0].numpy() + bias[0, 0].numpy()
    assert np.allclose(guess, oracle.predict(scaler.transform(x)), atol=1e-8)


STRONG = (Logistic, RidgeClassifier, Ridge, KSparse)
ARRAYS = ([0.1, 1.0], (0.1, 1.0), np.array([0.1, 1.0]), torch.tensor([0.1, 1.0], dtype=torch.float64))


def named(reader: type) -> str:
    """What the reader calls its strength."""
    return "c" if reader in (Logistic, KSparse) else "alpha"


@pytest.mark.parametrize("reader", STRONG)
def test_strengths_come_as_a_number_or_any_sequence(reader: type) -> None:
    for given in ARRAYS:
        assert reader(**{named(reader): given}) == reader(**{named(reader): (0.1, 1.0)})
    kept = getattr(reader(**{named(reader): np.array(2.0)}), named(reader))
    assert kept == 2.0 and isinstance(kept, float)
    for given, message in ((-3.0, "positive, got -3.0"), (np.array([1, np.nan]), "finite, got")):
        with pytest.raises(ValueError, match=f"{named(reader)}: strengths must be {message}"):
            reader(**{named(reader): given})


# Past the shape checks of the tests, which refuse words and booleans before we can.
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.0, "must be positive, got 0.0;"),
        (np.array([0.1, -1.0]), r"must be positive, got \[0.1, -1.0\];"),
        (np.nan, "must be finite, got nan;"),
        ([1.0, np.inf], r"must be finite, got \[1.0, inf\];"),
        ("strong", "must be numbers, one or a flat sequence, got 'strong';"),
        ({1.0, 2.0}, "must be numbers"),
        (True, "must be numbers"),
        (None, "must be numbers"),
        ([], r"must be numbers, one or a flat sequence, got \[\];"),
        (np.ones((2, 2)), "must be numbers"),
    ],
)
def test_bad_strengths_are_one_line(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"c: strengths {message}") as error:
        normalised(given, "c")
    assert "\n" not in str(error.value)
    assert normalised(range(1, 3), "c") == (1.0, 2.0) and normalised(np.float32(2), "c") == 2.0


def test_a_path_of_k_sparse_chooses_inside_the_folds() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 2
    x = torch.randn(120, 300, generator=generator)
    noise, groups = x.clone(), np.arange(120)
    x[:, 7] += 4.0 * y
    path = KSparse(k=3, c=[1e-4, 1e-2, 1.0])
    both, _ = path.solve(torch.cat([x, noise], 1), torch.stack([y, y.flip(0)]), 2, groups)
    assert both[0, :, 7].abs().amax() > 0.1
    alone = [KSparse(k=3, c=c).solve(x, y[None], 2, groups)[0] for c in (1e-4, 1e-2, 1.0)]
    chosen, _ = path.solve(x, y[None], 2, groups)
    assert [torch.allclose(chosen, one, atol=1e-4) for one in alone].count(True) == 1
    nothing, _ = path.solve(noise, y[None], 2, groups)
    assert nothing.norm() < 0.1 * chosen.norm()
    with pytest.raises(ValueError, match="choosing a strength needs groups, got none"):
        path.solve(x, y[None], 2)


def test_the_regressor_takes_any_sequence_and_leaves_the_argument_as_it_was() -> None:
    x, _ = rows(50, 8, 2)
    for given in ARRAYS:
        model = clone(ProbeRegressor(alpha=given).fit(x, x[:, 0]))
        assert type(model.get_params()["alpha"]) is type(given)
        same = ProbeRegressor(alpha=(0.1, 1.0)).fit(x, x[:, 0])
        assert np.allclose(model.fit(x, x[:, 0]).coef_, same.coef_)
    with pytest.raises(ValueError, match="alpha: strengths must be finite, got nan"):
        ProbeRegressor(alpha=np.nan).fit(x, x[:, 0])


def test_bad_options_are_one_line() -> None:
    cases = [
        (
            lambda: check_choice("jax", "backend", ("torch",)),
            r"backend must be one of \['torch'\], got 'j",
        ),
        (lambda: check_count(2.5, "components"), "components must be at least 1, got 2.5"),
        (lambda: Principal(components=0), "components must be at least 1, got 0"),
        (lambda: KSparse(k=-1), "k must be at least 1, got -1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_weights_of_integers_are_floats_and_others_keep_their_type() -> None:
    # The shape checks of the tests let no integers into a probe; a user's session does.
    for kind in (torch.int64, torch.uint8, torch.bool):
        assert weight_dtype(torch.ones(2, 2, dtype=kind)) == torch.float32
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        assert weight_dtype(torch.ones(2, 2, dtype=kind)) == kind


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
