"""Ridge regression, of quantities and of classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes.blocks import Blocks, Values, total
from probes.estimators.base import Solution, by_distinct_draw
from probes.estimators.choosing import (
    LinearEstimator,
    Strengths,
    brier_like,
    normalised,
    squared,
    strength_of_each,
)


@dataclass(frozen=True)
class RidgeClassifier(LinearEstimator):
    """Least squares on ±1 per class: Σ_i s_i ‖t_i − z_i‖² + α‖w‖², features standardised in training.

    s_i weighs classes equally, the intercept is free. Of several α each draw takes the one with the
    lowest squared error in group-disjoint folds inside its training rows.

    Attributes:
        alpha: the strength α, or several to choose from.
        folds: number of inner folds that a choice is made in.
        name: how it is named in tables.

    Raises:
        ValueError: on construction, if a strength is not a finite positive number.
    """

    alpha: Strengths = 100.0
    folds: int = 5
    name: str = "ridge"

    def __post_init__(self) -> None:
        """Keep one α as a float, several as a tuple."""
        object.__setattr__(self, "alpha", normalised(self.alpha, "alpha"))

    @staticmethod
    def loss(scores: Float[Tensor, "row class"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """The squared error that a strength is chosen by."""
        return brier_like(scores, labels)

    @property
    def strengths(self) -> Strengths:
        """α, or several."""
        return self.alpha

    @property
    def by_blocks(self) -> bool:
        """Whether rows need not be in memory."""
        return True

    def fit_at(
        self,
        values: Values,
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """One eigendecomposition for each distinct draw, whatever the number of strengths."""
        fit = partial(_ridge_classes, values, n_classes=n_classes)
        return by_distinct_draw(labels, strengths.to(values.device), fit)


@dataclass(frozen=True)
class Ridge:
    """Least squares for a quantity: Σ_i (t_i − z_i)² + α‖w‖², features standardised in training.

    Of several α each draw takes the best, as in `RidgeClassifier`.

    Attributes:
        alpha: the strength α, or several to choose from.
        folds: number of inner folds that a choice is made in.
        name: how it is named in tables.

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
        values: Values,
        targets: Float[Tensor, "draw example"],
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Weights (draw, 1, d) and biases (draw, 1) for each draw of quantities (NaN: unseen)."""
        targets = targets.to(values.device)
        strengths = strength_of_each(
            self.alpha, _fit_quantities, squared, values, targets, groups, folds=self.folds
        )
        return _fit_quantities(values, targets, strengths)


def _fit_quantities(values: Values, targets: Tensor, strengths: Tensor) -> Solution:
    """Ridge regressions of draws of quantities at one strength each."""
    return by_distinct_draw(targets, strengths.to(values.device), partial(_ridge_quantity, values))


def _ridge_quantity(values: Values, targets: Tensor, strengths: Tensor) -> Solution:
    training = targets.isfinite()
    target = targets[training, None].double()
    return ridge_path(Blocks(values, training), target, torch.ones_like(target[:, 0]), strengths)


def ridge_path(
    values: Float[Tensor, "example d"] | Blocks,
    targets: Float[Tensor, "example target"],
    weights: Float[Tensor, " example"],
    strengths: Float[Tensor, " strength"],
) -> tuple[Float[Tensor, "strength target d"], Float[Tensor, "strength target"]]:
    """Weighted ridge regressions at many strengths from one eigendecomposition, in raw coordinates.

    (Xᵀ S X + α)⁻¹ Xᵀ S T in features standardised by their plain mean and deviation and centred by
    their weighted mean, through the smaller of the two Gram matrices; by blocks where there are
    several.
    """
    rows = values if isinstance(values, Blocks) else Blocks(values)
    n, d = rows.shape
    centre = total(part.sum(0) for part in rows) / n
    spread = (total((part - centre).square().sum(0) for part in rows) / n).sqrt()
    largest = torch.stack([part.abs().amax(0) for part in rows]).amax(0)
    features = rows.standardised(centre, torch.where(spread > 1e-12 * largest, spread, torch.inf))
    sizes = [len(part) for part in features]
    weighed = zip(features, weights.split(sizes), strict=True)
    mean = total(share @ part for part, share in weighed) / weights.sum()
    level = weights @ targets / weights.sum()
    root = weights.sqrt()[:, None]
    t = (root * (targets - level)).split(sizes)
    x = (r * (part - mean) for part, r in zip(features, root.split(sizes), strict=True))
    if n < d:
        x, t = torch.cat(list(x)), torch.cat(t)
        energy, left = torch.linalg.eigh(x @ x.T)
        basis, inside = x.T @ left, left.T @ t
    else:
        moments = total(part.T @ torch.cat([part, y], 1) for part, y in zip(x, t, strict=True))
        energy, basis = torch.linalg.eigh(moments[:, :d])
        inside = basis.T @ moments[:, d:]
    strengths = strengths.to(centre)
    shrunk = inside / (energy.clamp(min=0)[None, :, None] + strengths[:, None, None])
    weight = (basis @ shrunk).mT
    bias = level - weight @ mean
    weight = weight / features.spread
    return weight, bias - weight @ centre


def _ridge_classes(values: Values, labels: Tensor, strengths: Tensor, n_classes: int) -> Solution:
    training = labels >= 0
    member = torch.nn.functional.one_hot(labels[training].long(), n_classes).double()
    count = member.sum(0)
    weights = member @ (len(member) / ((count > 0).sum() * count.clamp(min=1)))
    weight, bias = ridge_path(Blocks(values, training), 2 * member - 1, weights, strengths)
    weight = weight * (count > 0)[:, None]
    return weight, bias.masked_fill(count == 0, -torch.inf)
