"""Gradients of the metric at every destination's input: what every first-order score is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patching.circuits.graph import SLOTS
from patching.circuits.running.parts import Parts
from patching.circuits.running.setting import Prepared, Setting

#: Changes what some sources write: (number of the first of them, their outputs) -> their outputs.
Change = Callable[[int, Float[Tensor, "source row position d"]], Float[Tensor, "source row position d"]]


@dataclass(frozen=True, eq=False)
class Slopes:
    """∂m/∂(what each destination reads before its norm), of runs of the same prompts.

    Attributes:
        of: for each block its slots' slopes and its MLP's, and at the end the logits'; each
            [destination, row, position, d].
        metric: of each row.
    """

    of: list[Float[Tensor, "_ row position d"]]
    metric: Float[Tensor, " row"]


def slopes(
    setting: Setting,
    prepared: Prepared,
    embedding: Float[Tensor, "row position d"],
    change: Change = lambda first, outputs: outputs,
) -> Slopes:
    """Run prompts node by node and differentiate each row's metric at every destination's input.

    Args:
        setting: the model and the metric.
        prepared: the batch.
        embedding: what enters block 0, for several copies of the batch's rows, copy after copy.
        change: is given what sources write before it is added to the residual stream.

    Raises:
        ValueError: for a metric without a gradient.
    """
    with torch.enable_grad():
        zeros, final = _forward(setting.parts, prepared, embedding, change)
        copies = len(embedding) // len(prepared.batch.rows)
        measured = setting.read(final.unflatten(0, (copies, -1)), prepared.batch).flatten()
        if not measured.requires_grad:
            raise ValueError(
                f"first-order scores need a metric with a gradient; got one in {setting.metric.unit} "
                "that has none; use a difference of logits or log-probabilities, or method='exact'"
            )
        found = torch.autograd.grad(measured.sum(), zeros, allow_unused=True)
    of = [torch.zeros_like(z) if s is None else s for s, z in zip(found, zeros, strict=True)]
    return Slopes(of, measured.detach())


def _forward(
    parts: Parts, prepared: Prepared, embedding: Tensor, change: Change
) -> tuple[list[Tensor], Tensor]:
    """The residual stream after the last block, and the zeros added to what each destination reads."""
    graph, rows = parts.graph, len(prepared.batch.rows)
    slots, zeros = graph.n_heads + 2 * graph.n_groups, []

    def entering(count: int, residual: Tensor) -> Tensor:
        zeros.append(residual.new_zeros(count, *residual.shape).requires_grad_())
        return residual + zeros[-1]

    steps = parts.constants.diff(dim=0)
    residual = change(0, embedding[None])[0]
    for layer in range(graph.n_layers):
        node = 1 + layer * (graph.n_heads + 1)
        normed = parts.norm(layer, "attn")(entering(slots, residual))
        own = normed.split([parts.heads(slot) for slot in SLOTS])
        made = {s: parts.project_each(layer, s, x) for s, x in zip(SLOTS, own, strict=True)}
        read = parts.attend(layer, made, prepared.nodes.calls[layer], rows)
        attended = change(node, parts.written(layer, read)).sum(0) + steps[layer]
        middle = residual if graph.parallel else residual + attended
        normed = parts.norm(layer, "mlp")(entering(1, middle)[0])
        written = change(node + graph.n_heads, parts.mlp(layer, normed)[None])[0]
        residual = residual + attended + written
    return zeros, entering(1, residual)[0]


def first_order(setting: Setting, prepared: Prepared, found: Slopes) -> Float[Tensor, "edge row"]:
    """(clean output - ablated output) · slope, for every edge and row, summed over positions.

    Args:
        setting: the model.
        prepared: the batch.
        found: slopes of one copy of its rows.
    """
    change, graph = prepared.change, setting.parts.graph
    scores, number = [], 0
    for part in found.of:
        # Slots of a block read the same sources.
        reads = graph.reads[number]
        together = torch.einsum("srpd,nrpd->nsr", change[:reads], part)
        scores.append(together.flatten(0, 1))
        number += len(part)
    return torch.cat(scores)
