"""Ten families load from a folder, compute what the bare model computes, and stay as they are."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from interp.models import Model, ModelPair, load_model, load_pair, wrap

IDS = torch.tensor(tiny.token_rows(9, 9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """`folder(family, seed=0, **changes) -> Path`: a model folder written by save_pretrained."""

    def make(family: str, seed: int = 0, **changes) -> Path:
        path = tmp_path_factory.mktemp(family)
        tiny.hf_model(family, seed, **changes).save_pretrained(path)
        tokenizer.save_pretrained(path)
        return path

    return make


@torch.no_grad()
def bare_logits(family: str, seed: int = 0) -> torch.Tensor:
    return tiny.hf_model(family, seed)(IDS, use_cache=False).logits


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_folder_gives_the_bare_models_logits_and_raw_frozen_weights(family: str, folder):
    model = load_model(folder(family))
    expected = bare_logits(family)
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-4, atol=1e-4)
    assert (model.logits(IDS) - bare_logits(family, 1)).abs().max() > 0.1, "other weights differ"
    assert (model.n_layers, model.d_model, model.context) == (tiny.LAYERS, tiny.WIDTH, 64)
    assert str(model.device) == "cpu" and model.dtype == torch.float32
    assert model.stored_dtype == "float32" and model.warnings == ()
    assert not any(m.training for m in model.bridge.modules())
    parameters = list(model.bridge.original_model.parameters())
    assert not any(p.requires_grad for p in parameters)
    raw = {p.double().sum().item() for p in tiny.hf_model(family).parameters()}
    assert raw <= {p.double().sum().item() for p in parameters}, "nothing is folded"
    assert not model.logits(IDS).requires_grad


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_readout_is_the_last_residual_through_norm_unembedding_and_cap(family: str, tiny_model):
    model: Model = tiny_model(family)
    name = f"blocks.{model.n_layers - 1}.hook_resid_post"
    logits, cache = model.bridge.run_with_cache(IDS, names_filter=[name], use_cache=False)
    torch.testing.assert_close(model.readout(cache[name]), logits, rtol=1e-4, atol=1e-4)
    some = torch.tensor([3, 40, 95])
    chosen = model.readout(cache[name][:, -1], some)
    torch.testing.assert_close(chosen, logits[:, -1, some], rtol=1e-4, atol=1e-4)
    assert chosen.shape == (2, 3)


def test_padding_on_the_left_does_not_change_the_real_positions(family_model: Model):
    short = tiny.examples(tiny.token_rows(5, 9), pad="left")
    padded = family_model.logits(short.tokens, short.mask)
    alone = family_model.logits(short.tokens[:1, 4:])
    if family_model.name == "gpt2":  # learned positions are counted from the left edge
        pytest.skip("absolute positions need position ids; sweeps batch by length instead")
    torch.testing.assert_close(padded[:1, 4:], alone, rtol=1e-4, atol=1e-4)


def test_the_fingerprint_is_equal_exactly_for_equal_weights(tokenizer):
    def made(seed: int, nudge: float = 0.0) -> Model:
        model = tiny.hf_model("llama", seed)
        model.lm_head.weight.data[0, 0] += nudge
        return wrap(model, tokenizer)

    one = made(0).fingerprint
    assert one == made(0).fingerprint
    assert one != made(1).fingerprint
    assert one != made(0, 1e-3).fingerprint


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_dtype_is_converted_to_and_the_stored_one_remembered(dtype: str, folder):
    model = load_model(folder("qwen2"), dtype=dtype)
    assert model.dtype == getattr(torch, dtype) and model.stored_dtype == "float32"
    close = 0.2 if dtype == "bfloat16" else 1e-3
    assert (model.logits(IDS).double() - bare_logits("qwen2").double()).abs().max() < close


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of .* got 'int8'"),
        ({"device": "nowhere"}, "device must be one that torch finds here, got 'nowhere'"),
        ({"device": "cuda:99"}, "device must be one that torch finds here, got 'cuda:99'"),
    ],
)
def test_impossible_dtypes_and_devices_are_refused_in_one_line(asked: dict, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        load_model("organism-base", **asked)
    assert "\n" not in str(caught.value)


def test_a_model_whose_output_is_not_norm_and_unembedding_is_refused(tokenizer):
    model = tiny.hf_model("llama")
    model.lm_head.register_forward_hook(lambda module, args, out: out * 1.5)
    with pytest.raises(ValueError, match="read-out logits differ from the bare model's"):
        wrap(model, tokenizer, name="scaled")


def test_a_module_that_is_no_language_model_is_refused_in_one_line(tokenizer):
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = tiny.config("llama")
            self.inner = tiny.hf_model("llama")

        def get_input_embeddings(self):
            return self.inner.get_input_embeddings()

        def forward(self, ids, use_cache=False):
            return self.inner(ids, use_cache=use_cache)

    with pytest.raises(ValueError, match="TransformerLens cannot wrap Odd") as caught:
        wrap(Odd(), tokenizer, name="odd")
    assert "\n" not in str(caught.value)


def test_a_pair_bears_its_roles_and_collects_warnings_once(tiny_model):
    one = replace(tiny_model("llama"), warnings=("stored in 4 bit",))
    pair = ModelPair(one, replace(one, name="other"))
    assert (pair.base.role, pair.tuned.role) == ("base", "tuned")
    assert pair.warnings == ("stored in 4 bit",)
    assert one.role == "base" and pair.tuned.bridge is one.bridge


def test_load_pair_loads_both_alike(folder):
    pair = load_pair(folder("mistral"), folder("mistral", 1), dtype="float64")
    assert pair.base.dtype == pair.tuned.dtype == torch.float64
    assert pair.base.fingerprint != pair.tuned.fingerprint and pair.warnings == ()


@pytest.mark.real
def test_smollm2_is_dequantised_once_and_says_so():
    model = load_model("smollm2")
    assert (model.n_layers, model.d_model) == (30, 576)
    assert any("de-quantised" in w for w in model.warnings)
    ids = torch.tensor([model.tokenizer("The capital of France is the city of").input_ids])
    assert model.tokenizer.decode(model.logits(ids)[0, -1].argmax()) == " Paris"
