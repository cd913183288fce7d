"""Relevance patching: a backward pass by rules of layer-wise relevance propagation (2508.21258).

Values stay what they are; only what flows back changes. A norm is linear with its divisor held
(LN-rule), an activation function is the line through the origin and its value (identity rule), and
each factor of a gated product gets half (half-rule). Projections need no rule, and attention, whose
queries and keys would otherwise have no relevance at all, is differentiated as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from patching.circuits.running.parts import Parts, norm_factor


@contextmanager
def relevance_rules(parts: Parts) -> Iterator[None]:
    """Let gradients follow the rules inside the `with`.

    Args:
        parts: the model.

    Raises:
        ValueError: for an MLP without an activation module, or a gated one without a projection out.
    """
    handles = [norm.register_forward_hook(_linear_norm) for norm in _norms(parts)]
    try:
        gated = bool(getattr(parts.model.bridge.cfg, "gated_mlp", False))
        for block in parts.model.bridge.blocks:
            handles += [a.register_forward_hook(_line) for a in _activations(parts, block.mlp)]
            if gated:
                handles.append(_projection_out(parts, block.mlp).register_forward_pre_hook(_half))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _norms(parts: Parts) -> list[nn.Module]:
    """The norms that `Parts` calls, those of queries and keys, and the last."""
    bridge: Any = parts.model.bridge
    found = [bridge.ln_final]
    for block in bridge.blocks:
        names = ("ln1", "ln2", "ln1_post", "ln2_post")
        found += [getattr(block, name).original_component for name in names if hasattr(block, name)]
        found += [
            getattr(block.attn, name) for name in ("q_norm", "k_norm") if hasattr(block.attn, name)
        ]
    return found


def _activations(parts: Parts, mlp: nn.Module) -> list[nn.Module]:
    """The activation functions inside an MLP.

    Raises:
        ValueError: if it has none.
    """
    homes = ("transformers.activations", "torch.nn.modules.activation")
    found = {id(m): m for m in mlp.modules() if type(m).__module__ in homes}
    original = getattr(mlp, "original_component", None)
    found |= {id(m): m for m in (original.modules() if original else ()) if type(m).__module__ in homes}
    if not found:
        raise ValueError(
            f"relevance needs the activation function of {parts.model.name}'s MLPs as a module; found "
            "none; use method='eap_ig'"
        )
    return list(found.values())


def _projection_out(parts: Parts, mlp: Any) -> nn.Module:
    """What projects a gated MLP's product out.

    Raises:
        ValueError: if it is not found.
    """
    original = mlp.original_component
    for name in ("down_proj", "w2", "c_proj", "dense_4h_to_h"):
        if hasattr(original, name):
            return getattr(original, name)
    raise ValueError(
        f"relevance needs the projection out of {parts.model.name}'s gated MLPs; found none; use "
        "method='eap_ig'"
    )


def _linear_norm(norm: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output, as a function of the input that is linear: the divisor is held."""
    value = args[0]
    inner = getattr(norm, "original_component", norm)
    if isinstance(inner, nn.LayerNorm):
        size = (value.detach().var(-1, unbiased=False, keepdim=True) + inner.eps).rsqrt()
        line = (value - value.mean(-1, keepdim=True)) * size * inner.weight
    else:
        line = value * norm_factor(norm.forward, value.detach()).detach()
    return output.detach() + line - line.detach()


def _line(activation: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output, as a function of the input that is a line through the origin."""
    value = args[0]
    small = value.abs() < 1e-6
    slope = torch.where(small, 0.5, output / value.where(~small, torch.ones_like(value))).detach()
    line = value * slope
    return output.detach() + line - line.detach()


def _half(projection: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A product of which each factor gets half of what flows back."""
    product = args[0]
    return (0.5 * product + 0.5 * product.detach(), *args[1:])
