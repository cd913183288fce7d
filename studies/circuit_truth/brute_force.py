"""What patching each edge alone does, by a plain forward pass that is run once for every edge.

Nothing here is shared with the engine of `patching`, so that the two can be held to each other. GPT-2
only: learned positions, a norm before every part, biases.

    effect(edge) = max over pairs and tokens |logits(clean, edge of the counterfactual) − logits(clean)|

read at the last token. An edge is true iff its effect is above `SMALLEST`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patching.circuits.graph import Graph

#: Change of a logit below which an edge does nothing; answers of compiled programs differ by 1.
SMALLEST = 1e-3


@dataclass
class PlainGPT2:
    """A GPT-2 as its weights say, sources kept apart.

    Attributes:
        model: the transformers model.
        graph: its nodes and edges.
    """

    model: Any
    graph: Graph

    @torch.no_grad()
    def run(
        self, tokens: Int[Tensor, "row position"], added: Mapping[str, Tensor] | None = None
    ) -> tuple[Float[Tensor, "row token"], list[Tensor]]:
        """Logits at the last token, and what every source wrote, in the graph's order.

        Args:
            tokens: prompts of one length.
            added: destination -> what is added to the residual stream as that destination reads it.
        """
        body, changes = self.model.transformer, added or {}
        positions = torch.arange(tokens.shape[1])
        sources = [body.wte(tokens) + body.wpe(positions)]
        stream = sources[0]
        for layer, block in enumerate(body.h):
            wrote = self._heads(block, stream, layer, changes)
            sources += wrote
            stream = stream + sum(wrote) + block.attn.c_proj.bias
            read = block.ln_2(stream + changes.get(f"m{layer}", 0.0))
            sources.append(block.mlp(read))
            stream = stream + sources[-1]
        stream = (stream + changes.get("logits", 0.0))[:, -1]
        return self.model.lm_head(body.ln_f(stream)), sources

    def _heads(
        self, block: Any, stream: Tensor, layer: int, changes: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """What each head of a layer writes."""
        attention, size = block.attn, block.attn.head_dim
        plain = attention.c_attn(block.ln_1(stream))
        hidden = torch.full((stream.shape[1],) * 2, -math.inf).triu(1)
        wrote = []
        for head in range(self.graph.n_heads):
            parts = []
            for slot, name in enumerate("qkv"):
                change = changes.get(f"a{layer}.h{head}<{name}>")
                whole = plain if change is None else attention.c_attn(block.ln_1(stream + change))
                parts.append(
                    whole.split(whole.shape[-1] // 3, -1)[slot][..., head * size : (head + 1) * size]
                )
            query, key, value = parts
            pattern = (query @ key.mT / math.sqrt(size) + hidden).softmax(-1)
            wrote.append(pattern @ value @ attention.c_proj.weight[head * size : (head + 1) * size])
        return wrote

    @torch.no_grad()
    def effects(
        self, clean: Int[Tensor, "pair position"], corrupted: Int[Tensor, "pair position"]
    ) -> Float[Tensor, " edge"]:
        """The largest change of a logit by each edge.

        Args:
            clean: prompts.
            corrupted: the counterfactual of each.
        """
        logits, before = self.run(clean)
        _, others = self.run(corrupted)
        names, found = self.graph.destinations, torch.zeros(self.graph.n_edges)
        for edge in range(self.graph.n_edges):
            source, into = int(self.graph.source[edge]), names[int(self.graph.destination[edge])]
            change = others[source] - before[source]
            if bool(change.abs().max() > 0):
                patched, _ = self.run(clean, {into: change})
                found[edge] = (patched - logits).abs().max()
        return found
