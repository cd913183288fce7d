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
from probes.blocks import Blocks, Values, total
from probes.estimators.base import Solution, one_by_one, two_class
from probes.estimators.choosing import LinearEstimator, Strengths, check_choice, normalised
from probes.solver.batch import LogisticBatch
from probes.solver.newton import minimise

#: A feature whose spread is below this share of its size, or of the largest spread, is constant.
CONSTANT = 1e-12


def solve_logistic(
    values: Values,
    labels: Int[Tensor, "draw example"],
    strengths: Float[Tensor, " draw"],
    n_classes: int,
    *,
    balanced: bool = True,
    standardise: bool = True,
    keep: Bool[Tensor, "draw d"] | None = None,
    tolerance: float = 3e-8,
) -> Solution:
    """Weights and biases, in raw coordinates, of ½‖w‖² + C Σ_i s_i log-loss_i for each draw of labels.

    Two classes present in a draw: one weight row u, given back as −u/2 and u/2; more: the softmax
    over those present; one: the constant answer. Absent classes have bias −inf.

    Args:
        values: activations [example, d].
        labels: per draw the class 0..n_classes − 1 of each example; −1 for rows it must not see.
        strengths: C of each draw.
        n_classes: number of classes.
        balanced: make s_i inverse to the frequency of the example's class in the draw; else 1.
        standardise: scale each feature by its deviation in the rows that the draw sees.
        keep: the features that each draw may use; by default all.
        tolerance: distance to the optimum, as a share of the objective.

    Returns:
        Weights [draw, class, d] and biases [draw, class], in float64: scores are
        values @ weight.T + bias.

    Raises:
        ValueError: if a draw sees no row, or a strength is not positive.

    Warns:
        RuntimeWarning: if a fit did not converge.

    Source: Dembo, Eisenstat & Steihaug 1982 (inexact Newton).

    Example:
        >>> import interp, probes, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_text(model, facts.prompts(0), groups=facts.groups)
        >>> site = interp.boundary(6, 6)
        >>> values = interp.collect(model, examples, site)[site].values
        >>> south = torch.tensor([int(region == "south") for region in facts.attribute("region")])
        >>> weight, bias = probes.solve_logistic(values, south[None], torch.tensor([0.01]), 2)
        >>> tuple(weight.shape), bool(torch.equal(weight[0, 0], -weight[0, 1]))
        ((1, 2, 64), True)
    """
    n_classes = at_least_one("n_classes", n_classes)
    if not bool((strengths > 0).all()):
        raise ValueError(f"C must be positive, got {float(strengths.min())}; try 0.01")
    labels = labels.to(values.device).long()
    counts = torch.stack([(labels == k).sum(1) for k in range(n_classes)], dim=1)
    if not bool((counts > 0).any(1).all()):
        raise ValueError("each draw needs a training row, got one where every label is -1")
    training = (labels >= 0).any(0)
    seen, rows = labels[:, training], Blocks(values, training)
    centre = total(part.sum(0) for part in rows) / rows.shape[0]
    spread = torch.ones_like(centre)
    if standardise:
        spread = _moments(rows, centre, centre.new_ones(1, rows.shape[0]))[1][0]
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    features = rows.standardised(centre, spread)
    if standardise:
        masks, mask_of = torch.unique(seen >= 0, dim=0, return_inverse=True)
        mean, deviation = _moments(features, torch.zeros_like(centre), masks.to(centre))
        if len(masks) > 1 and not _alike(mean, deviation):
            return _mask_by_mask(
                values, labels, strengths, n_classes, mask_of,
                balanced=balanced, keep=keep, tolerance=tolerance,
            )  # fmt: skip
        scale = torch.where(deviation > 0, 1 / deviation, torch.zeros_like(deviation))[mask_of]
    else:
        scale = centre.new_ones(len(labels), len(centre))
    if keep is not None:
        scale = scale * keep.to(scale)
    rate = _rates(strengths.to(centre), counts, balanced)
    weight, bias = _minimised(features, seen, rate, scale, counts > 0, tolerance)
    weight = weight * (scale / spread)[:, None]
    bias = bias - weight @ centre
    return weight, bias.masked_fill(counts == 0, -torch.inf)


def _rates(
    strengths: Float[Tensor, " draw"], counts: Int[Tensor, "draw class"], balanced: bool
) -> Float[Tensor, "draw class"]:
    """C times the weight of an example of each class in each draw."""
    rate = strengths[:, None].expand(-1, counts.shape[1])
    if balanced:
        present = (counts > 0).sum(1, keepdim=True)
        rate = rate * counts.sum(1, keepdim=True) / (present * counts.clamp(min=1))
    return rate


