"""Logistic regressions of many label draws over one set of activations.

A label of −1 marks a row that the draw must not see: of all folds, strengths and label draws one
product with the activations is taken per step. Standardisation is by each draw's own training
rows: the features that the draws share are only a fixed change of coordinates, and each draw's own
scale enters its problem as r_p (see `probes.solver.newton`); the free intercept takes the centring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.arguments import at_least_one
from probes.estimators.base import Solution, one_by_one
from probes.estimators.choosing import Strengths, check_choice, log_loss, normalised, strength_of_each
from probes.solver.batch import Problems
from probes.solver.newton import minimise

#: A feature whose spread is below this share of its size, or of the largest spread, is constant.
CONSTANT = 1e-12


def solve_logistic(
    values: Float[Tensor, "example d"],
    labels: Int[Tensor, "draw example"],
    strengths: Float[Tensor, " draw"],
    n_classes: int,
    *,
    balanced: bool = True,
    standardise: bool = True,
    keep: Bool[Tensor, "draw d"] | None = None,
    tolerance: float = 3e-8,
) -> Solution:
    """Weights and biases, in raw coordinates, of ½‖w‖² + C Σ_i s_i log-loss_i for each draw.

    Two classes present in a draw: one weight row u, given back as −u/2 and u/2; more: the softmax
    over those present; one: the constant answer. Absent classes have bias −inf. With `balanced`,
    s_i is inverse to the frequency of the example's class in the draw. `keep` names the features
    that a draw may use (default: all).

    Raises:
        ValueError: if a draw sees no row, or a strength is not positive.
    """
    n_classes = at_least_one("n_classes", n_classes)
    if not bool((strengths > 0).all()):
        raise ValueError(f"C must be positive, got {float(strengths.min())}; try 0.01")
    labels = labels.to(values.device).long()
    counts = torch.stack([(labels == k).sum(1) for k in range(n_classes)], dim=1)
    present = counts > 0
    kinds = present.sum(1)
    if not bool((kinds > 0).all()):
        raise ValueError("each draw needs a training row, got one where every label is -1")
    used = (labels >= 0).any(0)
    labels, values = labels[:, used], values[used].double()
    centre = values.mean(0)
    spread = _spread(values, centre, values.new_ones(1, len(values)))[0]
    spread = torch.where(spread > 0, spread, torch.ones_like(spread)) if standardise else 1.0
    features = (values - centre).div_(spread)
    if standardise:
        masks, mask_of = torch.unique(labels >= 0, dim=0, return_inverse=True)
        own = _spread(features, torch.zeros_like(centre), masks.to(features))
        if len(masks) > 1 and not _alike(features, masks.to(features), own):
            return _mask_by_mask(
                values, labels, strengths, n_classes, mask_of,
                balanced=balanced, keep=keep, tolerance=tolerance,
            )  # fmt: skip
        scale = torch.where(own > 0, 1 / own, torch.zeros_like(own))[mask_of]
    else:
        scale = features.new_ones(len(labels), features.shape[1])
    if keep is not None:
        scale = scale * keep.to(scale)
    strengths = strengths.to(features)
    rate = strengths[:, None].expand(-1, n_classes)
    if balanced:
        total = counts.sum(1, keepdim=True)
        rate = rate * total / (kinds[:, None] * counts.clamp(min=1))
    weight = features.new_zeros(len(labels), n_classes, features.shape[1])
    bias = torch.zeros_like(weight[..., 0])
    for binary in (True, False):
        chosen = torch.nonzero(kinds == 2 if binary else kinds > 2)[:, 0]
        if not len(chosen):
            continue
        problems = _problems(labels[chosen], rate[chosen], scale[chosen], present[chosen], binary)
        found = minimise(features, problems, tolerance=tolerance)
        if binary:
            second = present[chosen].cumsum(1) == 2
            sign = present[chosen].to(found) * torch.where(second, 0.5, -0.5).to(found)
            found = sign[:, :, None] * found
        weight[chosen], bias[chosen] = found[..., :-1], found[..., -1]
    weight = weight * (scale / spread)[:, None]
    bias = bias - weight @ centre
    return weight, bias.masked_fill(~present, -torch.inf)


def _alike(
    features: Float[Tensor, "example d"], masks: Float[Tensor, "mask example"], own: Tensor
) -> bool:
    """Whether all masks agree on coordinates well enough to share them: one bad row can prevent it."""
    mean = (masks @ features) / masks.sum(1, keepdim=True)
    off = (own > 0) & ((own > 3) | (own < 1 / 3) | (mean.abs() > 1))
    return not bool(off.any())


def _mask_by_mask(
    values: Tensor,
    labels: Tensor,
    strengths: Tensor,
    n_classes: int,
    mask_of: Tensor,
    *,
    balanced: bool,
    keep: Tensor | None,
    tolerance: float,
) -> Solution:
    """The same draws, each mask in its own coordinates."""
    weight = values.new_zeros(len(labels), n_classes, values.shape[1])
    bias = torch.zeros_like(weight[..., 0])
    for k in range(int(mask_of.max()) + 1):
        at = mask_of == k
        weight[at], bias[at] = solve_logistic(
            values, labels[at], strengths[at.to(strengths.device)], n_classes, balanced=balanced,
            keep=None if keep is None else keep[at], tolerance=tolerance,
        )  # fmt: skip
    return weight, bias


def _spread(
    values: Float[Tensor, "example d"],
    centre: Float[Tensor, " d"],
    masks: Float[Tensor, "mask example"],
) -> Float[Tensor, "mask d"]:
    """Standard deviation of each feature over each mask's rows; exactly 0 where it is constant."""
    count = masks.sum(1, keepdim=True)
    moved = values - centre if bool(centre.any()) else values
    mean = masks @ moved / count
    variance = (masks @ moved.square() / count - mean.square()).clamp_(min=0)
    spread = variance.sqrt()
    noise = CONSTANT * spread.amax(1, keepdim=True)
    # Differences of squares resolve a variance only down to rounding of the mean square.
    noise = torch.maximum(noise, 3e-8 * mean.abs())
    largest = torch.maximum(values.amax(0), -values.amin(0))
    noise = torch.maximum(noise, CONSTANT * largest)
    return torch.where(spread > noise, spread, torch.zeros_like(spread))


def _problems(labels: Tensor, rate: Tensor, scale: Tensor, present: Tensor, binary: bool) -> Problems:
    seen = labels >= 0
    each = rate.gather(1, labels.clamp(min=0)) * seen
    if binary:
        second = (present.cumsum(1) == 2).int().argmax(1)
        target = (labels == second[:, None])[:, None].to(rate)
        shut = rate.new_zeros(len(labels), 1, 1)
    else:
        classes = torch.arange(present.shape[1], device=labels.device)
        target = (labels[:, None] == classes[:, None]).to(rate)
        shut = torch.zeros_like(rate).masked_fill(~present, -torch.inf)[..., None]
    ones = scale.new_ones(len(scale), 1)
    return Problems(target, each[:, None], torch.cat([scale, ones], 1)[:, None], shut)


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
