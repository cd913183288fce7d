"""Folders and tokenizers are read whole, or refused with the reason in one line."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from interp.models import sources
from interp.models.loading import load_model, load_pair
from interp.untrusted.reading import reason

IDS = torch.tensor(tiny.token_rows(9, 9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder in many shards, which the test may spoil."""
    path = tmp_path / "model"
    tiny.hf_model("llama").save_pretrained(path, max_shard_size="20KB")
    tiny.save_tokenizer(path)
    return path


def configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refusal(source: Path, **given: Any) -> str:
    with pytest.raises(ValueError) as caught:
        sources.load(source, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shards_are_one_model(folder: Path):
    assert len(list(folder.glob("*.safetensors"))) > 3
    with torch.no_grad():
        expected = tiny.hf_model("llama")(IDS, use_cache=False).logits
    torch.testing.assert_close(load_model(folder).logits(IDS), expected, rtol=1e-4, atol=1e-4)


def test_a_missing_shard_is_named(folder: Path):
    (folder / "model-00003-of-00009.safetensors").unlink()
    assert "model-00003-of-00009.safetensors" in refusal(folder)


def test_weights_that_a_shard_should_hold_are_not_made_up(folder: Path):
    file = folder / "model-00003-of-00009.safetensors"
    first, *others = load_file(file).items()
    save_file(dict(others) or {"nothing": torch.zeros(1)}, file, metadata={"format": "pt"})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    del index["weight_map"][first[0]]
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f"lacks 1 weights of LlamaForCausalLM, such as {first[0]}" in refusal(folder)


def test_rows_that_the_weights_lack_are_not_made_up(folder: Path):
    configure(folder, vocab_size=100)
    message = refusal(folder)
    assert "2 weights of another shape than its configuration says" in message
    assert "got (96, 32), expected (100, 32)" in message


def test_weights_without_a_place_are_a_caution(folder: Path):
    configure(folder, num_hidden_layers=2)
    (warning,) = load_model(folder).warnings
    assert warning.startswith("9 weights in") and "such as model.layers.2." in warning


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq"])
def test_a_quantiser_named_beside_plain_floats_is_the_reason_given(method: str, folder: Path):
    quantiser = {"quant_method": method, "bits": 4, "group_size": 128, "load_in_4bit": True}
    configure(folder, quantization_config=quantiser)
    message = refusal(folder)
    assert f"the reason is quantization_config ({method}) in config.json" in message
    assert message.endswith("take that entry out")


def test_weights_that_are_quantised_are_refused_as_such(folder: Path):
    configure(folder, quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128})
    file = folder / "model-00003-of-00009.safetensors"
    save_file({"packed": torch.zeros(4, dtype=torch.int32)}, file, metadata={"format": "pt"})
    assert refusal(folder).endswith(
        "its weights are quantised (gptq); give the model before quantisation"
    )


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_configuration_that_is_none_is_refused(text: str, folder: Path):
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


MODELS = {
    "merges": {"type": "BPE", "vocab": {"a": 0}, "merges": [{"x": 1}]},
    "kind": {"type": "Newest", "vocab": {"a": 0}},
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_tokenizer_that_this_release_cannot_read_is_named(model: dict, folder: Path):
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": model}))
    for given in ({}, {"base": folder}):
        message = refusal(folder, **given)
        assert f"tokenizer.json cannot be read by tokenizers {version('tokenizers')}" in message
    file.write_text("torn")
    assert "tokenizer.json cannot be read by tokenizers" in refusal(folder)


def test_settings_alone_are_no_tokenizer(folder: Path, tmp_path: Path):
    base = Path(shutil.copytree(folder, tmp_path / "base"))
    (folder / "tokenizer.json").unlink()
    assert (folder / "tokenizer_config.json").is_file()
    assert "holds no tokenizer (expected tokenizer.json); add one, or give base=" in refusal(folder)
    tuned = load_pair(base, folder).tuned
    assert tuned.tokenizer("capital").input_ids == [9]
    assert tuned.warnings == (f"{folder} has no tokenizer; the one of {base} is used",)


def test_a_reason_is_one_line_of_whole_words():
    assert reason(RuntimeError("Error(s) in loading:\n\tsize mismatch")) == (
        "Error(s) in loading: size mismatch"
    )
    long = reason(ValueError("word " * 100), limit=20)
    assert long == "word word word word …"
    assert reason(KeyError("lm_head")) == "no 'lm_head'" and reason(ValueError()) == "ValueError"
