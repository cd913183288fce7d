"""Attention knockout: what is cut, and what its placebos spare."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.metrics import logit_difference
from patching.engine.sweeping import sweep
from patching.methods.knockout import knock_out


def values(table):
    return torch.tensor(table.sort_values("example")["value"].to_numpy())


def test_knockout_cuts_a_window_and_spares_other_keys(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(7, 7)
    found = knock_out(model, pairs.clean, logit_difference(pairs), window=2, repeats=2)

    def cut(scores, hook):
        out = scores.clone()
        out[:, :, -1, 1:3] = -torch.inf
        return out

    names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in (1, 2)]
    hooks = [(name, cut) for name in names]
    logits = model.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)[:, -1]
    row = torch.arange(2)
    expected = logits[row, pairs.answers] - logits[row, pairs.foils]
    assert (values(found.where(condition="knocked_out", layer=1)) - expected).abs().max() <= 1e-4
    # Three keys are neither the first, source nor destination: two of them are cut as a placebo.
    placebo = found.where(condition="placebo", layer=1)
    assert len(placebo) == 4
    assert (values(placebo[placebo["draw"] == 0]) - expected).abs().max() > 1e-4
    short = tiny.contrast(4, 4)
    none = knock_out(model, short.clean, logit_difference(short), repeats=2)
    assert not len(none.where(condition="placebo"))
    one = knock_out(model, pairs.clean, logit_difference(pairs), heads=[0], repeats=0)
    every = knock_out(model, pairs.clean, logit_difference(pairs), repeats=0)
    assert (values(one.where(layer=1)) - values(every.where(layer=1))).abs().max() > 1e-4
    for match, options in (
        ("window must be 1..3", {"window": 9}),
        ("heads 0..3", {"heads": [7]}),
        ("no position 'object'", {"source": "object"}),
    ):
        with pytest.raises(ValueError, match=match):
            knock_out(model, pairs.clean, logit_difference(pairs), **options)


def test_prompts_without_a_placebo_leave_the_sweep_as_it_was(tiny_model, monkeypatch):
    swept = []

    def keeping(*given, **options):
        swept.append((sweep(*given, **options), sweep(*given, **options)))
        return swept[-1][0]

    monkeypatch.setattr("patching.methods.knockout.sweep", keeping)
    # Four tokens: one is neither the first, source nor destination, too few for a placebo of two.
    model, pairs = tiny_model("llama"), tiny.contrast(4, 7)
    found = knock_out(model, pairs.clean, logit_difference(pairs), repeats=1)
    assert set(found.where(condition="placebo")["example"]) == {1}
    ((handed_out, untouched),) = swept
    assert untouched.values["metric"].isfinite().all()
    assert (handed_out.values["metric"] - untouched.values["metric"]).abs().max() < 1e-4


def test_source_and_destination_are_any_positions_and_stand_in_columns_of_their_own(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(7, 7)
    metric = logit_difference(pairs)
    named = knock_out(model, pairs.clean, metric, source="subject_last", destination=-1, repeats=1)
    rows = named.where(condition="knocked_out")
    assert set(rows["source_span"]) == {"subject_last"} and set(rows["span"]) == {"-1"}
    numbered = knock_out(model, pairs.clean, metric, source=2, destination="last", repeats=1)
    assert (values(rows) - values(numbered.where(condition="knocked_out"))).abs().max() == 0
    whole = knock_out(model, pairs.clean, metric, repeats=1).where(condition="knocked_out")
    assert (values(rows) - values(whole)).abs().max() > 1e-4, "the control: another source"
