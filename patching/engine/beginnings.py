"""What prompts begin with alike, and which edits write the same there in every prompt.

A chat template stands before every prompt, a few examples before every question. Attention looks
only back, so that the states there are one for all prompts: unedited, and in an edited copy whose edits
write the same there in all of them. They are computed for one prompt, and the others take its keys and
values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.examples import Examples
from interp.models.loading import PARITY
from interp.sites import RESIDUAL_KINDS, Kind
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Mean, Replace, Zero

#: Interventions that do the same where their tensors and the activation are the same.
BY_VALUE = (Add, Mean, Replace, Zero)


def common(tokens: Int[Tensor, "row position"]) -> int:
    """With how many tokens these prompts of one length begin alike; one at least is left to each.

    Args:
        tokens: the prompts without padding.
    """
    if len(tokens) < 2:
        return 0
    same = (tokens == tokens[:1]).all(0)
    return min(int(same.int().cumprod(0).sum()), tokens.shape[1] - 1)


def levelled(
    examples: Examples, values: Float[Tensor, "example position *d"]
) -> Float[Tensor, "example position *d"]:
    """Give all prompts the first one's values where all begin alike, in place.

    Equal states come out of a matrix product with other last bits in other rows; this makes them one.
    What differs by more than rounding is left, as where positions are encoded by the prompt's length.

    Args:
        examples: the prompts.
        values: what is equal for equal beginnings, such as their states.
    """
    columns = beginning(examples)
    rows = torch.arange(len(examples), device=columns.device)[:, None]
    own, first = values[rows, columns].flatten(2), values[0, columns[0]].flatten(1)
    rounding = PARITY.get(values.dtype, 0.05) * first.abs().amax(1).clamp(min=1.0)
    same = (own - first).abs().amax(2) <= rounding
    values[rows, columns] = first.where(same[..., None], own).unflatten(2, values.shape[2:])
    return values


def beginning(examples: Examples) -> Int[Tensor, "example shared"]:
    """The columns of what all prompts, of whatever length, begin with.

    Args:
        examples: the prompts.
    """
    shortest = int(examples.lengths.min())
    columns = examples.starts[:, None] + torch.arange(shortest, device=examples.tokens.device)
    return columns[:, : common(examples.tokens.gather(1, columns))]


def common_to_all(examples: Examples) -> Bool[Tensor, "example position"]:
    """True where all prompts, of whatever length, begin alike.

    Args:
        examples: the prompts.
    """
    return torch.zeros_like(examples.mask).scatter(1, beginning(examples), True)


def written_alike(cells: Sequence[Cell], columns: Int[Tensor, "example shared"]) -> int:
    """At how many first positions all edits write the same into every prompt.

    Args:
        cells: the edits.
        columns: those of what the prompts begin with.
    """
    count, known = columns.shape[1], dict[int, int]()
    rows = torch.arange(len(columns), device=columns.device)[:, None]

    def alike(tensor: Tensor) -> int:
        if id(tensor) not in known:
            placed = tensor[rows, columns]
            same = (placed == placed[:1]).flatten(2).all(2) if placed.ndim > 2 else placed == placed[:1]
            known[id(tensor)] = int(same.all(0).int().cumprod(0).sum())
        return known[id(tensor)]

    return min((_alike(edit, alike, count) for cell in cells for edit in cell.edits), default=count)


def _alike(edit: Edit, alike: Callable[[Tensor], int], count: int) -> int:
    """At how many first positions one edit writes the same, as `alike` tells of a tensor by places."""
    known = edit.site.kind in (*RESIDUAL_KINDS, Kind.EMBED)
    if not known or not isinstance(edit.intervention, BY_VALUE):
        return 0
    counts = [count, alike(edit.where)]
    for tensor in edit.intervention.tensors.values():
        if tensor.ndim > 1:
            whole = tensor.shape[:2] == edit.where.shape
            counts.append(alike(tensor) if whole else count * (tensor.shape[0] == 1))
    return min(counts)
