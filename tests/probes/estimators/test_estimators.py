"""Estimators against their oracles: scikit-learn's optimum, class means, planted directions."""

from typing import Any

import numpy as np
import pytest
import torch
from probe_toys import halves, part, planted
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import probes
from interp.sites import Kind, Site
from probes.estimators.base import two_class
from probes.estimators.class_means import MassMean
from probes.estimators.logistic import Logistic
from probes.estimators.named import ESTIMATORS

SITE = Site(Kind.RESID_PRE, 1)


@pytest.mark.parametrize(("n", "d", "classes"), [(40, 90, 2), (40, 90, 3), (120, 20, 2)])
def test_rotated_logistic_is_sklearns_optimum(n: int, d: int, classes: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, d)) * generator.lognormal(size=d) + 5.0
    x[:, 3] = 7.0  # a constant feature
    y = np.concatenate([np.arange(classes), generator.integers(classes, size=n - classes)])
    weight, bias = Logistic(c=0.1, tolerance=1e-8).solve(
        torch.from_numpy(x), torch.from_numpy(y)[None], classes
    )
    scaled = StandardScaler().fit(x)
    oracle = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000, class_weight="balanced")
    oracle.fit(scaled.transform(x), y)
    ours = weight[0].numpy() * scaled.scale_
    if classes == 2:
        ours = ours[1:] - ours[:1]
    assert np.allclose(ours, oracle.coef_, atol=1e-4)
    pipe = make_pipeline(scaled, oracle)
    guess = (x @ weight[0].numpy().T + bias[0].numpy()).argmax(1)
    assert (guess == pipe.predict(x)).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_mass_mean_is_the_nearest_centroid(classes: int) -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(60, 7)) + 30, generator.integers(classes, size=60)
    weight, bias = MassMean().solve(torch.from_numpy(x), torch.from_numpy(y)[None], classes)
    guess = (x @ weight[0].numpy().T + bias[0].numpy()).argmax(1)
    assert (guess == NearestCentroid().fit(x, y).predict(x)).all()
    if classes == 2:
        gap = x[y == 1].mean(0) - x[y == 0].mean(0)
        assert np.allclose((weight[0, 1] - weight[0, 0]).numpy(), gap)


def test_draws_do_not_disturb_each_other() -> None:
    toy, _ = planted()
    values, labels = toy[SITE].values, toy[SITE].labels
    assert labels is not None
    for solver in ESTIMATORS.values():
        both, _ = solver.solve(values, torch.stack([labels, 1 - labels]), 2)
        alone, _ = solver.solve(values, labels[None], 2)
        assert torch.allclose(both[0], alone[0])
        gap = both[:, 1] - both[:, 0]
        assert torch.allclose(gap[0], -gap[1], atol=1e-3)


@pytest.mark.parametrize("estimator", ["logistic", "mass_mean"])
def test_a_planted_direction_is_found(estimator: str) -> None:
    toy, u = planted(n_groups=400)
    probe = probes.fit(toy[SITE], estimator=estimator, seed=0)
    assert torch.dot(probe.direction().vector, u).item() >= 0.95
    assert probe.score is not None and probe.score > 0.9
    empty = probes.fit(toy[Site(Kind.RESID_PRE, 0)], estimator=estimator, seed=0)
    assert empty.score is not None and abs(empty.score - 0.5) < 0.08
    assert abs(torch.dot(empty.direction().vector, u).item()) < 0.6


def test_probe_predicts_the_labels_it_was_given() -> None:
    toy, _ = planted(classes=3, per_group=3, strength=8.0)
    train, test = halves(toy)
    labels = train[SITE].labels
    assert labels is not None
    renamed = train[SITE].__class__(SITE, train[SITE].values, train[SITE].groups, labels * 10 + 5)
    probe = probes.fit(renamed, seed=0)
    assert probe.classes == (5, 15, 25)
    truth = test[SITE].labels
    assert truth is not None
    assert (probe.predict(test[SITE].values) == truth * 10 + 5).float().mean() > 0.95
    assert probe.subspace().basis.shape == (32, 2)
    with pytest.raises(ValueError, match="label must be one of"):
        probe.direction()
    with pytest.raises(ValueError, match="32 features, got 5"):
        probe.decision(torch.zeros(2, 5))


