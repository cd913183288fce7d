"""Where a model's parts live: all on one device, or its blocks on several.

Tokens, logits, and every activation that is read, kept or written by an edit are on the *home* device,
that of the embedding. The residual stream alone travels: to a block's device as the block is
entered, and home where something is read from it or written into it. On one device nothing is
attached and nothing moves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import Any

import torch
from torch import nn

from interp.models.block_calls import each

#: A device map as accelerate and transformers write it: name of a module -> device.
DeviceMap = Mapping[str, int | str | torch.device]


@dataclass(frozen=True)
class Placement:
    """The devices of a model's parts.

    Attributes:
        home: where the embedding is, and with it tokens, logits and what is read.
        blocks: of each block.
        top: where the unembedding is.
    """

    home: torch.device
    blocks: tuple[torch.device, ...]
    top: torch.device

    @classmethod
    def of(cls, bridge: Any) -> Placement:
        """Read it off the parameters.

        Raises:
            ValueError: if one block lies on several devices, or a parameter on none.
        """
        every = {parameter.device.type for parameter in bridge.original_model.parameters()}
        if "meta" in every:
            raise ValueError(
                "some weights are on no device (offloaded); expected each part on a device it runs on; "
                "give a device map without 'disk', or device='auto'"
            )
        blocks = []
        for number, block in enumerate(bridge.blocks):
            devices = sorted({str(parameter.device) for parameter in block.parameters()})
            if len(devices) != 1:
                raise ValueError(
                    f"block {number} lies on {' and '.join(devices)}; expected every block whole on "
                    "one device; name blocks in the device map, not what is inside them"
                )
            blocks.append(torch.device(devices[0]))
        home = next(bridge.original_model.parameters()).device
        return cls(home, tuple(blocks), bridge.unembed.W_U.device)

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Every device, once, the home first."""
        return tuple(dict.fromkeys((self.home, *self.blocks, self.top)))

    @property
    def kinds(self) -> str | tuple[str, ...]:
        """The kind of device of every part, on which numbers depend; one where all are alike."""
        kinds = tuple(device.type for device in (self.home, *self.blocks, self.top))
        return kinds[0] if len(set(kinds)) == 1 else kinds

    def __str__(self) -> str:
        """The device, or what lies where."""
        if len(self.devices) == 1:
            return str(self.home)
        runs = []
        for device, run in groupby(enumerate(self.blocks), key=lambda pair: pair[1]):
            numbers = [number for number, _ in run]
            span = f"block {numbers[0]}" if len(numbers) == 1 else f"blocks {numbers[0]}-{numbers[-1]}"
            runs.append(f"{span} on {device}")
        return f"{', '.join(runs)}; tokens on {self.home}, unembedding on {self.top}"


#: What a device may be given as.
Device = str | torch.device | DeviceMap | Placement


def placed(model: nn.Module, device: Device) -> nn.Module:
    """A transformers model that was read on the CPU, put where it is asked for.

    Every weight goes straight to its own device; a matrix that is tied to another goes with the first.

    Args:
        model: on the CPU, not wrapped.
        device: one device, "auto", a device map, or where another model is.

    Raises:
        ValueError: for a map that leaves parts out or names what is not there, or devices that torch
            does not find or that are too small.
    """
    if isinstance(device, str) and device == "auto":
        device = spread(model, free_bytes())
    if isinstance(device, Placement):
        device = device.home if len(device.devices) == 1 else _map(model, device)
    if not isinstance(device, Mapping):
        return model.to(found(device))
    places = _checked(model, device)
    moved: set[int] = set()
    for name, module in model.named_modules():
        for own, tensor in chain(module._parameters.items(), module._buffers.items()):
            if tensor is not None and id(tensor) not in moved:
                tensor.data = tensor.data.to(_of_name(f"{name}.{own}", places))
                moved.add(id(tensor))
    return model


def check_devices(device: Device) -> None:
    """Refuse devices that torch does not find here, before anything is read.

    Raises:
        ValueError: naming the first.
    """
    if isinstance(device, Placement) or (isinstance(device, str) and device == "auto"):
        return
    for one in device.values() if isinstance(device, Mapping) else (device,):
        found(one)


def free_bytes() -> dict[torch.device, int]:
    """The GPUs that torch sees with their free memory, or the one device there is."""
    if torch.cuda.is_available():
        numbers = range(torch.cuda.device_count())
        return {torch.device("cuda", i): torch.cuda.mem_get_info(i)[0] for i in numbers}
    return {torch.device("mps" if torch.backends.mps.is_available() else "cpu"): 0}


