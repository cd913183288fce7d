"""Prompts by their content: what is read of which tokens, so that equal work is known again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from interp.activations.reading import Wanted
from interp.activations.shards import Index


class Prompts:
    """The prompts of a call by their content.

    Attributes:
        keys: a hash of each prompt's tokens and of what is read of it; equal ones are numbered.
        call: a hash of them all.
    """

    def __init__(self, wanted: Wanted) -> None:
        """Hash the prompts."""
        examples = wanted.examples
        self.examples = examples
        self.counts = torch.bincount(wanted.example, minlength=len(examples)).cpu()
        first = wanted.column[(self.counts.cumsum(0) - self.counts).to(wanted.column.device)]
        self.start = (first - examples.starts).tolist()
        self.stop = [s + n for s, n in zip(self.start, self.counts.tolist(), strict=True)]
        seen: Counter[str] = Counter()
        self.keys: list[str] = []
        tokens, mask = examples.tokens.cpu(), examples.mask.cpu()
        for row, real, *read in zip(tokens, mask, self.start, self.stop, strict=True):
            content = row[real].long().numpy().tobytes() + repr(read).encode()
            key = hashlib.blake2b(content, digest_size=16).hexdigest()
            self.keys.append(f"{key}+{seen[key]}" if seen[key] else key)
            seen[key] += 1
        self.call = hashlib.blake2b("".join(self.keys).encode(), digest_size=8).hexdigest()

    def index(self, rows: Sequence[int]) -> Index:
        """What a shard says of these prompts."""
        examples, labels = self.examples, None
        if examples.labels is not None:
            chosen = examples.labels[list(rows)]
            labels = (chosen if chosen.is_floating_point() else chosen.long()).tolist()
        return Index(
            call=self.call,
            number=list(rows),
            key=[self.keys[i] for i in rows],
            start=[self.start[i] for i in rows],
            stop=[self.stop[i] for i in rows],
            texts=[examples.texts[i] for i in rows],
            groups=[examples.groups[i] for i in rows],
            labels=labels,
        )

    def rows(self, first_row: dict[str, int]) -> Tensor:
        """The row of the store that each row of the call is."""
        first = torch.tensor([first_row[key] for key in self.keys])
        return row_order(first, self.counts)


def row_order(first: Tensor, counts: Tensor) -> Tensor:
    """first, first + 1, …, as many as counted, one prompt behind the other."""
    begun = counts.cumsum(0) - counts
    within = torch.arange(int(counts.sum())) - begun.repeat_interleave(counts)
    return first.repeat_interleave(counts) + within
