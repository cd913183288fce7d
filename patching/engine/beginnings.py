"""What prompts of one batch begin with alike, and which edits write the same there in every prompt.

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
    """Give prompts of one length the first one's values where they begin alike, in place.

    Equal states come out of a matrix product with other last bits in other rows; this makes them one.

    Args:
        examples: the prompts.
        values: what is equal for equal beginnings, such as their states.
    """
    for rows in examples.by_length():
        columns = examples.columns(rows)
        columns = columns[:, : common(examples.tokens[rows].gather(1, columns))]
        values[rows[:, None], columns] = values[rows[0], columns[0]].expand(
            len(rows), *[-1] * (values.ndim - 1)
        )
    return values


def common_to_all(examples: Examples) -> Bool[Tensor, "example position"]:
    """True where all prompts, of whatever length, begin alike.

    Args:
        examples: the prompts.
    """
    shortest = int(examples.lengths.min())
    columns = examples.starts[:, None] + torch.arange(shortest, device=examples.tokens.device)
    count = common(examples.tokens.gather(1, columns))
    return torch.zeros_like(examples.mask).scatter(1, columns[:, :count], True)


def written_alike(
    cells: Sequence[Cell], examples: Examples, rows: Int[Tensor, " row"], count: int
) -> int:
    """At how many first positions all edits write the same into each of these prompts.

    Args:
        cells: the edits.
        examples: the prompts.
        rows: which of them, of one length.
        count: how many positions they share.
    """
    columns = examples.columns(rows)[:, :count]
    known: dict[int, int] = {}

    def alike(tensor: Tensor) -> int:
        if id(tensor) not in known:
            placed = tensor[rows[:, None], columns]
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
