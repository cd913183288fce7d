"""What a job really puts through the blocks of its models, stage by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from interp import progress
from interp.models.block_calls import named
from interp.models.pair import ModelPair
from patching.engine.reuse import reuse


class Counted:
    """Stages in the order they were entered, and the tokens that each put through a block."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.tokens: Counter[str] = Counter()

    def see(self, block, args, kwargs, output) -> None:
        hidden = named(block, args, kwargs)[0]
        self.tokens[self.stages[-1] if self.stages else ""] += hidden.shape[0] * hidden.shape[1]


@contextmanager
def counted(pair: ModelPair) -> Iterator[Counted]:
    """Count what runs inside."""
    count, enter, patch = Counted(), progress._Job.enter, pytest.MonkeyPatch()
    handles = [
        block.register_forward_hook(count.see, with_kwargs=True)
        for model in (pair.base, pair.tuned)
        for block in model.bridge.blocks
    ]
    for model in (pair.base, pair.tuned):
        reuse(model)  # what is found about a model, these hooks included, is found once
    count.tokens.clear()
    patch.setattr(
        progress._Job, "enter", lambda job, *at: (count.stages.append(at[0]), enter(job, *at))
    )
    try:
        yield count
    finally:
        patch.undo()
        for handle in handles:
            handle.remove()
