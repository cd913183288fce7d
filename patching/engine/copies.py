"""Edited rows on their way up: the engine's inner loop.

`climb` lifts copies of a baseline from the boundary they leave it at. A copy holds only positions
from its first edited one on; to their left it reads the baseline's keys and values. Copies that
start alike form ordinary batches, [row, position, d]. Packed, copies may start anywhere: every token
is a row of its own, [token, 1, d], and is given its copy's keys and values, so that short prompts
fill the matrix products.
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
from patching.engine.unedited import ALONG, CACHES, Baseline
from patching.interventions.cells import Cell, Edit

#: Kinds that are written between blocks.
_BETWEEN = (Kind.EMBED, Kind.RESID_PRE, Kind.RESID_POST)


def climb(
    model: Model,
    run: Baseline,
    cells: Sequence[Cell],
    rows: Int[Tensor, " row"],
    *,
    starts: Sequence[int] | None = None,
    packed: bool = False,
    reads: Sequence[Site] = (),
    step: Callable[[int], object] = lambda tokens: None,
) -> tuple[Lifted, dict[Site, Tensor]]:
    """Lift the baseline and every cell to the top, or to the last block that `reads` needs.

    Args:
        model: the model that runs.
        run: the unedited run of these rows.
        cells: in the order of the boundary they enter at.
        rows: the examples the run's rows are.
        starts: first position computed of each cell, none of whose edits may lie left of it; all
            equal unless packed; 0 when None.
        packed: every token a row of its own.
        reads: sites whose activations are returned, for all lifted rows; not with packed.
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
    lifted = Lifted.of(run, (min(starts, default=0), *starts), packed, lowest)
    seen: dict[Site, Tensor] = {}
    for layer in range(lowest, top + 1):
        entered = lifted.copies - 1
        new = [cell for cell in cells[entered:] if cell.entry == layer]
        lifted.enter(len(new))
        for at, cell in enumerate(new, start=entered + 1):
            if any(edit.site.kind is Kind.EMBED for edit in cell.edits):
                embedded = _embedded(model, run, cell, rows)
                lifted.changed[at] = (embedded != run.inputs[0]).flatten(1).any(1)
                lifted.write(at, lifted.tokens, embedded)
        between, inside = _edits(cells[: lifted.copies - 1], layer)
        for at, edit in between:
            lifted.apply(at, edit, lifted.tokens, rows)
        if layer == top:
            break
        here = [site for site in reads if site.layer == layer]
        with _read(model, here) as found, _attached(model, lifted, inside, rows):
            out = model.bridge.blocks[layer](lifted.shaped, **lifted.call(layer))
        lifted.tokens = first(out).flatten(0, 1)
        seen.update(found)
        step(len(lifted.tokens))
    return lifted, seen


