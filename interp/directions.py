"""Directions and subspaces: how a probe hands what it found to an intervention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp._doors import held
from interp.display.html import Shown
from interp.sites import Site


@held
@dataclass(frozen=True)
class Direction(Shown):
    """A unit vector at a site, with where it came from.

    Attributes:
        site: where it points.
        vector: [d], normalised on construction.
        position: the name of the position it was read at.
        origin: what made it, such as an estimator's name.
        score: the held-out score of the probe it came from: a statement about reading, not about use.

    Raises:
        ValueError: if the vector is zero or not finite.
    """

    site: Site
    vector: Float[Tensor, " d"]
    position: str = "last"
    origin: str = ""
    score: float | None = None

    def __repr__(self) -> str:
        """Where it points, its width, and what made it, on one line."""
        return f"Direction({self.site} at {self.position!r}: width {len(self.vector)}{_made(self)})"

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


@held
@dataclass(frozen=True)
class Subspace(Shown):
    """An orthonormal basis at a site.

    Attributes:
        site: where it lies.
        basis: [d, rank]; the columns are orthonormalised by QR on construction.
        position: the name of the position it was read at.
        origin: what made it.
        score: the held-out score of the probe it came from.

    Raises:
        ValueError: if the columns are linearly dependent or not finite.
    """

    site: Site
    basis: Float[Tensor, "d rank"]
    position: str = "last"
    origin: str = ""
    score: float | None = None

    def __repr__(self) -> str:
        """Where it lies, its width and rank, and what made it, on one line."""
        width, rank = self.basis.shape
        return f"Subspace({self.site} at {self.position!r}: width {width}, rank {rank}{_made(self)})"

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


@dataclass(frozen=True, repr=False)
class AffineEraser(Shown):
    """A map that removes what a few directions say and leaves the mean of the activations in place.

    h ↦ h − left (right (h − centre)) = P h + bias with P = I − left·right, a projection: applying it
    twice changes nothing more. `left` spans what is taken away, the rows of `right` read it off; for
    an orthogonal projection right = leftᵀ.

    Attributes:
        site: where it erases.
        left: [d, rank], spans what is taken away.
        right: [rank, d], reads it off.
        centre: [d], the mean that stays in place.
        position: the name of the position it was fitted at.
        origin: what made it.

    Raises:
        ValueError: if the shapes disagree, or a number is not finite.
    """

    site: Site
    left: Float[Tensor, "d rank"]
    right: Float[Tensor, "rank d"]
    centre: Float[Tensor, " d"]
    position: str = "last"
    origin: str = ""

    def __post_init__(self) -> None:
        """Check the parts."""
        if not all(bool(torch.isfinite(x).all()) for x in (self.left, self.right, self.centre)):
            raise ValueError("an eraser needs finite numbers, got NaN or infinity; check its fit")

    def apply(self, values: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """The values without what is erased, computed in float64 and returned in their own type."""
        if values.shape[-1] != len(self.centre):
            raise ValueError(
                f"values must have {len(self.centre)} features, got {values.shape[-1]}; this eraser "
                f"was fitted at {self.site}"
            )
        left, right, centre = (
            x.to(values.device, torch.float64) for x in (self.left, self.right, self.centre)
        )
        exact = values.double()
        return (exact - ((exact - centre) @ right.T) @ left.T).to(values.dtype)

    @property
    def matrix(self) -> Float[Tensor, "d d"]:
        """P = I − left·right; erasing is h Pᵀ + bias for rows h."""
        return torch.eye(len(self.centre)).to(self.left) - self.left @ self.right

    @property
    def bias(self) -> Float[Tensor, " d"]:
        """What is added after P, so that the centre stays where it is: (I − P) centre."""
        return self.left @ (self.right @ self.centre)

    def subspace(self) -> Subspace:
        """The span of what is taken away, for swaps and projections."""
        return Subspace(self.site, self.left, self.position, self.origin)


def _made(space: Direction | Subspace) -> str:
    """What made a direction or subspace, and its held-out score, for one line."""
    made = f", by {space.origin}" if space.origin else ""
    return made if space.score is None else f"{made}, held-out score {space.score:.2f}"
