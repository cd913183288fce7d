"""Sets of parameters as values: which weights of one model stand in the other's place.

A set names parameters of *both* models of a pair at once; resolving it gives a `Selection`, and
`grafted` runs a model with the donor's values in the selection. The wrapper runs fused projections
(GPT-2, NeoX, Phi-3) from split copies made at loading: the copies are what a set counts and what a
graft changes; the fused original, which no forward reads, is carried along with whole modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from interp._doors import held
from interp.display.html import Shown
from interp.models.model import Model
from interp.models.pair import ModelPair

Part = Literal["embedding", "attention", "mlp", "unembedding"]

#: Per slot (by index): True where an entry is in the set, or None for the whole tensor.
Selection = Mapping[int, Bool[Tensor, "..."] | None]


@dataclass(frozen=True, eq=False)
class Slot:
    """One parameter's place in a model and the modules that hold it in either model.

    Attributes:
        name: as the checkpoint names it; split copies bear the fused name (`c_attn.weight`).
        path: as the wrapper names it (`attn.q.weight`); equal to `name` where nothing was split.
        layer: the block, or None at the ends.
        part: a block's attention with the norms around it, its MLP with the rest of the block, the
            embedding (token, position), or the unembedding with the final norm.
        live: False for a fused original that no forward reads.
        attribute: name of the parameter in its module.
        base_module: the base's module that holds it.
        tuned_module: the tuned model's.
    """

    name: str
    path: str
    layer: int | None
    part: Part
    live: bool
    attribute: str
    base_module: nn.Module
    tuned_module: nn.Module

    def value(self, role: str) -> Tensor:
        """The parameter of "base" or "tuned"."""
        return self.module(role)._parameters[self.attribute]  # pyright: ignore[reportReturnType]

    def module(self, role: str) -> nn.Module:
        """The module of "base" or "tuned" that holds it."""
        return self.base_module if role == "base" else self.tuned_module

    @property
    def entries(self) -> int:
        """Number of weights, 0 for a copy that is not read."""
        return self.value("base").numel() if self.live else 0


@held
@dataclass(frozen=True, eq=False, repr=False)
class Parameters(Shown):
    """The parameters of a pair, slot by slot.

    Attributes:
        pair: base and tuned.

    Raises:
        ValueError: if the models hold different parameters, or on different devices.
    """

    pair: ModelPair

    def __post_init__(self) -> None:
        """Refuse models whose parameters cannot stand in for each other."""
        base, tuned = self.pair.base, self.pair.tuned
        if base.placement != tuned.placement:
            raise ValueError(
                f"a graft needs both models on the same devices; got base {base.placement}, tuned "
                f"{tuned.placement}; load both with the same device"
            )
        assert self.slots

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every parameter of both models, in the order of the base's modules."""
        places = _places(self.pair.base)
        theirs = {path: module for path, module, *_ in _places(self.pair.tuned)}
        slots = []
        for path, module, name, layer, part, live in places:
            for attribute, value in module._parameters.items():
                if value is None:
                    continue
                other = theirs[path]._parameters.get(attribute) if path in theirs else None
                if other is None or (layer is not None and other.shape != value.shape):
                    raise ValueError(
                        f"{path}.{attribute} of shape {tuple(value.shape)} has "
                        f"{None if other is None else tuple(other.shape)} in the tuned model; a graft "
                        "needs the same parameters in both; give a model tuned from this base"
                    )
                names = (f"{name}.{attribute}", f"{path}.{attribute}")
                slots.append(Slot(*names, layer, part, live, attribute, module, theirs[path]))
        return tuple(slots)

    @cached_property
    def tied(self) -> frozenset[int]:
        """Slots of the embedding and unembedding matrices where either model ties them."""
        tied: set[int] = set()
        for role in ("base", "tuned"):
            first: dict[int, int] = {}
            for i, slot in enumerate(self.slots):
                if slot.layer is None:
                    twin = first.setdefault(slot.value(role).data_ptr(), i)
                    tied |= {i, twin} if twin != i else set()
        return frozenset(tied)

    def where(self, keep: Callable[[Slot], bool]) -> dict[int, Tensor | None]:
        """Whole tensors of the slots that are kept."""
        return {i: None for i, slot in enumerate(self.slots) if keep(slot)}

    def of_blocks(self) -> list[int]:
        """Slots that a forward reads inside blocks: what shares and random draws range over."""
        return [i for i, slot in enumerate(self.slots) if slot.layer is not None and slot.live]

    def size(self, selection: Selection) -> int:
        """Number of weights in a selection."""
        return sum(
            self.slots[i].entries if mask is None else int(mask.sum()) for i, mask in selection.items()
        )

    def differ(self, selection: Selection) -> bool:
        """Whether any weight of the selection differs, bit by bit, between the models."""
        for i, mask in selection.items():
            ours, theirs = self.slots[i].value("base"), self.slots[i].value("tuned")
            if ours.shape != theirs.shape:
                return True
            apart = ours != theirs
            if bool(apart.any() if mask is None else (apart & mask).any()):
                return True
        return False

    def check(self, selection: Selection, label: str) -> None:
        """Refuse an empty selection, and one that would write through a tie.

        Raises:
            ValueError: naming the set.
        """
        if not selection:
            raise ValueError(f"the set {label!r} holds no parameter; expected at least one; widen it")
        if self.tied & selection.keys() and not self.tied <= selection.keys():
            raise ValueError(
                f"the set {label!r} holds one of two tied matrices: grafting the unembedding would "
                f"overwrite the embedding in {self.pair.base.name}; got one, expected both or neither; "
                "graft Ends('embedding') and Ends('unembedding') jointly, or use patching.stitch"
            )

    @contextmanager
    def grafted(self, recipient: str, selection: Selection) -> Iterator[Model]:
        """The recipient ("base" or "tuned") with the other's values in the selection.

        Parameters are exchanged as objects, so nothing is written to and the models are
        bit-identical on leaving, however it is left; whole tensors are shared, not copied. Use the
        model that is given: the recipient itself holds values derived from its own weights.

        Raises:
            ValueError: for an empty selection, or one that writes through a tie.
        """
        self.check(selection, "given")
        donor = "tuned" if recipient == "base" else "base"
        swaps: list[tuple[nn.Module, str, Tensor, Tensor]] = []
        for i, mask in selection.items():
            slot = self.slots[i]
            before, after = slot.value(recipient), slot.value(donor)
            if mask is not None:
                mixed = torch.where(mask.to(before.device), after, before)
                after = nn.Parameter(mixed, requires_grad=False)
            swaps.append((slot.module(recipient), slot.attribute, before, after))
        model = self.pair.base if recipient == "base" else self.pair.tuned
        # A new Model: what is derived from weights (the unembedding, the fingerprint) is not kept.
        hybrid = replace(model, name=f"{model.name} with a graft")
        try:
            for module, attribute, _, after in swaps:
                module._parameters[attribute] = after  # pyright: ignore[reportArgumentType]
            yield hybrid
        finally:
            for module, attribute, before, _ in swaps:
                module._parameters[attribute] = before  # pyright: ignore[reportArgumentType]

    @contextmanager
    def scaled(self, scale: float) -> Iterator[Model]:
        """The base with θ_B + scale · (θ_T − θ_B): at 0 the base, at 1 the tuned model, bit by bit.

        Parameters are exchanged as objects and put back on leaving, as in `grafted`.

        Args:
            scale: how much of the change is added; below 0 it is taken further away.
        """
        swaps: list[tuple[nn.Module, str, Tensor]] = []
        made: dict[int, nn.Parameter] = {}
        for slot in self.slots:
            before, other = slot.value("base"), slot.value("tuned")
            if other.shape != before.shape or torch.equal(before, other):
                continue
            key = before.data_ptr()
            if key not in made:  # tied matrices stay one
                mixed = other if scale == 1 else before + scale * (other - before)
                made[key] = nn.Parameter(mixed.detach(), requires_grad=False)
            swaps.append((slot.module("base"), slot.attribute, before))
            slot.module("base")._parameters[slot.attribute] = made[key]
        try:
            yield replace(self.pair.base, name=f"{self.pair.base.name} with {scale:g} of the change")
        finally:
            for module, attribute, before in swaps:
                module._parameters[attribute] = before  # pyright: ignore[reportArgumentType]


