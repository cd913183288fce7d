"""The sweep engine: every cell of a sweep in passes whose batch grows over a frozen prefix.

Below a patched block and left of a patched position a run equals the unedited one. So the engine
runs the unedited prompts once, keeps what enters each block with its keys and values, and climbs: at
block l it appends one copy of the baseline for every cell that first touches block l, lets each
cell's edits act on its own rows at their own sites, and lifts all rows together, computing only the
positions from the first edited one on. L layers of P positions cost about a quarter of L·P forwards,
every weight is read once per pass, and the result is exact: nothing is approximated.

The baseline row is carried through the same pass and new rows are copies of it. A row of which no
edit has changed a number is the baseline, and is given the baseline's value: an edit that writes what
is there has an effect of exactly zero, however kernels round equal rows in different places. A source
read in another pass carries that pass's rounding, and its effect is as small as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import capture, check_sites, in_columns
from interp.examples import Examples
from interp.metrics import Metric, logits_of, named_metrics
from interp.models.model import Model
from interp.progress import counted
from interp.sites import RESIDUAL_KINDS, Kind, Site
from patching.engine.copies import Lifted, climb
from patching.engine.reuse import reuse
from patching.engine.schedule import MAX_BYTES, Shape, schedule
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit

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
    corruption: Edit | None = None,
    max_bytes: int = MAX_BYTES,
    progress: str | None = None,
) -> Swept:
    """Every cell's metrics on every example, exactly.

    Cost: Σ over cells of (L − first layer) block applications to the positions from the cell's
    first edited one on, plus a baseline per pass; `patching.plan` tells it beforehand.

    Args:
        model: the model that runs.
        examples: prompts; batched by length, so none is padded.
        cells: the edits of each row.
        metrics: read at their own positions; the unembedding is computed for these rows only.
        corruption: an edit of the embedding or of what enters block 0 that every run suffers, the
            baseline and all cells alike (noise, for causal tracing).
        max_bytes: memory for activations beside the model; smaller values change no number.
        progress: label of a progress bar counted in layer-tokens; None for none.

    Raises:
        ValueError: for sites the model lacks, edits of the wrong shape, a metric that averages, or
            a budget that cannot hold one prompt.
    """
    metrics = named_metrics(metrics, examples)
    check_cells(model, examples, cells)
    if corruption is not None:
        check_cells(model, examples, [Cell((corruption,))])
    n, device = len(examples), model.device
    dtype = model.metric_dtype
    values = {
        name: torch.full((len(cells), n), float("nan"), dtype=dtype, device=device) for name in metrics
    }
    baseline = {name: torch.full((n,), float("nan"), dtype=dtype, device=device) for name in metrics}
    for one in _lifted(model, examples, cells, max_bytes, progress, corruption=corruption):
        chosen = torch.tensor(one.cells, dtype=torch.long, device=device)[:, None]
        for name, found in _measure(model, one, metrics).items():
            first = torch.where(baseline[name][one.rows].isnan(), found[0], baseline[name][one.rows])
            baseline[name][one.rows] = first
            values[name][chosen, one.rows[None]] = _anchored(
                found[1:], found[0], first, metrics[name].unit
            )
    return Swept(values, baseline)


@torch.no_grad()
def record(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    sites: Sequence[Site],
    *,
    max_bytes: int = MAX_BYTES,
    progress: str | None = None,
) -> dict[Site, Float[Tensor, "cell example position *d"]]:
    """Activations of the edited runs: what each cell's edits make of these sites.

    NaN at padding. A site that a cell also edits is read before its edit: what the run would have
    there. A site below a cell's first block holds the baseline's activation. Nothing above the
    highest site runs.

    Raises:
        ValueError: as `sweep`; also without cells.
    """
    if not cells:
        raise ValueError("record needs at least one cell, got none; for unedited runs use collect")
    check_cells(model, examples, cells)
    check_sites(model, sites)
    kept: dict[Site, Tensor] = {}
    shape = (len(cells), *examples.tokens.shape)
    for one in _lifted(model, examples, cells, max_bytes, progress, reads=tuple(sites)):
        n = len(one.rows)
        for site, value in one.read.items():
            lifted = value.reshape(-1, n, *value.shape[1:])
            if site not in kept:
                kept[site] = value.new_full((*shape, *lifted.shape[3:]), float("nan"))
            for at, cell in enumerate(one.cells):
                # Cells that enter above this site have no row here: theirs is the baseline's.
                own = lifted[at + 1] if at + 1 < len(lifted) else lifted[0]
                kept[site][cell][one.rows[:, None], one.final.run.columns] = own
    return kept


@torch.no_grad()
def observe(
    model: Model,
    examples: Examples,
    sites: Sequence[Site],
    metrics: Mapping[str, Metric],
    *,
    batch_size: int = 64,
) -> tuple[dict[Site, Float[Tensor, "example position *d"]], Swept]:
    """Unedited runs read at sites (all positions, NaN at padding) and by metrics, in one forward.

    The same as `collect` and a sweep without cells, at half their cost.

    Raises:
        ValueError: for sites the model lacks, or a metric that averages.
    """
    check_sites(model, sites)
    kept: dict[Site, Tensor] = {}
    n, padded = examples.tokens.shape
    found = {name: torch.full((n,), float("nan"), device=model.device) for name in metrics}
    for rows in (part for same in examples.by_length() for part in same.split(batch_size)):
        with capture(model, sites) as seen:
            run = Baseline.of(model, examples, rows, keep=False)
        for site, value in seen.items():
            if site.kind is Kind.PATTERN:
                value = in_columns(value, run.columns, padded)
            if site not in kept:
                kept[site] = value.new_full((n, padded, *value.shape[2:]), float("nan"))
            kept[site][rows[:, None], run.columns] = value
        top = Lifted.of(run, (0,), False, model.n_layers)
        for name, values in _measure(model, _Pass(rows, (), top, {}), metrics).items():
            found[name] = found[name].to(values.dtype)
            found[name][rows] = values[0]
    empty = {name: values.new_empty(0, n) for name, values in found.items()}
    return kept, Swept(empty, found)


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass's results: the rows are the baseline, then cell by cell."""

    rows: Int[Tensor, " row"]
    cells: tuple[int, ...]
    final: Lifted
    read: Mapping[Site, Tensor]


