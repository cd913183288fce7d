"""Interventions on a direction or a subspace: projection, exchange and erasure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from interp.directions import AffineEraser, Direction, Subspace
from interp.sites import Site
from patching.interventions.base import (
    HasTensors,
    as_subspace,
    as_tensor,
    shape_misfit,
    subspace_of_width,
)


@dataclass(frozen=True, eq=False, repr=False)
class Erase(HasTensors):
    """Write what an eraser (LEACE and its kin) leaves of an activation: h ← P h + bias.

    Attributes:
        eraser: made for the site it is applied at.
    """

    eraser: AffineEraser

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The eraser's centre, which is as wide as its site."""
        return {"eraser": self.eraser.centre}

    @property
    def found_at(self) -> Site:
        """The eraser's site."""
        return self.eraser.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The erased activation."""
        return self.eraser.apply(act)


@dataclass(frozen=True, eq=False, repr=False)
class ProjectOut(HasTensors):
    """Remove a subspace: h ← h − (h − mean)QQᵀ; with `mean` None the component itself goes.

    A `Direction` stands for the line it spans.

    Attributes:
        subspace: Q, [d, rank].
        mean: *d, or [example, position, *d]; what is left in the subspace.
    """

    subspace: Subspace | Direction
    mean: Tensor | None = None

    def __post_init__(self) -> None:
        """Take a direction as the line it spans."""
        object.__setattr__(self, "subspace", as_subspace(self.subspace))
        if self.mean is not None:
            object.__setattr__(self, "mean", as_tensor("mean", self.mean))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """One basis vector, and the mean where there is one."""
        basis = {"subspace": as_subspace(self.subspace).basis[:, 0]}
        return basis if self.mean is None else {**basis, "mean": self.mean}

    @property
    def found_at(self) -> Site:
        """The subspace's site."""
        return self.subspace.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation without its component in the subspace."""
        space = subspace_of_width(self.subspace, act)
        centred = act if self.mean is None else act - spread("mean", self.mean, act, example)
        return act - space.project(centred)


@dataclass(frozen=True, eq=False, repr=False)
class SwapSubspace(HasTensors):
    """Exchange one subspace: h ← h + (source − h)QQᵀ; a `Direction` stands for the line it spans.

    Attributes:
        subspace: Q, [d, rank].
        source: *d, or [example, position, *d]; whose component is written in.
    """

    subspace: Subspace | Direction
    source: Tensor

    def __post_init__(self) -> None:
        """Take a direction as the line it spans."""
        object.__setattr__(self, "subspace", as_subspace(self.subspace))
        object.__setattr__(self, "source", as_tensor("source", self.source))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """One basis vector, and the source."""
        return {"subspace": as_subspace(self.subspace).basis[:, 0], "source": self.source}

    @property
    def found_at(self) -> Site:
        """The subspace's site."""
        return self.subspace.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation with the source's component in the subspace."""
        source = spread("source", self.source, act, example)
        return act + subspace_of_width(self.subspace, act).project(source - act)


def spread(
    name: str, tensor: Tensor, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
) -> Tensor:
    """A tensor made for all or by example and position, as it meets these rows of an activation.

    Raises:
        ValueError: for any other shape.
    """
    d = act.shape[2:]
    if tensor.shape != d:
        placed = tensor.ndim == act.ndim and tensor.shape[1] in (1, act.shape[1])
        if not placed or tensor.shape[2:] != d:
            raise ValueError(shape_misfit(name, tensor, ("example", act.shape[1]), tuple(d)))
        tensor = tensor if len(tensor) == 1 else tensor[example.to(tensor.device)]
    return tensor.to(act)
