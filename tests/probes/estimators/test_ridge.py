"""Ridge regression of classes and of quantities against scikit-learn."""

import numpy as np
import pytest
import torch
from probe_toys import correlated, draw
from sklearn.linear_model import Ridge as SklearnRidge, RidgeClassifier as SklearnRidgeClassifier
from sklearn.preprocessing import StandardScaler

from probes.estimators.ridge import Ridge, RidgeClassifier, ridge_path


@pytest.mark.parametrize(("n", "d"), [(60, 12), (30, 50)])
@pytest.mark.parametrize("classes", [2, 4])
def test_ridge_classifier_is_scikit_learns(n: int, d: int, classes: int) -> None:
    x, y = correlated(n, d, classes)
    y[: n // 3] = 0  # unbalanced
    scaler = StandardScaler().fit(x)
    oracle = SklearnRidgeClassifier(alpha=7.0, class_weight="balanced").fit(scaler.transform(x), y)
    weight, bias = RidgeClassifier(alpha=7.0).solve(torch.from_numpy(x), draw(y), classes)
    ours, offset = weight[0].numpy() * scaler.scale_, bias[0].numpy() + weight[0].numpy() @ scaler.mean_
    if classes == 2:  # scikit-learn fits one target of two
        ours, offset = (ours[1:] - ours[:1]) / 2, (offset[1:] - offset[:1]) / 2
    assert np.allclose(ours, oracle.coef_, atol=1e-8)
    assert np.allclose(offset, oracle.intercept_, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 12), (30, 50)])
def test_a_ridge_path_is_one_ridge_per_strength(n: int, d: int) -> None:
    x, _ = correlated(n, d, 2)
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


def test_a_quantity_is_scikit_learns_ridge_on_the_rows_seen() -> None:
    x, _ = correlated(50, 8, 2)
    t = x[:, 0] * 0.3 - x[:, 5]
    part = np.where(np.arange(50) < 40, t, np.nan)
    weight, bias = Ridge(alpha=2.0).solve_quantity(torch.from_numpy(x), draw(part))
    scaler = StandardScaler().fit(x[:40])
    oracle = SklearnRidge(alpha=2.0).fit(scaler.transform(x[:40]), t[:40])
    guess = x @ weight[0, 0].numpy() + bias[0, 0].numpy()
    assert np.allclose(guess, oracle.predict(scaler.transform(x)), atol=1e-8)
