"""The probes' estimators with scikit-learn's interface, for pipelines and grid searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.estimators.base import two_class
from probes.estimators.logistic import Logistic
from probes.estimators.named import named
from probes.estimators.ridge import Ridge


def _is_logistic(wrapper: ProbeClassifier) -> bool:
    return isinstance(named(wrapper.estimator), Logistic)


class ProbeClassifier(ClassifierMixin, BaseEstimator):
    """Any of `ESTIMATORS` as a scikit-learn classifier.

    After `fit`: `classes_`, `coef_` (one row for two classes, else one per class) and `intercept_`,
    in raw coordinates. An estimator that chooses its strength keeps the `groups` given to `fit`
    apart in its inner folds; without groups each row is its own.

    Attributes:
        estimator: a name in `ESTIMATORS`, or an estimator.
    """

    def __init__(self, estimator: Any = "logistic") -> None:
        """Keep the name or the `Estimator`; scikit-learn forbids any check before `fit`."""
        self.estimator = estimator

    def fit(self, X: Any, y: Any, groups: Any = None) -> ProbeClassifier:  # noqa: N803
        """Fit on all rows.

        Raises:
            ValueError: on malformed input, or fewer than two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, coded = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a probe needs at least two classes, got {len(self.classes_)} class; check the labels"
            )
        units = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
        weight, bias = named(self.estimator).solve(
            torch.tensor(X), torch.from_numpy(coded)[None], len(self.classes_), units
        )
        coef, intercept = weight[0].numpy(), bias[0].numpy()
        if len(self.classes_) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef, intercept
        return self

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """The margin of the second of two classes, or the score of each class."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The class of the largest score."""
        scores = self.decision_function(X)
        number = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        return self.classes_[number]

    @available_if(_is_logistic)
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probability of each class under the logistic model."""
        scores = self.decision_function(X)
        logits = torch.from_numpy(scores)
        return (two_class(logits, dim=1) if logits.ndim == 1 else logits).softmax(1).numpy()


class ProbeRegressor(RegressorMixin, BaseEstimator):
    """Ridge regression of a quantity as a scikit-learn regressor.

    Attributes:
        alpha: the strength, or several to choose from.
    """

    def __init__(self, alpha: Any = 100.0) -> None:
        """Keep the strength, or several; scikit-learn forbids any check before `fit`."""
        self.alpha = alpha

    def fit(self, X: Any, y: Any, groups: Any = None) -> ProbeRegressor:  # noqa: N803
        """Fit on all rows.

        Raises:
            ValueError: on malformed input, or if a strength is not a finite positive number.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        y = np.asarray(y, dtype=np.float64)
        units = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
        weight, bias = Ridge(self.alpha).solve_quantity(torch.tensor(X), torch.tensor(y)[None], units)
        self.coef_, self.intercept_ = weight[0, 0].numpy(), float(bias[0, 0])
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The predicted quantity."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.coef_ + self.intercept_
