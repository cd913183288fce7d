"""What every intervention offers, and the checks that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.directions import Direction, Subspace
from interp.display.html import Shown
from interp.sites import Site


@runtime_checkable
class Intervention(Protocol):
    """A pure map from activations to replacements."""

    def __call__(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """Replacement values; only positions the edit names are used."""
        ...


class HasTensors(Shown):
    """What an intervention was value, for checks before anything runs."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Its tensors by name, each *d or [example, position, *d]."""
        return {}

    @property
    def found_at(self) -> Site | None:
        """The site its direction, subspace or eraser belongs to."""
        return None


def tensors_of(intervention: Intervention) -> Mapping[str, Tensor]:
    """The tensors that an intervention names; none of a plain function."""
    return getattr(intervention, "tensors", {})


def home_of(intervention: Intervention) -> Site | None:
    """The site that an intervention belongs to; None of a plain function."""
    return getattr(intervention, "found_at", None)


def shape_misfit(name: str, value: Tensor, place: tuple[Any, Any], d: tuple[Any, ...]) -> str:
    """What to say of a tensor that fits neither all examples nor one of them."""
    shared, full = (f"[{', '.join(map(str, axes))}]" for axes in (d, (*place, *d)))
    return (
        f"the {name} has shape {list(value.shape)}; expected {shared}, shared by all, or {full} with "
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


def as_tensor(name: str, value: Any) -> Tensor:
    """A tensor, of a tensor or of numbers.

    Raises:
        ValueError: for anything else, calling the argument by its name.
    """
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the {name} must be a tensor, got {in_words(value)}; "
            "expected *d or [example, position, *d]"
        ) from error


def as_number(name: str, value: Any) -> float:
    """One number.

    Raises:
        ValueError: for anything else, calling the argument by its name.
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a number, got {in_words(value)}; expected one number"
        ) from error


def require_mask(name: str, value: Any) -> None:
    """Refuse what is no boolean mask over examples and positions.

    Raises:
        ValueError: calling the argument by its name.
    """
    if not isinstance(value, Tensor) or value.dtype is not torch.bool or value.ndim != 2:
        raise ValueError(
            f"{name} must be a boolean mask over examples and positions, got {in_words(value)}; "
            "expected one like Examples.span_mask('all')"
        )


def in_words(value: object) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} {list(value.shape)}"
    return f"{type(value).__name__} {str(value)[:40]!r}"


def as_subspace(value: object) -> Subspace:
    """A subspace; a direction spans one.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, Direction):
        return value.subspace()
    if not isinstance(value, Subspace):
        raise ValueError(
            f"a subspace must be a Subspace or a Direction, got {in_words(value)}; "
            "expected one such as probe.direction() or interp.Direction(site, vector)"
        )
    return value
