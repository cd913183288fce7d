"""One unedited run, kept so that edited copies of it can be run above it.

`Baseline` runs prompts once and keeps what enters each block, how the model calls its blocks, and
the keys and values each block made: all that a row needs of the positions it shares with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.examples import Examples
from interp.models.block_calls import each, first, named, of_part, one_row, parameters, repeated
from interp.models.editing import Window
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.interventions.cells import Edit

#: Where a run's input may be corrupted.
INPUTS = (Site(Kind.EMBED, 0), Site(Kind.RESID_PRE, 0))

#: Arguments of a block that run along positions, and the axis they run along.
POSITION_AXIS = {
    "attention_mask": -2,
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
}

#: Arguments of a block that hold keys and values of earlier positions.
CACHES = ("past_key_values", "layer_past")


@dataclass(frozen=True, eq=False)
class Baseline:
    """One batch's unedited run.

    Attributes:
        inputs: what enters block k, and at L what leaves the last one, [row, position, d] each, on the
            device of the block; so are `calls` and `past`. The rest is on the prompts' device.
        calls: the other arguments of each block's call, by name; what is equal for every row is
            kept once.
        past: keys and values of each block after any rotation, [row, head, position, d_head]; empty
            where the model's blocks cannot be given a prefix.
        columns: column of each position in the examples' padded tokens.
        tokens: the prompts without their padding.
        corruption: the edit of the input that every run suffers, this one and every copy of it.
    """

    inputs: list[Tensor]
    calls: list[dict[str, Any]]
    past: dict[int, tuple[Tensor, Tensor]]
    columns: Int[Tensor, "row position"]
    tokens: Int[Tensor, "row position"]
    corruption: Edit | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        examples: Examples,
        rows: Int[Tensor, " row"],
        corruption: Edit | None = None,
        *,
        keep: bool = True,
        shared: int = 0,
    ) -> Baseline:
        """Run the examples `rows`, all of one length, without their padding.

        Args:
            model: the model that runs.
            examples: the prompts.
            rows: which of them.
            corruption: an edit of the input that the run suffers.
            keep: whether keys and values are kept as prefixes; `engine.reuse` tells which models
                take them.
            shared: with how many tokens all of them begin, which then run once; only for a model that
                takes prefixes, and without a corruption.

        Raises:
            ValueError: for a corruption anywhere but at the input.
        """
        if corruption is not None and corruption.site not in INPUTS:
            raise ValueError(
                f"a corruption acts on the input, embed.0 or resid_pre.0; got {corruption.site}; "
                "put other edits into the cells"
            )
        if shared:
            one = cls.of(model, examples, rows[:1])
            return one._with_others(model, examples, rows, shared)
        columns = examples.columns(rows)
        tokens = examples.tokens[rows].gather(1, columns)
        return cls.of_tokens(model, tokens, columns, rows, corruption, keep=keep)

    @classmethod
    def of_tokens(
        cls,
        model: Model,
        tokens: Int[Tensor, "row position"],
        columns: Int[Tensor, "row position"],
        rows: Int[Tensor, " row"],
        corruption: Edit | None = None,
        *,
        keep: bool = True,
    ) -> Baseline:
        """Run prompts of one length that are given as tokens; else as `of`."""
        recorder = _Recorder(corruption, columns, rows, keep)
        blocks = model.bridge.blocks
        handles = [b.register_forward_pre_hook(recorder.enter, with_kwargs=True) for b in blocks]
        handles.append(blocks[-1].register_forward_hook(recorder.leave))
        early = corruption is not None and corruption.site.kind is Kind.EMBED
        hooks = [(INPUTS[0].hook_name, recorder.corrupt)] if early else []
        try:
            with model.bridge.hooks(fwd_hooks=hooks):
                model.bridge(tokens, use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        understood = all(
            name in (*POSITION_AXIS, *CACHES) or not _has_tensor(value)
            for call in recorder.calls
            for name, value in call.items()
        )
        past = recorder.cache.past
        past = past if understood and len(past) == len(blocks) else {}
        return cls(recorder.inputs, recorder.calls, past, columns, tokens, corruption)

    def _with_others(
        self, model: Model, examples: Examples, rows: Int[Tensor, " row"], shared: int
    ) -> Baseline:
        """This run of the first prompt, with those of others that begin alike."""
        columns = examples.columns(rows)
        tokens = examples.tokens[rows].gather(1, columns)
        hidden = embedded(model, tokens[1:])[:, shared:]
        inputs, past = [self._joined(0, hidden, shared)], {}
        for layer, (entering, whole) in enumerate(self.others(model, hidden, shared, 0), start=1):
            inputs.append(self._joined(layer, entering, shared))
            own = self.past[layer - 1]
            past[layer - 1] = tuple(torch.cat(part) for part in zip(own, whole, strict=True))
        return replace(self, inputs=inputs, past=past, columns=columns, tokens=tokens)

    def others(
        self, model: Model, hidden: Tensor, shared: int, first_layer: int, stop: int | None = None
    ) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
        """Run other prompts that begin as this one does, behind what they share.

        Args:
            model: whose run of the one prompt this is.
            hidden: what enters the first of the blocks, [row, position, d], from `shared` on.
            shared: with how many tokens all begin.
            first_layer: the first block that runs.
            stop: the first that does not; by default none is left.

        Yields:
            What leaves each block, and its keys and values at all positions.
        """
        for layer in range(first_layer, len(self.calls) if stop is None else stop):
            cache, arguments = _JoiningCache(self.past[layer], shared), {}
            for name, value in self.calls[layer].items():
                value = cache if name in CACHES else each(value, partial(from_position, name, shared))
                arguments[name] = repeated(name, value, 1, len(hidden))
            hidden = first(model.bridge.blocks[layer](hidden, **arguments))
            yield hidden, cache.whole

    def _joined(self, layer: int, others: Tensor, shared: int) -> Tensor:
        """What enters a block: of this prompt, and of others behind what they share with it."""
        own = self.inputs[layer]
        beginning = own[:, :shared].expand(len(others), -1, -1)
        return torch.cat([own, torch.cat([beginning, others.to(own.device)], 1)])

    @property
    def rows(self) -> int:
        """How many prompts it holds."""
        return self.columns.shape[0]

    @property
    def packable(self) -> bool:
        """Whether every token may be given to the blocks as a row of its own."""
        masks = [call.get("attention_mask") for call in self.calls]
        four = all(isinstance(mask, Tensor) and mask.ndim == 4 for mask in masks)
        timed = any(call.get("cache_position") is not None for call in self.calls)
        return bool(self.past) and four and not timed

    def part(self, rows: slice) -> Baseline:
        """The same run of some of its prompts."""
        if rows == slice(0, self.rows):
            return self
        return replace(
            self,
            inputs=[value[rows] for value in self.inputs],
            calls=[{n: of_part(n, v, self.rows, rows) for n, v in call.items()} for call in self.calls],
            past={layer: (k[rows], v[rows]) for layer, (k, v) in self.past.items()},
            columns=self.columns[rows],
            tokens=self.tokens[rows],
        )


def _has_tensor(value: Any) -> bool:
    """Whether an argument is a tensor or holds one."""
    parts = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(part, Tensor) for part in parts)


def embedded(model: Model, tokens: Int[Tensor, "row position"]) -> Tensor:
    """What enters block 0; no block runs."""
    return model.bridge(tokens, use_cache=False, stop_at_layer=0)


def from_position(name: str, start: int, value: Tensor) -> Tensor:
    """An argument of whole prompts, from one position on."""
    if name not in POSITION_AXIS or (name == "attention_mask" and value.ndim < 4):
        return value
    axis = POSITION_AXIS[name]
    return value.narrow(axis, start, value.shape[axis] - start)


class _Recorder:
    """Hooks that note what enters and leaves the blocks of one run, corrupted where that is asked."""

    def __init__(self, corruption: Edit | None, columns: Tensor, rows: Tensor, keep: bool) -> None:
        self.corruption, self.columns, self.rows, self.keep = corruption, columns, rows, keep
        self.inputs: list[Tensor] = []
        self.calls: list[dict[str, Any]] = []
        self.cache = RecordingCache()

    def corrupt(self, act: Tensor, hook: object = None) -> Tensor:
        """The input with the corruption written in."""
        assert self.corruption is not None
        here = act.to(self.columns.device)
        return Window(self.corruption, self.columns, self.columns).apply(here, self.rows).to(act.device)

    def enter(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a block's input and the other arguments of its call."""
        hidden, arguments = named(block, args, kwargs)
        # What enters the block is noted before its own hook fires: corrupt it here.
        if not self.inputs and self.corruption is not None:
            hidden = self.corrupt(hidden) if self.corruption.site.kind is Kind.RESID_PRE else hidden
        self.inputs.append(hidden)
        cache = next((name for name in CACHES if name in parameters(block)), None)
        if self.keep and cache is not None:
            arguments[cache] = self.cache
        self.calls.append(one_row(arguments, len(hidden)))
        return (hidden,), arguments

    def leave(self, block: Any, args: tuple[Any, ...], output: Any) -> None:
        """Note what leaves the last block."""
        self.inputs.append(first(output))


class _JoiningCache:
    """Stands in for a cache: one prompt's keys and values of the beginning, then the rows' own."""

    def __init__(self, past: tuple[Tensor, Tensor], count: int) -> None:
        self.start = [part[:, :, :count] for part in past]
        self.whole: tuple[Tensor, Tensor] = past

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions, which are remembered."""
        keys, values = (
            torch.cat([start.expand(len(own), -1, -1, -1), own], 2)
            for start, own in zip(self.start, (k, v), strict=True)
        )
        self.whole = keys, values
        return keys, values


class RecordingCache:
    """Stands in for a cache while the baseline runs, and remembers keys and values."""

    def __init__(self) -> None:
        self.past: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Remember a block's keys and values, and hand them back unchanged."""
        self.past[layer] = (k, v)
        return k, v
