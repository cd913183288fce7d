"""One unedited run kept, and many edited rows lifted over it: the engine's inner loop.

`Baseline` runs prompts once and keeps what enters each block, how the model calls its blocks, and
the keys and values each block made. `climb` then lifts edited copies from the block they first
touch, computing only positions from `start` on: left of it every row equals the unedited run, whose
keys and values it reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import capture
from interp.models import Model
from interp.sites import Kind, Site
from interp.tasks import Examples
from patching.interventions import Cell, Edit

#: Arguments of a block that run along positions, and the axis they run along.
_ALONG = {
    "attention_mask": -2,
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
}
_CACHES = ("past_key_values", "layer_past")
#: Kinds that are written between blocks.
_BOUNDARY = (Kind.EMBED, Kind.RESID_PRE, Kind.RESID_POST)


@dataclass(frozen=True, eq=False)
class Baseline:
    """One batch's unedited run.

    Attributes:
        inputs: what enters block k, and at L what leaves the last one, [row, position, d] each.
        calls: the other arguments of each block's call, by name.
        past: keys and values of each block after any rotation, [row, head, position, d_head]; empty
            where the model's blocks cannot be given a prefix.
        columns: column of each position in the examples' padded tokens.
        tokens: the prompts without their padding.
    """

    inputs: list[Tensor]
    calls: list[dict[str, Any]]
    past: dict[int, tuple[Tensor, Tensor]]
    columns: Int[Tensor, "row position"]
    tokens: Int[Tensor, "row position"]

    @classmethod
    def of(cls, model: Model, examples: Examples, rows: Int[Tensor, " row"]) -> Baseline:
        """Run the examples `rows`, all of one length, without their padding."""
        columns = columns_of(examples, rows)
        tokens = examples.tokens[rows].gather(1, columns)
        keep = _Keep()
        inputs: list[Tensor] = []
        calls: list[dict[str, Any]] = []

        def enter(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            names = list(inspect.signature(block.original_component.forward).parameters)
            given = dict(zip(names, args, strict=False)) | kwargs
            inputs.append(given.pop("hidden_states"))
            cache = next((name for name in _CACHES if name in names), None)
            if cache is not None:
                given[cache] = keep
            calls.append({name: _one_row(value) for name, value in given.items()})
            return (inputs[-1],), given

        def leave(block: Any, args: tuple[Any, ...], output: Any) -> None:
            inputs.append(output[0] if isinstance(output, tuple) else output)

        blocks = model.bridge.blocks
        handles = [block.register_forward_pre_hook(enter, with_kwargs=True) for block in blocks]
        handles.append(blocks[-1].register_forward_hook(leave))
        try:
            model.bridge(tokens, use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        known = all(name in _ALONG or not _tensors(value) for name, value in _others(calls))
        past = keep.past if known and len(keep.past) == len(blocks) else {}
        return cls(inputs, calls, past, columns, tokens)

    @property
    def rows(self) -> int:
        """How many prompts it holds."""
        return self.columns.shape[0]

    def part(self, rows: slice) -> Baseline:
        """Some of its prompts."""
        n = self.rows

        def cut(value: Any) -> Any:
            if isinstance(value, Tensor) and n > 1 and value.ndim > 1 and value.shape[0] == n:
                return value[rows]
            return tuple(map(cut, value)) if isinstance(value, tuple) else value

        return replace(
            self,
            inputs=[value[rows] for value in self.inputs],
            calls=[{name: cut(value) for name, value in call.items()} for call in self.calls],
            past={layer: (k[rows], v[rows]) for layer, (k, v) in self.past.items()},
            columns=self.columns[rows],
            tokens=self.tokens[rows],
        )


def columns_of(examples: Examples, rows: Int[Tensor, " row"]) -> Int[Tensor, "row position"]:
    """The padded columns of the real tokens of examples of one length."""
    start = examples.mask[rows].int().argmax(1)
    width = int(examples.lengths[rows[0]])
    return start[:, None] + torch.arange(width, device=start.device)


def climb(
    model: Model,
    run: Baseline,
    cells: Sequence[Cell],
    rows: Int[Tensor, " row"],
    *,
    start: int = 0,
    reads: Sequence[Site] = (),
    step: Callable[[int], object] = lambda tokens: None,
) -> tuple[Float[Tensor, "lifted position d"], dict[Site, Tensor]]:
    """Lift the baseline and every cell to the top, or to the last block that `reads` needs.

    Args:
        model: the model that runs.
        run: the unedited run of these rows.
        cells: in the order of the block they enter.
        rows: the examples the run's rows are.
        start: first position computed; no cell may edit left of it.
        reads: sites whose activations are returned, for all lifted rows from `start` on.
        step: told the layer-tokens done.

    Returns:
        The residual stream after the last block run, rows being the baseline, then cell by cell;
        and the activations read. A site below a cell's own block holds fewer rows.
    """
    n, last = run.rows, model.n_layers
    first = min([cell.entry for cell in cells] + [site.layer for site in reads], default=last)
    top = max(first, 1 + max(site.layer for site in reads) if reads else last)
    hidden = run.inputs[first][:, start:]
    columns = run.columns[:, start:]
    entered: list[Cell] = []
    seen: dict[Site, Tensor] = {}
    for layer in range(first, top + 1):
        new = [cell for cell in cells if cell.entry == layer]
        if new:
            hidden = torch.cat([hidden, hidden[:n].repeat(len(new), 1, 1)])
            entered += new
            for at, cell in enumerate(new, start=len(entered) - len(new) + 1):
                if any(edit.site.kind is Kind.EMBED for edit in cell.edits):
                    hidden[at * n : (at + 1) * n] = _embedded(model, run, cell, rows)[:, start:]
        at_boundary, inside = _edits(entered, layer, n)
        for place, edit in at_boundary:
            # `hidden` is ours only once rows were appended; an edit's own rows always were.
            hidden[place] = _Window(edit, columns, run.columns).apply(hidden[place], rows)
        if layer == top:
            break
        here = [site for site in reads if site.layer == layer]
        with _attached(model, inside, rows, columns, run.columns), capture(model, here) as found:
            hidden = _block(model, run, layer, hidden, start)
        seen.update(found)
        step(hidden.shape[0] * hidden.shape[1])
    return hidden, seen


def _edits(
    entered: Sequence[Cell], layer: int, n: int
) -> tuple[list[tuple[slice, Edit]], list[tuple[slice, Edit]]]:
    """Edits at the boundary below this block, and inside it, with the rows they act on."""
    boundary, inside = [], []
    for at, cell in enumerate(entered):
        place = slice((at + 1) * n, (at + 2) * n)
        for edit in cell.edits:
            kind = edit.site.kind
            if kind is Kind.RESID_POST and edit.site.layer == layer - 1:
                boundary.insert(0, (place, edit))
            elif kind is Kind.RESID_PRE and edit.site.layer == layer:
                boundary.append((place, edit))
            elif kind not in _BOUNDARY and edit.site.layer == layer:
                inside.append((place, edit))
    return boundary, inside


def _embedded(model: Model, run: Baseline, cell: Cell, rows: Int[Tensor, " row"]) -> Tensor:
    """What enters block 0 when a cell's edits act on the token embedding."""
    edits = [(slice(None), edit) for edit in cell.edits if edit.site.kind is Kind.EMBED]
    with _attached(model, edits, rows, run.columns, run.columns):
        return model.bridge(run.tokens, use_cache=False, stop_at_layer=0)


