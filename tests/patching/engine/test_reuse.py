"""Families that write their blocks otherwise are swept exactly, by whichever ways they allow."""

from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
import transformers as tf

import interp
from interp import Kind, Site
from interp.models.loading import wrap
from interp.models.model import Model
from patching import patch_sites, plan
from patching.engine.reuse import Reuse, reuse

pytestmark = pytest.mark.usefixtures("untried")

_COMMON: dict[str, Any] = {"vocab_size": tiny.VOCABULARY, "tie_word_embeddings": False}
_SMALL = _COMMON | {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4}
_GPT = _COMMON | {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 64}
_GROUPED = _SMALL | {"intermediate_size": 64, "num_key_value_heads": 2}
_GATED = _GROUPED | {"num_experts_per_tok": 2}

ODD: dict[str, Callable[[], Any]] = {
    "bloom": lambda: tf.BloomConfig(n_layer=3, hidden_size=32, n_head=4, **_COMMON),
    "falcon": lambda: tf.FalconConfig(alibi=False, **_SMALL),
    "falcon with alibi": lambda: tf.FalconConfig(alibi=True, **_SMALL),
    "mpt": lambda: tf.MptConfig(n_layers=3, d_model=32, n_heads=4, max_seq_len=64, **_COMMON),
    "neo with a window": lambda: tf.GPTNeoConfig(
        num_layers=2, hidden_size=32, num_heads=4, max_position_embeddings=64, window_size=3,
        attention_types=[[["global", "local"], 1]], **_COMMON,
    ),
    "gpt-j": lambda: tf.GPTJConfig(rotary_dim=4, **_GPT),
    "codegen": lambda: tf.CodeGenConfig(rotary_dim=4, n_ctx=64, **_GPT),
    "mixtral": lambda: tf.MixtralConfig(num_local_experts=4, **_GATED),
    "xglm": lambda: tf.XGLMConfig(
        num_layers=3, d_model=32, attention_heads=4, ffn_dim=64, max_position_embeddings=64, **_COMMON
    ),
    "mamba": lambda: tf.MambaConfig(num_hidden_layers=3, hidden_size=32, state_size=4, **_COMMON),
    "rwkv": lambda: tf.RwkvConfig(
        num_hidden_layers=3, hidden_size=32, attention_hidden_size=32, intermediate_size=64, **_COMMON
    ),
    "lfm2": lambda: tf.Lfm2Config(layer_types=["conv", "full_attention", "conv"], **_GROUPED),
}  # fmt: skip


def odd_model(name: str, tokenizer) -> Model:
    torch.manual_seed(0)
    model = tf.AutoModelForCausalLM.from_config(ODD[name](), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 1.2 / tiny.WIDTH**0.5)
    return wrap(model, tokenizer, name=name)


@torch.no_grad()
def one_by_one(model: Model, pairs: interp.Contrast, layer: int) -> dict[tuple[int, int], float]:
    """The patched metric of every pair and position, by TransformerLens's hooks, one run a cell."""
    hook_name = f"blocks.{layer}.hook_resid_pre"
    found = {}
    for i in range(len(pairs)):
        clean, bad = (part.tokens[i][part.mask[i]][None] for part in (pairs.clean, pairs.corrupted))
        _, cache = model.bridge.run_with_cache(clean, names_filter=[hook_name], use_cache=False)
        source = cache[hook_name]
        for position in range(bad.shape[1]):

            def write(act: torch.Tensor, hook: object, at: int = position, source=source):
                act = act.clone()
                act[:, at] = source[:, at]
                return act

            with model.bridge.hooks(fwd_hooks=[(hook_name, write)]):
                logits = model.bridge(bad, use_cache=False)[0, -1]
            found[i, position] = float(logits[pairs.answers[i]] - logits[pairs.foils[i]])
    return found