def _lifted(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    max_bytes: int,
    progress: str | None,
    *,
    reads: Sequence[Site] = (),
    corruption: Edit | None = None,
) -> Iterator[_Pass]:
    """Run every pass of the schedule."""
    ways = reuse(model)
    shape, prefix = Shape.of(model), ways.prefix and not reads
    batches = schedule(shape, examples, cells, max_bytes, prefix=prefix, packed=ways.packed)
    total = sum(one.layer_tokens for batch in batches for one in batch.passes)
    with counted(total, progress, "layer-tokens") as step:
        for batch in batches:
            run = Baseline.of(model, examples, batch.rows, corruption, keep=prefix)
            for one in batch.passes:
                part, rows = run.part(one.part), batch.rows[one.part]
                final, read = climb(
                    model,
                    part,
                    [cells[i] for i in one.cells],
                    rows,
                    starts=one.starts if prefix else None,
                    packed=one.packed,
                    reads=reads,
                    step=step,
                )
                yield _Pass(rows, one.cells, final, read)


def _measure(
    model: Model, one: _Pass, metrics: Mapping[str, Metric]
) -> dict[str, Float[Tensor, "copy row"]]:
    """Read the metrics at their positions, the baseline first; logits of these rows only."""
    n, copies = len(one.rows), one.final.copies
    dtype = model.metric_dtype
    example = one.rows.repeat(copies)
    found = {}
    for positions, names in _by_position(metrics):
        first = one.final.run.columns[:, 0]
        read = one.final.at(positions[one.rows] - first).flatten(0, 1)
        whole = any(metrics[name].tokens is None for name in names)
        logits = model.readout(read) if whole else None
        for name in names:
            tokens = metrics[name].tokens
            if logits is None:
                seen = model.readout(read, tokens)
            else:
                every = tokens is None
                seen = logits if every else logits_of(logits, tokens.expand(len(logits), -1))
            values = metrics[name](seen, example).to(dtype).reshape(copies, n)
            found[name] = torch.where(one.final.changed[:copies], values, values[:1])
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


def check_cells(model: Model, examples: Examples, cells: Sequence[Cell]) -> None:
    """Refuse edits at sites the model lacks, or whose positions or tensors do not fit the examples.

    Raises:
        ValueError: one line with what was got, expected, and what to do.
    """
    sites = dict.fromkeys(edit.site for cell in cells for edit in cell.edits)
    if cells:
        check_sites(model, list(sites))
    for edit in (edit for cell in cells for edit in cell.edits):
        if edit.where.shape != examples.tokens.shape:
            raise ValueError(
                f"an edit's positions at {edit.site} must have the examples' shape "
                f"{tuple(examples.tokens.shape)}; got {tuple(edit.where.shape)}; "
                "take them from Examples.span_mask"
            )
        if edit.site.kind in RESIDUAL_KINDS or edit.site.kind is Kind.EMBED:
            edit.check((model.d_model,))
