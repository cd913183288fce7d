"""Directions and subspaces: how a probe hands what it found to an intervention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.sites import Site


@dataclass(frozen=True)
class Direction:
    """A unit vector at a site, with where it came from.

    `vector` is normalised on construction. `score` is the held-out score of the probe it came from,
    a statement about reading, not about use.

    Raises:
        ValueError: if the vector is zero or not finite.
    """

    site: Site
    vector: Float[Tensor, " d"]
    position: str = "last"
    origin: str = ""
    score: float | None = None

    def __post_init__(self) -> None:
        """Normalise to length one."""
        norm = torch.linalg.vector_norm(self.vector)
        if not torch.isfinite(norm) or norm == 0:
            raise ValueError(
                f"a direction needs a finite vector that is not zero, got norm {float(norm)}; "
                "check the probe that made it"
            )
        object.__setattr__(self, "vector", self.vector / norm)

    def subspace(self) -> Subspace:
        """The one-dimensional subspace this direction spans."""
        return Subspace(self.site, self.vector[:, None], self.position, self.origin, self.score)


@dataclass(frozen=True)
class Subspace:
    """An orthonormal basis at a site; the columns are orthonormalised by QR on construction.

    Raises:
        ValueError: if the columns are linearly dependent or not finite.
    """

    site: Site
    basis: Float[Tensor, "d rank"]
    position: str = "last"
    origin: str = ""
    score: float | None = None

    def __post_init__(self) -> None:
        """Orthonormalise."""
        q, r = torch.linalg.qr(self.basis)
        diagonal = r.diagonal().abs()
        if not torch.isfinite(diagonal).all() or diagonal.min() <= 1e-6 * diagonal.max():
            raise ValueError(
                "a subspace needs finite, linearly independent columns; "
                f"got {tuple(self.basis.shape)} of lower rank; drop the dependent columns"
            )
        object.__setattr__(self, "basis", q * r.diagonal().sign())

    def project(self, values: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """The component of the values inside the subspace: h QQᵀ."""
        basis = self.basis.to(values)
        return (values @ basis) @ basis.T


def random_direction(
    site: Site, d: int, *, generator: torch.Generator, position: str = "last"
) -> Direction:
    """A direction drawn uniformly on the sphere: the weakest placebo, shown but never decisive."""
    vector = torch.randn(d, generator=generator, device=generator.device)
    return Direction(site, vector, position, "random")
