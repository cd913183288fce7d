"""What every estimator offers, and what several of them share.

Every estimator answers the same call, `solve(values, labels, n_classes, groups)`, where `labels`
holds many draws (folds, real labels, shuffles, control tasks) over the same features, −1 marking the
rows that a draw must not see: whatever draws share is done once. Scores are
`values @ weight.T + bias`, the largest wins. Scaling, centring and the choice of a strength happen
inside `solve`, on the rows that the draw sees, and are folded back into the weights, which are
always in raw activation coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from probes.blocks import Values, whole

#: Weights and biases per draw of labels and class, in raw activation coordinates.
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
        values: Any,
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Weights and biases for each draw of labels 0..n_classes − 1 (−1: unseen), in float64.

        The values are a tensor [example, d]; to an estimator with a true attribute `by_blocks` they may
        come as `StoredRows`, which have `shape`, `split` and `[rows]` like one.
        """
        ...


def solved(
    solver: Estimator,
    values: Values,
    labels: Int[Tensor, "draw example"],
    n_classes: int,
    groups: np.ndarray | None = None,
) -> Solution:
    """The solution of an estimator; rows on disk are read whole for one that does not go by blocks."""
    rows = values if getattr(solver, "by_blocks", False) else whole(values)
    return solver.solve(rows, labels, n_classes, groups)


def two_class(weight: Float[Tensor, "*rows"], dim: int = 0) -> Tensor:
    """The rows of both classes, −u/2 and u/2, from the one row u of the second against the first."""
    return torch.stack([-weight / 2, weight / 2], dim)


def one_by_one(
    fit: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    values: Float[Tensor, "example d"],
    labels: Int[Tensor, "draw example"],
    n_classes: int,
    strengths: Float[Tensor, " draw"],
) -> Solution:
    """A loop of scikit-learn fits `fit(rows, labels, strength) -> coef, intercept` over the draws."""
    rows = values.double().cpu().numpy()

    def fit_draw(draw: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        return fit(rows[draw >= 0], draw[draw >= 0], strength)

    weight, bias = draw_by_draw(fit_draw, rows.shape[1], labels.cpu().numpy(), n_classes, strengths)
    return weight.to(values.device), bias.to(values.device)


def draw_by_draw(
    fit: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    d: int,
    labels: Int[np.ndarray, "draw example"],
    n_classes: int,
    strengths: Float[Tensor, " draw"],
) -> Solution:
    """A loop of fits `fit(draw, strength) -> coef, intercept`, as scikit-learn gives them.

    Two classes: the one row u becomes −u/2 and u/2; one class: the constant answer; absent classes
    have bias −inf.
    """
    weight = np.zeros((len(labels), n_classes, d))
    bias = np.full((len(labels), n_classes), -np.inf)
    for i, (draw, strength) in enumerate(zip(labels, strengths.tolist(), strict=True)):
        present = np.unique(draw[draw >= 0])
        if len(present) == 1:
            bias[i, present] = 0.0
            continue
        coef, intercept = fit(draw, strength)
        if len(present) == 2:
            coef, intercept = (
                np.concatenate([-coef, coef]) / 2,
                np.concatenate([-intercept, intercept]) / 2,
            )
        weight[i, present], bias[i, present] = coef, intercept
    return torch.from_numpy(weight), torch.from_numpy(bias)


def distinct_draws(draws: Tensor) -> list[Tensor]:
    """The positions at which each distinct draw occurs."""
    code = draws.nan_to_num(torch.finfo(draws.dtype).min) if draws.is_floating_point() else draws
    _, index = torch.unique(code, dim=0, return_inverse=True)
    return [torch.nonzero(index == k)[:, 0] for k in range(int(index.max()) + 1)]


def by_distinct_draw(
    draws: Shaped[Tensor, "draw example"],
    strengths: Float[Tensor, " draw"],
    fit: Callable[[Tensor, Tensor], Solution],
) -> Solution:
    """Solutions of all draws from one call `fit(draw, its strengths)` for each distinct draw."""
    positions = distinct_draws(draws)
    parts = [fit(draws[rows[0]], strengths[rows]) for rows in positions]
    order = torch.cat(positions).argsort()
    return torch.cat([w for w, _ in parts])[order], torch.cat([b for _, b in parts])[order]
