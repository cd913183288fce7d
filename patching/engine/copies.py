"""Edited copies of a baseline run: the engine's inner loop.

`run_copies` appends a copy of the baseline for every cell at the boundary where the cell first edits
it, and runs all copies through the blocks above together. A copy holds only positions from its first
edited one on; to their left it reads the baseline's keys and values. Copies that start alike form
ordinary batches, [row, position, d]. Packed, copies may start anywhere: every token is a row of its
own, [token, 1, d], and is given its copy's keys and values, so that short prompts fill the matrix
products.

All copies stand in one tensor, [token, d], copy after copy, within a copy row after row, within a row
position after position. With n = 2 rows of width 4, the baseline from 0 and cells that start at 1
and 3 (`starts` = 0, 1, 3):

    copy     |           0           |        1        |   2   |
    row      |     0     |     1     |   0    |   1    | 0 | 1 |
    position |  0 1 2 3  |  0 1 2 3  | 1 2 3  | 1 2 3  | 3 | 3 |
    token    |  0 1 2 3  |  4 5 6 7  | 8 9 10 |11 12 13| 14| 15|

Copy c holds n (width - starts[c]) tokens, so that it begins at token n (c width - Σ starts before c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.activations import capture
from interp.models.block_calls import each, first, repeated
from interp.models.editing import Window
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine.unedited import CACHES, Baseline, RecordingCache, embedded, from_position
from patching.interventions.cells import Cell, Edit

#: Kinds that are written between blocks.
_BETWEEN = (Kind.EMBED, Kind.RESID_PRE, Kind.RESID_POST)


def run_copies(
    model: Model,
    baseline: Baseline,
    cells: Sequence[Cell],
    rows: Int[Tensor, " row"],
    *,
    starts: Sequence[int] | None = None,
    packed: bool = False,
    shared: int = 0,
    reads: Sequence[Site] = (),
    step: Callable[[int], object] = lambda tokens: None,
) -> tuple[Copies, dict[Site, Tensor]]:
    """Run the baseline and every cell to the top, or to the last block that `reads` needs.

    Args:
        model: the model that runs.
        baseline: the unedited run of these rows.
        cells: in the order of the boundary they enter at.
        rows: the examples that the baseline's rows are.
        starts: first position computed of each cell, none of whose edits may lie left of it; all
            equal unless packed; 0 when None.
        packed: every token a row of its own.
        shared: how many first positions are run for one row alone: what the cells write there is the
            same in all rows, which begin alike; no cell may start left of their end. 0 for none.
        reads: sites whose activations are returned, for all copies; not with packed.
        step: told the layer-tokens done.

    Returns:
        The residual stream after the last block run; and the activations read, [row, position, *d]
        with the baseline's rows first. They are read before an edit at the same place, so a place
        may be held and asked what it would have done. A site below a cell's own boundary holds
        fewer rows.
    """
    starts = [0] * len(cells) if starts is None else list(starts)
    lowest = min([c.entry for c in cells] + [site.layer for site in reads], default=model.n_layers)
    top = max(lowest, 1 + max(site.layer for site in reads) if reads else model.n_layers)
    copies = Copies.of(baseline, (min(starts, default=0), *starts), packed, lowest)
    beginning = None
    if shared:
        one = baseline.beginning(shared)
        beginning = Copies.of(one, (0,) * (1 + len(cells)), False, lowest)
    activations: dict[Site, Tensor] = {}
    for layer in range(lowest, top + 1):
        past = None
        if beginning is not None:
            inside = _entered(model, beginning, cells, rows[:1], layer)
            copies.changed |= beginning.changed
            if layer < top:
                cache = RecordingCache()
                _through_block(model, beginning, inside, rows[:1], layer, cache=cache)
                past = cache.past.get(layer)
                step(len(beginning.tokens))
        inside = _entered(model, copies, cells, rows, layer)
        if layer == top:
            break
        here = [site for site in reads if site.layer == layer]
        with _read(model, here) as captured:
            _through_block(model, copies, inside, rows, layer, beginning=past)
        activations.update(captured)
        step(len(copies.tokens))
    return copies, activations


def _entered(
    model: Model, copies: Copies, cells: Sequence[Cell], rows: Int[Tensor, " row"], layer: int
) -> list[tuple[int, Edit]]:
    """Append the cells that enter at a boundary and edit what is there; the edits inside the block."""
    copies.enter(layer)
    _append_cells(model, copies, cells, rows, layer)
    between, inside = _edits(cells[: copies.count - 1], layer)
    for copy, edit in between:
        copies.apply(copy, edit, copies.tokens, rows)
    return inside


def _through_block(
    model: Model,
    copies: Copies,
    inside: Sequence[tuple[int, Edit]],
    rows: Int[Tensor, " row"],
    layer: int,
    **given: Any,
) -> None:
    """Run all copies through one block, with the edits inside of it."""
    with _attached(model, copies, inside, rows):
        output = model.bridge.blocks[layer](
            copies.block_input, **copies.block_arguments(layer, **given)
        )
    copies.tokens = first(output).flatten(0, 1)


@dataclass(eq=False)
class Copies:
    """The baseline and the cells appended so far, token after token, copy by copy.

    Attributes:
        baseline: the run they were copied from.
        starts: first position held of the baseline copy, then of every cell's.
        packed: every token a row of its own in the model's blocks.
        tokens: the residual stream, [token, d]; within a copy row by row, position by position.
            They are on the device of the block that is next; edits act on the prompts' device.
        changed: whether any edit has changed a number of this copy's row, [copy, row]. A row that no
            edit has changed is the baseline's, however a kernel rounds it in its own place.
        count: how many copies there are, the baseline among them.
    """

    baseline: Baseline
    starts: Sequence[int]
    packed: bool
    tokens: Float[Tensor, "token d"]
    changed: Bool[Tensor, "copy row"]
    count: int = 1

    @classmethod
    def of(cls, baseline: Baseline, starts: Sequence[int], packed: bool, layer: int) -> Copies:
        """The baseline alone, at this boundary, as tokens of its own."""
        tokens = baseline.inputs[layer][:, starts[0] :].flatten(0, 1).clone()
        home = baseline.columns.device
        changed = torch.zeros(len(starts), baseline.rows, dtype=torch.bool, device=home)
        return cls(baseline, starts, packed, tokens, changed)

    def enter(self, layer: int) -> None:
        """Move to the device on which the baseline stands at this boundary."""
        self.tokens = self.tokens.to(self.baseline.inputs[layer].device)

    @property
    def width(self) -> int:
        """Number of positions of a whole prompt."""
        return self.baseline.tokens.shape[1]

    def append(self, count: int) -> None:
        """Append copies of the baseline for the next cells."""
        if not count:
            return
        before, self.count = self.count, self.count + count
        _, row, position = self.index(before)
        unedited = self.as_rows(0, self.tokens)
        self.tokens = torch.cat([self.tokens, unedited[row, position - self.starts[0]]])

    def index(self, since: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Copy, row and position of each token of the copies from `since` on."""
        device = self.tokens.device
        start = torch.tensor(self.starts[since : self.count], device=device)
        length = self.width - start
        copy = torch.arange(len(start), device=device).repeat_interleave(length * self.baseline.rows)
        offset = (length * self.baseline.rows).cumsum(0) - length * self.baseline.rows
        within = torch.arange(len(copy), device=device) - offset[copy]
        return since + copy, within // length[copy], start[copy] + within % length[copy]

    def tokens_of(self, copy: int) -> slice:
        """Which tokens are one copy's."""
        rows = self.baseline.rows
        begin = rows * (self.width * copy - sum(self.starts[:copy]))
        return slice(begin, begin + rows * (self.width - self.starts[copy]))

    def as_rows(self, copy: int, tokens: Float[Tensor, "token *d"]) -> Float[Tensor, "row position *d"]:
        """One copy's tokens of an activation given for all, as rows of positions."""
        return tokens[self.tokens_of(copy)].unflatten(0, (self.baseline.rows, -1))

    def write(self, copy: int, tokens: Tensor, whole: Float[Tensor, "row position *d"]) -> None:
        """Put a whole prompt's activations where one copy's tokens are."""
        tokens[self.tokens_of(copy)] = whole[:, self.starts[copy] :].flatten(0, 1)

    def apply(self, copy: int, edit: Edit, tokens: Tensor, rows: Int[Tensor, " row"]) -> None:
        """Let one copy's edit act on an activation, [token, *d], that is ours to write."""
        columns = self.baseline.columns
        window = Window(edit, columns[:, self.starts[copy] :], columns)
        before = self.as_rows(copy, tokens).to(columns.device)
        after = window.apply(before.clone(), rows)
        self.changed[copy] |= (after != before).flatten(1).any(1)
        tokens[self.tokens_of(copy)] = after.flatten(0, 1).to(tokens.device)

    @property
    def block_input(self) -> Tensor:
        """The residual stream as the blocks take it."""
        if self.packed:
            return self.tokens[:, None]
        return self.tokens.unflatten(0, (self.count * self.baseline.rows, -1))

    def block_arguments(
        self,
        layer: int,
        *,
        beginning: tuple[Tensor, Tensor] | None = None,
        cache: Any = None,
    ) -> dict[str, Any]:
        """The other arguments of this block's call, for these copies.

        Args:
            layer: the block.
            beginning: keys and values of the first positions of each copy, [copy, head, position, d],
                where all rows of a copy share them; else the baseline's are read there.
            cache: what takes the place of a cache, where nothing is read left of the copies' start.
        """
        start, index = self.starts[0], self.index() if self.packed else None
        past = self.baseline.past
        arguments = {}
        for name, value in self.baseline.calls[layer].items():
            if name in CACHES and index is not None:
                arguments[name] = _PackedCache(past[layer], *index, beginning)
            elif name in CACHES and start:
                arguments[name] = _PrefixCache(past[layer], start, beginning)
            elif name in CACHES:
                arguments[name] = cache
            elif index is not None:
                arguments[name] = each(value, partial(_by_token, name, index))
            else:
                value = each(value, partial(from_position, name, start)) if start else value
                arguments[name] = repeated(name, value, self.baseline.rows, self.count)
        return arguments

    def residual_at(self, positions: Int[Tensor, " row"]) -> Float[Tensor, "copy row d"]:
        """The residual stream at one position of each row; left of a copy's start the baseline's."""
        rows, device = self.baseline.rows, self.tokens.device
        positions = positions.to(device)
        start = torch.tensor(self.starts[: self.count], device=device)[:, None]
        length = self.width - start
        row = torch.arange(rows, device=device)
        copy = torch.arange(self.count, device=device)[:, None]
        begin = rows * (self.width * copy - start.cumsum(0) + start)
        inside = positions >= start
        index = begin + row * length + (positions - start).clamp(min=0)
        unedited = self.baseline.inputs[-1][row, positions]
        return torch.where(inside[..., None], self.tokens[index], unedited)


