"""The gate: what makes a comparison meaningless is refused, what cautions is recorded."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import tiny
from transformers import AutoTokenizer

from interp.models.loading import wrap
from interp.models.model import Model
from interp.models.pair import ModelPair, require_same_ids


@pytest.fixture
def made(tokenizer):
    """`made(family, **changes) -> Model`: a tiny model that differs from the plain one."""

    def make(family: str = "llama", *, tok=None, stored: str = "float32", **changes) -> Model:
        model = tiny.hf_model(family, **changes)
        return wrap(model, tok or tokenizer, name="changed", stored_dtype=stored)

    return make


@pytest.fixture
def plain(made) -> Model:
    return made()


def moved(tokenizer, folder: Path):
    """A tokenizer in which two words have exchanged their ids."""
    source = Path(tokenizer.name_or_path)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    written = json.loads((folder / "tokenizer.json").read_text())
    words = written["model"]["vocab"]
    words["land0"], words["land1"] = words["land1"], words["land0"]
    (folder / "tokenizer.json").write_text(json.dumps(written))
    return AutoTokenizer.from_pretrained(folder)


def test_equal_models_pass_without_a_word(plain: Model, made):
    assert ModelPair(plain, made()).mismatches == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "mistral"}, "architecture: base LlamaForCausalLM, tuned MistralForCausalLM"),
        ({"num_hidden_layers": 2}, r"depth \(blocks\): base 3, tuned 2"),
        ({"hidden_size": 48}, r"width \(d_model\): base 32, tuned 48"),
        ({"num_attention_heads": 2}, "attention heads: base 4, tuned 2"),
        ({"num_key_value_heads": 4}, "key-value heads: base 2, tuned 4"),
        ({"head_dim": 16}, "head width: base 8, tuned 16"),
    ],
)
def test_another_shape_is_refused_by_name(plain: Model, made, changes: dict, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        ModelPair(plain, made(**changes))
    assert str(caught.value).endswith("give a base and a version tuned from it")
    assert "\n" not in str(caught.value)


def test_every_mismatch_is_named_at_once(plain: Model, made):
    with pytest.raises(ValueError, match="depth.*attention heads.*head width"):
        ModelPair(plain, made(num_hidden_layers=1, num_attention_heads=2))


def test_another_computing_dtype_is_refused(plain: Model, tokenizer):
    with pytest.raises(ValueError, match="computing dtype: base torch.float32, tuned torch.float64"):
        ModelPair(plain, wrap(tiny.hf_model("llama").double(), tokenizer))


def test_appended_vocabulary_stored_dtype_and_rope_are_cautions(plain: Model, made):
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    tuned = made(vocab_size=100, stored="bfloat16", rope_parameters=rope)
    warnings = ModelPair(plain, tuned).warnings
    assert "vocabulary rows: base 96, tuned 100" in warnings
    assert "stored dtype: base float32, tuned bfloat16" in warnings
    assert any(w.startswith("rope settings:") and "linear" in w for w in warnings)
    assert len(warnings) == 3


def test_chat_template_and_special_tokens_are_cautions(plain: Model, made, tokenizer):
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = "{{ messages[0]['content'] }}" + " " * 80
    chatty.add_special_tokens({"bos_token": "The"})
    warnings = ModelPair(plain, made(tok=chatty)).warnings
    assert any(w.startswith("chat template: base none, tuned {{ messages") for w in warnings)
    assert any(w.startswith("special tokens:") and "'The'" in w for w in warnings)
    assert all(len(w) < 200 for w in warnings)


def test_a_soft_cap_on_one_side_is_a_caution(made):
    capped, free = (made("gemma2", final_logit_softcapping=cap) for cap in (30.0, None))
    assert ModelPair(capped, free).warnings == ("soft-cap: base 30.0, tuned None",)


def test_ids_that_differ_matter_only_where_they_are_used(plain, made, tokenizer, tmp_path):
    pair = ModelPair(plain, made(tok=moved(tokenizer, tmp_path)))
    assert any("ids of 2 shared tokens, such as 'land0'" in w for w in pair.warnings)
    pair.require_same_ids(["The capital of land5 is"])
    with pytest.raises(ValueError, match="tokenise 'The capital of land1 is' differently"):
        pair.require_same_ids(["The capital of land5 is", "The capital of land1 is"])


def test_a_tokenizer_agrees_with_its_copy_and_not_with_one_of_other_ids(tokenizer, tmp_path):
    texts = ["The new capital", "land7 .", "land1 ."]
    assert require_same_ids(tokenizer, copy.deepcopy(tokenizer), texts) is None
    with pytest.raises(ValueError, match=r"tokenise 'land1 \.' differently, \[\d+, \d+\] and"):
        require_same_ids(tokenizer, moved(tokenizer, tmp_path), texts)
