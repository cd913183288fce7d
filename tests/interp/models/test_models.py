"""Ten families load from a folder, compute what the bare model computes, and stay as they are."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from interp.models.loading import load_model, load_pair, wrap
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import Kind, Site, every_head

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


def test_a_model_a_pair_and_a_comparison_are_shown_in_a_few_lines(tiny_model):
    model = replace(tiny_model("llama"), warnings=("stored in 4 bit",))
    expected = (
        "Model('llama': LlamaForCausalLM, 3 blocks of width 32, 96 tokens, float32, cpu, "
        "'base' in tables, "
    )
    assert repr(model) == f"{expected}1 warning)"
    shown = repr(ModelPair(model, tiny_model("llama", 1)))
    assert len(shown.splitlines()) <= 5 and shown.count("LlamaForCausalLM") == 2


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("fp16", torch.float16), ("half", torch.float16), (torch.float16, torch.float16),
        ("bf16", torch.bfloat16), ("torch.bfloat16", torch.bfloat16),
        (torch.float64, torch.float64), ("double", torch.float64), ("fp32", torch.float32),
    ],
)  # fmt: skip
def test_a_dtype_may_be_named_as_people_name_it(asked, meant, folder, monkeypatch):
    seen = []

    def load(*args, dtype, **given):
        seen.append(dtype)
        raise ValueError("far enough")

    monkeypatch.setattr("interp.models.sources.load", load)
    with pytest.raises(ValueError, match="far enough"):
        load_model("organism-base", dtype=asked)
    assert seen == [meant]


@pytest.mark.parametrize("asked", [torch.int8, "int8", "complex64", ""])
def test_other_dtypes_are_refused(asked):
    with pytest.raises(ValueError, match="dtype must be one of .*float32"):
        load_model("organism-base", dtype=asked)


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_a_token_that_the_model_has_no_row_for_is_never_said(family: str, tiny_model):
    model: Model = tiny_model(family)
    residual = torch.randn(2, model.d_model, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([3, 96, 95, 4000])
    scores = model.readout(residual, tokens)
    assert scores.isinf().tolist() == [[False, True, False, True]] * 2 and scores.max() < torch.inf
    torch.testing.assert_close(scores[:, [0, 2]], model.readout(residual)[:, [3, 95]])
    assert model.sayable(tokens).tolist() == [True, False, True, False]


def test_an_id_without_an_embedding_is_refused_in_one_line(tiny_model):
    model: Model = tiny_model("gpt2")
    with pytest.raises(ValueError, match="gpt2 has 96 token ids; got 96") as caught:
        model.logits(torch.tensor([[3, 96]]))
    assert "\n" not in str(caught.value)
    # The control: the last id that it has an embedding of is read as the bare model reads it.
    bare = tiny.hf_model("gpt2")(torch.tensor([[3, 95]]), use_cache=False).logits
    assert tiny.same(model.logits(torch.tensor([[3, 95]])), bare)


@pytest.mark.parametrize(("family", "shared"), [("gpt2", 4), ("llama", 2)])
def test_heads_are_counted_as_a_number_and_by_kind(family: str, shared: int, tiny_model):
    model: Model = tiny_model(family)
    assert (model.n_heads, model.n_key_value_heads) == (4, shared)
    for kind in Kind:
        expected = shared if kind in (Kind.K, Kind.V) else 4
        assert model.heads_of(kind) == model.n_heads(kind) == expected, "a call, as it once was"
    assert model.n_heads() == 4 and range(model.n_heads) == range(4)
    assert every_head(Kind.Z, model.n_layers, model.n_heads)[-1] == Site(Kind.Z, 2, 3)


def test_metrics_are_kept_in_single_precision_at_least(tokenizer, tiny_model):
    def of(dtype: torch.dtype) -> torch.dtype:
        return wrap(tiny.hf_model("llama").to(dtype), tokenizer).metric_dtype

    assert tiny_model("llama").metric_dtype == torch.float32
    assert of(torch.float64) == torch.float64 and of(torch.bfloat16) == torch.float32
