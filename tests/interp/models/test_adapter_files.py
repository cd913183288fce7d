"""An adapter is merged whole, with its vocabulary and its tokenizer, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp.models import sources
from interp.models.loading import load_model, load_pair
from interp.models.model import Model

#: Ids that a vocabulary of 90 rows holds too.
IDS = torch.tensor(tiny.token_rows(9, 9)) % 90
LORA: dict[str, Any] = {"task_type": "CAUSAL_LM", "r": 2, "init_lora_weights": False}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch):
    """No test here may wait for, or ask, a hub."""
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def tied(request) -> bool:
    return request.param


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Path, Path, Tensor]]:
    """`made(config, tied=, rows=, save=) -> (base, adapter, logits of the adapted bare model)`."""

    def make(
        config: peft.PeftConfig, *, tied: bool = False, rows: int | None = None, save: Any = "auto"
    ) -> tuple[Path, Path, Tensor]:
        base, lora = tmp_path / "base", tmp_path / "lora"
        tiny.hf_model("llama", tie_word_embeddings=tied).save_pretrained(base)
        tiny.save_tokenizer(base)
        under = tiny.hf_model("llama", tie_word_embeddings=tied)
        torch.manual_seed(0)
        if rows is not None:
            under.resize_token_embeddings(rows, mean_resizing=False)
        wrapped = peft.get_peft_model(under, config).eval()
        with torch.no_grad():  # as after training: nothing of the adapter is where it started
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
            logits = wrapped(IDS, use_cache=False).logits
        wrapped.save_pretrained(lora, save_embedding_layers=save)
        return base, lora, logits

    return make


def tensors(lora: Path) -> dict[str, Tensor]:
    return load_file(lora / "adapter_model.safetensors")


def rewrite(lora: Path, new: dict[str, Tensor]) -> None:
    save_file(new, lora / "adapter_model.safetensors", metadata={"format": "pt"})


def configure(lora: Path, **changes: Any) -> None:
    file = lora / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def assert_adapted(model: Model, expected: Tensor, base: Path) -> None:
    """The logits are the adapted model's, which are not the base's."""
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-3, atol=1e-3)
    plain = load_model(base).logits(IDS)
    shared = min(plain.shape[-1], expected.shape[-1])
    assert (expected[..., :shared] - plain[..., :shared]).abs().max() > 0.1


def refusal(lora: Path, base: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load_model(lora, base=base)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


QV = ["q_proj", "v_proj"]
KINDS: dict[str, peft.PeftConfig] = {
    "LoRA": peft.LoraConfig(target_modules=QV, **LORA),
    "rank-stabilised": peft.LoraConfig(target_modules=QV, use_rslora=True, **LORA),
    "ranks of its own": peft.LoraConfig(
        target_modules=QV, rank_pattern={"v_proj": 4}, alpha_pattern={"layers.1.q_proj": 32}, **LORA
    ),
    "DoRA": peft.LoraConfig(target_modules=QV, use_dora=True, **LORA),
    "some layers": peft.LoraConfig(target_modules=QV, layers_to_transform=[0, 2], **LORA),
    "another head": peft.LoraConfig(target_modules=QV, modules_to_save=["lm_head"], **LORA),
    "another norm": peft.LoraConfig(target_modules=QV, modules_to_save=["norm"], **LORA),
    "new tokens": peft.LoraConfig(target_modules=QV, trainable_token_indices=[5, 9, 60], **LORA),
    "IA3": peft.IA3Config(task_type="CAUSAL_LM", target_modules=QV, feedforward_modules=[]),
    "LoHa": peft.LoHaConfig(task_type="CAUSAL_LM", r=2, target_modules=QV),
    "OFT": peft.OFTConfig(task_type="CAUSAL_LM", target_modules=QV, r=2, oft_block_size=0),
    "VeRA": peft.VeraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], r=4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter_with_weights_is_merged_whole(kind: str, made, tied: bool):
    base, lora, expected = made(KINDS[kind], tied=tied)
    model = load_model(lora, base=base)
    assert_adapted(model, expected, base)
    assert not [w for w in model.warnings if "names base" not in w]


def test_biases_are_part_of_an_adapter(tmp_path: Path):
    base, lora = tmp_path / "base", tmp_path / "lora"
    tiny.hf_model("qwen2").save_pretrained(base)
    tiny.save_tokenizer(base)
    config = peft.LoraConfig(target_modules=QV, bias="all", **LORA)
    wrapped = peft.get_peft_model(tiny.hf_model("qwen2"), config).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            parameter.add_(0.3 * ("bias" in name))
        expected = wrapped(IDS, use_cache=False).logits
    wrapped.save_pretrained(lora)
    assert_adapted(load_model(lora, base=base), expected, base)
    rewrite(lora, {k: w for k, w in tensors(lora).items() if "k_proj" not in k})
    assert "3 of the 21 weights its settings ask for are not given, such as" in refusal(lora, base)


def other_prefix(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.replace("model.layers", "model.language_model.layers"): v for k, v in found.items()}


SPOILT: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "another prefix": (other_prefix, "12 of its 12 tensors find no place, such as .*language_model"),
    "no prefix": (
        lambda t: {k.removeprefix("base_model."): v for k, v in t.items()},
        "12 of its 12 tensors find no place",
    ),
    "a block left out": (
        lambda t: {k: v for k, v in t.items() if ".layers.2." not in k},
        "4 of the 12 weights its settings ask for are not given, such as .*layers.2",
    ),
    "one tensor left out": (
        lambda t: {k: v for k, v in t.items() if ".layers.1.self_attn.q_proj.lora_B" not in k},
        "1 of the 12 weights its settings ask for are not given, such as .*layers.1.*lora_B",
    ),
    "nothing": (lambda t: {"nothing": torch.zeros(1)}, "1 of its 1 tensors .*and 12 of the 12 weights"),
    "a tensor too many": (
        lambda t: t | {"base_model.model.score.weight": torch.ones(2, 32)},
        "1 of its 13 tensors find no place, such as base_model.model.score.weight",
    ),
    "another rank": (
        lambda t: {k: v.repeat(2, 1) if "lora_A" in k else v for k, v in t.items()},
        "size mismatch for .*lora_A.*shape",
    ),
    "not a number": (
        lambda t: {k: v * float("nan") if ".layers.2." in k else v for k, v in t.items()},
        "layers.2.*holds NaN or infinite values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
@pytest.mark.parametrize("start", [True, False], ids=["from zero", "from random numbers"])
def test_an_adapter_that_does_not_find_its_place_is_refused(case: str, start: bool, made):
    base, lora, expected = made(peft.LoraConfig(target_modules=QV, **LORA))
    configure(lora, init_lora_weights=start)
    assert_adapted(load_model(lora, base=base), expected, base)
    spoil, message = SPOILT[case]
    rewrite(lora, spoil(tensors(lora)))
    with pytest.raises(ValueError, match=message) as caught:
        load_model(lora, base=base)
    assert "\n" not in str(caught.value)


def test_names_that_hold_the_adapters_name_are_placed_too(made):
    base, lora, expected = made(KINDS["LoRA"])
    rewrite(lora, {k.replace(".weight", ".default.weight"): w for k, w in tensors(lora).items()})
    assert_adapted(load_model(lora, base=base), expected, base)


@pytest.mark.parametrize(
    ("config", "part"),
    [
        (peft.LoraConfig(target_modules=QV, use_dora=True, **LORA), "lora_magnitude_vector"),
        (peft.LoraConfig(target_modules=QV, modules_to_save=["lm_head"], **LORA), "lm_head"),
        (peft.LoraConfig(target_modules=QV, trainable_token_indices=[5], **LORA), "trainable_tokens"),
        (peft.LoHaConfig(task_type="CAUSAL_LM", r=2, target_modules=QV), "hada_w2_b"),
    ],
    ids=["DoRA", "another head", "new tokens", "LoHa"],
)
def test_a_part_of_an_adapter_is_not_the_adapter(config, part: str, made):
    base, lora, _ = made(config)
    rewrite(lora, {k: v for k, v in tensors(lora).items() if part not in k})
    message = refusal(lora, base)
    assert "are not given, such as" in message and part in message


def test_settings_that_are_not_the_tensors_are_refused(made):
    base, lora, _ = made(KINDS["ranks of its own"])
    configure(lora, rank_pattern={})
    assert "size mismatch" in refusal(lora, base)


def test_a_classifiers_adapter_has_a_head_that_no_language_model_has(tmp_path: Path, made):
    base, _, _ = made(KINDS["LoRA"])
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(tiny.config("llama"))
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=QV)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "judge")
    assert "score" in refusal(tmp_path / "judge", base)


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=8),
    ],
    ids=["prompt", "prefix", "encoder"],
)
def test_learned_prompts_have_no_weights_to_merge(config, tmp_path: Path):
    base, soft = tmp_path / "base", tmp_path / "soft"
    tiny.hf_model("llama").save_pretrained(base)
    tiny.save_tokenizer(base)
    peft.get_peft_model(tiny.hf_model("llama"), config).save_pretrained(soft)
    assert "has no weights to merge; give one that changes weights" in refusal(soft, base)


def test_an_unreadable_adapter_is_refused_in_one_line(made):
    base, lora, _ = made(KINDS["LoRA"])
    weights = (lora / "adapter_model.safetensors").read_bytes()
    (lora / "adapter_model.safetensors").write_bytes(b"torn")
    assert "adapter_model.safetensors is no safetensors file" in refusal(lora, base)
    (lora / "adapter_model.safetensors").write_bytes(weights)
    configure(lora, peft_type="NEWEST")
    assert "adapter_config.json cannot be read by peft" in refusal(lora, base)
    (lora / "adapter_config.json").write_text("{")
    assert "adapter_config.json is not JSON" in refusal(lora, base)


def test_settings_that_peft_does_not_know_are_a_caution(made):
    base, lora, _ = made(KINDS["LoRA"])
    configure(lora, scale_by_depth=True, unused=None)
    warnings = load_model(lora, base=base).warnings
    assert any(w.endswith("does not know its settings scale_by_depth") for w in warnings)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_an_adapter_on_a_tied_matrix_leaves_the_other_end_as_it_was(target: str, made):
    base, lora, expected = made(peft.LoraConfig(target_modules=[target, "q_proj"], **LORA), tied=True)
    model = load_model(lora, base=base)
    assert_adapted(model, expected, base)
    held = model.bridge.original_model
    ends = {
        "embed_tokens": held.get_input_embeddings().weight,
        "lm_head": held.get_output_embeddings().weight,
    }
    plain = tiny.hf_model("llama", tie_word_embeddings=True).lm_head.weight
    for name, weight in ends.items():
        assert torch.equal(weight, plain) == (name != target)


@pytest.mark.parametrize("rows", [98, 90], ids=["more rows", "fewer rows"])
def test_an_adapter_with_another_vocabulary_brings_its_rows(rows: int, made, tied: bool):
    config = peft.LoraConfig(target_modules=["q_proj"], **LORA)
    base, lora, expected = made(config, tied=tied, rows=rows, save=True)
    model = load_model(lora, base=base)
    assert model.unembedding[0].shape[0] == rows == expected.shape[-1]
    assert_adapted(model, expected, base)


def test_rows_that_are_not_given_are_never_made_up(made):
    config = peft.LoraConfig(target_modules=["q_proj"], **LORA)
    base, lora, _ = made(config, rows=98, save=True)
    held = tensors(lora)
    rewrite(lora, {k: v for k, v in held.items() if "lm_head" not in k})
    message = refusal(lora, base)
    assert "was trained on 98 vocabulary rows and" in message and "has 96" in message


@pytest.mark.parametrize("whole", ["embed_tokens", "lm_head"])
def test_one_end_saved_whole_says_nothing_of_the_other_ends_new_rows(whole: str, made):
    config = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=[whole], **LORA)
    base, lora, expected = made(config, tied=True)
    assert_adapted(load_model(lora, base=base), expected, base)
    base, lora, _ = made(config, tied=True, rows=98)
    assert "holds the rows of only one of embedding and head" in refusal(lora, base)


def test_an_adapter_on_rows_that_the_base_lacks_keeps_its_reason(made):
    config = peft.LoraConfig(target_modules=["lm_head", "q_proj"], **LORA)
    base, lora, _ = made(config, rows=98, save=False)
    message = refusal(lora, base)
    assert "size mismatch for" in message and "98" in message and "96" in message


def test_the_adapters_own_tokenizer_and_template_are_used(made, tmp_path: Path):
    base, lora, _ = made(KINDS["LoRA"])
    assert load_model(lora, base=base).tokenizer.chat_template is None
    template = "{% for m in messages %}the {{ m['content'] }}{% endfor %}"
    tokenizer = tiny.save_tokenizer(tmp_path / "spare")
    tokenizer.chat_template = template
    tokenizer.add_tokens(["<|im_start|>"])
    tokenizer.save_pretrained(lora)
    pair = load_pair(base, lora)
    assert pair.tuned.tokenizer.chat_template == template
    assert "<|im_start|>" in pair.tuned.tokenizer.get_vocab()
    assert pair.base.tokenizer.chat_template is None


def test_a_template_alone_is_put_on_the_bases_tokenizer(made):
    base, lora, _ = made(KINDS["LoRA"])
    (lora / "chat_template.jinja").write_text("the {{ messages[0]['content'] }}")
    pair = load_pair(base, lora)
    assert pair.tuned.tokenizer.chat_template == "the {{ messages[0]['content'] }}"
    assert pair.base.tokenizer.chat_template is None


def test_an_adapters_tokenizer_does_for_a_base_without_one(made):
    base, lora, expected = made(KINDS["LoRA"])
    tiny.save_tokenizer(lora)
    for file in base.glob("tokenizer*"):
        file.unlink()
    model = load_model(lora, base=base)
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-3, atol=1e-3)
    assert model.tokenizer("capital").input_ids == [9]
