"""Estimators: training activations and labels in, one weight row per class out.

Every estimator answers the same call, `solve(values, labels, n_classes, groups)`, where `labels`
holds many draws (folds, real labels, shuffles, control tasks) over the same features, −1 marking the
rows that a draw must not see: whatever draws share is done once. Scores are
`values @ weight.T + bias`, the largest wins. Scaling, centring and the choice of a strength happen
inside `solve`, on the rows that the draw sees, and are folded back into the weights, which are
always in raw activation coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from probes.closed_form import LDA, MassMean, RidgeClassifier, one_by_one
from probes.logistic import solve_logistic
from probes.narrow import KSparse, Principal
from probes.problems import Solution
from probes.selecting import log_loss
from probes.strengths import Strengths, check_choice, normalised, strength_of_each


@runtime_checkable
class Estimator(Protocol):
    """What a linear estimator must offer."""

    @property
    def name(self) -> str:
        """How the estimator is named in tables."""
        ...

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Weights and biases for each draw of labels 0..n_classes − 1 (−1: unseen), in float64."""
        ...


@dataclass(frozen=True)
class Logistic:
    """L2-regularised logistic regression on features standardised in training.

    Minimises ½‖w‖² + C Σ_i s_i log-loss_i with s_i inverse to the frequency of the example's class
    (`balanced`, so that balanced accuracy is what is fitted; else 1); with more than two classes the
    softmax. Of several strengths C each draw takes the one with the lowest log-loss in group-disjoint
    folds inside its own training rows (see `selecting`). One C is a fair default: at a few hundred
    examples and more dimensions than examples, accuracy is flat in it for an order of magnitude.

    `backend`: "torch" solves all draws together to within `tolerance` (relative) of the optimum;
    "sklearn" is the reference, one LogisticRegression per draw with its default solver.

    Raises:
        ValueError: on construction, if a strength is not a finite positive number or there is no such
            backend.
    """

    c: Strengths = 0.01
    balanced: bool = True
    backend: Literal["torch", "sklearn"] = "torch"
    tolerance: float = 1e-8
    folds: int = 5
    name: str = "logistic"

    def __post_init__(self) -> None:
        """Keep one C as a float, several as a tuple; check the backend."""
        object.__setattr__(self, "c", normalised(self.c, "c"))
        check_choice(self.backend, "backend", _BACKENDS)

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """All draws at their strengths."""

        def fit(rows: Tensor, drawn: Tensor, strengths: Tensor) -> Solution:
            return _BACKENDS[self.backend](
                rows, drawn, strengths, n_classes, balanced=self.balanced, tolerance=self.tolerance
            )

        labels = labels.to(values.device)
        chosen = strength_of_each(self.c, fit, log_loss, values, labels, groups, folds=self.folds)
        return fit(values, labels, chosen)


def reference_logistic(
    values: Float[Tensor, "example d"],
    labels: Int[Tensor, "draw example"],
    strengths: Float[Tensor, " draw"],
    n_classes: int,
    *,
    balanced: bool = True,
    tolerance: float = 1e-8,
) -> Solution:
    """`solve_logistic` by a loop over scikit-learn's LogisticRegression, for reference.

    `tolerance` is scikit-learn's own: the largest component of the gradient.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def fit(rows: np.ndarray, draw: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
        scaler = StandardScaler().fit(rows)
        model = LogisticRegression(
            C=c, tol=tolerance, max_iter=10_000, class_weight="balanced" if balanced else None
        ).fit(scaler.transform(rows), draw)
        weight = model.coef_ / scaler.scale_
        return weight, model.intercept_ - weight @ scaler.mean_

    return one_by_one(fit, values, labels, n_classes, strengths)


_BACKENDS = {"torch": solve_logistic, "sklearn": reference_logistic}

ESTIMATORS: Mapping[str, Estimator] = {
    one.name: one
    for one in (
        Logistic(),
        MassMean(),
        MassMean(covariance=True, name="mass_mean_iid"),
        LDA(),
        RidgeClassifier(),
        Principal(),
        KSparse(),
    )
}


def named(estimator: str | Estimator) -> Estimator:
    """The estimator of this name, or the one given.

    Raises:
        ValueError: if no estimator has this name.
    """
    if not isinstance(estimator, str):
        return estimator
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {sorted(ESTIMATORS)}, got {estimator!r}")
    return ESTIMATORS[estimator]
