"""The states that a next token is read from: only what has to run, with the numbers of all of it."""

import pytest
import tiny
import torch

from interp.models.alike import alike
from interp.models.loading import wrap
from patching.engine import block_cost
from patching.engine.reuse import reuse
from studies.comparison.next_tokens import _whole, final_states, final_states_of_both


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3", "mistral"])
@pytest.mark.parametrize("changed", [(0,), (1,), (2,), ()])
def test_of_a_tuned_model_only_the_blocks_from_the_first_changed_one_on_are_asked(
    family: str, changed: tuple[int, ...], tokenizer
):
    base, tuned = (wrap(tiny.hf_model(family), tokenizer) for _ in range(2))
    with torch.no_grad():
        for block in changed:
            for parameter in tuned.bridge.blocks[block].parameters():
                parameter.mul_(1.1)
    run = []

    def see(block, given):
        run.append(block)

    for block in (*base.bridge.blocks, *tuned.bridge.blocks):
        block.register_forward_pre_hook(see)
    tokens = torch.tensor(tiny.token_rows(9, 9))
    found = final_states_of_both(base, tuned, alike(base, tuned), tokens, 3)
    entered = [k for k, block in enumerate(tuned.bridge.blocks) if block in run]
    assert entered == [k for k in range(tiny.LAYERS) if changed and k >= changed[0]]
    plain = [final_states(model, tokens, 3) for model in (base, tuned)]
    assert tiny.same(found[0], plain[0]) and tiny.same(found[1], plain[1])
    assert tiny.same(*plain) == (not changed), "the two models differ where blocks do"


@pytest.mark.parametrize(
    "family", ["gpt2", "neox", "llama", "gemma2", "gemma3", "qwen3", "mistral", "opt"]
)
@pytest.mark.parametrize("changed", [(0,), (1,), ()])
def test_what_prompts_begin_with_is_asked_once(
    family: str, changed: tuple[int, ...], tokenizer, monkeypatch
):
    base, tuned = (wrap(tiny.hf_model(family), tokenizer) for _ in range(2))
    with torch.no_grad():
        for block in changed:
            for parameter in tuned.bridge.blocks[block].parameters():
                parameter.mul_(1.1)
    beginning = torch.tensor([[7, 11, 5, 30, 8, 9]]).expand(4, -1)
    tokens = torch.cat([beginning, torch.tensor(tiny.token_rows(5, 5, 5, 5))], 1)
    plain = [final_states(model, tokens, 3) for model in (base, tuned)]
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 0.0)
    entered = []

    def see(block, given):
        entered.append(given[0].shape[:2].numel())

    reuse(base)
    for block in base.bridge.blocks:
        block.register_forward_pre_hook(see)
    found = final_states_of_both(base, tuned, alike(base, tuned), tokens, 3)
    assert max(entered) < tokens.numel(), "no block of the base sees the beginning of every prompt"
    assert tiny.same(found[0], plain[0]) and tiny.same(found[1], plain[1])
    assert tiny.same(final_states(base, tokens, 3), plain[0])
    assert tiny.same(final_states(base, tokens, 11), _whole(base, tokens, 11)), "all are read"