def spread(model: nn.Module, free: Mapping[torch.device, int]) -> Placement:
    """The blocks dealt out in order, to each device in proportion to its free memory.

    What comes before the blocks is on the first device; the unembedding is on the last that has
    blocks, or with the embedding where the two are one matrix.

    Args:
        model: a transformers causal language model.
        free: bytes of each device.

    Raises:
        ValueError: if the weights are larger than all of them together.
    """
    devices, blocks, head = list(free), _blocks(model), _head(model)
    if len(devices) == 1:
        return Placement(devices[0], (devices[0],) * len(blocks), devices[0])
    sizes, whole, room = [_bytes(block) for block in blocks], _bytes(model), sum(free.values())
    if whole > room:
        raise ValueError(
            f"device='auto' has {room / 2**30:.1f} GiB free on {len(devices)} devices; expected "
            f"{whole / 2**30:.1f} GiB and room for activations; use dtype='bfloat16' or more devices"
        )
    edges = list(accumulate(free.values()))
    before = whole - sum(sizes) - (0 if head is None else _bytes(head))
    middles = (
        (before + end - size / 2) * room / whole
        for end, size in zip(accumulate(sizes), sizes, strict=True)
    )
    places = tuple(devices[min(bisect_left(edges, middle), len(edges) - 1)] for middle in middles)
    return Placement(devices[0], places, devices[0] if head is None else places[-1])


def route(bridge: Any) -> Placement:
    """Have every part of a wrapped model take its inputs on its own device, where there are several.

    Raises:
        ValueError: as `Placement.of`.
    """
    placement = Placement.of(bridge)
    if len(placement.devices) == 1:
        return placement
    blocks = {id(block) for block in bridge.blocks}
    for module, device in _parts(bridge.original_model, blocks):
        module.register_forward_pre_hook(_bring(device), with_kwargs=True)
    bridge.unembed.register_forward_hook(lambda module, args, output: output.to(placement.home))
    return placement


def _bring(device: torch.device) -> Any:
    """A hook that brings what a module is called with to its device."""

    def bring(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        here = {name: each(value, lambda tensor: tensor.to(device)) for name, value in kwargs.items()}
        return each(args, lambda tensor: tensor.to(device)), here

    return bring


def _parts(module: nn.Module, blocks: set[int]) -> Iterator[tuple[nn.Module, torch.device]]:
    """The largest modules that lie on one device, each block as one, with their devices."""
    for child in module.children():
        devices = {tensor.device for tensor in chain(child.parameters(), child.buffers())}
        if id(child) in blocks:
            yield child, next(child.parameters()).device
        elif len(devices) == 1 and not any(id(inner) in blocks for inner in child.modules()):
            yield child, devices.pop()
        elif devices:
            yield from _parts(child, blocks)


def _map(model: nn.Module, placement: Placement) -> dict[str, torch.device]:
    """The device map of a model that is not wrapped, by which it is placed like another."""
    names = {id(module): name for name, module in model.named_modules()}
    blocks, head = _blocks(model), _head(model)
    places = {"": placement.home}
    parent = model.get_submodule(names[id(blocks)].rpartition(".")[0])
    siblings = list(parent.children())
    behind = [child for child in siblings[siblings.index(blocks) + 1 :] if _bytes(child)]
    places |= {names[id(child)]: placement.blocks[-1] for child in behind}  # the final norm
    places |= {} if head is None else {names[id(head)]: placement.top}
    return places | {names[id(b)]: d for b, d in zip(blocks, placement.blocks, strict=False)}


def _blocks(model: nn.Module) -> nn.ModuleList:
    """A model's stack of blocks: the list of modules with the most weights."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(
            f"{type(model).__name__} has no list of blocks to spread; give a device map, or one device"
        )
    return max(lists, key=_bytes)


def _head(model: Any) -> nn.Module | None:
    """The unembedding, where it has a matrix of its own."""
    head = model.get_output_embeddings()
    return None if head is None or head.weight is model.get_input_embeddings().weight else head


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _checked(model: nn.Module, given: DeviceMap) -> dict[str, torch.device]:
    """A device map whose names and devices are there, and which leaves no parameter out."""
    modules = {name for name, _ in model.named_modules()}
    unknown = sorted(name for name in given if name not in modules)
    if unknown:
        expected = [name for name in sorted(modules) if name.count(".") <= 2 and name][:4]
        raise ValueError(
            f"device names {unknown[0]!r}, which {type(model).__name__} has not got; expected names of "
            f"its modules such as {', '.join(expected)}"
        )
    places = {name: found(device) for name, device in given.items()}
    left = [name for name, _ in model.named_parameters() if _of_name(name, places, None) is None]
    if left:
        raise ValueError(
            f"device leaves out {len(left)} weights, such as {left[0]}; expected a device for every "
            "part; name the part, or add '' for all others"
        )
    first = next(name for name, _ in model.named_parameters())
    # Tables that hold no weights, such as those of rotary positions, are kept with the embedding.
    return {"": _of_name(first, places), **places}


def _of_name(name: str, places: Mapping[str, torch.device], *default: Any) -> Any:
    """The device of the longest part of a name that the map has."""
    while name not in places:
        if not name:
            return default[0]
        name = name.rpartition(".")[0]
    return places[name]


def found(device: int | str | torch.device) -> torch.device:
    """A device that torch finds here."""
    given = f"cuda:{device}" if isinstance(device, int) else device
    try:
        torch.empty(0, device=given)
        return torch.device(given)
    except (
        RuntimeError,
        AssertionError,
        ImportError,
        TypeError,
    ) as error:  # by device
        raise ValueError(
            f"device must be one that torch finds here, got {device!r} "
            f"({str(error).splitlines()[0][:80]}); use cpu"
        ) from error
