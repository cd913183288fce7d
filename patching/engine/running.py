"""Edited copies of a baseline run: the engine's inner loop.

`run_copies` appends a copy of the baseline for every cell at the boundary where the cell first edits
it, and runs all copies through the blocks above together. A copy holds only positions from its first
edited one on; to their left it reads the baseline's keys and values. Copies that start alike form
ordinary batches, [row, position, d]. Packed, copies may start anywhere: every token is a row of its
own, [token, 1, d], and is given its copy's keys and values, so that short prompts fill the matrix
products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from jaxtyping import Int
from torch import Tensor

from interp.activations import capture
from interp.models.block_calls import first
from interp.models.editing import Window
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine.copies import Copies
from patching.engine.earlier_keys import Enough, WholeCache
from patching.engine.unedited import Baseline, embedded
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
    begun: Callable[[int, int], tuple[Tensor, Tensor]] | None = None,
    reads: Sequence[Site] = (),
    read_from: int = 0,
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
        begun: gives keys and values of what all rows begin with in a block and so many copies, [copy,
            head, position, d]; no cell may start left of its end. By default the baseline's are read.
        reads: sites whose activations are returned, for all copies; not with packed.
        read_from: the first position that is read of what leaves the last block; of those before it
            the block makes keys and values only, and they are not returned. Not packed, nor with
            `reads`.
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
    activations: dict[Site, Tensor] = {}
    for layer in range(lowest, top + 1):
        inside = entered(model, copies, cells, rows, layer)
        if layer == top:
            break
        here = [site for site in reads if site.layer == layer]
        with _read(model, here) as captured:
            past = begun(layer, copies.count) if begun else None
            if layer == model.n_layers - 1 and read_from > copies.starts[0]:
                _through_last(model, copies, inside, rows, read_from, past)
            else:
                through_block(model, copies, inside, rows, layer, beginning=past)
        activations.update(captured)
        step(len(copies.tokens))
    return copies, activations


def entered(
    model: Model, copies: Copies, cells: Sequence[Cell], rows: Int[Tensor, " row"], layer: int
) -> list[tuple[int, Edit]]:
    """Append the cells that enter at a boundary and edit what is there.

    Args:
        model: the model that runs.
        copies: the baseline and the cells appended so far, before the block.
        cells: in the order of the boundary they enter at.
        rows: the examples that the baseline's rows are.
        layer: the boundary.

    Returns:
        The edits inside of the block, each with its copy.
    """
    copies.enter(layer)
    _append_cells(model, copies, cells, rows, layer)
    between, inside = _edits(cells[: copies.count - 1], layer)
    for copy, edit in between:
        copies.apply(copy, edit, copies.tokens, rows)
    return inside


def through_block(
    model: Model,
    copies: Copies,
    inside: Sequence[tuple[int, Edit]],
    rows: Int[Tensor, " row"],
    layer: int,
    **given: Any,
) -> None:
    """Run all copies through one block, with the edits inside of it.

    Args:
        model: the model that runs.
        copies: the copies, at its entry.
        inside: the edits, each with its copy.
        rows: the examples that the baseline's rows are.
        layer: the block.
        **given: as `Copies.block_arguments` takes it.
    """
    with _attached(model, copies, inside, rows):
        output = model.bridge.blocks[layer](
            copies.block_input, **copies.block_arguments(layer, **given)
        )
    copies.tokens = first(output).flatten(0, 1)


def _through_last(
    model: Model,
    copies: Copies,
    inside: Sequence[tuple[int, Edit]],
    rows: Int[Tensor, " row"],
    read_from: int,
    beginning: tuple[Tensor, Tensor] | None,
) -> None:
    """Run all copies through the last block, positions before `read_from` up to keys and values."""
    whole, layer = WholeCache(), model.n_layers - 1
    with suppress(Enough):
        through_block(model, copies, inside, rows, layer, beginning=beginning, cache=whole.over)
    copies.cut(read_from)
    through_block(model, copies, inside, rows, layer, cache=lambda _: whole)


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