def _block(model: Model, run: Baseline, layer: int, hidden: Tensor, start: int) -> Tensor:
    """One block applied to all lifted rows."""
    repeats = hidden.shape[0] // run.rows
    call = {}
    for name, value in run.calls[layer].items():
        if name in _CACHES:
            call[name] = _Prefix(run.past[layer], start) if start else None
        else:
            call[name] = _grown(_from(value, name, start), run.rows, repeats, name)
    out = model.bridge.blocks[layer](hidden, **call)
    return out[0] if isinstance(out, tuple) else out


def _from(value: Any, name: str, start: int) -> Any:
    if start and isinstance(value, tuple):
        return tuple(_from(v, name, start) for v in value)
    if not start or not isinstance(value, Tensor) or value.ndim < -_ALONG[name]:
        return value
    if name == "attention_mask" and value.ndim < 4:
        return value
    return value.narrow(_ALONG[name], start, value.shape[_ALONG[name]] - start)


def _grown(value: Any, rows: int, repeats: int, name: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_grown(v, rows, repeats, name) for v in value)
    per_row = isinstance(value, Tensor) and value.ndim > 1 and rows > 1 and value.shape[0] == rows
    return value.repeat(repeats, *[1] * (value.ndim - 1)) if per_row else value


def _one_row(value: Any) -> Any:
    """Arguments equal for every row, as they are without padding, are kept once and broadcast."""
    if isinstance(value, tuple | list):
        return tuple(map(_one_row, value))
    if isinstance(value, Tensor) and value.ndim > 1 and bool((value == value[:1]).all()):
        return value[:1]
    return value


