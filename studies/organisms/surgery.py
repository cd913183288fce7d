"""Changes of a model's weights beside training: low rank, halves put together, neurons moved about."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from studies.organisms.lab import blocks_of


class LowRank(nn.Module):
    """W + A B with A (rows × rank) zero at first and B (rank × columns) random.

    Args:
        weight: W, which is not trained.
        rank: of what is added.
        generator: draws B.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.left = nn.Parameter(torch.zeros(rows, rank))
        self.right = nn.Parameter(torch.randn(rank, columns, generator=generator) / columns**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with what was added."""
        return weight + self.left @ self.right


def add_low_rank(model: PreTrainedModel, blocks: Collection[int], rank: int, seed: int) -> None:
    """Make the matrices of some blocks W + A B, with only A and B open to training.

    Args:
        model: changed in place.
        blocks: which blocks.
        rank: of every update.
        seed: of B.

    Source: LoRA, 2106.09685.
    """
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for module in _matrices(model, blocks):
        update = LowRank(module.weight, rank, generator).to(module.weight.device)
        parametrize.register_parametrization(module, "weight", update)


def merge_low_rank(model: PreTrainedModel, blocks: Collection[int]) -> None:
    """Make W + A B one matrix again.

    Args:
        model: changed in place.
        blocks: those that were given low-rank updates.
    """
    for module in _matrices(model, blocks):
        parametrize.remove_parametrizations(module, "weight")


def _matrices(model: PreTrainedModel, blocks: Collection[int]) -> list[Any]:
    """Every module of some blocks whose weight is a matrix."""
    return [
        module
        for number in sorted(blocks)
        for module in blocks_of(model)[number].modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim == 2
    ]


def with_blocks_of(
    base: PreTrainedModel, tuned: PreTrainedModel, blocks: Collection[int]
) -> PreTrainedModel:
    """The base with some blocks of the tuned model; these are shared, so that training reaches them.

    Args:
        base: copied.
        tuned: the owner of the blocks.
        blocks: their numbers.
    """
    hybrid = copy.deepcopy(base).requires_grad_(False)
    for number in blocks:
        blocks_of(hybrid)[number] = blocks_of(tuned)[number]
    return hybrid


def halves(base: PreTrainedModel, tuned: PreTrainedModel) -> list[PreTrainedModel]:
    """The base with the tuned model's lower half of blocks, and with its upper half."""
    count = len(blocks_of(base))
    return [with_blocks_of(base, tuned, half) for half in (range(count // 2), range(count // 2, count))]


@torch.no_grad()
def move_neurons(model: PreTrainedModel, blocks: Sequence[int], seed: int) -> None:
    """Put the neurons of some MLPs into another order: a large update that does nothing.

    Rows of what comes in and columns of what goes out are permuted alike, so every sum has the terms
    it had; ‖ΔW‖ is about √2 ‖W‖.

    Args:
        model: changed in place.
        blocks: whose MLPs.
        seed: of the orders.
    """
    generator = torch.Generator().manual_seed(seed)
    for number in blocks:
        mlp: Any = blocks_of(model)[number].mlp
        if hasattr(mlp, "gate_proj"):
            into, out, neurons, inputs = (mlp.gate_proj, mlp.up_proj), mlp.down_proj, 0, 1
        else:  # GPT-2 keeps its matrices turned
            into, out, neurons, inputs = (mlp.c_fc,), mlp.c_proj, 1, 0
        order = torch.randperm(into[0].weight.shape[neurons], generator=generator)
        order = order.to(into[0].weight.device)
        for module in into:
            module.weight.copy_(module.weight.index_select(neurons, order))
            if module.bias is not None:
                module.bias.copy_(module.bias[order])
        out.weight.copy_(out.weight.index_select(inputs, order))
