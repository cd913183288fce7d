"""Edges patched the plain way: one forward each, on TransformerLens's own hooks for heads' inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from interp.contrasts import Contrast
from interp.models.model import Model


@contextmanager
def split_inputs(model: Model) -> Iterator[None]:
    """Each head reads an input of its own through each slot, and its output is seen by itself."""
    bridge: Any = model.bridge
    switches = (bridge.set_use_split_qkv_input, bridge.set_use_attn_result, bridge.set_use_hook_mlp_in)
    for switch in switches:
        switch(True)
    try:
        yield
    finally:
        for switch in switches:
            switch(False)


@torch.no_grad()
def outputs(model: Model, tokens: Tensor) -> dict[str, Tensor]:
    """What every node writes to the residual stream, by its name; inside of `split_inputs`."""
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda act, hook: seen.__setitem__(name, act.detach().clone())

    layers = range(model.n_layers)
    hooks = [("blocks.0.hook_resid_pre", keep("input"))]
    hooks += [(f"blocks.{i}.attn.hook_result", keep(f"a{i}")) for i in layers]
    hooks += [(f"blocks.{i}.hook_mlp_out", keep(f"m{i}")) for i in layers]
    with model.bridge.hooks(fwd_hooks=hooks):
        model.bridge(tokens, use_cache=False)
    found = {name: value for name, value in seen.items() if not name.startswith("a")}
    for i in layers:
        found |= of_heads(model, i, seen[f"a{i}"])
    return found


def of_heads(model: Model, layer: int, results: Tensor) -> dict[str, Tensor]:
    """What heads write, by name, given their outputs [row, position, head, d]."""
    block = model.bridge.blocks[layer]
    if hasattr(block, "ln1_post"):  # Gemma: x (1 + w) / sqrt(mean of squares + eps)
        norm = block.ln1_post.original_component
        size = (results.sum(2).square().mean(-1, keepdim=True) + norm.eps).rsqrt()
        results = results * (size * (1 + norm.weight))[:, :, None]
    return {f"a{layer}.h{h}": results[:, :, h] for h in range(results.shape[2])}


def entry(model: Model, destination: str) -> tuple[str, int | None]:
    """The hook through which a destination reads, and its head there."""
    if destination == "logits":
        return f"blocks.{model.n_layers - 1}.hook_resid_post", None
    if destination.startswith("m"):
        return f"blocks.{destination[1:]}.hook_mlp_in", None
    layer, rest = destination[1:].split(".")
    return f"blocks.{layer}.hook_{rest[-2]}_input", int(rest[1:-3])


@torch.no_grad()
def logits(model: Model, tokens: Tensor, edges: Sequence[str], change: dict[str, Tensor]) -> Tensor:
    """Last logits of a forward in which each edge carries less by its source's `change`."""
    hooks = []
    for edge in edges:
        source, destination = edge.split("->")
        name, head = entry(model, destination)

        def less(act: Tensor, hook: object, lost: Tensor = change[source], head=head) -> Tensor:
            act = act.clone()
            if head is None:
                return act - lost
            act[:, :, head] -= lost
            return act

        hooks.append((name, less))
    with model.bridge.hooks(fwd_hooks=hooks):
        return model.bridge(tokens, use_cache=False)[:, -1]


def difference(logits: Tensor, contrast: Contrast) -> Tensor:
    """logit(answer) - logit(foil)."""
    row = torch.arange(len(logits))
    return logits[row, contrast.answers] - logits[row, contrast.foils]


def scores(model: Model, contrast: Contrast, edges: Sequence[str]) -> Tensor:
    """Difference of logits of the clean run less that with one edge corrupted, [edge, example].

    Prompts of one length, unpadded.
    """
    clean, corrupted = contrast.clean.tokens, contrast.corrupted.tokens
    with split_inputs(model):
        own, other = outputs(model, clean), outputs(model, corrupted)
        change = {name: own[name] - other[name] for name in own}
        whole = difference(logits(model, clean, [], change), contrast)
        parts = [difference(logits(model, clean, [edge], change), contrast) for edge in edges]
    return whole - torch.stack(parts)


@torch.no_grad()
def circuit_logits(
    model: Model, tokens: Tensor, inside: set[str], graph: Any, ablated: dict[str, Tensor]
) -> Tensor:
    """Last logits of a forward in which every edge that is not inside carries the ablated output."""
    seen: dict[str, Tensor] = {}
    hooks: list[tuple[str, Any]] = []

    def note(name: str):
        return lambda act, hook: seen.__setitem__(name, act.clone())

    def note_heads(layer: int):
        return lambda act, hook: seen.update(of_heads(model, layer, act.clone()))

    def replace(hook_name: str, destinations: list[tuple[str, int | None]]):
        def hook(act: Tensor, hook: object) -> Tensor:
            act = act.clone()
            for name, head in destinations:
                number = graph.destinations.index(name)
                for source in graph.sources[: graph.reads[number]]:
                    if f"{source}->{name}" in inside:
                        continue
                    lost = seen[source] - ablated[source]
                    if head is None:
                        act = act - lost
                    else:
                        act[:, :, head] -= lost
            return act

        return hook_name, hook

    hooks.append(("blocks.0.hook_resid_pre", note("input")))
    for i in range(model.n_layers):
        hooks.append((f"blocks.{i}.attn.hook_result", note_heads(i)))
        hooks.append((f"blocks.{i}.hook_mlp_out", note(f"m{i}")))
    by_hook: dict[str, list[tuple[str, int | None]]] = {}
    for name in graph.destinations:
        hook_name, head = entry(model, name)
        by_hook.setdefault(hook_name, []).append((name, head))
    hooks += [replace(name, destinations) for name, destinations in by_hook.items()]
    with model.bridge.hooks(fwd_hooks=hooks):
        return model.bridge(tokens, use_cache=False)[:, -1]


def gradients(model: Model, contrast: Contrast, embedding: Tensor, graph: Any) -> dict[str, Tensor]:
    """Gradient of the difference of logits at every destination's input, given what enters block 0."""
    kept: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(act: Tensor, hook: object) -> Tensor:
            act = act.clone()
            act.retain_grad()
            kept[name] = act
            return act

        return hook

    start = embedding.detach().clone().requires_grad_()
    hooks = [("blocks.0.hook_resid_pre", lambda act, hook: start + 0.0)]
    hooks += [(name, keep(name)) for name in {entry(model, d)[0] for d in graph.destinations}]
    with torch.enable_grad(), model.bridge.hooks(fwd_hooks=hooks):
        logits = model.bridge(contrast.clean.tokens, use_cache=False)[:, -1]
        difference(logits, contrast).sum().backward()
    found = {}
    for name in graph.destinations:
        hook_name, head = entry(model, name)
        slope = kept[hook_name].grad
        assert slope is not None
        found[name] = slope if head is None else slope[:, :, head]
    return found


def first_order(
    model: Model, contrast: Contrast, graph: Any, weights: Sequence[float] = (1.0,)
) -> Tensor:
    """(clean - corrupted) · gradient, averaged over inputs so far from corrupted (0) to clean (1)."""
    with split_inputs(model):
        own = outputs(model, contrast.clean.tokens)
        other = outputs(model, contrast.corrupted.tokens)
        points = [other["input"] + a * (own["input"] - other["input"]) for a in weights]
        slopes = [gradients(model, contrast, point, graph) for point in points]
    scores = []
    for name in graph.names:
        source, destination = name.split("->")
        slope = torch.stack([s[destination] for s in slopes]).mean(0)
        scores.append(((own[source] - other[source]) * slope).sum((1, 2)))
    return torch.stack(scores)