def _append_cells(
    model: Model, copies: Copies, cells: Sequence[Cell], rows: Int[Tensor, " row"], layer: int
) -> None:
    """Append the cells that enter at this boundary, with their edits of the embedding."""
    next_copy = copies.count
    entering = [cell for cell in cells[next_copy - 1 :] if cell.entry == layer]
    copies.append(len(entering))
    for copy, cell in enumerate(entering, start=next_copy):
        if any(edit.site.kind is Kind.EMBED for edit in cell.edits):
            embedded = _embedded(model, copies.baseline, cell, rows)
            changed = (embedded != copies.baseline.inputs[0]).flatten(1).any(1)
            copies.changed[copy] = changed.to(copies.changed.device)
            copies.write(copy, copies.tokens, embedded)


def _edits(cells: Sequence[Cell], layer: int) -> tuple[list[tuple[int, Edit]], list[tuple[int, Edit]]]:
    """Edits at the boundary below this block, and inside it, each with the copy it acts on."""
    after, before, inside = [], [], []
    for copy, cell in enumerate(cells, start=1):
        for edit in cell.edits:
            kind = edit.site.kind
            if kind is Kind.RESID_POST and edit.site.layer == layer - 1:
                after.append((copy, edit))
            elif kind is Kind.RESID_PRE and edit.site.layer == layer:
                before.append((copy, edit))
            elif kind not in _BETWEEN and edit.site.layer == layer:
                inside.append((copy, edit))
    return after + before, inside


