"""Estimators: training activations and labels in, one weight row per class out.

Every estimator answers the same call, `solve(values, labels, n_classes)`, where `labels` holds many
draws (real labels, shuffles, control tasks) over the same features: whatever depends on the
features alone is done once. Scores are `values @ weight.T + bias`, the largest wins. Scaling and
centring happen inside `solve`, so on the training split only, and are folded back into the
weights, which are always in raw activation coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Solution = tuple[Float[Tensor, "draw class d"], Float[Tensor, "draw class"]]


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
    ) -> Solution:
        """Weights and biases for each draw of labels 0..n_classes − 1, in float64."""
        ...


@dataclass(frozen=True)
class MassMean:
    """Nearest class mean: w_c = μ_c, b_c = −½‖μ_c‖² (Marks & Tegmark, 2310.06824).

    With two classes the decision is the projection on μ₁ − μ₀, cut halfway between the means; class
    sizes do not move the cut. Weights are relative to the grand mean of the training split, which
    changes no decision. No scaling: features of large variance speak loudest.
    """

    name: str = "mass_mean"

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
    ) -> Solution:
        """Class means of every draw in one matrix product."""
        values = values.double()
        centre = values.mean(0)
        centred = values - centre
        member = torch.nn.functional.one_hot(labels.long(), n_classes).to(values)
        count = member.sum(1)
        weight = torch.einsum("nec,ed->ncd", member / count.clamp(min=1)[:, None], centred)
        bias = -0.5 * weight.square().sum(-1) - weight @ centre
        return weight, bias.masked_fill(count == 0, -torch.inf)


@dataclass(frozen=True)
class Logistic:
    """L2-regularised logistic regression by scikit-learn, on features standardised in training.

    Minimises ½‖w‖² + C Σ_i s_i log-loss_i with s_i inverse to the frequency of the example's class,
    so that balanced accuracy is what is fitted. C is fixed, not selected: at a few hundred
    examples and more dimensions than examples, accuracy is flat in it for an order of magnitude.
    With fewer examples than dimensions the problem is first rotated into the span of the training
    examples (a QR factorisation shared by all label draws); the optimum is the same, because a
    penalised weight never leaves that span.
    """

    c: float = 0.01
    tolerance: float = 1e-4
    max_iter: int = 1000
    name: str = "logistic"

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
    ) -> Solution:
        """One fit per draw in the rotated coordinates."""
        from sklearn import config_context

        values = values.double()
        centre, scale = values.mean(0), values.std(0, correction=0)
        scale = torch.where(scale > 1e-12 * scale.max(), scale, torch.ones_like(scale))
        features, turn = (values - centre) / scale, None
        if len(features) < features.shape[1]:
            turn, triangle = torch.linalg.qr(features.T)
            features = triangle.T
        rows = features.cpu().numpy()
        # The rows were checked once by `problem`; checking them in every fit would double the time.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            fits = [self._fit(rows, draw, n_classes) for draw in labels.cpu().numpy()]
        weight = torch.from_numpy(np.stack([w for w, _ in fits])).to(values)
        bias = torch.from_numpy(np.stack([b for _, b in fits])).to(values)
        weight = (weight if turn is None else weight @ turn.T) / scale
        return weight, bias - weight @ centre

    def _fit(
        self, rows: np.ndarray, labels: np.ndarray, n_classes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.linear_model import LogisticRegression

        weight = np.zeros((n_classes, rows.shape[1]))
        bias = np.full(n_classes, -np.inf)
        present = np.unique(labels)
        if len(present) == 1:
            bias[present] = 0.0
            return weight, bias
        model = LogisticRegression(
            C=self.c, tol=self.tolerance, max_iter=self.max_iter, class_weight="balanced"
        ).fit(rows, labels)
        if len(present) == 2:
            weight[present] = np.concatenate([-model.coef_ / 2, model.coef_ / 2])
            bias[present] = np.concatenate([-model.intercept_ / 2, model.intercept_ / 2])
        else:
            weight[present], bias[present] = model.coef_, model.intercept_
        return weight, bias


ESTIMATORS: Mapping[str, Estimator] = {"logistic": Logistic(), "mass_mean": MassMean()}


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
