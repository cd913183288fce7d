"""What all prompts begin with, as edited copies leave it: run for one prompt, kept for all the others.

Their copies start behind it and read its keys and values, where the unedited run's would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.examples import Examples
from interp.models.model import Model
from patching.engine.beginnings import beginning
from patching.engine.copies import Copies
from patching.engine.running import entered, through_block
from patching.engine.schedule import Beginning
from patching.engine.unedited import Baseline, RecordingCache
from patching.interventions.cells import Cell

#: Keys and values of one copy in one block, [head, position, d] each.
Past = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Begun:
    """A beginning that ran.

    Attributes:
        unedited: its keys and values in each block without an edit.
        edited: block -> number of a cell that has entered below it -> the same of its copy.
        changed: number of a cell -> whether its edits changed a number there.
    """

    unedited: Sequence[Past]
    edited: Sequence[Mapping[int, Past]]
    changed: Mapping[int, bool]

    @classmethod
    def of(cls, model: Model, examples: Examples, cells: Sequence[Cell], planned: Beginning) -> Begun:
        """Run it.

        Args:
            model: the model that runs.
            examples: the prompts.
            cells: all cells of the sweep.
            planned: what is to run.
        """
        row = torch.zeros(1, dtype=torch.long, device=examples.tokens.device)
        columns = beginning(examples)[:1, : planned.count]
        alone = Baseline.of_tokens(model, examples.tokens[:1].gather(1, columns), columns, row)
        unedited = [(k[0], v[0]) for k, v in (alone.past[layer] for layer in range(model.n_layers))]
        edited: list[dict[int, Past]] = [{} for _ in unedited]
        changed: dict[int, bool] = {}
        for run in planned.runs:
            chosen = [cells[i] for i in run]
            lowest = chosen[0].entry
            copies = Copies.of(alone, (0,) * (1 + len(run)), False, lowest)
            for layer in range(lowest, model.n_layers):
                cache = RecordingCache()
                inside = entered(model, copies, chosen, row, layer)
                through_block(model, copies, inside, row, layer, cache=lambda _, cache=cache: cache)
                keys, values = cache.past[layer]
                edited[layer].update(zip(run, zip(keys[1:], values[1:], strict=True), strict=False))
            entered(model, copies, chosen, row, model.n_layers)
            changed.update(zip(run, copies.changed[1:, 0].tolist(), strict=True))
        return cls(unedited, edited, changed)

    def past(self, cells: Sequence[int], layer: int, copies: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the unedited run and of the first cells, [copy, head, position, d] each.

        Args:
            cells: their numbers; one that does not edit the beginning has the unedited run's.
            layer: the block.
            copies: how many are asked for, the unedited run among them.
        """
        plain, found = self.unedited[layer], self.edited[layer]
        keys, values = zip(plain, *(found.get(i, plain) for i in cells[: copies - 1]), strict=True)
        return torch.stack(keys), torch.stack(values)

    def changes(self, cells: Sequence[int]) -> Bool[Tensor, "copy 1"]:
        """Whether the beginning of the unedited run, which is not, and of these cells was changed."""
        return torch.tensor([False, *(self.changed.get(i, False) for i in cells)])[:, None]
