"""scikit-learn's own contract, and the wrappers against the estimators they wrap."""

import numpy as np
import pytest
import torch
from probe_toys import correlated
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from probes.estimators.logistic import Logistic
from probes.estimators.named import ESTIMATORS
from probes.sklearn_api import ProbeClassifier, ProbeRegressor


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_classifier_keeps_scikit_learns_contract(name: str) -> None:
    # Reads the first principal component whatever the labels: no classifier for every data set.
    excused = {"check_classifiers_train": "one component"} if name == "pca" else None
    check_estimator(ProbeClassifier(name), on_skip=None, expected_failed_checks=excused)


def test_the_regressor_keeps_scikit_learns_contract() -> None:
    check_estimator(ProbeRegressor(alpha=1.0), on_skip=None)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Three classes with words for labels."""
    generator = np.random.default_rng(0)
    y = np.array(["cat", "dog", "owl"])[np.arange(120) % 3]
    x = generator.normal(size=(120, 10)) + 2 * generator.normal(size=(3, 10))[np.arange(120) % 3]
    return x, y


def test_the_wrapped_logistic_is_scikit_learns() -> None:
    x, y = data()
    ours = ProbeClassifier(Logistic(c=0.5, balanced=False)).fit(x, y)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(scaler.transform(x), y)
    assert np.allclose(ours.predict_proba(x), theirs.predict_proba(scaler.transform(x)), atol=1e-3)
    assert list(ours.classes_) == ["cat", "dog", "owl"]
    two = y != "owl"
    pair = ProbeClassifier().fit(x[two], y[two])
    assert pair.coef_.shape == (1, 10) and pair.decision_function(x).shape == (120,)


def test_it_works_in_pipelines_and_searches() -> None:
    x, y = data()
    groups = np.arange(120) // 6
    pipe = make_pipeline(StandardScaler(), ProbeClassifier("ridge"))
    assert cross_val_score(pipe, x, y, cv=GroupKFold(5), groups=groups).mean() > 0.8
    noise = cross_val_score(pipe, x, np.random.default_rng(1).permutation(y), cv=5).mean()
    assert noise < 0.55
    search = GridSearchCV(ProbeClassifier(), {"estimator": ["logistic", "mass_mean"]}, cv=3).fit(x, y)
    assert search.best_params_["estimator"] in ESTIMATORS


def test_groups_reach_the_choice_of_the_strength() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (30,), generator=generator).repeat_interleave(5).numpy()
    x = torch.randn(30, 40, generator=generator).repeat_interleave(5, 0).numpy()
    path = ProbeClassifier(Logistic(c=(1e-4, 1.0)))
    apart = path.fit(x, y, groups=np.repeat(np.arange(30), 5)).coef_
    mixed = path.fit(x, y).coef_
    assert np.linalg.norm(apart) < 0.1 * np.linalg.norm(mixed)
    assert not hasattr(ProbeClassifier("lda"), "predict_proba")


def test_the_regressor_takes_any_sequence_and_leaves_the_argument_as_it_was() -> None:
    x, _ = correlated(50, 8, 2)
    for given in ([0.1, 1.0], (0.1, 1.0), np.array([0.1, 1.0]), torch.tensor([0.1, 1.0]).double()):
        model = clone(ProbeRegressor(alpha=given).fit(x, x[:, 0]))
        assert type(model.get_params()["alpha"]) is type(given)
        same = ProbeRegressor(alpha=(0.1, 1.0)).fit(x, x[:, 0])
        assert np.allclose(model.fit(x, x[:, 0]).coef_, same.coef_)
    with pytest.raises(ValueError, match="alpha: strengths must be finite, got nan"):
        ProbeRegressor(alpha=np.nan).fit(x, x[:, 0])
