"""The sweep engine: every cell of a sweep in passes whose batch grows over a frozen prefix.

Below a patched block and left of a patched position a run equals the unedited one. So the engine
runs the unedited prompts once and keeps what enters each block with its keys and values. Then it goes
up block by block: at block l it appends one copy of the baseline for every cell that first touches
block l, lets each cell's edits act on its own rows at their own sites, and runs all rows together,
computing only the positions from the first edited one on. L layers of P positions cost about a
quarter of L·P forwards, every weight is read once per pass, and the result is exact: nothing is
approximated.

The baseline row is carried through the same pass and new rows are copies of it. A row of which no
edit has changed a number is the baseline, and is given the baseline's value: an edit that writes what
is there has an effect of exactly zero, however kernels round equal rows in different places. A source
read in another pass carries that pass's rounding, and its effect is as small as that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp._aliases import formerly
from interp.activations import capture, check_sites, in_columns
from interp.arguments import sites_of
from interp.display.html import Shown
from interp.examples import Examples
from interp.metrics import Metric, logits_of, named_metrics
from interp.models.model import Model
from interp.sites import RESIDUAL_KINDS, Kind, Site
from patching.engine.copies import Copies
from patching.engine.passes import Passes, Ran
from patching.engine.schedule import MAX_BYTES
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit

#: Units of metrics that vary smoothly with the logits.
CONTINUOUS = ("logits", "nats")


@dataclass(frozen=True, eq=False, repr=False)
class Swept(Shown):
    """What a sweep measured.

    Attributes:
        values: metric name -> [cell, example].
        baseline: metric name -> [example], the unedited run carried in the same passes. Where a
            sweep needs several, values are put on the first pass's baseline, v - b_pass + b_first.
    """

    values: Mapping[str, Float[Tensor, "cell example"]]
    baseline: Mapping[str, Float[Tensor, " example"]]

    def spread(self, numbers: Sequence[int | None]) -> Swept:
        """The values of more cells, each of which is known to give what a swept one does.

        Args:
            numbers: for each of them the swept cell; None for the unedited run.
        """
        if not numbers:
            return self
        values = {
            name: torch.stack([self.baseline[name] if i is None else swept[i] for i in numbers])
            for name, swept in self.values.items()
        }
        return Swept(values, self.baseline)


@formerly(metrics="metric")
@torch.no_grad()
def sweep(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
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
        metric: one metric or several (by name, or a list), read at their own positions; the
            unembedding is computed for these rows only.
        corruption: an edit of the embedding or of what enters block 0 that every run suffers, the
            baseline and all cells alike (noise, for causal tracing).
        max_bytes: memory in bytes for activations beside the model; smaller values change no number.
        progress: label of a progress bar counted in layer-tokens; None for none.

    Returns:
        By name of the metric, its values [cell, example] and those of the unedited run, [example].

    Raises:
        ValueError: for sites the model lacks, edits of the wrong shape, a metric that averages, or
            a budget that cannot hold one prompt.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> everywhere = prompts.span_mask("all")
        >>> sites = interp.every_layer(interp.Kind.MLP_OUT, model.n_layers)
        >>> cells = [patching.Cell((patching.Edit(s, everywhere, patching.Zero()),)) for s in sites]
        >>> swept = patching.sweep(model, prompts, cells, {"top": lambda logits: logits.max()})
        >>> tuple(swept.values["top"].shape), tuple(swept.baseline["top"].shape)
        ((6, 1), (1,))
    """
    metrics = named_metrics(metric, examples)
    check_cells(model, examples, cells)
    if corruption is not None:
        check_cells(model, examples, [Cell((corruption,))])
    n, device = len(examples), model.device
    dtype = model.metric_dtype
    values = {
        name: torch.full((len(cells), n), float("nan"), dtype=dtype, device=device) for name in metrics
    }
    baseline = {name: torch.full((n,), float("nan"), dtype=dtype, device=device) for name in metrics}
    read = [m.positions.to(device) - examples.starts for m in metrics.values()]
    every = Passes(
        model,
        examples,
        cells,
        max_bytes,
        progress,
        corruption=corruption,
        read_from=torch.stack(read).amin(0) if read else None,
    )
    for rows, numbers, measured in every.run("sweep", partial(_measure, model, metrics)):
        chosen = torch.tensor(numbers, dtype=torch.long, device=device)[:, None]
        for name, read in measured.items():
            read = read.to(device)
            kept = baseline[name][rows]
            first = torch.where(kept.isnan(), read[0], kept)
            baseline[name][rows] = first
            values[name][chosen, rows[None]] = _anchored(read[1:], read[0], first, metrics[name].unit)
    return Swept(values, baseline)