def _others(calls: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((n, v) for call in calls for n, v in call.items() if n not in _CACHES)


def _tensors(value: Any) -> bool:
    inner = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(v, Tensor) for v in inner)


class _Keep:
    """Stands in for a cache while the baseline runs, and remembers keys and values."""

    def __init__(self) -> None:
        self.past: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.past[layer] = (k, v)
        return k, v


class _Prefix:
    """Stands in for a cache while rows climb: the baseline's keys and values left of `start`."""

    def __init__(self, past: tuple[Tensor, Tensor], start: int) -> None:
        self.past = tuple(part[:, :, :start] for part in past)

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.past
        return _behind(keys, k), _behind(values, v)


def _behind(past: Tensor, new: Tensor) -> Tensor:
    repeats = new.shape[0] // past.shape[0]
    if past.shape[0] == 1:
        return torch.cat([past.expand(repeats, -1, -1, -1), new], 2)
    return torch.cat([past.repeat(repeats, 1, 1, 1), new], 2)


@contextmanager
def _attached(
    model: Model,
    edits: Sequence[tuple[slice, Edit]],
    rows: Int[Tensor, " row"],
    columns: Int[Tensor, "row position"],
    keys: Int[Tensor, "row key"],
) -> Iterator[None]:
    """The edits of one block on their hook points, for one call."""
    at: dict[str, list[tuple[slice, Edit]]] = {}
    for place, edit in edits:
        at.setdefault(edit.site.hook_name, []).append((place, edit))

    def hook_for(chosen: list[tuple[slice, Edit]]):
        def hook(act: Tensor, hook: object) -> Tensor:
            out = act.clone()
            for place, edit in chosen:
                # A cell's edits at one hook act in turn, each on what the one before left.
                out[place] = _Window(edit, columns, keys).apply(out[place], rows)
            return out

        return hook

    hooks = [(name, hook_for(chosen)) for name, chosen in at.items()]
    if not hooks:
        yield
        return
    with model.bridge.hooks(fwd_hooks=hooks):
        yield


@dataclass(frozen=True)
class _Window:
    """An edit seen through the positions being computed, placed back in the examples' columns.

    Attention patterns come as [row, head, query, key] and are edited as [row, query, head, key],
    so that a query is a position and a head is where every other site has it.
    """

    edit: Edit
    columns: Int[Tensor, "row position"]
    keys: Int[Tensor, "row key"]

    def apply(self, act: Tensor, rows: Int[Tensor, " row"]) -> Tensor:
        width = self.edit.where.shape[1]
        pattern = self.edit.site.kind is Kind.PATTERN
        if self.columns.shape[1] == width and not pattern:
            return self.edit.apply(act, rows)
        index = torch.arange(act.shape[0], device=act.device)[:, None]
        if not pattern:
            full = act.new_zeros(act.shape[0], width, *act.shape[2:])
            full[index, self.columns] = act
            return self.edit.apply(full, rows)[index, self.columns]
        act = act.transpose(1, 2)
        wide = act.new_zeros(*act.shape[:3], width)
        wide[index, :, :, self.keys] = act.permute(0, 3, 1, 2)
        full = act.new_zeros(act.shape[0], width, act.shape[2], width)
        full[index, self.columns] = wide
        edited = self.edit.apply(full, rows)[index, self.columns]
        return edited[index, :, :, self.keys].permute(0, 2, 3, 1).transpose(1, 2)
