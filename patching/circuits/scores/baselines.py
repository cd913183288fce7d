"""Scores that need no metric: routes of information, sizes of weights, and chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patching.circuits.graph import SLOTS
from patching.circuits.running.parts import Parts, by_head, matrix
from patching.circuits.running.setting import Prepared


def information_flow(parts: Parts, prepared: Prepared) -> Float[Tensor, "edge row"]:
    """Share of a source in what a destination reads (information-flow routes, 2403.00824).

    max(‖y‖₁ - ‖y - c‖₁, 0) of the source's output c and the destination's input y before its norm, as
    a share of the sum over its sources, averaged over positions. Of the clean run alone.
    """
    graph, nodes = parts.graph, prepared.nodes
    slots = graph.n_heads + 2 * graph.n_groups
    scores = []
    for layer in range(graph.n_layers):
        first = layer * (slots + 1)
        reads = graph.reads[first]
        shares = _shares(nodes.outputs[:reads], nodes.inputs[layer])
        scores.append(shares.repeat(slots, 1))
        reads = graph.reads[first + slots]
        scores.append(_shares(nodes.outputs[:reads], nodes.middles[layer]))
    scores.append(_shares(nodes.outputs, nodes.inputs[-1]))
    return torch.cat(scores)


def _shares(
    outputs: Float[Tensor, "source row position d"], read: Float[Tensor, "row position d"]
) -> Float[Tensor, "source row"]:
    """Each source's share of what is read, averaged over positions."""
    near = torch.stack([read.abs().sum(-1) - (read - own).abs().sum(-1) for own in outputs])
    near = near.clamp(min=0)
    return (near / near.sum(0).clamp_min(torch.finfo(near.dtype).tiny)).mean(-1)


@torch.no_grad()
def weight_sizes(parts: Parts) -> Float[Tensor, " edge"]:
    """‖W_in · diag(norm's weight) · W_out‖_F of a source's output weights and a destination's input.

    The composition score of heads (transformer circuits, 2021) without its divisor; of an MLP the
    projections in and out, of the input the embedding, of the logits the unembedding.

    Raises:
        ValueError: for an MLP whose projections cannot be told apart.
    """
    writers: list[Tensor] = []
    scores = []
    for source in _writers(parts):
        writers.append(_thin(source))
    columns = torch.cat(writers, 1)
    owner = torch.repeat_interleave(
        torch.arange(len(writers), device=columns.device),
        torch.tensor([w.shape[1] for w in writers], device=columns.device),
    )
    ends = torch.tensor([w.shape[1] for w in writers]).cumsum(0).tolist()
    for reader, reads in zip(_readers(parts), parts.graph.reads, strict=True):
        product = _thin(reader.T).T @ columns[:, : ends[reads - 1]]
        size = torch.zeros(reads, dtype=product.dtype, device=product.device)
        size.index_add_(0, owner[: ends[reads - 1]], product.square().sum(0))
        scores.append(size.sqrt())
    return torch.cat(scores)


def _thin(weight: Float[Tensor, "d n"]) -> Float[Tensor, "d m"]:
    """A weight of no more than d columns whose product with its transpose is the same."""
    if weight.shape[1] <= weight.shape[0]:
        return weight
    values, vectors = torch.linalg.eigh(weight @ weight.T)
    return vectors * values.clamp(min=0).sqrt()


def _writers(parts: Parts) -> Iterator[Float[Tensor, "d n"]]:
    """What each source writes with, in the graph's order."""
    bridge: Any = parts.model.bridge
    yield bridge.embed.original_component.weight.T
    for block in bridge.blocks:
        rows = matrix(block.attn.o.original_component).unflatten(1, (parts.graph.n_heads, -1))
        yield from rows.unbind(1)
        yield torch.cat(_projections(parts, block.mlp, reads=False), 1)


def _readers(parts: Parts) -> Iterator[Float[Tensor, "n d"]]:
    """What each destination reads with, in the graph's order, its norm's weight included."""
    bridge: Any = parts.model.bridge
    for layer, block in enumerate(bridge.blocks):
        scale = _scale(parts.norm(layer, "attn"), parts)
        for slot in SLOTS:
            weight, _ = by_head(getattr(block.attn, slot), parts.heads(slot))
            yield from (weight * scale).unbind(0)
        scale = _scale(parts.norm(layer, "mlp"), parts)
        yield torch.cat(_projections(parts, block.mlp, reads=True)) * scale
    yield parts.model.unembedding[0] * _scale(bridge.ln_final.original_component, parts)


def _scale(norm: Any, parts: Parts) -> Float[Tensor, " d"]:
    """A norm's own weight, by which it multiplies what it has divided."""
    if isinstance(norm, nn.LayerNorm):
        return norm.weight
    ones = torch.ones(parts.model.d_model, dtype=parts.model.dtype, device=parts.model.device)
    return norm(ones)


def _projections(parts: Parts, mlp: Any, *, reads: bool) -> list[Tensor]:
    """Weights of an MLP that read the residual stream, [n, d], or write to it, [d, n].

    Raises:
        ValueError: if there are none, or both look alike.
    """
    d, found = parts.model.d_model, []
    for module in mlp.original_component.modules():
        weight = getattr(module, "weight", None)
        inner = not any(True for _ in module.children())
        if weight is not None and weight.ndim == 2 and inner:
            out, into = matrix(module).shape
            if out != into and d == (into if reads else out):
                found.append(matrix(module))
    if not found:
        raise ValueError(
            f"the weights of {parts.model.name}'s MLPs cannot be told apart by their shapes; use "
            "method='random' as the baseline"
        )
    return found
