"""Every edge patched by itself, exactly, on the sweep engine.

Along one edge the source's ablated output is carried, along all others what the clean run writes: the
destination reads the residual stream less the source's output plus its ablated one, through the
model's own norm. What the destination makes of it, a head's queries, keys or values or an MLP's
output, is worked out for all sources of a layer together, and written into a copy of the clean run
that starts at the destination's block and at the first position that differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.progress import tracked
from interp.sites import Kind, Site
from patching.circuits.graph import SLOTS
from patching.circuits.running.parts import KINDS
from patching.circuits.running.setting import Prepared, Setting, require_numbers
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace


def exact_scores(
    setting: Setting, edges: Bool[Tensor, " edge"] | None = None
) -> Float[Tensor, "edge example"]:
    """Metric of the clean run less that of the run with one edge ablated, for every edge and pair.

    Args:
        setting: the model, the pairs, the metric and the ablation.
        edges: True at those that are patched; all by default. The others are NaN.
    """
    graph = setting.parts.graph
    chosen = graph.mask() if edges is None else edges
    scores = torch.full(
        (graph.n_edges, len(setting.contrast)),
        float("nan"),
        dtype=setting.model.metric_dtype,
        device=setting.model.device,
    )
    for prepared in setting.prepared():
        _score_batch(setting, prepared, chosen, scores)
    return scores


def _score_batch(
    setting: Setting, prepared: Prepared, chosen: Bool[Tensor, " edge"], scores: Tensor
) -> None:
    """Fill in one batch's scores."""
    rows = prepared.batch.rows
    examples = setting.contrast.clean.subset(rows.tolist())
    metrics = {"metric": setting.metric.subset(rows)}
    waiting: list[tuple[int, Cell]] = []
    size = 0

    def flush() -> None:
        swept = sweep(
            setting.model,
            examples,
            [cell for _, cell in waiting],
            metrics,
            max_bytes=setting.max_bytes // 2,
        )
        require_numbers(torch.stack([*swept.baseline.values(), *swept.values["metric"]]), rows)
        numbers = torch.tensor([number for number, _ in waiting], device=rows.device)
        scores[numbers[:, None], rows] = swept.baseline["metric"] - swept.values["metric"]
        waiting.clear()

    change = _Change.of(setting, prepared)
    for layer in tracked(range(setting.parts.graph.n_layers + 1), "edges", "layers"):
        for number, cell, held in _Layer(setting, prepared, layer, change).cells(chosen):
            waiting.append((number, cell))
            size += held
            if size > setting.max_bytes // 4:
                flush()
                size = 0
    if waiting:
        flush()


@dataclass(frozen=True, eq=False)
class _Change:
    """What ablated sources take away, from the first position on at which anything is.

    Attributes:
        lost: the clean outputs less the ablated ones, from that position on.
        start: the position.
        where: the positions from there on, in the prompts' own columns.
        columns: their columns.
    """

    lost: Float[Tensor, "source row position d"]
    start: int
    where: Bool[Tensor, "row column"]
    columns: Int[Tensor, "row position"]

    @classmethod
    def of(cls, setting: Setting, prepared: Prepared) -> _Change:
        """Find out where the runs begin to differ."""
        change = prepared.change
        start = int((change != 0).any(-1).any(0).any(0).int().argmax())
        columns = setting.contrast.clean.columns(prepared.batch.rows)[:, start:]
        where = torch.zeros_like(setting.contrast.clean.mask[prepared.batch.rows])
        return cls(change[:, :, start:].contiguous(), start, where.scatter_(1, columns, True), columns)

    def placed(
        self, values: Float[Tensor, "source row position *d"]
    ) -> Float[Tensor, "source row column *d"]:
        """Values from the start on, in the prompts' own columns; zero elsewhere."""
        rows, columns = self.where.shape
        full = values.new_zeros(len(values), rows, columns, *values.shape[3:])
        full[:, torch.arange(rows, device=values.device)[:, None], self.columns] = values
        return full


