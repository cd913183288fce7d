"""`intervened`: edits for as long as the `with` lasts, and not a bit longer."""

from __future__ import annotations

import pytest
import tiny

from interp.sites import Kind, Site
from patching.context import intervened
from patching.interventions.cells import Edit
from patching.interventions.values import Zero


def test_edits_act_inside_and_leave_nothing_behind(family_model):
    model, prompts = family_model, tiny.examples(tiny.token_rows(5, 5))
    before, hooks = model.logits(prompts.tokens), tiny.hooks_left(model)
    edits = [Edit(Site(Kind.MLP_OUT, 1), prompts.span_mask("all"), Zero())]
    with intervened(model, edits) as inside:
        during = inside.logits(prompts.tokens)
        assert tiny.hooks_left(model) > hooks
    assert (during - before).abs().max() > 1e-2
    assert tiny.hooks_left(model) == hooks
    assert tiny.same(model.logits(prompts.tokens), before)


def test_an_error_inside_leaves_nothing_behind(tiny_model):
    model, prompts = tiny_model("gpt2"), tiny.examples(tiny.token_rows(5, 5))
    before, hooks = model.logits(prompts.tokens), tiny.hooks_left(model)
    edits = [Edit(Site(Kind.RESID_PRE, 1), prompts.span_mask("last"), Zero())]
    with pytest.raises(ValueError, match="run the examples it was made for"):
        with intervened(model, edits) as inside:
            inside.logits(prompts.tokens[:, :4])
    assert tiny.hooks_left(model) == hooks
    assert tiny.same(model.logits(prompts.tokens), before)


def test_a_missing_site_is_refused_before_any_hook(tiny_model):
    model, prompts = tiny_model("gpt2"), tiny.examples(tiny.token_rows(5))
    hooks = tiny.hooks_left(model)
    with pytest.raises(ValueError, match="blocks 0..2"):
        with intervened(model, [Edit(Site(Kind.MLP_OUT, 9), prompts.mask, Zero())]):
            raise AssertionError("the body must not run")
    assert tiny.hooks_left(model) == hooks
