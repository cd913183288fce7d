"""Options as an estimator is given them: strengths, counts and words."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from probes.selecting import Fit, Loss, choose

#: One strength of regularisation, or several of which each draw takes the best.
Strengths = float | Sequence[float] | np.ndarray | Tensor


def normalised(given: object, name: str) -> float | tuple[float, ...]:
    """A float, or a tuple of floats for a flat sequence or array; all finite and positive.

    Raises:
        ValueError: if it is neither, calling the argument by its name.
    """
    array = isinstance(given, np.ndarray | np.generic | Tensor)
    plain: Any = given.tolist() if array else given
    several = isinstance(plain, list | tuple | range)
    found = list(plain) if several else [plain]
    if not found or not all(isinstance(x, Real) and not isinstance(x, bool) for x in found):
        wanted = "numbers, one or a flat sequence"
    elif not all(math.isfinite(x) for x in found):
        wanted = "finite"
    elif min(found) <= 0:
        wanted = "positive"
    else:
        return tuple(float(x) for x in found) if several else float(found[0])
    raise ValueError(
        f"{name}: strengths must be {wanted}, got {found if several else repr(plain)}; "
        "give a number above 0, or several to choose from"
    )


def strength_of_each(
    given: Strengths,
    fit: Fit,
    loss: Loss,
    values: Float[Tensor, "example d"],
    draws: Shaped[Tensor, "draw example"],
    groups: np.ndarray | None,
    *,
    folds: int,
) -> Float[Tensor, " draw"]:
    """The strength of each draw: the one given, or the best of several inside its training rows.

    Raises:
        ValueError: if there are several and no groups to keep apart in choosing (see `choose`).
    """
    if isinstance(given, tuple):
        return choose(fit, loss, values, draws, given, groups, folds=folds)
    assert isinstance(given, float)  # held by `normalised`
    return torch.full((len(draws),), given, dtype=torch.float64)


def check_count(given: object, name: str) -> None:
    """Refuse what is not a whole number of at least one.

    Raises:
        ValueError: calling the argument by its name.
    """
    if not isinstance(given, Integral) or isinstance(given, bool) or given < 1:
        raise ValueError(f"{name} must be at least 1, got {given}; give a whole number, such as 1")


def check_choice(given: object, name: str, known: Collection[str]) -> None:
    """Refuse a word that is none of those known.

    Raises:
        ValueError: calling the argument by its name.
    """
    if given not in known:
        raise ValueError(f"{name} must be one of {sorted(known)}, got {given!r}; give one of them")
