"""What work costs on this machine: counts from the schedule, seconds from a few measured runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import says
from interp.models.model import Model
from interp.sites import boundary
from patching.engine import rows as tables
from patching.engine.planning import BlockTime, Plan, plan_cells
from patching.engine.reuse import Reuse, reuse
from patching.engine.schedule import BlockCost
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Scale
from studies.comparison.next_tokens import BATCH
from studies.planning.work import Forwards, Sweep, Work

#: Edited runs, and prompts of the two sweeps, by which the price of a run beside its blocks is told.
RUNS, PROMPTS = 32, (1, 12)


@dataclass(frozen=True)
class Cost:
    """What some work costs.

    Attributes:
        passes: batches of edited copies.
        forwards: whole forward passes a loop over cells would take, unedited ones included.
        layer_tokens: tokens put through one block each.
        rows: rows of evidence.
        peak_bytes: activations alive at once.
        seconds: expected time.
    """

    passes: int = 0
    forwards: int = 0
    layer_tokens: int = 0
    rows: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Rates:
    """What the models' work takes.

    Attributes:
        cost: of a block.
        ways: of running edited rows.
        takes: the time of a block.
        per_cell: seconds of an edited run beside its blocks, whatever its prompts.
        per_run: seconds of each prompt in it: its edit, its reading, its row.
        state_bytes: of one token's residual stream.
        max_bytes: memory for activations.
    """

    cost: BlockCost
    ways: Reuse
    takes: BlockTime
    per_cell: float
    per_run: float
    state_bytes: int
    max_bytes: int

    @classmethod
    def measured(cls, model: Model, examples: Examples, max_bytes: int) -> Rates:
        """Measure them on some of the prompts."""
        ways, cost = reuse(model), BlockCost.of(model)
        takes = BlockTime.of(model, examples)
        per_cell, per_run = _beside_blocks(model, examples, cost, ways, takes, max_bytes)
        size = torch.empty(0, dtype=model.dtype).element_size()
        return cls(cost, ways, takes, per_cell, per_run, size * model.d_model, max_bytes)

    def of(self, work: Work) -> Cost:
        """What the work costs."""
        costs = [self._swept(part) for part in work.sweeps]
        costs += [self._forwards(part) for part in work.forwards]
        held = max((self._held(part) for part in work.forwards), default=0)
        return Cost(
            passes=sum(cost.passes for cost in costs),
            forwards=sum(cost.forwards for cost in costs),
            layer_tokens=sum(cost.layer_tokens for cost in costs),
            rows=sum(cost.rows for cost in costs),
            peak_bytes=held + max((cost.peak_bytes for cost in costs), default=0),
            seconds=sum(cost.seconds for cost in costs),
        )

    def plan(self, part: Sweep) -> Plan:
        """What a sweep puts through the blocks."""
        return plan_cells(
            self.cost, self.ways, self.takes, part.examples, part.cells, max_bytes=self.max_bytes
        )

    def _swept(self, part: Sweep) -> Cost:
        planned, runs = self.plan(part), (len(part.cells) + 1) * len(part.examples)
        beside = len(part.cells) * self.per_cell + runs * self.per_run
        return Cost(
            planned.passes,
            planned.forwards,
            planned.layer_tokens,
            round((len(part.cells) + part.unedited) * len(part.examples) * part.values),
            planned.peak_bytes,
            planned.seconds + beside,
        )

    def _forwards(self, part: Forwards) -> Cost:
        batches = sum(-(-len(same) // BATCH) for same in part.examples.by_length())
        layer_tokens = part.blocks * int(part.examples.lengths.sum())
        return Cost(
            forwards=batches,
            layer_tokens=layer_tokens,
            seconds=self.takes.seconds(part.blocks * batches, layer_tokens),
        )

    def _held(self, part: Forwards) -> int:
        return part.kept * part.examples.tokens.numel() * self.state_bytes


def _beside_blocks(
    model: Model, examples: Examples, cost: BlockCost, ways: Reuse, takes: BlockTime, max_bytes: int
) -> tuple[float, float]:
    """Seconds of an edited run beside its blocks, and of each prompt in it.

    Runs that are edited behind the last block put nothing through any: what they take is the edit,
    the reading over the vocabulary and the row. Two sweeps of one and of several prompts tell which
    part grows with the prompts.
    """
    rows, taken = examples.by_length()[0], []
    for count in PROMPTS:
        prompts = examples.subset(rows[:count])
        edit = Edit(boundary(model.n_layers, model.n_layers), prompts.span_mask("all"), Scale(0.5))
        metrics = {"said": says(prompts, prompts.tokens[:, 0])}
        columns = [{"layer": k} for k in range(RUNS)]
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            swept = sweep(model, prompts, [Cell((edit,))] * RUNS, metrics, max_bytes=max_bytes)
            Evidence.concat([tables.evidence(swept, prompts, metrics, columns, method="patch")])
            seconds.append(time.perf_counter() - begun)
        planned = plan_cells(cost, ways, takes, prompts, [Cell((edit,))] * RUNS, max_bytes=max_bytes)
        taken.append((len(prompts), max(0.0, min(seconds) - planned.seconds) / RUNS))
    (few, short), (many, long) = taken
    per_run = max(0.0, long - short) / max(1, many - few)
    return max(0.0, short - few * per_run), per_run
