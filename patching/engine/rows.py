"""From a sweep's numbers to Evidence rows: one home for the columns every sweep shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric
from interp.metrics.base import UNNAMED
from interp.models.model import Model
from patching.engine.sweeping import Swept
from patching.interventions.cells import Cell


def evidence(
    swept: Swept,
    examples: Examples,
    metrics: Mapping[str, Metric],
    cells: Sequence[Mapping[str, Any]],
    *,
    model: Model,
    baseline: Mapping[str, Any] | None = None,
    **constants: Any,
) -> Evidence:
    """Rows cell × example × metric; what is NaN has no row.

    Args:
        swept: the numbers.
        examples: the prompts they are of.
        metrics: by name, as in `swept`.
        cells: the columns of each cell.
        model: the one that ran; its role is a column, its name and what unnamed metrics measure are
            provenance.
        baseline: columns under which the unedited run is added; None for none.
        **constants: columns of all rows.
    """
    parts = []
    for name, metric in metrics.items():
        rows, columns = ([swept.values[name]] if cells else []), list(cells)
        if baseline is not None:
            # The unedited run is one more cell.
            rows.append(swept.baseline[name][None])
            columns.append(baseline)
        if columns:
            values = torch.cat([part.to(rows[0]) for part in rows])
            same = {"model": model.role, **constants}
            parts.append(_rows(values, columns, name, metric, examples, same))
    measured = parts[0] if len(parts) == 1 else Evidence.concat(parts)
    return measured.with_provenance(**noted(model, metrics))


def noted(model: Model, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What a caption tells beside the table: the model's name, and what unnamed metrics measure."""
    measures = {name: m.measure for name, m in metrics.items() if name == UNNAMED and m.measure}
    return {model.role: {"source": model.name}, "measures": measures}


def present(
    values: Float[Tensor, "cell example"], cells: Sequence[Cell], examples: Examples
) -> Float[Tensor, "cell example"]:
    """The values of cells that write somewhere in the example; NaN, and so no row, for the others.

    A grid over positions is as wide as the longest prompt: what lies past a shorter one is padding.
    """
    by_mask: dict[int, Tensor] = {}
    for where in (edit.where for cell in cells for edit in cell.edits):
        by_mask.setdefault(id(where), (where & examples.mask).any(1))
    real = [torch.stack([by_mask[id(e.where)] for e in cell.edits]).any(0) for cell in cells]
    return values.masked_fill(~torch.stack(real).to(values.device), float("nan")) if real else values


def with_present(swept: Swept, cells: Sequence[Cell], examples: Examples) -> Swept:
    """The sweep without the values of cells that write nowhere in an example; see `present`."""
    values = {name: present(part, cells, examples) for name, part in swept.values.items()}
    return Swept(values, swept.baseline)


def _rows(
    values: Tensor,
    cells: Sequence[Mapping[str, Any]],
    name: str,
    metric: Metric,
    examples: Examples,
    constants: Mapping[str, Any],
) -> Evidence:
    """Rows of one metric, without those that were not measured."""
    n = len(examples)
    flat = values.detach().cpu().double().numpy().reshape(-1)
    measured = ~np.isnan(flat)
    columns: dict[str, Any] = {
        "example": np.tile(np.arange(n), len(cells)),
        "group": np.tile(np.array(examples.groups, dtype=object), len(cells)),
        "template": np.tile(np.array(examples.templates, dtype=object), len(cells)),
        "metric": np.full(len(flat), name, dtype=object),
        "unit": np.full(len(flat), metric.unit, dtype=object),
    }
    for key in {k for cell in cells for k in cell} | set(constants):
        per_cell = np.array([cell.get(key, constants.get(key)) for cell in cells], dtype=object)
        columns[key] = np.repeat(per_cell, n)
    return Evidence.build(flat[measured], **{k: v[measured] for k, v in columns.items()})
