"""What a sweep refuses, and what a stopped one leaves behind."""

from __future__ import annotations

import pytest
import tiny

from interp.metrics import Metric, logit_difference
from interp.sites import Kind, Site
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero


class _Stop:
    def __init__(self, error):
        self.error = error

    def __call__(self, act, example):
        raise self.error("stopped")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stopped_sweep_leaves_the_model_as_it_was(tiny_model, error):
    model, pairs = tiny_model("llama"), tiny.contrast(5)
    before, hooks = model.logits(pairs.clean.tokens), tiny.hooks_left(model)
    cell = Cell((Edit(Site(Kind.MLP_OUT, 1), pairs.clean.span_mask("all"), _Stop(error)),))
    with pytest.raises(error, match="stopped"):
        sweep(model, pairs.clean, [cell], {"m": logit_difference(pairs)})
    assert tiny.hooks_left(model) == hooks
    assert tiny.same(model.logits(pairs.clean.tokens), before)


def test_mistakes_are_named_in_one_line(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    where, metric = pairs.clean.span_mask("all"), logit_difference(pairs)

    def one(site, where=where):
        return [Cell((Edit(site, where, Zero()),))]

    mean = Metric(lambda lg, e: lg.mean(), "logits", metric.positions)
    site = Site(Kind.RESID_PRE, 0)
    for match, cells, metrics, room in (
        ("do not average", one(site), {"m": mean}, MAX_BYTES),
        ("blocks 0..2", one(Site(Kind.RESID_PRE, 3)), {"m": metric}, MAX_BYTES),
        ("heads 0..3", one(Site(Kind.Z, 0, 4)), {"m": metric}, MAX_BYTES),
        (r"shape \(2, 5\); got \(2, 4\)", one(site, where[:, :4]), {"m": metric}, MAX_BYTES),
        ("one prompt of 5 tokens", one(site), {"m": metric}, 1000),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            sweep(model, pairs.clean, cells, metrics, max_bytes=room)
        assert "\n" not in str(caught.value)
