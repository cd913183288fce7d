"""The sweep engine: every cell of a sweep in one pass whose batch grows.

Below a patched layer a run equals the unpatched one. So the engine runs the unedited prompts once,
keeps what enters each block, and climbs: at block l it appends one copy of the baseline for every
cell that first touches block l, lets each cell's edits act on its own rows at their own sites, and
lifts all rows together. L layers of P positions cost about half of L·P forwards instead of all of
them, every weight is read once per pass, and the result is exact: nothing is approximated.

The baseline row is carried through the same pass and new rows are copies of it, so an edit that
writes what is there differs from it by exactly zero. A source read in another pass carries that
pass's rounding (its matrix products have another shape): about 10⁻⁶ of a logit's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from interp.activations import QUIET_SECONDS, check_sites
from interp.metrics import Metric
from interp.models import Model
from interp.sites import Kind
from interp.tasks import Examples
from patching.interventions import Cell, Edit

#: Rows lifted together; more memory buys little speed beyond this.
MAX_ROWS = 512
#: Units of metrics that vary smoothly with the logits.
CONTINUOUS = ("logits", "nats")


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep measured.

    Attributes:
        values: metric name -> [cell, example].
        baseline: metric name -> [example], the unedited run carried in the same passes. Where a
            sweep needs several, values are put on the first pass's baseline, v - b_pass + b_first.
    """

    values: Mapping[str, Float[Tensor, "cell example"]]
    baseline: Mapping[str, Float[Tensor, " example"]]