@dataclass(eq=False)
class Lifted:
    """The baseline and the cells entered so far, token after token, copy by copy.

    Attributes:
        run: the baseline they were copied from.
        starts: first position held of the baseline copy, then of every cell's.
        packed: every token a row of its own in the model's blocks.
        tokens: the residual stream, [token, d]; within a copy row by row, position by position.
        copies: how many have entered, the baseline among them.
        changed: whether any edit has changed a number of this copy's row, [copy, row]. A row that no
            edit has changed is the baseline's, however a kernel rounds it in its own place.
    """

    run: Baseline
    starts: Sequence[int]
    packed: bool
    tokens: Float[Tensor, "token d"]
    changed: Bool[Tensor, "copy row"]
    copies: int = 1

    @classmethod
    def of(cls, run: Baseline, starts: Sequence[int], packed: bool, layer: int) -> Lifted:
        """The baseline alone, at this boundary, as tokens of its own."""
        tokens = run.inputs[layer][:, starts[0] :].flatten(0, 1).clone()
        changed = torch.zeros(len(starts), run.rows, dtype=torch.bool, device=tokens.device)
        return cls(run, starts, packed, tokens, changed)

    def enter(self, count: int) -> None:
        """Append copies of the baseline for the next cells."""
        if not count:
            return
        before, self.copies = self.copies, self.copies + count
        _, row, position = self.index(before)
        base = self.view(0, self.tokens)
        self.tokens = torch.cat([self.tokens, base[row, position - self.starts[0]]])

    def index(self, since: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Copy, row and position of each token of the copies from `since` on."""
        device = self.tokens.device
        begin = torch.tensor(self.starts[since : self.copies], device=device)
        length = self.run.tokens.shape[1] - begin
        copy = torch.arange(len(begin), device=device).repeat_interleave(length * self.run.rows)
        offset = (length * self.run.rows).cumsum(0) - length * self.run.rows
        within = torch.arange(len(copy), device=device) - offset[copy]
        return since + copy, within // length[copy], begin[copy] + within % length[copy]

    def slot(self, at: int) -> slice:
        """The tokens of one copy."""
        n, width = self.run.rows, self.run.tokens.shape[1]
        low = n * (width * at - sum(self.starts[:at]))
        return slice(low, low + n * (width - self.starts[at]))

    def view(self, at: int, tokens: Float[Tensor, "token *d"]) -> Float[Tensor, "row position *d"]:
        """One copy's tokens of an activation given for all, as rows of positions."""
        return tokens[self.slot(at)].unflatten(0, (self.run.rows, -1))

    def write(self, at: int, tokens: Tensor, whole: Float[Tensor, "row position *d"]) -> None:
        """Put a whole prompt's activations where one copy's tokens are."""
        tokens[self.slot(at)] = whole[:, self.starts[at] :].flatten(0, 1)

    def apply(self, at: int, edit: Edit, tokens: Tensor, rows: Int[Tensor, " row"]) -> None:
        """Let one copy's edit act on an activation, [token, *d], that is ours to write."""
        window = Window(edit, self.run.columns[:, self.starts[at] :], self.run.columns)
        before = self.view(at, tokens)
        after = window.apply(before.clone(), rows)
        self.changed[at] |= (after != before).flatten(1).any(1)
        tokens[self.slot(at)] = after.flatten(0, 1)

    @property
    def shaped(self) -> Tensor:
        """The residual stream as the blocks take it."""
        if self.packed:
            return self.tokens[:, None]
        return self.tokens.unflatten(0, (self.copies * self.run.rows, -1))

    def call(self, layer: int) -> dict[str, Any]:
        """The other arguments of this block's call, for these rows."""
        start, index = self.starts[0], self.index() if self.packed else None
        call = {}
        for name, value in self.run.calls[layer].items():
            if name in CACHES and index is not None:
                call[name] = _Packed(self.run.past[layer], *index)
            elif name in CACHES:
                call[name] = _Prefix(self.run.past[layer], start) if start else None
            elif index is not None:
                call[name] = each(value, partial(_of_tokens, name, index))
            else:
                value = each(value, partial(_from, name, start)) if start else value
                call[name] = repeated(name, value, self.run.rows, self.copies)
        return call

    def at(self, positions: Int[Tensor, " row"]) -> Float[Tensor, "copy row d"]:
        """The residual stream at one position of each row; left of a copy's start the baseline's."""
        n, width = self.run.rows, self.run.tokens.shape[1]
        device = self.tokens.device
        begin = torch.tensor(self.starts[: self.copies], device=device)[:, None]
        length = width - begin
        row = torch.arange(n, device=device)
        low = n * (width * torch.arange(self.copies, device=device)[:, None] - begin.cumsum(0) + begin)
        inside = positions >= begin
        index = low + row * length + (positions - begin).clamp(min=0)
        whole = self.run.inputs[-1][row, positions]
        return torch.where(inside[..., None], self.tokens[index], whole)


def _edits(cells: Sequence[Cell], layer: int) -> tuple[list[tuple[int, Edit]], list[tuple[int, Edit]]]:
    """Edits at the boundary below this block, and inside it, each with the copy it acts on."""
    after, before, inside = [], [], []
    for at, cell in enumerate(cells, start=1):
        for edit in cell.edits:
            kind = edit.site.kind
            if kind is Kind.RESID_POST and edit.site.layer == layer - 1:
                after.append((at, edit))
            elif kind is Kind.RESID_PRE and edit.site.layer == layer:
                before.append((at, edit))
            elif kind not in _BETWEEN and edit.site.layer == layer:
                inside.append((at, edit))
    return after + before, inside


def _embedded(model: Model, run: Baseline, cell: Cell, rows: Int[Tensor, " row"]) -> Tensor:
    """What enters block 0 when a cell's edits act on the token embedding, corrupted as every run is."""
    suffered = () if run.corruption is None else (run.corruption,)
    edits = [(0, edit) for edit in (*suffered, *cell.edits) if edit.site.kind is Kind.EMBED]
    alone = Lifted.of(run, (0,), False, 0)
    with _attached(model, alone, edits, rows):
        entering = model.bridge(run.tokens, use_cache=False, stop_at_layer=0)
    for edit in suffered:
        if edit.site.kind is not Kind.EMBED:
            entering = Window(edit, run.columns, run.columns).apply(entering, rows)
    return entering


def _from(name: str, start: int, value: Tensor) -> Tensor:
    """An argument of whole prompts, from one position on."""
    if name not in ALONG or (name == "attention_mask" and value.ndim < 4):
        return value
    axis = ALONG[name]
    return value.narrow(axis, start, value.shape[axis] - start)


def _of_tokens(name: str, index: tuple[Tensor, Tensor, Tensor], value: Tensor) -> Tensor:
    """An argument of whole prompts, one row for each token."""
    _, row, position = index
    row = row if value.shape[0] > 1 else torch.zeros_like(row)
    if name == "attention_mask":
        return value[row, :, position][:, :, None]
    return value[row, position][:, None]


class _Prefix:
    """Stands in for a cache: the baseline's keys and values left of `start`, then the rows' own."""

    def __init__(self, past: tuple[Tensor, Tensor], start: int) -> None:
        self.keys, self.values = (part[:, :, :start] for part in past)

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions."""
        copies = k.shape[0] // self.keys.shape[0]
        keys, values = (
            repeat(p, "row ... -> (copy row) ...", copy=copies) for p in (self.keys, self.values)
        )
        return torch.cat([keys, k], 2), torch.cat([values, v], 2)


class _Packed:
    """Stands in for a cache: for each token all keys and values of its copy, in their order."""

    def __init__(
        self, past: tuple[Tensor, Tensor], copy: Tensor, row: Tensor, position: Tensor
    ) -> None:
        self.past, self.position = past, position
        self.copies = int(copy[-1]) + 1
        self.line = copy * past[0].shape[0] + row

    def update(self, k: Tensor, v: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions; the mask hides those a token may not see."""
        # Copies that are written to: einops would give a view of a single row.
        keys, values = (p.repeat(self.copies, 1, 1, 1) for p in self.past)
        keys[self.line, :, self.position] = k[:, :, 0]
        values[self.line, :, self.position] = v[:, :, 0]
        return keys[self.line], values[self.line]


def _read(model: Model, sites: Sequence[Site]) -> AbstractContextManager[dict[Site, Tensor]]:
    """Hooks that read, where anything is read: attaching none has its price too."""
    return capture(model, sites) if sites else nullcontext({})


@contextmanager
def _attached(
    model: Model, lifted: Lifted, edits: Sequence[tuple[int, Edit]], rows: Int[Tensor, " row"]
) -> Iterator[None]:
    """The edits of one block on their hook points, for one call."""
    at: dict[str, list[tuple[int, Edit]]] = {}
    for copy, edit in edits:
        at.setdefault(edit.site.hook_name, []).append((copy, edit))

    def hook_for(chosen: list[tuple[int, Edit]]):
        # Patterns come as [row, head, query, key]; a query is the position they are edited at.
        turned = chosen[0][1].site.kind is Kind.PATTERN

        def hook(act: Tensor, hook: object) -> Tensor:
            act = act.transpose(1, 2) if turned else act
            tokens = act.flatten(0, 1).clone()
            for copy, edit in chosen:
                # A cell's edits at one hook act in turn, each on what the one before left.
                lifted.apply(copy, edit, tokens, rows)
            out = tokens.reshape(act.shape)
            return out.transpose(1, 2) if turned else out

        return hook

    hooks = [(name, hook_for(chosen)) for name, chosen in at.items()]
    if not hooks:
        yield
        return
    with model.bridge.hooks(fwd_hooks=hooks):
        yield