def _embedded(model: Model, baseline: Baseline, cell: Cell, rows: Int[Tensor, " row"]) -> Tensor:
    """What enters block 0 when a cell's edits act on the token embedding, corrupted as every run is."""
    corruptions = () if baseline.corruption is None else (baseline.corruption,)
    edits = [(0, edit) for edit in (*corruptions, *cell.edits) if edit.site.kind is Kind.EMBED]
    alone = Copies.of(baseline, (0,), False, 0)
    with _attached(model, alone, edits, rows):
        entering = embedded(model, baseline.tokens)
    entering = entering.to(baseline.columns.device)
    for edit in corruptions:
        if edit.site.kind is not Kind.EMBED:
            entering = Window(edit, baseline.columns, baseline.columns).apply(entering, rows)
    return entering.to(baseline.inputs[0].device)


def _by_token(name: str, index: tuple[Tensor, Tensor, Tensor], value: Tensor) -> Tensor:
    """An argument of whole prompts, one row for each token."""
    _, row, position = index
    row = row if value.shape[0] > 1 else torch.zeros_like(row)
    if name == "attention_mask":
        return value[row, :, position][:, :, None]
    return value[row, position][:, None]


class _PrefixCache:
    """Stands in for a cache: keys and values left of `start`, then the rows' own.

    They are the baseline's, but for those of a beginning that the rows of a copy share.
    """

    def __init__(
        self, past: tuple[Tensor, Tensor], start: int, beginning: tuple[Tensor, Tensor] | None
    ) -> None:
        self.past = [part[:, :, :start] for part in past]
        self.beginning = beginning

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions."""
        copies = k.shape[0] // self.past[0].shape[0]
        keys, values = (repeat(p, "row ... -> (copy row) ...", copy=copies) for p in self.past)
        if self.beginning is not None:
            keys, values = (
                _with_beginning(part, start)
                for part, start in zip((keys, values), self.beginning, strict=True)
            )
        return torch.cat([keys, k], 2), torch.cat([values, v], 2)


class _PackedCache:
    """Stands in for a cache: for each token all keys and values of its copy, in their order."""

    def __init__(
        self,
        past: tuple[Tensor, Tensor],
        copy: Tensor,
        row: Tensor,
        position: Tensor,
        beginning: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.past, self.position, self.beginning = past, position, beginning
        self.copies = int(copy[-1]) + 1
        self.copy_row = copy * past[0].shape[0] + row

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions; the mask hides those a token may not see."""
        # Copies that are written to: einops would give a view of a single row.
        keys, values = (p.repeat(self.copies, 1, 1, 1) for p in self.past)
        if self.beginning is not None:
            keys, values = (
                _with_beginning(part, start)
                for part, start in zip((keys, values), self.beginning, strict=True)
            )
        keys[self.copy_row, :, self.position] = k[:, :, 0]
        values[self.copy_row, :, self.position] = v[:, :, 0]
        return keys[self.copy_row], values[self.copy_row]


