"""What work costs on this machine: counts from the schedule, seconds from a few measured runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import says
from interp.models.block_calls import named
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import boundary
from patching.engine import rows as tables
from patching.engine.block_cost import BlockCost
from patching.engine.planning import BlockTime, Plan, plan_cells
from patching.engine.reuse import Reuse, reuse
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Scale
from studies.comparison.next_tokens import BATCH
from studies.planning.plans import Cost
from studies.planning.work import Forwards, Sweep, Work

#: Edited runs and prompts of the largest sweep by which the price of a run beside its blocks is told.
RUNS, PROMPTS, REPEATS = 32, 12, 3


@dataclass(frozen=True)
class Rates:
    """What the models' work takes.

    Attributes:
        cost: of a block.
        ways: of running edited rows.
        takes: the time of a block.
        per_sweep: seconds of a sweep beside its blocks, whatever is in it.
        per_cell: seconds of an edited run beside its blocks, whatever its prompts.
        per_run: seconds of each prompt in it: its edit, its reading, its row.
        state_bytes: of one token's residual stream.
        max_bytes: memory for activations.
    """

    cost: BlockCost
    ways: Reuse
    takes: BlockTime
    per_sweep: float
    per_cell: float
    per_run: float
    state_bytes: int
    max_bytes: int

    @classmethod
    def measured(cls, model: Model, examples: Examples, max_bytes: int) -> Rates:
        """Measure them on some of the prompts."""
        ways, cost = reuse(model), BlockCost.of(model)
        takes = BlockTime.of(model, examples)
        beside = _beside_blocks(model, examples, cost, ways, takes, max_bytes)
        size = torch.empty(0, dtype=model.dtype).element_size()
        return cls(cost, ways, takes, *beside, size * model.d_model, max_bytes)

    def of(self, work: Work) -> Cost:
        """What the work costs."""
        costs = [self._swept(part) for part in work.sweeps]
        costs += [self._forwards(part) for part in work.forwards]
        held = max((self._held(part) for part in work.forwards), default=0)
        whole = Cost.of(costs)
        return replace(whole, peak_bytes=held + whole.peak_bytes)

    def plan(self, part: Sweep) -> Plan:
        """What a sweep puts through the blocks."""
        return plan_cells(
            self.cost, self.ways, self.takes, part.examples, part.cells, max_bytes=self.max_bytes
        )

    def _swept(self, part: Sweep) -> Cost:
        planned, runs = self.plan(part), (len(part.cells) + 1) * len(part.examples)
        beside = self.per_sweep + len(part.cells) * self.per_cell + runs * self.per_run
        return Cost(
            passes=planned.passes,
            forwards=planned.forwards,
            layer_tokens=planned.layer_tokens,
            rows=round((len(part.cells) + part.unedited) * len(part.examples) * part.values),
            peak_bytes=planned.peak_bytes,
            seconds=planned.seconds + beside,
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
) -> tuple[float, float, float]:
    """Seconds of a sweep beside its blocks, of each edited run in it, and of each prompt in that.

    Runs that are edited behind the last block put nothing through any: what they take is the edit,
    the reading over the vocabulary and the row. Sweeps of one and of several runs, of one and of
    several prompts, tell the three apart.
    """

    def taken(runs: int, count: int) -> float:
        prompts = examples.subset(rows[:count])
        edit = Edit(boundary(model.n_layers, model.n_layers), prompts.span_mask("all"), Scale(0.5))
        metrics, cells = {"said": says(prompts, prompts.tokens[:, 0])}, [Cell((edit,))] * runs
        columns, seconds = [{"layer": k} for k in range(runs)], []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            swept = sweep(model, prompts, cells, metrics, max_bytes=max_bytes)
            made = tables.evidence(swept, prompts, metrics, columns, model=model, method="patch")
            Evidence.concat([Evidence(made.table.astype(object))])  # as methods do that add columns
            seconds.append(time.perf_counter() - begun)
        return min(seconds) - plan_cells(cost, ways, takes, prompts, cells, max_bytes=max_bytes).seconds

    rows = examples.by_length()[0]
    many = min(PROMPTS, len(rows))
    one, several, most = taken(1, 1), taken(RUNS, 1), taken(RUNS, many)
    per_run = max(0.0, most - several) / max(1, many - 1) / RUNS
    per_cell = max(0.0, (several - one) / (RUNS - 1) - per_run)
    return max(0.0, one - per_cell - per_run), per_cell, per_run


@contextmanager
def counted(pair: ModelPair) -> Iterator[Counter]:
    """Count and time what runs inside of the `with`, by what enters the blocks.

    Args:
        pair: the models that run.
    """
    counter, begun = Counter(), time.perf_counter()
    blocks = [block for model in (pair.base, pair.tuned) for block in model.bridge.blocks]
    handles = [block.register_forward_pre_hook(counter.see, with_kwargs=True) for block in blocks]
    try:
        for model in (pair.base, pair.tuned):
            reuse(model)  # found once, whatever runs
        counter.layer_tokens = 0
        yield counter
    finally:
        for handle in handles:
            handle.remove()
    counter.seconds = time.perf_counter() - begun


class Counter:
    """Tokens that entered blocks, and how long it took.

    Attributes:
        layer_tokens: tokens put through one block each.
        seconds: once the `with` is over.
    """

    def __init__(self) -> None:
        self.layer_tokens, self.seconds = 0, 0.0

    def see(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count a call."""
        hidden = named(block, args, kwargs)[0]
        self.layer_tokens += hidden.shape[0] * hidden.shape[1]
