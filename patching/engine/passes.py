"""Every pass of a schedule, run in order; in a resumable run a few of them at a time are a unit.

What is on disk is not run again, and of a batch whose passes are all there the unedited run is not
run either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

from jaxtyping import Int
from torch import Tensor

from interp.examples import Examples
from interp.models.model import Model
from interp.progress import counted
from interp.runs.run import series
from interp.sites import Site
from patching.engine.begun import Begun
from patching.engine.block_cost import BlockCost
from patching.engine.copies import Copies
from patching.engine.reuse import reuse
from patching.engine.running import run_copies
from patching.engine.schedule import Batch, Beginning, schedule, together
from patching.engine.splitting import Pass
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit

#: The sources that determine what a pass gives.
CODE = (
    "patching.engine",
    "patching.interventions",
    "interp.models",
    "interp.metrics",
    "interp.directions",
)


@dataclass(frozen=True, eq=False)
class Ran:
    """One pass as it ran.

    Attributes:
        rows: the examples that ran.
        final: the copies after the last block that ran, the baseline first.
        read: the activations that were asked for.
    """

    rows: Int[Tensor, " row"]
    final: Copies
    read: Mapping[Site, Tensor]


@dataclass(frozen=True, eq=False)
class Passes:
    """What is to run.

    Attributes:
        model: the model that runs.
        examples: the prompts.
        cells: the edits of each row.
        max_bytes: memory for activations.
        progress: label of a progress bar counted in layer-tokens; None for none.
        reads: sites whose activations are asked for.
        corruption: an edit of the input that every run suffers.
        read_from: the first position that is read of each prompt, counted from its beginning; by
            default its last one.
    """

    model: Model
    examples: Examples
    cells: Sequence[Cell]
    max_bytes: int
    progress: str | None = None
    reads: tuple[Site, ...] = ()
    corruption: Edit | None = None
    read_from: Int[Tensor, " example"] | None = None

    def run(
        self, name: str, result: Callable[[Ran], Any], *, dealt: bool = True
    ) -> Iterator[tuple[Int[Tensor, " row"], tuple[int, ...], Any]]:
        """Run every pass.

        Args:
            name: what is run, for the names of units.
            result: what is made of a pass: tensors in lists or dictionaries. All that determines it
                beside the pass stands in its closure or its arguments.
            dealt: whether units are dealt to shards; else every shard makes all.

        Yields:
            The rows of a pass, the numbers of its cells and its result; nothing for passes that
            another shard has yet to make.
        """
        ways = reuse(self.model)
        prefix = ways.prefix and not self.reads
        cost = BlockCost.of(self.model)
        steady = int(self.examples.lengths.max()) < ways.steady
        batches = schedule(
            cost, self.examples, self.cells, self.max_bytes, prefix=prefix, packed=ways.packed,
            last=ways.last and not self.reads, read_from=self.read_from,
            share=steady and self.corruption is None,
        )  # fmt: skip
        prompts = (self.examples.tokens, self.examples.mask)
        given = (self.model, prompts, self.cells, self.max_bytes, self.reads, self.corruption)
        given = (*given, self.read_from)
        kept = series(name, CODE, *given, ways, result)
        total = sum(planned.layer_tokens for batch in batches for planned in batch.passes)
        number = 0
        # One at a time: the batches of a beginning follow one another.
        begun = lru_cache(1)(partial(Begun.of, self.model, self.examples, self.cells))
        with counted(total, self.progress, "layer-tokens") as step:
            for batch in batches:
                unedited = cache(partial(self._unedited, batch, prefix))
                run = partial(self._pass, batch, unedited, begun, prefix, step, result)
                for unit in together(cost, batch.passes) if kept.kept else ([p] for p in batch.passes):
                    made: list[Any] = []
                    results = kept.unit(number, partial(_fill, made, run, unit), dealt=dealt)
                    number += 1
                    if not made:  # on disk, or another shard's
                        step(sum(planned.layer_tokens for planned in unit))
                    for planned, values in zip(unit, results or (), strict=False):
                        yield batch.rows[planned.part], planned.cells, values

    def _unedited(self, batch: Batch, prefix: bool) -> Baseline:
        """The unedited run of a batch."""
        return Baseline.of(
            self.model, self.examples, batch.rows, self.corruption, keep=prefix, shared=batch.shared
        )

    def _pass(
        self,
        batch: Batch,
        unedited: Callable[[], Baseline],
        begun: Callable[[Beginning], Begun],
        prefix: bool,
        step: Callable[[int], object],
        result: Callable[[Ran], Any],
        planned: Pass,
    ) -> Any:
        """Run one pass, and make of it what is wanted."""
        rows = batch.rows[planned.part]
        before = begun(batch.beginning) if batch.beginning else None
        final, read = run_copies(
            self.model,
            unedited().part(planned.part),
            [self.cells[i] for i in planned.cells],
            rows,
            starts=planned.starts if prefix else None,
            packed=planned.packed,
            begun=partial(before.past, planned.cells) if before else None,
            reads=self.reads,
            read_from=planned.read_from,
            step=step,
        )
        if before:
            final.changed |= before.changes(planned.cells).to(final.changed.device)
        return result(Ran(rows, final, read))


def _fill(made: list[Any], run: Callable[[Pass], Any], unit: Sequence[Pass]) -> list[Any]:
    """The passes' results in a list that was empty, which so tells that they were made."""
    made.extend(run(planned) for planned in unit)
    return made
