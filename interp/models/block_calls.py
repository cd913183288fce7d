"""How a model calls its blocks: arguments by name, and the same call made again for more rows.

A sweep records the unedited run's calls and calls the blocks again with more rows. That rests on a
block being a function of its hidden state and of arguments that can be repeated; `check` tries it on
a model before anything is swept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from einops import repeat
from jaxtyping import Int
from torch import Tensor

#: Arguments with one entry for each row, or for each head of each row, even where all rows agree.
_EVERY_ROW = ("alibi",)

#: Arguments whose first axis are heads, never rows.
_NO_ROW = ("position_bias",)


def named(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The hidden state that a block is called with, and its other arguments by name."""
    # The class's own signature: an instance's forward may be wrapped in one that takes anything.
    names = list(inspect.signature(type(block.original_component).forward).parameters)[1:]
    by_name = dict(zip(names, args, strict=False)) | kwargs
    return by_name.pop(names[0]), by_name


def parameters(block: Any) -> tuple[str, ...]:
    """Names of the arguments a block takes beside its hidden state."""
    return tuple(inspect.signature(type(block.original_component).forward).parameters)[2:]


def one_row(arguments: dict[str, Any], rows: int) -> dict[str, Any]:
    """The arguments of a call, kept once where every row's are equal.

    Without padding, masks and positions are the same in every row: they broadcast.
    """

    def shrink(name: str, value: Tensor) -> Tensor:
        if name in _NO_ROW:
            return value
        if name in _EVERY_ROW:
            return value[: len(value) // rows]
        return value[:1] if value.ndim > 1 and bool((value == value[:1]).all()) else value

    return {name: each(value, partial(shrink, name)) for name, value in arguments.items()}


def repeated(name: str, value: Any, rows: int, copies: int) -> Any:
    """One argument kept by `one_row`, for so many copies of the rows."""

    def grow(value: Tensor) -> Tensor:
        times = copies if value.ndim > 1 and value.shape[0] == rows > 1 else 1
        if name in _EVERY_ROW:
            times = copies * rows
        elif name in _NO_ROW:
            times = 1
        elif name == "attention_mask" and value.ndim == 4 and value.shape[0] == 1:
            # Some families compare its shape with their rows; expanding costs no memory.
            return value.expand(copies * rows, -1, -1, -1)
        return value if times == 1 else repeat(value, "row ... -> (copy row) ...", copy=times)

    return each(value, grow)


def of_part(name: str, value: Any, rows: int, part: slice) -> Any:
    """One argument kept by `one_row`, for a part of the rows."""

    def cut(value: Tensor) -> Tensor:
        per_row = value.ndim > 1 and value.shape[0] == rows > 1
        return value[part] if per_row and name not in (*_EVERY_ROW, *_NO_ROW) else value

    return each(value, cut)


def each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The argument with its tensors changed, one by one."""
    if isinstance(value, tuple | list):
        return tuple(each(v, change) for v in value)
    return change(value) if isinstance(value, Tensor) else value


@dataclass(eq=False)
class Entered:
    """What entered a block of a model, and how it and those above were called, in its latest forward.

    Attributes:
        layer: the block.
        hidden: the residual stream that entered it.
        calls: the other arguments of each block's call from it on, as far as the forward went.
    """

    layer: int
    hidden: Tensor | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def through(self, bridge: Any, stop: int) -> Tensor:
        """What the blocks of another model make of it, up to the one before `stop`."""
        assert self.hidden is not None
        hidden = self.hidden
        for layer, arguments in zip(range(self.layer, stop), self.calls, strict=False):
            hidden = first(bridge.blocks[layer](hidden, **arguments))
        return hidden


@contextmanager
def entering(bridge: Any, layer: int) -> Iterator[Entered]:
    """Note what enters a block in forwards inside the `with`, so that another model may go on from it.

    Args:
        bridge: the wrapped model.
        layer: the block.
    """
    noted = Entered(layer)

    def see(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, arguments = named(block, args, kwargs)
        if block is bridge.blocks[layer]:
            noted.hidden, noted.calls = hidden, []
        noted.calls.append(arguments)

    blocks = list(bridge.blocks)[layer:]
    handles = [block.register_forward_pre_hook(see, with_kwargs=True) for block in blocks]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def check(bridge: Any, tokens: Int[Tensor, "row position"], tolerance: float) -> float:
    """Run prompts, then call every block again for twice the rows, and compare.

    Args:
        bridge: the wrapped model.
        tokens: prompts of one length.
        tolerance: largest difference allowed, relative to the largest entry of the residual stream.

    Returns:
        The largest difference that was found, relative in the same way.

    Raises:
        ValueError: with the reason, if a block cannot be called again or gives something else.
    """
    inputs: list[Tensor] = []
    calls: list[dict[str, Any]] = []

    def record_call(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, arguments = named(block, args, kwargs)
        inputs.append(hidden)
        calls.append(one_row(arguments, len(hidden)))

    def record_output(block: Any, args: tuple[Any, ...], output: Any) -> None:
        inputs.append(first(output))

    handles = [b.register_forward_pre_hook(record_call, with_kwargs=True) for b in bridge.blocks]
    handles.append(bridge.blocks[-1].register_forward_hook(record_output))
    try:
        bridge(tokens, use_cache=False)
    except Exception as error:
        raise ValueError(f"its blocks' calls cannot be recorded: {error!r}") from error
    finally:
        for handle in handles:
            handle.remove()
    if len(inputs) != len(bridge.blocks) + 1:
        raise ValueError(f"{len(bridge.blocks)} blocks were entered {len(inputs) - 1} times")
    hidden, largest = inputs[0].repeat(2, 1, 1), 0.0
    for layer, (block, arguments) in enumerate(zip(bridge.blocks, calls, strict=True)):
        try:
            again = {name: repeated(name, v, len(tokens), 2) for name, v in arguments.items()}
            hidden = first(block(hidden, **again))
        except Exception as error:
            raise ValueError(f"block {layer} cannot be called again: {error!r}") from error
        expected = repeat(inputs[layer + 1], "row ... -> (copy row) ...", copy=2)
        hidden, scale = hidden.to(expected.device), max(1.0, expected.abs().max().item())
        same = hidden.shape == expected.shape
        gap = (hidden - expected).abs().max().item() / scale if same else float("nan")
        if not gap <= tolerance:
            raise ValueError(f"block {layer} gives something else when it is called again")
        largest = max(largest, gap)
    return largest


def first(output: Any) -> Tensor:
    """The hidden state that a block returns, alone or before other things."""
    return output[0] if isinstance(output, tuple) else output
