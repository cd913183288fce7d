"""Many logistic regressions over the same rows: the rows they share, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


@dataclass
class LogisticBatch:
    """What differs between logistic regressions that share their rows; the first axis is the problem.

    Attributes:
        target: 1 in the row of the right class, else 0 (of two classes: 1 for the second).
        weight: the example weights s_pi, strength included.
        scale: the feature scales r_p, with a last 1 for the intercept.
        class_mask: 0, and −inf at classes that a problem has not got.
    """

    target: Float[Tensor, "problem row example"]
    weight: Float[Tensor, "problem 1 example"]
    scale: Float[Tensor, "problem 1 feature"]
    class_mask: Float[Tensor, "problem row 1"]

    def __getitem__(self, index: Tensor | slice) -> LogisticBatch:
        """The chosen problems."""
        return LogisticBatch(*(getattr(self, f.name)[index] for f in fields(self)))

    def __len__(self) -> int:
        """Number of problems."""
        return len(self.target)

    def losses(self, scores: Float[Tensor, "problem row example"]) -> Float[Tensor, " problem"]:
        """The weighted log-loss of each problem, without the penalty."""
        if scores.shape[1] == 1:
            loss = softplus(scores) - self.target * scores
        else:
            loss = (scores + self.class_mask).logsumexp(1, keepdim=True)
            loss = loss - (self.target * scores).sum(1, keepdim=True)
        return (self.weight * loss).sum((1, 2))

    def hessian_times(self, probabilities: Tensor, change: Tensor) -> Tensor:
        """Hessian-vector product of the log-loss with respect to the scores.

        Args:
            probabilities: of each class, where the Hessian is taken.
            change: the change of scores to multiply with.
        """
        weighted = probabilities * change
        return self.weight * (weighted - probabilities * weighted.sum(1, keepdim=True))

    def to(self, dtype: torch.dtype) -> LogisticBatch:
        """The same problems in another precision."""
        return LogisticBatch(*(getattr(self, f.name).to(dtype) for f in fields(self)))

    def probabilities(self, scores: Float[Tensor, "problem row example"]) -> Tensor:
        """Probability of the class of each weight row (of two classes: of the second)."""
        return scores.sigmoid() if scores.shape[1] == 1 else (scores + self.class_mask).softmax(1)


class Design:
    """The rows shared by all problems, with a last column of ones, and their spectrum."""

    def __init__(self, features: Float[Tensor, "example d"]) -> None:
        """Take features (centred, or nearly) in the precision to compute in."""
        n, d = features.shape
        self.features = features
        self.rows = torch.cat([features, features.new_ones(n, 1)], dim=1)
        self.penalty = features.new_ones(d + 1)
        self.penalty[-1] = 0

    @cached_property
    def columns(self) -> Tensor:
        """The rows transposed, in the order that products are fastest in."""
        return self.rows.T.contiguous()

    @property
    def noise(self) -> float:
        """Rounding of the eigenvalues, as a share of the largest."""
        return 4 * torch.finfo(self.features.dtype).eps

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors of XᵀX, [feature, rank] and transposed, the last the intercept's, and values."""
        features = self.features
        n, d = features.shape
        if n < d:
            # In double: columns longer than one would make the preconditioner indefinite.
            exact = features.double()
            energy, left = torch.linalg.eigh(exact @ exact.T)
            kept = energy > 1e-8 * energy[-1].clamp(min=1e-30)
            energy = energy[kept]
            basis = (exact.T @ (left[:, kept] / energy.sqrt())).to(features.dtype)
            energy = energy.to(features.dtype)
        else:
            energy, basis = torch.linalg.eigh(features.T @ features)
            # Rounding of the largest must not damp a slope along the smallest: it would look solved.
            energy = energy - self.noise * energy[-1]
        basis = torch.block_diag(basis, features.new_ones(1, 1))
        energy = torch.cat([energy.clamp(min=0), energy.new_full((1,), float(n))])
        return basis, basis.T.contiguous(), energy

    @cached_property
    def largest(self) -> Tensor:
        """The largest eigenvalue of XᵀX; 0 where all features are constant."""
        return torch.cat([self.spectrum[2][:-1].double(), self.features.new_zeros(1).double()]).amax()

    @cached_property
    def spectral_rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows in the coordinates of the spectrum, [example, rank] and transposed, and penalty."""
        rows = self.rows @ self.spectrum[0]
        penalty = rows.new_ones(rows.shape[1])
        penalty[-1] = 0
        return rows, rows.T.contiguous(), penalty


def products(left: Float[Tensor, "problem row a"], right: Float[Tensor, "a b"]) -> Tensor:
    """One matrix product for all problems and classes."""
    return (left.flatten(0, 1) @ right).unflatten(0, left.shape[:2])
