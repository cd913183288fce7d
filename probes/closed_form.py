"""Estimators with a closed form: class means, linear discriminants, ridge regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes.problems import Solution
from probes.selecting import brier_like, squared
from probes.strengths import Strengths, normalised, strength_of_each


@dataclass(frozen=True)
class MassMean:
    """Nearest class mean: w_c = μ_c, b_c = −½‖μ_c‖² (Marks & Tegmark, 2310.06824).

    With two classes the decision is the projection on μ₁ − μ₀, cut halfway between the means; class
    sizes do not move the cut. Weights are relative to the grand mean of the training split, which
    changes no decision. No scaling: features of large variance speak loudest.

    `covariance`: the source's variant for identically distributed data, w_c = Σ⁺ μ_c and
    b_c = −½ μ_cᵀ Σ⁺ μ_c with Σ the covariance within classes; directions without variance are
    dropped. With fewer examples than dimensions prefer `LDA`, which shrinks Σ.
    """

    covariance: bool = False
    name: str = "mass_mean"

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Class means of every draw in one matrix product."""
        labels = labels.long()
        used = (labels >= 0).any(0)
        values, labels = values[used].double(), labels[:, used]
        shift = values.mean(0)
        values = values - shift
        seen = (labels >= 0).to(values)
        centre = (seen @ values) / seen.sum(1, keepdim=True)
        member = torch.nn.functional.one_hot(labels + 1, n_classes + 1)[..., 1:].to(values)
        count = member.sum(1)
        mean = torch.einsum("nec,ed->ncd", member / count.clamp(min=1)[:, None], values)
        mean = (mean - centre[:, None]) * (count > 0)[..., None]
        weight = mean
        if self.covariance:
            inverses = [self._inverse(values, draw, n_classes) for draw in labels]
            weight = torch.stack([m @ inverse for m, inverse in zip(mean, inverses, strict=True)])
        bias = -0.5 * (weight * mean).sum(-1) - torch.einsum("ncd,nd->nc", weight, centre + shift)
        return weight, bias.masked_fill(count == 0, -torch.inf)

    @staticmethod
    def _inverse(values: Tensor, labels: Tensor, n_classes: int) -> Tensor:
        within = torch.cat([_centred(values[labels == k]) for k in range(n_classes)])
        return torch.linalg.pinv(within.T @ within / len(within), hermitian=True, rtol=1e-6)


@dataclass(frozen=True)
class LDA:
    """Linear discriminant analysis with Ledoit–Wolf shrinkage (scikit-learn), classes equally likely.

    w_c = Σ⁻¹ μ_c with Σ the shrunk covariance within classes: the direction that separates the
    means best relative to the spread, also with fewer examples than dimensions.
    """

    name: str = "lda"

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """One fit per draw."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        def fit(rows: np.ndarray, draw: np.ndarray, _: float) -> tuple[np.ndarray, np.ndarray]:
            k = len(np.unique(draw))
            model = LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage="auto", priors=np.full(k, 1 / k)
            ).fit(rows, draw)
            return model.coef_, model.intercept_

        return one_by_one(fit, values, labels, n_classes, torch.ones(len(labels)))


@dataclass(frozen=True)
class RidgeClassifier:
    """Least squares on ±1 per class: Σ_i s_i ‖t_i − z_i‖² + α‖w‖², features standardised in training.

    s_i weighs classes equally, the intercept is free. Of several α each draw takes the one with the
    lowest squared error in group-disjoint folds inside its training rows.

    Raises:
        ValueError: on construction, if a strength is not a finite positive number.
    """

    alpha: Strengths = 100.0
    folds: int = 5
    name: str = "ridge"

    def __post_init__(self) -> None:
        """Keep one α as a float, several as a tuple."""
        object.__setattr__(self, "alpha", normalised(self.alpha, "alpha"))

    def solve(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """One eigendecomposition for each distinct draw, whatever the number of strengths."""

        def fit(rows: Tensor, drawn: Tensor, strengths: Tensor) -> Solution:
            places, strengths = _repeats(drawn), strengths.to(rows.device)
            parts = [_ridge_classes(rows, drawn[p[0]], strengths[p], n_classes) for p in places]
            return _gathered(parts, places)

        labels = labels.to(values.device)
        chosen = strength_of_each(self.alpha, fit, brier_like, values, labels, groups, folds=self.folds)
        return fit(values, labels, chosen)


@dataclass(frozen=True)
class Ridge:
    """Least squares for a quantity: Σ_i (t_i − z_i)² + α‖w‖², features standardised in training.

    Of several α each draw takes the best, as in `RidgeClassifier`.

    Raises:
        ValueError: on construction, if a strength is not a finite positive number.
    """

    alpha: Strengths = 100.0
    folds: int = 5
    name: str = "ridge"

    def __post_init__(self) -> None:
        """Keep one α as a float, several as a tuple."""
        object.__setattr__(self, "alpha", normalised(self.alpha, "alpha"))

    def solve_quantity(
        self,
        values: Float[Tensor, "example d"],
        targets: Float[Tensor, "draw example"],
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Weights (draw, 1, d) and biases (draw, 1) for each draw of quantities (NaN: unseen)."""

        def fit(rows: Tensor, drawn: Tensor, strengths: Tensor) -> Solution:
            each, strengths = [], strengths.to(rows.device)
            for at in (places := _repeats(drawn)):
                seen = drawn[at[0]].isfinite()
                target = drawn[at[0]][seen, None].double()
                each.append(
                    ridge_path(rows[seen], target, torch.ones_like(target[:, 0]), strengths[at])
                )
            return _gathered(each, places)

        targets = targets.to(values.device)
        chosen = strength_of_each(self.alpha, fit, squared, values, targets, groups, folds=self.folds)
        return fit(values, targets, chosen)


