"""A circuit run: every node reads what its edges in the circuit carry, and ablated values for the rest.

Node by node, the input of a destination is

    Σ over its sources of (the source's output in this very run, if the edge is in the circuit;
                           its ablated output, if not) + the biases that no node writes,

the model's own norm is applied to that, and the node computes. Nothing is approximated. Circuits run
together as copies of the prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patching.circuits.graph import SLOTS
from patching.circuits.running.setting import Prepared, Setting


@torch.no_grad()
def circuit_values(
    setting: Setting,
    masks: Bool[Tensor, "circuit edge"],
    *,
    below: Below | None = None,
    what: str | None = None,
) -> Float[Tensor, "circuit example"]:
    """The metric of every pair when the model runs as each circuit.

    Args:
        setting: the model, the pairs and the ablation.
        masks: True at the edges of each circuit.
        below: what all circuits do alike below some block, so that it need not run; see `Below`.
        what: names the work for a progress bar.
    """
    graph = setting.parts.graph
    values = torch.full(
        (len(masks), len(setting.contrast)),
        float("nan"),
        dtype=setting.model.metric_dtype,
        device=setting.model.device,
    )
    for number, prepared in enumerate(setting.prepared(what)):
        one = prepared.ablated[:1].numel() * prepared.ablated.element_size()
        slots = graph.n_heads + 2 * graph.n_groups
        together = max(1, setting.max_bytes // (2 * one * (graph.n_forward + 3 * slots)))
        for chosen in torch.arange(len(masks)).split(together):
            run = Pass(setting, prepared, masks[chosen])
            if below is not None:
                run.begin(below.layer, below.changes[number])
            residual = run.finish()
            index = chosen.to(values.device)[:, None]
            values[index, prepared.batch.rows] = setting.read(residual, prepared.batch)
    return values


@dataclass(frozen=True, eq=False)
class Below:
    """What one circuit does below a block, for others that differ from it only above.

    Attributes:
        layer: the block.
        changes: for each batch, every source's output in the circuit's run less its ablated one.
    """

    layer: int
    changes: list[Float[Tensor, "source row position d"]]

    @classmethod
    @torch.no_grad()
    def of(cls, setting: Setting, mask: Bool[Tensor, " edge"]) -> Below:
        """Run a circuit and keep what its nodes wrote; with layer L."""
        changes = []
        for prepared in setting.prepared():
            run = Pass(setting, prepared, mask[None])
            run.finish()
            changes.append(run.change[0])
        return cls(setting.parts.graph.n_layers, changes)


class Pass:
    """Circuits on their way up: how far each node's output is from its ablated one."""

    def __init__(self, setting: Setting, prepared: Prepared, masks: Bool[Tensor, "circuit edge"]):
        self.parts, self.prepared = setting.parts, prepared
        self.graph = setting.parts.graph
        ablated = prepared.ablated
        self.weights = masks.to(ablated)
        self.rows = ablated.shape[1]
        #: Each node's output in this run less its ablated one, [circuit, source, row, position, d].
        self.change = ablated.new_zeros(len(masks), *ablated.shape)
        #: Sum of the first so many ablated outputs, by how many a destination reads.
        self.base = _base(setting, prepared)
        self.layer = 0

    def begin(self, layer: int, change: Float[Tensor, "source row position d"]) -> None:
        """Start at a block; all nodes below do what they do in another run."""
        self.layer, count = layer, 1 + layer * (self.graph.n_heads + 1)
        self.change[:, :count] = change[:count]

    def finish(self) -> Float[Tensor, "circuit row position d"]:
        """Run all blocks from the start on; the residual stream after the last."""
        if self.layer == 0:
            self.change[:, 0] = self.prepared.nodes.outputs[0] - self.prepared.ablated[0]
        for layer in range(self.layer, self.graph.n_layers):
            self.block(layer)
        last = self.inputs(len(self.graph.destinations) - 1, 1, self.graph.n_layers)
        return last[0].unflatten(0, (len(self.weights), -1))

    def inputs(
        self, destination: int, count: int, below: int, middle: bool = False
    ) -> Float[Tensor, "destination copy position d"]:
        """What so many destinations of equal sources read, before their norm."""
        reads = self.graph.reads[destination]
        base = self.base[reads] + self.parts.constants[below + middle]
        start = self.graph.starts[destination]
        weights = self.weights[:, start : start + count * reads].unflatten(1, (count, reads))
        change = self.change[:, :reads]
        mixed = torch.bmm(weights, change.flatten(2)).unflatten(2, change.shape[2:])
        where = self.prepared.where
        if where is not None:
            whole = change.sum(1, keepdim=True)
            mixed = torch.where(where[..., None], mixed, whole)
        return (mixed + base).transpose(0, 1).flatten(1, 2)

    def block(self, layer: int) -> None:
        """Run one block's heads, then its MLP."""
        graph, parts = self.graph, self.parts
        slots = graph.n_heads + 2 * graph.n_groups
        first = layer * (slots + 1)
        normed = parts.norm(layer, "attn")(self.inputs(first, slots, layer))
        sizes = [parts.heads(slot) for slot in SLOTS]
        made = {
            slot: parts.project_each(layer, slot, own)
            for slot, own in zip(SLOTS, normed.split(sizes), strict=True)
        }
        read = parts.attend(layer, made, self.prepared.nodes.calls[layer], self.rows)
        node = 1 + layer * (graph.n_heads + 1)
        self.write(node, parts.written(layer, read))
        entering = self.inputs(first + slots, 1, layer, not graph.parallel)[0]
        self.write(node + graph.n_heads, parts.mlp(layer, parts.norm(layer, "mlp")(entering))[None])

    def write(self, node: int, outputs: Float[Tensor, "source copy position d"]) -> None:
        """Note what nodes wrote, from this one on."""
        own = outputs.unflatten(1, (-1, self.rows)).transpose(0, 1)
        stop = node + len(outputs)
        self.change[:, node:stop] = own - self.prepared.ablated[node:stop]


def _base(setting: Setting, prepared: Prepared) -> dict[int, Float[Tensor, "row position d"]]:
    """Sum of the first so many ablated outputs, for each number that some destination reads."""
    base, total, done = {}, torch.zeros_like(prepared.ablated[0]), 0
    for count in sorted(set(setting.parts.graph.reads)):
        total = total + prepared.ablated[done:count].sum(0)
        base[count], done = total, count
    return base
