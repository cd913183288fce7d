"""Edited copies of a baseline run, as tokens of one tensor.

All copies stand in one tensor, [token, d], copy after copy, within a copy row after row, within a row
position after position. With n = 2 rows of width 4, the baseline from 0 and cells that start at 1
and 3 (`starts` = 0, 1, 3):

    copy     |           0           |        1        |   2   |
    row      |     0     |     1     |   0    |   1    | 0 | 1 |
    position |  0 1 2 3  |  0 1 2 3  | 1 2 3  | 1 2 3  | 3 | 3 |
    token    |  0 1 2 3  |  4 5 6 7  | 8 9 10 |11 12 13| 14| 15|

Copy c holds n (width - starts[c]) tokens, so that it begins at token n (c width - Σ starts before c).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.models.block_calls import each, repeated
from interp.models.editing import Window
from patching.engine.earlier_keys import PackedCache, PrefixCache
from patching.engine.unedited import CACHES, Baseline, from_position
from patching.interventions.cells import Edit


@dataclass(eq=False)
class Copies:
    """The baseline and the cells appended so far, token after token, copy by copy.

    Attributes:
        baseline: the run they were copied from.
        starts: first position held of the baseline copy, then of every cell's.
        packed: every token a row of its own in the model's blocks.
        tokens: the residual stream, [token, d]; within a copy row by row, position by position.
            They are on the device of the block that is next; edits act on the prompts' device.
        changed: whether any edit has changed a number of this copy's row, [copy, row]. A row that no
            edit has changed is the baseline's, however a kernel rounds it in its own place.
        count: how many copies there are, the baseline among them.
    """

    baseline: Baseline
    starts: Sequence[int]
    packed: bool
    tokens: Float[Tensor, "token d"]
    changed: Bool[Tensor, "copy row"]
    count: int = 1

    @classmethod
    def of(cls, baseline: Baseline, starts: Sequence[int], packed: bool, layer: int) -> Copies:
        """The baseline alone, at this boundary, as tokens of its own."""
        tokens = baseline.inputs[layer][:, starts[0] :].flatten(0, 1).clone()
        home = baseline.columns.device
        changed = torch.zeros(len(starts), baseline.rows, dtype=torch.bool, device=home)
        return cls(baseline, starts, packed, tokens, changed)

    def enter(self, layer: int) -> None:
        """Move to the device on which the baseline stands at this boundary."""
        self.tokens = self.tokens.to(self.baseline.inputs[layer].device)

    def cut(self, start: int) -> None:
        """Hold only positions from this one on, of every copy; not packed, none starting behind it."""
        rows = self.tokens.unflatten(0, (self.count * self.baseline.rows, -1))
        self.tokens = rows[:, start - self.starts[0] :].flatten(0, 1)
        self.starts = [start] * len(self.starts)

    @property
    def width(self) -> int:
        """Number of positions of a whole prompt."""
        return self.baseline.tokens.shape[1]

    def append(self, count: int) -> None:
        """Append copies of the baseline for the next cells."""
        if not count:
            return
        before, self.count = self.count, self.count + count
        _, row, position = self.index(before)
        unedited = self.as_rows(0, self.tokens)
        self.tokens = torch.cat([self.tokens, unedited[row, position - self.starts[0]]])

    def index(self, since: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Copy, row and position of each token of the copies from `since` on."""
        device = self.tokens.device
        start = torch.tensor(self.starts[since : self.count], device=device)
        length = self.width - start
        copy = torch.arange(len(start), device=device).repeat_interleave(length * self.baseline.rows)
        offset = (length * self.baseline.rows).cumsum(0) - length * self.baseline.rows
        within = torch.arange(len(copy), device=device) - offset[copy]
        return since + copy, within // length[copy], start[copy] + within % length[copy]

    def tokens_of(self, copy: int) -> slice:
        """Which tokens are one copy's."""
        rows = self.baseline.rows
        begin = rows * (self.width * copy - sum(self.starts[:copy]))
        return slice(begin, begin + rows * (self.width - self.starts[copy]))

    def as_rows(self, copy: int, tokens: Float[Tensor, "token *d"]) -> Float[Tensor, "row position *d"]:
        """One copy's tokens of an activation given for all, as rows of positions."""
        return tokens[self.tokens_of(copy)].unflatten(0, (self.baseline.rows, -1))

    def write(self, copy: int, tokens: Tensor, whole: Float[Tensor, "row position *d"]) -> None:
        """Put a whole prompt's activations where one copy's tokens are."""
        tokens[self.tokens_of(copy)] = whole[:, self.starts[copy] :].flatten(0, 1)

    def apply(self, copy: int, edit: Edit, tokens: Tensor, rows: Int[Tensor, " row"]) -> None:
        """Let one copy's edit act on an activation, [token, *d], that is ours to write."""
        columns = self.baseline.columns
        window = Window(edit, columns[:, self.starts[copy] :], columns)
        before = self.as_rows(copy, tokens).to(columns.device)
        after = window.apply(before.clone(), rows)
        self.changed[copy] |= (after != before).flatten(1).any(1)
        tokens[self.tokens_of(copy)] = after.flatten(0, 1).to(tokens.device)

    @property
    def block_input(self) -> Tensor:
        """The residual stream as the blocks take it."""
        if self.packed:
            return self.tokens[:, None]
        return self.tokens.unflatten(0, (self.count * self.baseline.rows, -1))

    def block_arguments(
        self,
        layer: int,
        *,
        beginning: tuple[Tensor, Tensor] | None = None,
        cache: Callable[[Any], Any] = lambda before: before,
    ) -> dict[str, Any]:
        """The other arguments of this block's call, for these copies.

        Args:
            layer: the block.
            beginning: keys and values of the first positions of each copy, [copy, head, position, d],
                where all rows of a copy share them; else the baseline's are read there.
            cache: gives what takes the place of a cache, from what would: the keys and values left of
                the copies' start, or None.
        """
        start, index = self.starts[0], self.index() if self.packed else None
        past = self.baseline.past
        arguments = {}
        for name, value in self.baseline.calls[layer].items():
            if name in CACHES and index is not None:
                arguments[name] = cache(PackedCache(past[layer], *index, beginning))
            elif name in CACHES:
                before = PrefixCache(past[layer], start, beginning) if start else None
                arguments[name] = cache(before)
            elif index is not None:
                arguments[name] = each(value, partial(_by_token, name, index))
            else:
                value = each(value, partial(from_position, name, start)) if start else value
                arguments[name] = repeated(name, value, self.baseline.rows, self.count)
        return arguments

    def residual_at(self, positions: Int[Tensor, " row"]) -> Float[Tensor, "copy row d"]:
        """The residual stream at one position of each row; left of a copy's start the baseline's."""
        rows, device = self.baseline.rows, self.tokens.device
        positions = positions.to(device)
        start = torch.tensor(self.starts[: self.count], device=device)[:, None]
        length = self.width - start
        row = torch.arange(rows, device=device)
        copy = torch.arange(self.count, device=device)[:, None]
        begin = rows * (self.width * copy - start.cumsum(0) + start)
        inside = positions >= start
        index = begin + row * length + (positions - start).clamp(min=0)
        unedited = self.baseline.inputs[-1][row, positions]
        return torch.where(inside[..., None], self.tokens[index], unedited)


def _by_token(name: str, index: tuple[Tensor, Tensor, Tensor], value: Tensor) -> Tensor:
    """An argument of whole prompts, one row for each token."""
    _, row, position = index
    row = row if value.shape[0] > 1 else torch.zeros_like(row)
    if name == "attention_mask":
        return value[row, :, position][:, :, None]
    return value[row, position][:, None]
