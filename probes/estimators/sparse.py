"""An estimator that may use a few neurons only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.estimators.base import Solution
from probes.estimators.choosing import LinearEstimator, Strengths, check_count, normalised
from probes.estimators.logistic import solve_logistic


@dataclass(frozen=True)
class KSparse(LinearEstimator):
    """Logistic regression on the k features that separate the classes best (2305.01610).

    The features are ranked by the F statistic of the training rows alone, and the others get weight
    exactly zero. How accuracy grows with k says whether a concept sits in a few neurons. Of several C
    each draw takes the best, as in `Logistic`, with a ranking of its own in every inner fold.

    Attributes:
        k: number of features that may be used.
        c: the strength C, or several to choose from.
        folds: number of inner folds that a choice is made in.
        name: how it is named in tables.

    Raises:
        ValueError: on construction, without at least one feature, or if a strength is not a finite
            positive number.
    """

    k: int = 10
    c: Strengths = 0.1
    folds: int = 5
    name: str = "k_sparse"

    def __post_init__(self) -> None:
        """Check k; keep one C as a float, several as a tuple."""
        check_count(self.k, "k")
        object.__setattr__(self, "c", normalised(self.c, "c"))

    @property
    def strengths(self) -> Strengths:
        """C, or several."""
        return self.c

    def fit_at(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """A ranking per distinct draw, then all draws together."""
        distinct, which = torch.unique(labels, dim=0, return_inverse=True)
        keep = torch.stack([self._best(values, draw) for draw in distinct])[which]
        return solve_logistic(values, labels, strengths, n_classes, keep=keep)

    def _best(self, values: Tensor, labels: Tensor) -> Bool[Tensor, " d"]:
        from sklearn.feature_selection import f_classif

        """The features with the largest F statistic in the rows that a draw sees."""
        training = (labels >= 0).cpu().numpy()
        rows, drawn = values.double().cpu().numpy()[training], labels.cpu().numpy()[training]
        keep = torch.zeros(values.shape[1], dtype=torch.bool)
        if len(np.unique(drawn)) > 1:
            # Features without variance have no F; they rank last.
            with np.errstate(divide="ignore", invalid="ignore"):
                varied = rows.std(0) > 0
                score = np.full(len(varied), -1.0)
                score[varied] = np.nan_to_num(f_classif(rows[:, varied], drawn)[0], posinf=np.inf)
            keep[torch.from_numpy(np.argsort(-score, kind="stable")[: self.k].copy())] = True
        return keep.to(values.device)
