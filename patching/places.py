"""Places of an edit: one site or several with positions, how they are named, and their order.

Positions have one vocabulary in every method of this package: "last", "subject_first" and
"subject_last" (a token of each prompt), names of spans such as "subject" and "all", numbers that count
tokens from 0 or from -1, the last, and "each" for every position alone. A list of these makes one cell
for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence.pairs import pair_name
from interp.examples import Examples
from interp.sites import Site

#: One site, or several that are written together.
Place = Site | tuple[Site, ...]

#: Which run of a contrast is patched.
DIRECTIONS = ("denoise", "noise")


def places_of(sites: Place | str | Sequence[Place | str]) -> list[tuple[Site, ...]]:
    """The places that sites name, each as the tuple of sites that are written together.

    Args:
        sites: one place or several, or names of TransformerLens hooks.

    Raises:
        ValueError: for anything but sites.
    """
    return [place if isinstance(place, tuple) else (place,) for place in sites_of(sites)]


def sites_in(places: Sequence[tuple[Site, ...]]) -> list[Site]:
    """Every site of the places, once."""
    return list(dict.fromkeys(site for place in places for site in place))


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
) -> list[tuple[dict[str, Any], Bool[Tensor, "example position"]]]:
    """Where each cell of a grid writes, with its column: every position alone, or named places.

    Raises:
        ValueError: if no span and no position bears a name.
    """
    names = [positions] if isinstance(positions, str | int) else list(positions)
    cells: list[tuple[dict[str, Any], Tensor]] = []
    for name in names:
        if name == "each":
            cells += _each_position(examples)
            continue
        try:
            cells.append(({"span": str(name)}, positions_named(examples, name)))
        except ValueError as error:
            raise ValueError(f"{error}; or 'each', every position alone") from error
    return cells


def positions_named(examples: Examples, name: str | int) -> Bool[Tensor, "example position"]:
    """True at a named span, a named position, or the position of this number.

    Raises:
        ValueError: if no span and no position bears the name.
    """
    if isinstance(name, str) and name in examples.spans:
        return examples.span_mask(name)
    try:
        column = examples.columns_at(name)
    except ValueError as error:
        raise ValueError(f"{error}, or a span of {sorted(examples.spans)}") from error
    return torch.arange(examples.tokens.shape[1], device=column.device) == column[:, None]


def _each_position(examples: Examples) -> list[tuple[dict[str, Any], Tensor]]:
    """Each position that some prompt has, alone."""
    cells = []
    for position in range(examples.tokens.shape[1]):
        where = torch.zeros_like(examples.mask)
        where[:, position] = examples.mask[:, position]
        if bool(where.any()):
            cells.append(({"position": position}, where))
    return cells


def window_around(centre: int, window: int, n_layers: int) -> range:
    """The `window` blocks around a centre, cut off at the ends of the model.

    Raises:
        ValueError: for a window of no block, or of more than the model has.
    """
    if not 1 <= window <= n_layers:
        raise ValueError(f"window must be 1..{n_layers} blocks, got {window}")
    return range(max(0, centre - (window - 1) // 2), min(n_layers, centre + window // 2 + 1))


@dataclass(frozen=True, eq=False)
class Sides:
    """The two sides of a contrast in the order that a direction of patching gives them.

    Attributes:
        patched: the prompts whose run is patched.
        source: the prompts whose activations are written in.
        patched_name: condition of the patched prompts' unedited run, "corrupted" or "clean".
        source_name: condition of the source's unedited run.
        direction: "denoise" where the corrupted run is patched, "noise" where the clean one is.
    """

    patched: Examples
    source: Examples
    patched_name: str
    source_name: str
    direction: str

    @classmethod
    def of(cls, contrast: Contrast, direction: str) -> Sides:
        """Order them: "denoise" patches the corrupted run, "noise" the clean one.

        Raises:
            ValueError: for another direction.
        """
        if direction not in DIRECTIONS:
            raise ValueError(
                f"direction must be 'denoise' or 'noise', got {direction!r}; expected one of them"
            )
        if direction == "noise":
            return cls(contrast.clean, contrast.corrupted, "clean", "corrupted", direction)
        return cls(contrast.corrupted, contrast.clean, "corrupted", "clean", direction)


def apart(contrast: Contrast) -> Bool[Tensor, "pair position"]:
    """The positions at which the states of a pair's two prompts may differ.

    Attention looks only back, so that one model's runs of both are the same up to the first token that
    differs.

    Args:
        contrast: aligned pairs.
    """
    return (contrast.clean.tokens != contrast.corrupted.tokens).cumsum(1) > 0


def pair_names(contrast: Contrast) -> list[str]:
    """The name of each pair in the column group, "clean -> corrupted"."""
    sides = zip(contrast.clean.groups, contrast.corrupted.groups, strict=True)
    return [pair_name(clean, corrupted) for clean, corrupted in sides]
