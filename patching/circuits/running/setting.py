"""What every measurement of circuits is of: a model, pairs, a metric, and what ablated edges carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from patching.attribution.gradients import Batch, batches
from patching.circuits.running.ablations import Ablation, Source, ablated_outputs
from patching.circuits.running.parts import Nodes, Parts
from patching.engine.schedule import MAX_BYTES
from patching.places import positions_named


class Choices(TypedDict, total=False):
    """What every measurement of circuits lets its caller choose; `Setting.of` has the defaults.

    Attributes:
        ablation: what an ablated edge carries.
        positions: where edges are ablated: "all", or the name of a span or position.
        reference: prompts behind means and resampling; the clean ones by default.
        max_bytes: memory in bytes for activations beside the model; changes no number.
    """

    ablation: Ablation
    positions: str | int
    reference: Examples | None
    max_bytes: int


def require_numbers(values: Float[Tensor, "*copy"], rows: Int[Tensor, " row"]) -> None:
    """Hold what a metric read to numbers: no edge is found by what is none.

    Args:
        values: of several copies of some prompts, copy by copy.
        rows: the prompts.

    Raises:
        ValueError: with the first prompt on which it is NaN.
    """
    missing = values.isnan().flatten()
    if bool(missing.any()):
        row = int(rows[int(missing.int().argmax()) % len(rows)])
        raise ValueError(
            f"the metric got no number (NaN) on prompt {row}; expected a number on every run; mend it, "
            "or leave the prompt out"
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch of pairs of one length: the clean run, and what ablated edges carry.

    Attributes:
        batch: the pairs.
        nodes: their clean run.
        ablated: what each source's ablated output is.
        where: at which positions edges are ablated; None for all.
    """

    batch: Batch
    nodes: Nodes
    ablated: Float[Tensor, "source row position d"]
    where: Bool[Tensor, "row position"] | None

    @property
    def change(self) -> Float[Tensor, "source row position d"]:
        """What ablating an edge takes away: the clean output less the ablated one, where so."""
        change = self.nodes.outputs - self.ablated
        return change if self.where is None else change * self.where[..., None]

    @property
    def carried(self) -> Float[Tensor, "source row position d"]:
        """What ablated edges carry: the ablated output where edges are ablated, elsewhere the clean."""
        if self.where is None:
            return self.ablated
        return torch.where(self.where[..., None], self.ablated, self.nodes.outputs)


@dataclass(frozen=True, eq=False)
class Setting:
    """A model on pairs, read by a metric, with what edges out of a circuit carry.

    Attributes:
        parts: the model, taken apart.
        contrast: the pairs; clean prompts run.
        metric: read on them.
        ablation: what ablated edges carry.
        positions: where edges are ablated: "all", or the name of a span or position.
        source: makes the ablated outputs.
        max_bytes: memory for activations beside the model; changes no number.
    """

    parts: Parts
    contrast: Contrast
    metric: Metric
    ablation: Ablation
    positions: str | int
    source: Source
    max_bytes: int = MAX_BYTES
    _kept: list[Prepared] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        model: Model,
        contrast: Contrast,
        metric: Metric | Callable[..., Any],
        seed: int = 0,
        *,
        ablation: Ablation = "counterfactual",
        positions: str | int = "all",
        reference: Examples | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Setting:
        """Take a model apart and prepare what its ablated edges carry.

        Raises:
            ValueError: for a model that is no sum of heads and MLPs, an ablation or positions that are
                not known.
        """
        parts = Parts.of(model)
        source = ablated_outputs(parts, contrast, ablation, reference, seed)
        positions_named(contrast.clean, positions)
        metric = as_metric(metric, contrast.clean)
        return cls(parts, contrast, metric, ablation, positions, source, max_bytes)

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self.parts.model

    @property
    def pairs_together(self) -> int:
        """How many pairs are prepared together within the memory."""
        width = self.contrast.clean.tokens.shape[1]
        size = torch.empty(0, dtype=self.model.dtype).element_size()
        one = self.parts.graph.n_forward * width * self.model.d_model * size
        return max(1, self.max_bytes // (8 * one))

    def prepared(self, what: str | None = None) -> Iterator[Prepared]:
        """Every batch, made anew unless all fitted into one.

        Args:
            what: names the work for a progress bar.
        """
        if self._kept:
            yield self._kept[0]
            return
        where = positions_named(self.contrast.clean, self.positions)
        for batch in batches(self.contrast, self.pairs_together, what):
            nodes = self.parts.record(batch.clean)
            columns = self.contrast.clean.columns(batch.rows)
            here = where[batch.rows].gather(1, columns) if self.positions != "all" else None
            made = Prepared(batch, nodes, self.source(batch, nodes), here)
            if len(batch.rows) == len(self.contrast):
                self._kept.append(made)
            yield made

    def read(
        self, residual: Float[Tensor, "copy row position d"], batch: Batch
    ) -> Float[Tensor, "copy row"]:
        """The metric of several copies of a batch, from the residual stream after the last block."""
        columns = self.contrast.clean.columns(batch.rows)
        position = self.metric.positions[batch.rows] - columns[:, 0]
        row = torch.arange(len(batch.rows), device=residual.device)
        last = residual[:, row, position].flatten(0, 1)
        reader = self.metric.reader or self.model
        logits = reader.readout(last, self.metric.tokens)
        values = self.metric(logits, batch.rows.repeat(len(residual)))
        require_numbers(values, batch.rows)
        return values.to(self.model.metric_dtype).unflatten(0, (len(residual), -1))

    def about(self) -> Mapping[str, str]:
        """The choices that every result names."""
        return {"level": "edges", "ablation": self.ablation, "positions": str(self.positions)}