def test_control_directions_share_the_variance_but_not_the_labels() -> None:
    toy, u = planted(n_groups=200, strength=6.0)
    a = toy[SITE]
    drawn = probes.control_directions(a, repeats=50, seed=0)
    again = probes.control_directions(a, repeats=50, seed=0)
    assert len(drawn) == 50 and all(d.site == SITE for d in drawn)
    assert all(torch.allclose(x.vector, y.vector, atol=1e-5) for x, y in zip(drawn, again, strict=True))
    cosines = torch.stack([d.vector for d in drawn]) @ u
    # Signs are as likely either way; the planted variance attracts them more than pure noise would.
    assert abs(cosines.mean().item()) < 0.2
    assert cosines.abs().mean() > 1.5 * (2 / np.pi / 32) ** 0.5
    assert cosines.abs().max() < 0.95


def test_bad_estimator_and_input_are_one_line() -> None:
    toy, _ = planted()
    a: Any = toy[SITE]
    cases = [
        (lambda: probes.fit(a, estimator="svm", seed=0), "estimator must be one of"),
        (lambda: probes.fit(_with(a, labels=None), seed=0), "needs labels"),
        (lambda: probes.fit(_with(a, labels=a.labels * 0), seed=0), "at least two classes"),
        (lambda: probes.fit(_with(a, values=a.values * torch.nan), seed=0), "NaN or infinity"),
        (lambda: probes.fit(_with(a, labels=a.labels / 0), seed=0), "labels must be finite"),
        (lambda: probes.fit(_with(a, values=a.values[:, None].expand(-1, 2, -1)), seed=0), "shape"),
        (lambda: probes.cross_validate(a, folds=99, seed=0), "as many groups"),
        (lambda: probes.cross_validate(a, controls=("luck",), seed=0), "controls must be among"),
        (lambda: probes.cross_validate([], seed=0), "at least one site"),
        (lambda: probes.cross_validate([a, part(toy, np.arange(120) < 90)[SITE]], seed=0), "shape"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def _with(a: Any, **changes: Any) -> Any:
    fields = ("site", "values", "groups", "labels", "position", "model")
    return type(a)(**{**{f: getattr(a, f) for f in fields}, **changes})


def test_a_probe_of_classes_too_small_to_hold_any_out_has_no_score() -> None:
    toy, _ = planted(n_groups=12, per_group=1, classes=6, within=False, strength=12.0)
    probe = probes.fit(toy[Site(Kind.RESID_PRE, 1)], seed=0)
    assert probe.score is None
    assert probe.weight.shape == (6, 32) and float(probe.weight.norm()) > 0


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"pca"}))
def test_every_estimator_finds_the_planted_direction(name: str) -> None:
    toy, u = planted(n_groups=400)
    probe = probes.fit(toy[SITE], estimator=name, seed=0)
    assert probe.estimator == name
    assert abs(torch.dot(probe.direction().vector, u).item()) >= (0.75 if name == "k_sparse" else 0.95)
    assert probe.score is not None and probe.score > 0.85
    empty = probes.fit(toy[Site(Kind.RESID_PRE, 0)], estimator=name, seed=0)
    assert empty.score is not None and abs(empty.score - 0.5) < 0.08


def test_one_row_of_two_classes_becomes_two_that_differ_by_it() -> None:
    row = torch.tensor([3.0, -1.0])
    both = two_class(row)
    assert torch.equal(both[1] - both[0], row) and torch.equal(both.sum(0), torch.zeros(2))
    assert two_class(row, dim=1).tolist() == [[-1.5, 1.5], [0.5, -0.5]] != both.tolist()
