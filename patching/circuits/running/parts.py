"""A model taken apart: what each node writes to the residual stream, and its parts called one by one.

What a head writes is its output through its own rows of the output projection; biases belong to no
node, since they are the same in every run. Where a norm stands behind attention, it divides the sum of
the heads by one number per token: a head writes its own share of the sum, divided by that number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.models.block_calls import one_row, repeated
from interp.models.loading import PARITY
from interp.models.model import Model
from interp.sites import Kind, Site, every_layer
from patching.circuits.graph import SLOTS, Graph

#: Kinds of the slots, by name.
KINDS = {"q": Kind.Q, "k": Kind.K, "v": Kind.V}


@dataclass(frozen=True, eq=False)
class Nodes:
    """What every node wrote in one run of prompts of one length.

    Attributes:
        outputs: what each source wrote, in the graph's order.
        inputs: the residual stream that enters each block, and at L what leaves the last.
        middles: what each block's MLP reads, before its norm.
        calls: the arguments of each block's attention beside its input, by name.
    """

    outputs: Float[Tensor, "source row position d"]
    inputs: list[Float[Tensor, "row position d"]]
    middles: list[Float[Tensor, "row position d"]]
    calls: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a model's blocks, to be run one by one.

    Attributes:
        model: the model.
        graph: its graph.

    Raises:
        ValueError: if the model's MLPs or projections cannot be called alone.
    """

    model: Model
    graph: Graph

    def __post_init__(self) -> None:
        """Refuse a model that cannot be taken apart."""
        block = self.model.bridge.blocks[0]
        lacks = [name for name in ("attn", "mlp") if not hasattr(block, name)]
        lacks += [
            f"attn.{slot}" for slot in (*SLOTS, "o") if not lacks and not hasattr(block.attn, slot)
        ]
        if lacks or len(self.model.placement.devices) > 1:
            why = f"a block has no {', '.join(lacks)}" if lacks else "it lies on several devices"
            raise ValueError(
                f"{self.model.name} cannot be taken apart into heads and MLPs: {why}; expected blocks "
                "with attention and one MLP, on one device; patch sites instead"
            )

    @classmethod
    def of(cls, model: Model) -> Parts:
        """The parts of a model."""
        return cls(model, Graph.of(model))

    def norm(self, layer: int, part: str) -> Callable[[Tensor], Tensor]:
        """What stands between the residual stream and a block's "attn" or "mlp"."""
        block = self.model.bridge.blocks[layer]
        if part == "attn":
            norm = getattr(block, "ln1", None)
        elif getattr(block, "mlp_reads_resid_directly", False):
            norm = None
        else:
            norm = getattr(block, "ln2", None) or getattr(block, "ln1", None)
        return nn.Identity() if norm is None else norm.original_component

    @cached_property
    def _weights(self) -> list[dict[str, tuple[Tensor, Tensor | None]]]:
        """Each block's projections by head: weight [head, width, d] and bias [head, width]."""
        found = []
        for layer in range(self.graph.n_layers):
            attention = self.model.bridge.blocks[layer].attn
            found.append({slot: by_head(getattr(attention, slot), self.heads(slot)) for slot in SLOTS})
        return found

    def heads(self, slot: str) -> int:
        """How many heads a slot has in a block: of keys and values the groups."""
        return self.graph.n_heads if slot == "q" else self.graph.n_groups

    def project(
        self, layer: int, slot: str, normed: Float[Tensor, "*row d"]
    ) -> Float[Tensor, "*row head width"]:
        """Queries, keys or values of every head, from one normed input for all."""
        weight, bias = self._weights[layer][slot]
        made = nn.functional.linear(normed, weight.flatten(0, 1)).unflatten(-1, weight.shape[:2])
        return made if bias is None else made + bias

    def project_each(
        self, layer: int, slot: str, normed: Float[Tensor, "head *row d"]
    ) -> Float[Tensor, "*row head width"]:
        """Queries, keys or values of every head, each from a normed input of its own."""
        weight, bias = self._weights[layer][slot]
        made = torch.einsum("h...d,hwd->...hw", normed, weight)
        return made if bias is None else made + bias

    def attend(
        self,
        layer: int,
        slots: dict[str, Float[Tensor, "row position head width"]],
        call: dict[str, Any],
        rows: int,
    ) -> Float[Tensor, "row position head width"]:
        """What every head reads, before the output projection, by the model's own attention.

        Args:
            layer: the block.
            slots: queries, keys and values of several copies of the rows, copy after copy.
            call: the other arguments, as `Nodes.calls` holds them.
            rows: rows of the call.
        """
        queries = slots["q"]
        read: list[Tensor] = []
        hooks: list[tuple[str, Any]] = [
            (Site(KINDS[slot], layer).hook_name, lambda act, hook, value=value: value.to(act))
            for slot, value in slots.items()
        ]
        hooks.append((Site(Kind.Z, layer).hook_name, lambda act, hook: read.append(act)))
        copies = len(queries) // rows
        arguments = {name: repeated(name, value, rows, copies) for name, value in call.items()}
        with self.model.bridge.hooks(fwd_hooks=hooks):
            # What enters is not read: its projections are replaced.
            nothing = queries.new_zeros(*queries.shape[:2], self.model.d_model)
            self.model.bridge.blocks[layer].attn(nothing, **arguments)
        return read[0]

    @cached_property
    def _rows(self) -> list[Float[Tensor, "head width d"]]:
        """Each block's rows of the output projection, by head."""
        found = []
        for block in self.model.bridge.blocks:
            weight = matrix(block.attn.o.original_component)
            found.append(weight.T.unflatten(0, (self.graph.n_heads, -1)))
        return found

    def written(
        self, layer: int, read: Float[Tensor, "*row head width"]
    ) -> Float[Tensor, "head *row d"]:
        """What every head writes to the residual stream, given what it reads."""
        parts = torch.einsum("...hw,hwd->h...d", read, self._rows[layer])
        post = getattr(self.model.bridge.blocks[layer], "ln1_post", None)
        if post is None:
            return parts
        total = parts.sum(0)
        return parts * norm_factor(post.original_component, total)

    def mlp(
        self, layer: int, normed: Float[Tensor, "row position d"]
    ) -> Float[Tensor, "row position d"]:
        """What an MLP writes to the residual stream, given its normed input."""
        block = self.model.bridge.blocks[layer]
        made = block.mlp(normed)
        made = made[0] if isinstance(made, tuple) else made
        post = getattr(block, "ln2_post", None)
        return made if post is None else post.original_component(made)

    @cached_property
    def constants(self) -> Float[Tensor, "boundary d"]:
        """What no node writes, below each boundary 0..L: the biases of the output projections."""
        steps = [torch.zeros(self.model.d_model, dtype=self.model.dtype, device=self.model.device)]
        for block in self.model.bridge.blocks:
            bias = getattr(block.attn.o.original_component, "bias", None)
            steps.append(steps[0] if bias is None else bias)
        return torch.stack(steps).cumsum(0)

    @torch.no_grad()
    def record(self, tokens: Int[Tensor, "row position"]) -> Nodes:
        """Run prompts of one length, unedited, and note what every node wrote.

        Raises:
            ValueError: if the nodes do not add up to the residual stream.
        """
        layers, bridge = range(self.graph.n_layers), self.model.bridge
        last = Site(Kind.RESID_POST, layers[-1])
        kinds = (Kind.RESID_PRE, Kind.Z, Kind.ATTN_OUT, Kind.MLP_OUT)
        sites = [*(site for kind in kinds for site in every_layer(kind, len(layers))), last]
        seen: dict[Site, Tensor] = {}
        calls: list[dict[str, Any]] = []

        def note(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            arguments = {n: v for n, v in kwargs.items() if n not in _INPUTS and n not in _CACHES}
            calls.append(one_row(arguments, len(tokens)))

        hooks = [
            (site.hook_name, lambda act, hook, site=site: _keep(seen, site, act)) for site in sites
        ]
        handles = [b.attn.register_forward_pre_hook(note, with_kwargs=True) for b in bridge.blocks]
        try:
            with bridge.hooks(fwd_hooks=hooks):
                bridge(tokens, use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        inputs = [seen[site] for site in every_layer(Kind.RESID_PRE, len(layers))] + [seen[last]]
        parts, middles = [inputs[0][None]], []
        for layer in layers:
            parts += [
                self.written(layer, seen[Site(Kind.Z, layer)]),
                seen[Site(Kind.MLP_OUT, layer)][None],
            ]
            attended = 0.0 if self.graph.parallel else seen[Site(Kind.ATTN_OUT, layer)]
            middles.append(inputs[layer] + attended)
        nodes = Nodes(torch.cat(parts), inputs, middles, calls)
        self._check(nodes)
        return nodes

    @torch.no_grad()
    def on_inputs(
        self, nodes: Nodes, tokens: Int[Tensor, "row position"]
    ) -> Float[Tensor, "source row position d"]:
        """What this model's nodes write on what the nodes of another model's run read.

        Args:
            nodes: the other run.
            tokens: its prompts.
        """
        parts, rows = [self.record(tokens).outputs[:1]], len(tokens)
        for layer in range(self.graph.n_layers):
            normed = self.norm(layer, "attn")(nodes.inputs[layer])
            made = {slot: self.project(layer, slot, normed) for slot in SLOTS}
            parts.append(self.written(layer, self.attend(layer, made, nodes.calls[layer], rows)))
            parts.append(self.mlp(layer, self.norm(layer, "mlp")(nodes.middles[layer]))[None])
        return torch.cat(parts)

    def _check(self, nodes: Nodes) -> None:
        """Refuse a model whose residual stream is anything but the sum of its nodes.

        Raises:
            ValueError: with how far they are apart.
        """
        expected = nodes.inputs[-1]
        gap = float((nodes.outputs.sum(0) + self.constants[-1] - expected).abs().max())
        scale = max(1.0, float(expected.abs().max()), float(nodes.outputs.abs().max()))
        if not gap <= PARITY.get(self.model.dtype, 0.05) * scale:
            raise ValueError(
                f"the heads and MLPs of {self.model.name} do not add up to its residual stream (off by "
                f"{gap:.2g} of {scale:.2g}); edges need a plain sum; patch sites instead"
            )
        try:
            again = self.mlp(0, self.norm(0, "mlp")(nodes.middles[0]))
            gap = float((again - nodes.outputs[1 + self.graph.n_heads]).abs().max())
        except Exception as error:
            raise ValueError(
                f"the MLP of {self.model.name} cannot be called alone ({type(error).__name__}); edges "
                "need one module; patch sites instead"
            ) from error
        if not gap <= PARITY.get(self.model.dtype, 0.05) * scale:
            raise ValueError(
                f"the MLP of {self.model.name} called alone gives something else (off by {gap:.2g}); "
                "edges need one module behind one norm; patch sites instead"
            )


#: What attention modules call the input that they project.
_INPUTS = ("hidden_states", "query_input")

#: Arguments that hold keys and values of earlier positions.
_CACHES = ("past_key_values", "past_key_value", "layer_past", "use_cache")


def _keep(seen: dict[Site, Tensor], site: Site, act: Tensor) -> None:
    seen[site] = act.detach().clone()


def matrix(module: Any) -> Float[Tensor, "out in"]:
    """A projection's weight; Linear holds [out, in], GPT-2's Conv1D [in, out]."""
    return module.weight if isinstance(module, nn.Linear) else module.weight.T


def by_head(projection: Any, heads: int) -> tuple[Tensor, Tensor | None]:
    """A projection's weight [head, width, d] and bias [head, width]."""
    module = projection.original_component
    bias = getattr(module, "bias", None)
    return matrix(module).unflatten(0, (heads, -1)), None if bias is None else bias.unflatten(
        0, (heads, -1)
    )


def norm_factor(
    norm: Callable[[Tensor], Tensor], total: Float[Tensor, "*row d"]
) -> Float[Tensor, "*row d"]:
    """What a norm that takes no mean multiplies each entry of this input by."""
    weight = norm(torch.ones_like(total[..., :1, :]))  # up to a constant
    weighted = total * weight
    size = weighted.square().sum(-1, keepdim=True).clamp_min(torch.finfo(total.dtype).tiny)
    return weight * ((norm(total) * weighted).sum(-1, keepdim=True) / size)