def _with_beginning(
    whole: Float[Tensor, "copy_row head position d"], start: Float[Tensor, "copy head shared d"]
) -> Float[Tensor, "copy_row head position d"]:
    """Keys or values of all rows of all copies, those of their shared beginning put in."""
    each_row = repeat(start, "copy ... -> (copy row) ...", row=len(whole) // len(start))
    return torch.cat([each_row, whole[:, :, start.shape[2] :]], 2)


def _read(model: Model, sites: Sequence[Site]) -> AbstractContextManager[dict[Site, Tensor]]:
    """Hooks that read, where anything is read: attaching none has its price too."""
    return capture(model, sites) if sites else nullcontext({})


@contextmanager
def _attached(
    model: Model, copies: Copies, edits: Sequence[tuple[int, Edit]], rows: Int[Tensor, " row"]
) -> Iterator[None]:
    """The edits of one block on their hook points, for one call."""
    by_hook: dict[str, list[tuple[int, Edit]]] = {}
    for copy, edit in edits:
        by_hook.setdefault(edit.site.hook_name, []).append((copy, edit))

    def hook_for(chosen: list[tuple[int, Edit]]):
        # Patterns come as [row, head, query, key]; a query is the position they are edited at.
        turned = chosen[0][1].site.kind is Kind.PATTERN

        def hook(act: Tensor, hook: object) -> Tensor:
            act = act.transpose(1, 2) if turned else act
            tokens = act.flatten(0, 1).clone()
            for copy, edit in chosen:
                # A cell's edits at one hook act in turn, each on what the one before left.
                copies.apply(copy, edit, tokens, rows)
            edited = tokens.reshape(act.shape)
            return edited.transpose(1, 2) if turned else edited

        return hook

    hooks = [(name, hook_for(chosen)) for name, chosen in by_hook.items()]
    if not hooks:
        yield
        return
    with model.bridge.hooks(fwd_hooks=hooks):
        yield