def _places(model: Model) -> list[tuple[str, nn.Module, str, int | None, Part, bool]]:
    """(path, module, checkpoint path, layer, part, read by a forward) of modules with parameters."""
    bridge = model.bridge
    layer_of: dict[int, int] = {}
    part_of: dict[int, Part] = {}
    fused: set[int] = set()
    renamed: dict[int, str] = {}
    for layer, block in enumerate(bridge.blocks):
        for module in block.modules():
            layer_of[id(module)], part_of[id(module)] = layer, "mlp"
        for name in ("ln1", "attn", "ln1_post"):
            for module in getattr(block, name).modules() if hasattr(block, name) else ():
                part_of[id(module)] = "attention"
        for owner, splits in ((getattr(block, "attn", None), "qkv"), (getattr(block, "mlp", None), "")):
            for split, whole in _splits(owner, splits):
                fused.add(id(whole[1]))
                renamed[id(split)] = renamed[id(whole[1])] = whole[0]
        output = getattr(getattr(block, "attn", None), "o", None)
        if output is not None:
            renamed[id(output.original_component)] = output.name
    for name in ("ln_final", "unembed"):
        for module in getattr(bridge, name).modules() if hasattr(bridge, name) else ():
            part_of[id(module)] = "unembedding"
    places = []
    for raw, module in bridge.original_model.named_modules():
        if any(p is not None for p in module._parameters.values()):
            path = re.sub(r"\._original_component|_original_component\.", "", raw)
            head, _, leaf = path.rpartition(".")
            name = f"{head}.{renamed[id(module)]}" if id(module) in renamed else path
            part: Part = part_of.get(id(module), "embedding")
            live = id(module) not in fused
            places.append((path, module, name, layer_of.get(id(module)), part, live))
    return places


def _splits(owner: nn.Module | None, kind: str) -> list[tuple[nn.Module, tuple[str, nn.Module]]]:
    """Split copies of a fused projection, each with the fused original's name and module."""
    if owner is None:
        return []
    names = ("q", "k", "v") if kind == "qkv" else ("gate", "in")
    parts = [owner._modules.get(name) for name in names]
    if any(part is None for part in parts):
        return []
    modules = [part.original_component for part in parts]  # pyright: ignore
    if kind == "qkv":
        joint = owner._modules.get("qkv")
        if joint is None:
            return []
        whole = (joint.name, joint.original_component)  # pyright: ignore
        return [(module, whole) for module in modules]  # pyright: ignore
    # Phi-3: the fused module is a plain child, as tall as gate and up together.
    rows = sum(len(module.weight) for module in modules)  # pyright: ignore
    for name, child in owner.original_component.named_children():  # pyright: ignore
        weight = getattr(child, "weight", None)
        if isinstance(child, nn.Linear) and weight is not None and len(weight) == rows:
            return [(module, (name, child)) for module in modules]  # pyright: ignore
    return []
