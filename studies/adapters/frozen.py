"""Frozen linear layers that multiply in bfloat16 where the CPU has matrix units for it (AMX).

There a training step takes two thirds of the time; on a CPU without them such products are several
times slower than those of single precision, and nothing is changed. Only for training: the residual
stream, norms and attention stay in float32, and base targets and the tuned model round alike, so an
update of zero still has a loss of exactly zero. What ships is measured in float32. The unembedding
is left out: a product as long as the vocabulary gains nothing and, for some row counts, crashes in
oneDNN.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class _Product(torch.autograd.Function):
    """y = x Wᵀ with frozen W; the backward pass uses a stored Wᵀ (the other layout is slow)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, transposed: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return functional.linear(x.bfloat16(), weight).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (transposed,) = ctx.saved_tensors
        return functional.linear(grads[0].bfloat16(), transposed).float(), None, None


class FrozenLinear(nn.Linear):
    """An `nn.Linear` without bias whose weight never trains, computed in bfloat16."""

    bits16: Tensor
    bits16_transposed: Tensor

    def forward(self, input: Float[Tensor, "*row d"]) -> Float[Tensor, "*row out"]:
        """Product in bfloat16, result in float32."""
        return _Product.apply(input, self.bits16, self.bits16_transposed)  # pyright: ignore


def has_matrix_units() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in units of their own."""
    told = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get("amx_bf16"))


def freeze_linears(model: nn.Module) -> nn.Module:
    """On such a CPU, turn every bias-free linear layer of a frozen model into a `FrozenLinear`."""
    if next(model.parameters()).device.type != "cpu" or not has_matrix_units():
        return model
    for module in list(model.modules()):
        if type(module) is nn.Linear and module.bias is None:
            half = module.weight.detach().bfloat16()
            module.register_buffer("bits16", half, persistent=False)
            module.register_buffer("bits16_transposed", half.t().contiguous(), persistent=False)
            module.__class__ = FrozenLinear
    return model