@pytest.mark.parametrize("name", ODD)
def test_a_grid_on_blocks_written_otherwise_equals_the_loop(name: str, tokenizer):
    model = odd_model(name, tokenizer)
    # As many prompts of one length as there are heads, so that neither passes for the other.
    pairs = tiny.contrast(7, 7, 7, 7, 5)
    sites = interp.every_layer(Kind.RESID_PRE, model.n_layers)
    grid = patch_sites(model, pairs, sites, interp.logit_difference(pairs))
    moved = 0.0
    for layer in range(model.n_layers):
        rows = grid.where(condition="patched", layer=layer)
        values = {(int(r.example), int(r.position)): r.value for r in rows.itertuples()}
        for cell, expected in one_by_one(model, pairs, layer).items():
            assert values[cell] == pytest.approx(expected, abs=2e-4), (layer, cell)
        corrupted = grid.where(condition="corrupted").set_index("example")["value"]
        moved = max(moved, *(abs(v - corrupted[i]) for (i, _), v in values.items()))
    assert moved > 1e-3, "patching does something"
    assert plan(model, pairs.clean, sites).cells > 0


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_common_families_allow_every_way(family: str, tiny_model):
    assert reuse(tiny_model(family)) == Reuse(prefix=True, packed=True, last=True)


def test_a_window_inside_the_attention_forbids_tokens_as_rows(tokenizer):
    assert reuse(odd_model("neo with a window", tokenizer)) == Reuse(
        prefix=True, packed=False, last=True
    )


def test_blocks_that_keep_a_state_take_no_prefix(tokenizer):
    assert reuse(odd_model("lfm2", tokenizer)) == Reuse(prefix=False, packed=False, last=False)


def test_blocks_that_cannot_be_called_again_are_refused_at_loading(tokenizer):
    model = tiny.hf_model("llama")
    block, calls = model.model.layers[1], []
    run = block.forward

    def once(*args: Any, **kwargs: Any) -> Any:
        """Remembers how many rows it was first called with, as some caches do."""
        hidden = args[0] if args else kwargs["hidden_states"]
        calls.append(len(hidden))
        if len(hidden) > 2:
            raise RuntimeError("rows are fixed")
        return run(*args, **kwargs)

    block.forward = once
    with pytest.raises(ValueError, match="llama: LlamaForCausalLM can be read but not swept") as caught:
        wrap(model, tokenizer, name="llama")
    assert "\n" not in str(caught.value) and "rows are fixed" in str(caught.value) and calls


def test_blocks_that_give_something_else_when_called_again_are_refused(tokenizer):
    model = tiny.hf_model("llama")
    model.model.layers[1].register_forward_hook(
        lambda module, args, out: out * (2.0 if len(out) > 2 else 1.0)
    )
    with pytest.raises(ValueError, match="block 1 gives something else when it is called again"):
        wrap(model, tokenizer, name="llama")


def test_a_site_of_a_block_without_attention_is_refused_in_one_line(tokenizer):
    model, pairs = odd_model("mamba", tokenizer), tiny.contrast(5)
    with pytest.raises(ValueError, match="mamba has no z at layer 0"):
        patch_sites(model, pairs, [Site(Kind.Z, 0)], interp.logit_difference(pairs))


def test_a_hook_that_was_added_after_a_model_was_tried_is_seen_and_forgotten_when_it_goes() -> None:
    model = wrap(tiny.hf_model("gpt2"), None)
    assert reuse(model).packed
    block = model.bridge.blocks[0].original_component
    # Attends to the number of tokens of its call: rows that start later come out otherwise.
    hook = block.register_forward_hook(lambda _, __, out: _scaled(out))
    try:
        assert not reuse(model).packed
    finally:
        hook.remove()
    assert reuse(model).packed


def _scaled(out):
    state = out[0] if isinstance(out, tuple) else out
    changed = state * (1 + state.shape[1])
    return (changed, *out[1:]) if isinstance(out, tuple) else changed
