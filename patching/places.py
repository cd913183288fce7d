"""Places of an edit: a site or several with positions, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.examples import Examples
from interp.sites import Site

#: One site, or several that are written together.
Place = Site | tuple[Site, ...]


def named(place: tuple[Site, ...]) -> dict[str, Any]:
    """The columns that name a site, or several written together."""
    first = min(place, key=lambda site: site.layer)
    return {
        "kind": "+".join(dict.fromkeys(str(site.kind) for site in place)),
        "layer": first.layer,
        "head": first.head if len(place) == 1 else None,
    }


def positions_of(
    examples: Examples, positions: str | int | Sequence[str | int]
) -> list[tuple[dict[str, object], Bool[Tensor, "example position"]]]:
    """Where each cell of a grid writes: every position alone, or named spans; with its column.

    Raises:
        ValueError: if no span bears a name.
    """
    if positions == "each":
        found = []
        for p in range(examples.tokens.shape[1]):
            where = torch.zeros_like(examples.mask)
            where[:, p] = examples.mask[:, p]
            if bool(where.any()):
                found.append(({"position": p}, where))
        return found
    names = [positions] if isinstance(positions, str | int) else positions
    return [({"span": str(name)}, positions_named(examples, name)) for name in names]


def positions_named(examples: Examples, name: str | int) -> Bool[Tensor, "example position"]:
    """True at a named span, a named position, or the position of this number."""
    if isinstance(name, str) and name in examples.spans:
        return examples.span_mask(name)
    try:
        at = examples.columns_at(name)
    except ValueError as error:
        raise ValueError(f"{error}, 'each', or a span of {sorted(examples.spans)}") from error
    return torch.arange(examples.tokens.shape[1], device=at.device) == at[:, None]