def ridge_path(
    values: Float[Tensor, "example d"],
    targets: Float[Tensor, "example target"],
    weights: Float[Tensor, " example"],
    strengths: Float[Tensor, " strength"],
) -> tuple[Float[Tensor, "strength target d"], Float[Tensor, "strength target"]]:
    """Weighted ridge regressions at many strengths from one eigendecomposition, in raw coordinates.

    (Xᵀ S X + α)⁻¹ Xᵀ S T in features standardised by their plain mean and deviation and centred by
    their weighted mean, through the smaller of the two Gram matrices.
    """
    values = values.double()
    centre, spread = values.mean(0), values.std(0, correction=0)
    spread = torch.where(spread > 1e-12 * values.abs().amax(0), spread, torch.inf)
    features = (values - centre) / spread
    total = weights.sum()
    mean, level = weights @ features / total, weights @ targets / total
    root = weights.sqrt()[:, None]
    x, t = root * (features - mean), root * (targets - level)
    strengths = strengths.to(x)
    if len(x) < x.shape[1]:
        energy, left = torch.linalg.eigh(x @ x.T)
        basis, inside = x.T @ left, left.T @ t
    else:
        energy, basis = torch.linalg.eigh(x.T @ x)
        inside = basis.T @ (x.T @ t)
    shrunk = inside / (energy.clamp(min=0)[None, :, None] + strengths[:, None, None])
    weight = (basis @ shrunk).mT
    bias = level - weight @ mean
    weight = weight / spread
    return weight, bias - weight @ centre


def one_by_one(
    fit: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    values: Float[Tensor, "example d"],
    labels: Int[Tensor, "draw example"],
    n_classes: int,
    strengths: Float[Tensor, " draw"],
) -> Solution:
    """A loop of scikit-learn fits `fit(rows, labels, strength) -> coef, intercept` over the draws.

    Two classes: the one row u becomes −u/2 and u/2; one class: the constant answer; absent classes
    have bias −inf.
    """
    rows = values.double().cpu().numpy()
    weight = np.zeros((len(labels), n_classes, rows.shape[1]))
    bias = np.full((len(labels), n_classes), -np.inf)
    for i, (draw, strength) in enumerate(zip(labels.cpu().numpy(), strengths.tolist(), strict=True)):
        seen = draw >= 0
        present = np.unique(draw[seen])
        if len(present) == 1:
            bias[i, present] = 0.0
            continue
        coef, intercept = fit(rows[seen], draw[seen], strength)
        halves = np.array([-0.5, 0.5]) if len(present) == 2 else np.ones(1)
        weight[i, present], bias[i, present] = halves[:, None] * coef, halves * intercept
    return torch.from_numpy(weight).to(values.device), torch.from_numpy(bias).to(values.device)


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(0) if len(rows) else rows


def _ridge_classes(values: Tensor, labels: Tensor, strengths: Tensor, n_classes: int) -> Solution:
    seen = labels >= 0
    member = torch.nn.functional.one_hot(labels[seen].long(), n_classes).double()
    count = member.sum(0)
    weights = member @ (len(member) / ((count > 0).sum() * count.clamp(min=1)))
    weight, bias = ridge_path(values[seen], 2 * member - 1, weights, strengths)
    weight = weight * (count > 0)[:, None]
    return weight, bias.masked_fill(count == 0, -torch.inf)


def _repeats(draws: Tensor) -> list[Tensor]:
    """Where each distinct draw occurs."""
    code = draws.nan_to_num(torch.finfo(draws.dtype).min) if draws.is_floating_point() else draws
    _, index = torch.unique(code, dim=0, return_inverse=True)
    return [torch.nonzero(index == k)[:, 0] for k in range(int(index.max()) + 1)]


def _gathered(parts: list[tuple[Tensor, Tensor]], places: list[Tensor]) -> Solution:
    order = torch.cat(places).argsort()
    return torch.cat([w for w, _ in parts])[order], torch.cat([b for _, b in parts])[order]
