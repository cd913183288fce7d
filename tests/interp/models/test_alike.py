"""What tuning left as it was: found bit by bit, and never where anything differs."""

import pytest
import tiny
import torch

from interp import Kind, Site
from interp.models.alike import Alike, alike
from interp.models.loading import wrap

NOTHING = Alike.nothing(tiny.LAYERS)


def changed(change, tokenizer, family="llama", **other):
    """What a model and a changed copy of it have in common."""
    ours, theirs = tiny.hf_model(family), tiny.hf_model(family, **other)
    with torch.no_grad():
        change(theirs)
    return alike(wrap(ours, tokenizer), wrap(theirs, tokenizer))


def nudge(parameter):
    parameter.view(-1)[0] = torch.nextafter(parameter.view(-1)[0], torch.tensor(9.0))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_same_weights_are_the_same_model(family, tokenizer):
    found = changed(lambda model: None, tokenizer, family)
    assert found == Alike(True, (True,) * tiny.LAYERS) and found.below == tiny.LAYERS


def test_one_bit_of_one_weight_of_a_block_is_seen_and_counts_for_that_block_alone(tokenizer):
    found = changed(lambda model: nudge(model.model.layers[1].mlp.up_proj.weight), tokenizer)
    assert found == Alike(True, (True, False, True))
    assert found.below == 1
    assert [found.same_above(k) for k in range(4)] == [1, 1, 3, 3]
    same = [Site(Kind.EMBED, 0), Site(Kind.RESID_PRE, 1), Site(Kind.RESID_POST, 0), Site(Kind.Z, 0)]
    assert all(map(found.same_at, same))
    other = [Site(Kind.RESID_PRE, 2), Site(Kind.RESID_POST, 1), Site(Kind.Z, 1), Site(Kind.MLP_OUT, 2)]
    assert not any(map(found.same_at, other)), "a block that differs, and all above it"


def test_another_embedding_leaves_equal_blocks_and_no_equal_state(tokenizer):
    found = changed(lambda model: nudge(model.model.embed_tokens.weight), tokenizer)
    assert found == Alike(False, (True,) * 3) and found.below == -1
    assert not found.same_at(Site(Kind.EMBED, 0)) and not found.same_at(Site(Kind.RESID_PRE, 0))


def test_what_is_read_behind_the_last_block_does_not_count(tokenizer):
    found = changed(lambda model: nudge(model.lm_head.weight), tokenizer)
    assert found == Alike(True, (True,) * 3)


def test_a_readout_tied_to_the_embedding_counts_as_embedding(tokenizer):
    ours, theirs = (tiny.hf_model("llama", tie_word_embeddings=True) for _ in range(2))
    with torch.no_grad():
        nudge(theirs.lm_head.weight)
    assert not alike(wrap(ours, tokenizer), wrap(theirs, tokenizer)).embedding


def test_other_settings_that_a_block_may_read_leave_nothing(tokenizer):
    assert changed(lambda model: None, tokenizer, rms_norm_eps=0.1) == NOTHING
    rope = {"rope_type": "default", "rope_theta": 50.0}
    assert changed(lambda model: None, tokenizer, rope_parameters=rope) == NOTHING
    assert changed(lambda model: None, tokenizer, use_cache=False).blocks == (True,) * 3


def test_a_hook_of_ones_own_makes_its_block_another_unless_both_have_it(tokenizer):
    models = [wrap(tiny.hf_model("llama"), tokenizer) for _ in range(2)]

    def twice(module, given, output):
        return output * 2

    blocks = [model.bridge.blocks[1].mlp for model in models]
    one = blocks[0].register_forward_hook(twice)
    assert alike(*models).blocks == (True, False, True)
    blocks[1].register_forward_hook(twice)
    assert alike(*models).blocks == (True,) * 3
    one.remove()
    assert alike(*models).blocks == (True, False, True)
    with models[1].bridge.hooks(fwd_hooks=[("blocks.2.hook_resid_pre", lambda act, hook: act)]):
        assert alike(*models).blocks == (True, False, False)


def test_a_weight_that_is_written_to_later_is_seen(tokenizer):
    ours = tiny.hf_model("gpt2")
    models = wrap(ours, tokenizer), wrap(tiny.hf_model("gpt2"), tokenizer)
    assert alike(*models).below == 3
    with torch.no_grad():
        nudge(ours.transformer.wpe.weight)
    assert not alike(*models).embedding, "positions are part of what enters block 0"
