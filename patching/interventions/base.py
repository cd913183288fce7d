"""What every intervention offers, and the checks that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.directions import Direction, Subspace
from interp.sites import Site


@runtime_checkable
class Intervention(Protocol):
    """A pure map from activations to replacements."""

    def __call__(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """Replacement values; only positions the edit names are used."""
        ...


class HasTensors:
    """What an intervention was given, for checks before anything runs."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Its tensors by name, each *d or [example, position, *d]."""
        return {}

    @property
    def found_at(self) -> Site | None:
        """The site its direction, subspace or eraser belongs to."""
        return None


def shape_misfit(name: str, given: Tensor, place: tuple[Any, Any], d: tuple[Any, ...]) -> str:
    """What to say of a tensor that fits neither all examples nor one of them."""
    own, full = (f"[{', '.join(map(str, axes))}]" for axes in (d, (*place, *d)))
    return (
        f"the {name} has shape {list(given.shape)}; expected {own}, shared by all, or {full} with "
        "ones where it is shared; index it by example and position"
    )


def subspace_of_width(space: Subspace | Direction, act: Tensor) -> Subspace:
    """The subspace, if the activation has its width."""
    space = as_subspace(space)
    if act.shape[-1] != space.basis.shape[0]:
        raise ValueError(
            f"the subspace of {space.site} has width {space.basis.shape[0]}; the activation has "
            f"{act.shape[-1]}; expected one read at this site"
        )
    return space


def as_tensor(name: str, given: Any) -> Tensor:
    """A tensor, of a tensor or of numbers.

    Raises:
        ValueError: for anything else, calling the argument by its name.
    """
    if isinstance(given, Tensor):
        return given
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the {name} must be a tensor, got {in_words(given)}; "
            "expected *d or [example, position, *d]"
        ) from error


def as_number(name: str, given: Any) -> float:
    """One number.

    Raises:
        ValueError: for anything else, calling the argument by its name.
    """
    try:
        return float(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a number, got {in_words(given)}; expected one number"
        ) from error


def require_mask(name: str, given: Any) -> None:
    """Refuse what is no boolean mask over examples and positions.

    Raises:
        ValueError: calling the argument by its name.
    """
    if not isinstance(given, Tensor) or given.dtype is not torch.bool or given.ndim != 2:
        raise ValueError(
            f"{name} must be a boolean mask over examples and positions, got {in_words(given)}; "
            "expected one like Examples.span_mask('all')"
        )


def in_words(given: object) -> str:
    """A value in a few words."""
    if isinstance(given, Tensor):
        return f"a tensor of {given.dtype} {list(given.shape)}"
    return f"{type(given).__name__} {str(given)[:40]!r}"


def as_subspace(given: object) -> Subspace:
    """A subspace; a direction spans one.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(given, Direction):
        return given.subspace()
    if not isinstance(given, Subspace):
        raise ValueError(
            f"a subspace must be a Subspace or a Direction, got {in_words(given)}; "
            "expected one such as probe.direction() or interp.Direction(site, vector)"
        )
    return given