@torch.no_grad()
def sweep(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    metrics: Mapping[str, Metric],
    *,
    max_rows: int = MAX_ROWS,
    progress: str | None = None,
) -> Swept:
    """Every cell's metrics on every example, exactly.

    Cost: Σ over cells of (L − first layer) block applications to one prompt each, plus one baseline
    per batch. Memory: about `max_rows` prompts' activations; smaller values change no number.

    Args:
        model: the model that runs.
        examples: prompts; batched by length, so none is padded.
        cells: the edits of each row.
        metrics: read at their own positions; the unembedding is computed for these rows only.
        max_rows: rows (prompts) lifted together.
        progress: label of a progress bar counted in layer-rows; None for none.

    Raises:
        ValueError: for sites the model lacks, edits of the wrong shape, or a metric that averages.
    """
    if max_rows < 2:
        raise ValueError(f"max_rows must be at least 2 (a baseline and a cell), got {max_rows}")
    for cell in cells:
        _check(model, examples, cell)
    n, device = len(examples), model.device
    dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
    values = {
        name: torch.full((len(cells), n), float("nan"), dtype=dtype, device=device) for name in metrics
    }
    baseline = {name: torch.full((n,), float("nan"), dtype=dtype, device=device) for name in metrics}
    order = sorted(range(len(cells)), key=lambda i: cells[i].first_layer)
    # Small groups of prompts leave room for many cells beside one baseline row each.
    per_batch = max(1, min(n, max_rows // 2, max(8, max_rows // (len(cells) + 1))))
    batches = [part for same in examples.by_length() for part in same.split(per_batch)]
    work = n * sum(model.n_layers - c.first_layer for c in cells)
    bar = tqdm(
        total=work,
        desc=progress,
        unit="layer-row",
        unit_scale=True,
        delay=QUIET_SECONDS,
        leave=False,
        disable=progress is None,
    )
    with bar:
        for rows in batches:
            run = _Baseline.of(model, examples, rows)
            per_pass = max(1, max_rows // len(rows) - 1)
            # Self-edits must meet their baseline in the same pass: every pass carries its own.
            for start in range(0, max(len(order), 1), per_pass):
                chosen = order[start : start + per_pass]
                final = _climb(model, run, [cells[i] for i in chosen], rows, bar)
                measured = _measure(model, run, final, rows, metrics)
                for name, result in measured.items():
                    if start == 0:
                        baseline[name][rows] = result[0]
                    at = torch.tensor(chosen, dtype=torch.long, device=device)[:, None]
                    values[name][at, rows[None]] = _anchored(
                        result[1:], result[0], baseline[name][rows], metrics[name].unit
                    )
    return Swept(values, baseline)


@dataclass(frozen=True, eq=False)
class _Baseline:
    """One batch's unedited run: what enters every block, and how the model calls its blocks."""

    inputs: list[Tensor]
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
    columns: Int[Tensor, "row position"]

    @classmethod
    def of(cls, model: Model, examples: Examples, rows: Int[Tensor, " row"]) -> _Baseline:
        start = examples.mask[rows].int().argmax(1)
        width = int(examples.lengths[rows[0]])
        columns = start[:, None] + torch.arange(width, device=start.device)
        tokens = examples.tokens[rows].gather(1, columns)
        inputs: list[Tensor] = []
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def record(_module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            rest = dict(kwargs)
            hidden, args = (args[0], args[1:]) if args else (rest.pop("hidden_states"), ())
            inputs.append(hidden)
            calls.append((args, rest))

        handles = [
            block.register_forward_pre_hook(record, with_kwargs=True) for block in model.bridge.blocks
        ]
        try:
            model.bridge(tokens, use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        return cls(inputs, calls, columns)

    @property
    def rows(self) -> int:
        return self.inputs[0].shape[0]


def _climb(
    model: Model, run: _Baseline, cells: list[Cell], rows: Int[Tensor, " row"], bar: Any
) -> Float[Tensor, "lifted position d"]:
    """Lift the baseline and every cell to the top; rows are the baseline, then cell by cell."""
    n = run.rows
    first = min((c.first_layer for c in cells), default=model.n_layers - 1)
    hidden = run.inputs[first]
    entered: list[Cell] = []
    for layer in range(first, model.n_layers):
        new = [c for c in cells if c.first_layer == layer]
        if new:
            copies = hidden[:n].repeat(len(new), 1, 1)
            hidden = torch.cat([hidden, copies])
            entered += new
        edits = [
            (slice((at + 1) * n, (at + 2) * n), edit)
            for at, cell in enumerate(entered)
            for edit in cell.edits
            if edit.site.layer == layer
        ]
        hidden = _lift(model, run, layer, hidden, edits, rows)
        bar.update(len(entered) * n)
    # `entered` is in layer order, and `cells` was given in layer order: rows match `cells`.
    return hidden


def _lift(
    model: Model,
    run: _Baseline,
    layer: int,
    hidden: Tensor,
    edits: list[tuple[slice, Edit]],
    rows: Int[Tensor, " row"],
) -> Tensor:
    """One block applied to all rows, with this layer's edits acting at their hooks."""
    args, kwargs = run.calls[layer]
    repeats = hidden.shape[0] // run.rows

    def grown(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == run.rows:
            return value if run.rows == 1 else value.repeat(repeats, *[1] * (value.ndim - 1))
        if isinstance(value, tuple | list):
            return type(value)(grown(v) for v in value)
        return value

    at: dict[str, list[tuple[slice, Edit]]] = {}
    for place, edit in edits:
        at.setdefault(edit.site.hook_name, []).append((place, edit))
    with _attached(model, at, rows, run.columns):
        out = model.bridge.blocks[layer](
            hidden, *map(grown, args), **{k: grown(v) for k, v in kwargs.items()}
        )
    return out[0] if isinstance(out, tuple) else out


@contextmanager
def _attached(
    model: Model,
    at: Mapping[str, list[tuple[slice, Edit]]],
    rows: Int[Tensor, " row"],
    columns: Int[Tensor, "row position"],
) -> Iterator[None]:
    """The edits of one block on their hook points, for one call."""

    def hook_for(edits: list[tuple[slice, Edit]]):
        def hook(act: Tensor, hook: object) -> Tensor:
            out = act.clone()
            for place, edit in edits:
                # A cell's edits at one hook act in turn, each on what the one before left.
                out[place] = _Window(edit, columns).apply(out[place], rows)
            return out

        return hook

    hooks = [(name, hook_for(edits)) for name, edits in at.items()]
    if not hooks:
        yield
        return
    with model.bridge.hooks(fwd_hooks=hooks):
        yield


@dataclass(frozen=True)
class _Window:
    """An edit seen through the real columns of one batch: padded coordinates cut away."""

    edit: Edit
    columns: Int[Tensor, "row position"]

    def apply(self, act: Tensor, rows: Int[Tensor, " row"]) -> Tensor:
        width = self.edit.where.shape[1]
        if self.columns.shape[1] == width:
            return self.edit.apply(act, rows)
        # Pad the batch back to the examples' own columns, edit there, and cut it out again.
        full = act.new_zeros(act.shape[0], width, *act.shape[2:])
        index = torch.arange(act.shape[0], device=act.device)[:, None]
        full[index, self.columns] = act
        return self.edit.apply(full, rows)[index, self.columns]


def _measure(
    model: Model,
    run: _Baseline,
    final: Float[Tensor, "lifted position d"],
    rows: Int[Tensor, " row"],
    metrics: Mapping[str, Metric],
) -> dict[str, Float[Tensor, "copy row"]]:
    """Read the metrics at their positions, the baseline first; logits of these rows only."""
    repeats = final.shape[0] // run.rows
    example = rows.repeat(repeats)
    offset = run.columns[:, 0].repeat(repeats)
    index = torch.arange(len(example), device=final.device)
    dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
    found = {}
    for positions, names in _by_position(metrics):
        read = final[index, positions[example] - offset]
        whole = any(metrics[name].tokens is None for name in names)
        logits = model.readout(read) if whole else None
        for name in names:
            tokens = metrics[name].tokens
            if logits is None:
                seen = model.readout(read, tokens)
            else:
                seen = logits if tokens is None else logits[:, tokens]
            found[name] = metrics[name](seen, example).to(dtype).reshape(repeats, run.rows)
    return found


def _anchored(
    values: Float[Tensor, "cell row"],
    carried: Float[Tensor, " row"],
    first: Float[Tensor, " row"],
    unit: str,
) -> Float[Tensor, "cell row"]:
    """One pass's values on the first pass's baseline, so that rounding between passes cancels.

    Counts (shares, ids) are left as they are.
    """
    if unit not in CONTINUOUS:
        return values
    moved = torch.isfinite(carried) & torch.isfinite(first) & (carried != first)
    return torch.where(moved, values - carried + first, values)


def _by_position(metrics: Mapping[str, Metric]) -> list[tuple[Tensor, list[str]]]:
    """Metrics that read at the same positions share one unembedding."""
    found: list[tuple[Tensor, list[str]]] = []
    for name, metric in metrics.items():
        for positions, names in found:
            if torch.equal(positions, metric.positions):
                names.append(name)
                break
        else:
            found.append((metric.positions, [name]))
    return found


def _check(model: Model, examples: Examples, cell: Cell) -> None:
    check_sites(model, [edit.site for edit in cell.edits])
    for edit in cell.edits:
        if edit.site.kind is Kind.EMBED:
            raise ValueError("the engine edits blocks; for the embedding use resid_pre of block 0")
        if edit.site.kind is Kind.PATTERN:
            raise ValueError(
                f"an edit writes vectors at positions; {edit.site} holds one row of queries by keys "
                "per head; edit z, q, k or v instead"
            )
        if edit.where.shape != examples.tokens.shape:
            raise ValueError(
                f"an edit's positions at {edit.site} must have the examples' shape "
                f"{tuple(examples.tokens.shape)}; got {tuple(edit.where.shape)}"
            )