@dataclass(frozen=True, eq=False)
class _Layer:
    """The edges into one block of one batch of prompts; into the logits at the last boundary.

    Attributes:
        setting: the model and the ablation.
        prepared: the batch.
        layer: the block, or L.
        change: what ablated sources take away.
    """

    setting: Setting
    prepared: Prepared
    layer: int
    change: _Change

    def cells(self, chosen: Bool[Tensor, " edge"]) -> Iterator[tuple[int, Cell, int]]:
        """(number of the edge, its cell, bytes that it holds) for each chosen edge into this block."""
        graph, layer = self.setting.parts.graph, self.layer
        slots = graph.n_heads + 2 * graph.n_groups
        first = layer * (slots + 1)
        if layer == graph.n_layers:
            last = Site(Kind.RESID_POST, layer - 1)
            for number, source in self._sources(first, chosen):
                lost = self.change.placed(-self.change.lost[source : source + 1])[0]
                yield self._cell(number, last, Add, lost)
            return
        for slot in SLOTS:
            yield from self._slot_cells(slot, first, chosen)
            first += self.setting.parts.heads(slot)
        yield from self._mlp_cells(first, chosen)

    def _sources(self, destination: int, chosen: Bool[Tensor, " edge"]) -> list[tuple[int, int]]:
        """(edge, source) of the chosen edges into a destination."""
        graph = self.setting.parts.graph
        sources = chosen[graph.edges_into(destination)].nonzero()[:, 0].tolist()
        return [(graph.starts[destination] + source, source) for source in sources]

    def _slot_cells(
        self, slot: str, first: int, chosen: Bool[Tensor, " edge"]
    ) -> Iterator[tuple[int, Cell, int]]:
        """Edges into all heads' queries, keys or values."""
        parts = self.setting.parts
        wanted = [self._sources(first + head, chosen) for head in range(parts.heads(slot))]
        sources = sorted({source for edges in wanted for _, source in edges})
        before = self.prepared.nodes.inputs[self.layer][:, self.change.start :]
        for some in self._together(sources):
            normed = parts.norm(self.layer, "attn")(before - self.change.lost[some])
            made = self.change.placed(parts.project(self.layer, slot, normed))
            where_of = {source: i for i, source in enumerate(some)}
            for head, edges in enumerate(wanted):
                site = Site(KINDS[slot], self.layer, head)
                for number, source in edges:
                    if source in where_of:
                        value = made[where_of[source]][:, :, head]
                        yield self._cell(number, site, Replace, value)

    def _mlp_cells(
        self, destination: int, chosen: Bool[Tensor, " edge"]
    ) -> Iterator[tuple[int, Cell, int]]:
        """Edges into the MLP: what it writes less is added behind its block."""
        parts, graph = self.setting.parts, self.setting.parts.graph
        site = Site(Kind.RESID_POST, self.layer)
        node = 1 + self.layer * (graph.n_heads + 1) + graph.n_heads
        before = self.prepared.nodes.middles[self.layer][:, self.change.start :]
        clean = self.prepared.nodes.outputs[node][:, self.change.start :]
        numbers = dict((source, number) for number, source in self._sources(destination, chosen))
        for some in self._together(list(numbers)):
            normed = parts.norm(self.layer, "mlp")(before - self.change.lost[some])
            made = parts.mlp(self.layer, normed.flatten(0, 1)).unflatten(0, normed.shape[:2])
            changed = self.change.placed(made - clean)
            for source, value in zip(some, changed, strict=True):
                yield self._cell(numbers[source], site, Add, value)

    def _together(self, sources: list[int]) -> Iterator[list[int]]:
        """The sources, some at a time, as memory allows."""
        if not sources:
            return
        lost = self.change.lost
        hidden = int(getattr(self.setting.model.bridge.cfg, "d_mlp", None) or 0)
        one = lost[0].numel() * lost.element_size() * (4 + hidden / lost.shape[-1])
        step = max(1, int(self.setting.max_bytes / (8 * one)))
        for start in range(0, len(sources), step):
            yield sources[start : start + step]

    def _cell(
        self,
        number: int,
        site: Site,
        kind: type[Add | Replace],
        value: Float[Tensor, "row column d"],
    ) -> tuple[int, Cell, int]:
        """One edge as a cell, with the bytes that it holds."""
        edit = Edit(site, self.change.where, kind(value))
        return number, Cell((edit,)), value.numel() * value.element_size()