def _minimised(
    features: Blocks,
    labels: Int[Tensor, "draw example"],
    rate: Float[Tensor, "draw class"],
    scale: Float[Tensor, "draw d"],
    present: Bool[Tensor, "draw class"],
    tolerance: float,
) -> Solution:
    """The optimum of each draw over its scaled features: draws of two classes, then of more."""
    weight = scale.new_zeros(*present.shape, scale.shape[1])
    bias = torch.zeros_like(weight[..., 0])
    for binary in (True, False):
        kinds = present.sum(1)
        rows = torch.nonzero(kinds == 2 if binary else kinds > 2)[:, 0]
        if not len(rows):
            continue
        batch = _batch(labels[rows], rate[rows], scale[rows], present[rows], binary)
        optimum = minimise(features, batch, tolerance=tolerance)
        if binary:
            both = optimum.new_zeros(*present[rows].shape, optimum.shape[2])
            both[present[rows]] = two_class(optimum[:, 0], dim=1).flatten(0, 1)
            optimum = both
        weight[rows], bias[rows] = optimum[..., :-1], optimum[..., -1]
    return weight, bias


def _alike(mean: Float[Tensor, "mask d"], deviation: Float[Tensor, "mask d"]) -> bool:
    """Whether all masks agree on coordinates well enough to share them: one bad row can prevent it."""
    far = (deviation > 3) | (deviation < 1 / 3) | (mean.abs() > 1)
    off = (deviation > 0) & far
    return not bool(off.any())


def _mask_by_mask(
    values: Values,
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
    shape = (len(labels), n_classes, values.shape[1])
    weight = torch.zeros(shape, dtype=torch.float64, device=values.device)
    bias = torch.zeros_like(weight[..., 0])
    for k in range(int(mask_of.max()) + 1):
        draws = mask_of == k
        weight[draws], bias[draws] = solve_logistic(
            values, labels[draws], strengths[draws.to(strengths.device)], n_classes,
            balanced=balanced, keep=None if keep is None else keep[draws], tolerance=tolerance,
        )  # fmt: skip
    return weight, bias


def _moments(
    rows: Blocks, centre: Float[Tensor, " d"], masks: Float[Tensor, "mask example"]
) -> tuple[Float[Tensor, "mask d"], Float[Tensor, "mask d"]]:
    """Mean, from the centre, and standard deviation of each feature over each mask's rows.

    The deviation is exactly 0 where a feature is constant.
    """
    start, largest = 0, torch.zeros_like(centre)
    sums = torch.zeros(len(masks), len(centre)).to(centre)
    squares = torch.zeros_like(sums)
    for part in rows:
        mask = masks[:, start : start + len(part)]
        start += len(part)
        moved = part - centre if bool(centre.any()) else part
        sums += mask @ moved
        squares += mask @ moved.square()
        torch.maximum(largest, torch.maximum(part.amax(0), -part.amin(0)), out=largest)
    count = masks.sum(1, keepdim=True)
    mean = sums / count
    variance = (squares / count - mean.square()).clamp_(min=0)
    spread = variance.sqrt()
    noise = CONSTANT * spread.amax(1, keepdim=True)
    # Differences of squares resolve a variance only down to rounding of the mean square.
    noise = torch.maximum(noise, 3e-8 * mean.abs())
    noise = torch.maximum(noise, CONSTANT * largest)
    return mean, torch.where(spread > noise, spread, torch.zeros_like(spread))


def _batch(labels: Tensor, rate: Tensor, scale: Tensor, present: Tensor, binary: bool) -> LogisticBatch:
    """The problems of draws that all have two classes, or all more."""
    weight = rate.gather(1, labels.clamp(min=0)) * (labels >= 0)
    if binary:
        second = (present.cumsum(1) == 2).int().argmax(1)
        target = (labels == second[:, None])[:, None].to(rate)
        class_mask = rate.new_zeros(len(labels), 1, 1)
    else:
        classes = torch.arange(present.shape[1], device=labels.device)
        target = (labels[:, None] == classes[:, None]).to(rate)
        class_mask = torch.zeros_like(rate).masked_fill(~present, -torch.inf)[..., None]
    ones = scale.new_ones(len(scale), 1)
    return LogisticBatch(target, weight[:, None], torch.cat([scale, ones], 1)[:, None], class_mask)


@dataclass(frozen=True)
class Logistic(LinearEstimator):
    """L2-regularised logistic regression on features standardised in training.

    Minimises ½‖w‖² + C Σ_i s_i log-loss_i with s_i inverse to the frequency of the example's class
    (`balanced`, so that balanced accuracy is what is fitted; else 1); with more than two classes the
    softmax. Of several strengths C each draw takes the one with the lowest log-loss in group-disjoint
    folds inside its own training rows. One C is a fair default: at a few hundred examples and more
    dimensions than examples, accuracy is flat in it for an order of magnitude.

    Attributes:
        c: the strength C, or several to choose from.
        balanced: weigh the classes equally.
        backend: "torch" solves all draws together; "sklearn" is the reference, one
            LogisticRegression per draw with its default solver.
        tolerance: relative distance to the optimum ("sklearn": its own measure).
        folds: number of inner folds that a choice is made in.
        name: how it is named in tables.

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

    @property
    def strengths(self) -> Strengths:
        """C, or several."""
        return self.c

    @property
    def by_blocks(self) -> bool:
        """Whether rows need not be in memory; for scikit-learn they must be."""
        return self.backend == "torch"

    def fit_at(
        self,
        values: Values,
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """All draws together, or one after the other by scikit-learn."""
        return _BACKENDS[self.backend](
            values, labels, strengths, n_classes, balanced=self.balanced, tolerance=self.tolerance
        )


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
