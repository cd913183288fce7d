"""Many logistic regressions over the same rows: the rows they share, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from probes.blocks import Blocks, total


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
        self.dtype = features.dtype

    def scores(
        self, weight: Float[Tensor, "problem row feature"]
    ) -> Float[Tensor, "problem row example"]:
        """Weights times rows, in the precision of the design and given back in double."""
        return products(weight.to(self.dtype), self.rows.T).double()

    def slopes(
        self, residual: Float[Tensor, "problem row example"]
    ) -> Float[Tensor, "problem row feature"]:
        """Residuals times rows, in the precision of the design and given back in double."""
        return products(residual.to(self.dtype), self.rows).double()

    def along(self, change: Tensor) -> Tensor:
        """`scores` of a change that has the design's precision, and keeps it."""
        return products(change, self.columns)

    def back(self, curved: Tensor) -> Tensor:
        """`slopes` of what has the design's precision, and keeps it."""
        return products(curved, self.rows)

    @cached_property
    def columns(self) -> Tensor:
        """The rows transposed, in the order that products are fastest in."""
        return self.rows.T.contiguous()

    @property
    def noise(self) -> float:
        """Rounding of the eigenvalues, as a share of the largest."""
        return 4 * torch.finfo(self.dtype).eps

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
            return self.spectrum_of(features.T @ features, n)
        return _with_intercept(energy, basis, n)

    def spectrum_of(self, gram: Float[Tensor, "d d"], n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The spectrum from XᵀX of n rows."""
        energy, basis = torch.linalg.eigh(gram)
        # Rounding of the largest must not damp a slope along the smallest: it would look solved.
        return _with_intercept(energy - self.noise * energy[-1], basis, n)

    @cached_property
    def largest(self) -> Tensor:
        """The largest eigenvalue of XᵀX; 0 where all features are constant."""
        energy = self.spectrum[2][:-1].double()
        return torch.cat([energy, energy.new_zeros(1)]).amax()

    @cached_property
    def spectral_rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows in the coordinates of the spectrum, [example, rank] and transposed, and penalty."""
        rows = self.rows @ self.spectrum[0]
        penalty = rows.new_ones(rows.shape[1])
        penalty[-1] = 0
        return rows, rows.T.contiguous(), penalty


class BlockDesign(Design):
    """The same of more rows than should be held in double precision, read block by block.

    In single precision the rows are held, without a transposed copy and without their coordinates in
    the spectrum; in double each product reads them anew.
    """

    def __init__(self, features: Blocks, dtype: torch.dtype) -> None:
        """Take rows and the precision to compute in."""
        self.blocks, self.dtype = features, dtype
        self.parts: Iterable[Tensor] = features
        if dtype != torch.float64:
            held, sizes = torch.empty(features.shape, dtype=dtype, device=features.values.device), []
            for part in features:
                held[sum(sizes) :][: len(part)] = part
                sizes.append(len(part))
            self.parts = held.split(sizes)
        first = next(iter(self.parts))
        self.penalty = first.new_ones(first.shape[1] + 1)
        self.penalty[-1] = 0

    def scores(
        self, weight: Float[Tensor, "problem row feature"]
    ) -> Float[Tensor, "problem row example"]:
        """Weights times rows, block by block."""
        return self.along(weight.to(self.dtype)).double()

    def slopes(
        self, residual: Float[Tensor, "problem row example"]
    ) -> Float[Tensor, "problem row feature"]:
        """Residuals times rows, summed over the blocks in double."""
        residual, start = residual.to(self.dtype), 0
        slopes = residual.new_zeros(*residual.shape[:2], self.blocks.shape[1], dtype=torch.float64)
        for part in self.parts:
            slopes += products(residual[..., start : start + len(part)], part)
            start += len(part)
        return torch.cat([slopes, residual.double().sum(-1, keepdim=True)], -1)

    def along(self, change: Tensor) -> Tensor:
        """`scores` in the design's precision."""
        slope, start = change[..., :-1], 0
        scores = change.new_empty(*change.shape[:2], self.blocks.shape[0])
        for part in self.parts:
            scores[..., start : start + len(part)] = products(slope, part.T)
            start += len(part)
        return scores + change[..., -1:]

    def back(self, curved: Tensor) -> Tensor:
        """`slopes` in the design's precision."""
        return self.slopes(curved).to(self.dtype)

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors of XᵀX, [feature, rank] and transposed, the last the intercept's, and values."""
        gram = total((part.T @ part).double() for part in self.parts)
        return self.spectrum_of(gram.to(self.dtype), self.blocks.shape[0])


def design(features: Blocks, dtype: torch.dtype) -> Design:
    """The design of rows in a precision, by blocks where they are not held."""
    if features.held is None:
        return BlockDesign(features, dtype)
    return Design(features.held.to(dtype))


def _with_intercept(energy: Tensor, basis: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """A spectrum with the intercept, whose column is ones, as its last direction."""
    basis = torch.block_diag(basis, basis.new_ones(1, 1))
    energy = torch.cat([energy.clamp(min=0), energy.new_full((1,), float(n))])
    return basis, basis.T.contiguous(), energy


def products(left: Float[Tensor, "problem row a"], right: Float[Tensor, "a b"]) -> Tensor:
    """One matrix product for all problems and classes."""
    return (left.flatten(0, 1) @ right).unflatten(0, left.shape[:2])