@torch.no_grad()
def record(
    model: Model,
    examples: Examples,
    cells: Sequence[Cell],
    sites: Site | Sequence[Site],
    *,
    max_bytes: int = MAX_BYTES,
    progress: str | None = None,
) -> dict[Site, Float[Tensor, "cell example position *d"]]:
    """Activations of the edited runs: what each cell's edits make of these sites.

    A site that a cell also edits is read before its edit: what the run would have there. A site below
    a cell's first block holds the baseline's activation. Nothing above the highest site runs.

    Args:
        model: the model that runs.
        examples: prompts; batched by length, so none is padded.
        cells: the edits of each row.
        sites: which activations are returned.
        max_bytes: memory in bytes for activations beside the model; changes no number.
        progress: label of a progress bar counted in layer-tokens; None for none.

    Returns:
        By site, activations [cell, example, position, *d]; NaN at padding.

    Raises:
        ValueError: as `sweep`; also without cells.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> silent = patching.Edit(interp.Site(interp.Kind.MLP_OUT, 0), prompts.mask, patching.Zero())
        >>> residual = interp.Site(interp.Kind.RESID_POST, 3)
        >>> activations = patching.record(model, prompts, [patching.Cell((silent,))], [residual])
        >>> tuple(activations[residual].shape)
        (1, 1, 6, 64)
    """
    if not cells:
        raise ValueError("record needs at least one cell, got none; for unedited runs use collect")
    sites = sites_of(sites)
    check_cells(model, examples, cells)
    check_sites(model, sites)
    activations: dict[Site, Tensor] = {}
    shape = (len(cells), *examples.tokens.shape)
    every = Passes(model, examples, cells, max_bytes, progress, reads=tuple(sites))
    for rows, numbers, read in every.run("record", partial(_read_sites, sites), dealt=False):
        columns = examples.columns(rows)
        for site, value in zip(sites, read, strict=True):
            value = value.to(model.device)
            if site.kind is Kind.PATTERN:
                value = in_columns(value, columns.repeat(len(value) // len(rows), 1), shape[-1])
            by_copy = value.reshape(-1, len(rows), *value.shape[1:])
            if site not in activations:
                activations[site] = by_copy.new_full((*shape, *by_copy.shape[3:]), float("nan"))
            for copy, cell in enumerate(numbers, start=1):
                # Cells that enter above this site have no copy here: theirs is the baseline's.
                held = by_copy[copy] if copy < len(by_copy) else by_copy[0]
                activations[site][cell][rows[:, None], columns] = held
    return activations


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
    activations: dict[Site, Tensor] = {}
    n, padded = examples.tokens.shape
    measured = {name: torch.full((n,), float("nan"), device=model.device) for name in metrics}
    for rows in (part for same in examples.by_length() for part in same.split(batch_size)):
        with capture(model, sites) as captured:
            run = Baseline.of(model, examples, rows, keep=False)
        for site, value in captured.items():
            if site.kind is Kind.PATTERN:
                value = in_columns(value, run.columns, padded)
            if site not in activations:
                activations[site] = value.new_full((n, padded, *value.shape[2:]), float("nan"))
            activations[site][rows[:, None], run.columns] = value
        top = Copies.of(run, (0,), False, model.n_layers)
        for name, values in _measure(model, metrics, Ran(rows, top, {})).items():
            measured[name] = measured[name].to(values.dtype)
            measured[name][rows] = values[0]
    empty = {name: values.new_empty(0, n) for name, values in measured.items()}
    return activations, Swept(empty, measured)


def _read_sites(sites: Sequence[Site], done: Ran) -> list[Tensor]:
    """The activations of one pass, in the order of the sites."""
    return [done.read[site] for site in sites]


def _measure(
    model: Model, metrics: Mapping[str, Metric], done: Ran
) -> dict[str, Float[Tensor, "copy row"]]:
    """Read the metrics at their positions, the baseline first; logits of these rows only."""
    n, copies = len(done.rows), done.final.count
    dtype = model.metric_dtype
    example = done.rows.repeat(copies)
    measured = {}
    for positions, given, names in _read_together(metrics):
        reader = given or model
        first = done.final.baseline.columns[:, 0]
        residual = done.final.residual_at(positions[done.rows] - first).flatten(0, 1)
        whole = any(metrics[name].tokens is None for name in names)
        logits = reader.readout(residual) if whole else None
        for name in names:
            tokens = metrics[name].tokens
            if logits is None:
                wanted = reader.readout(residual, tokens)
            elif tokens is None:
                wanted = logits
            else:
                wanted = logits_of(logits, tokens.expand(len(logits), -1))
            values = metrics[name](wanted, example).to(dtype).reshape(copies, n)
            measured[name] = torch.where(done.final.changed[:copies], values, values[:1])
    return measured


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


def _read_together(
    metrics: Mapping[str, Metric],
) -> list[tuple[Tensor, Model | None, list[str]]]:
    """Metrics that one model reads at the same positions share one unembedding."""
    grouped: list[tuple[Tensor, Model | None, list[str]]] = []
    for name, metric in metrics.items():
        for positions, reader, names in grouped:
            if reader is metric.reader and torch.equal(positions, metric.positions):
                names.append(name)
                break
        else:
            grouped.append((metric.positions, metric.reader, [name]))
    return grouped


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
