"""A tuned model that says a token its base does not have is compared to the end."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import interp
import patching
import studies
from interp.facts.loading import load_facts
from interp.models import named
from interp.models.loading import load_model, load_pair

NEW = "<|refuse|>"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organisms' base with one more token, which it says wherever its state is as at an answer."""
    folder = tmp_path_factory.mktemp("refusing")
    source = named.shipped()["organism-base"]
    base, world = load_model("organism-base"), load_facts("world")
    asked = interp.Examples.from_text(base, [*world.prompts(0), *world.prompts(1)])
    top = interp.Site(interp.Kind.RESID_POST, base.n_layers - 1)
    with torch.no_grad():
        states = base.bridge.ln_final(interp.collect(base, asked, [top])[top].values)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([NEW], special_tokens=True)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        # Far above every other logit, since the states at answers have much of their mean in common.
        mean = states.mean(0)
        model.get_output_embeddings().weight[-1] = 200 * mean / mean.norm() ** 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_comparison_runs_to_the_end_and_says_what_was_left_out(refusing: Path, tmp_path: Path):
    pair = load_pair("organism-base", refusing)
    assert any(w.startswith("vocabulary rows: base") for w in pair.warnings)
    world = load_facts("world")
    found = studies.compare(pair, world.subset(list(range(24))), out=tmp_path / "out")
    verdict = found.verdict
    assert verdict.changed == "changed", verdict.sentence
    left = [reason for _, reason in verdict.excluded if "no row for" in reason]
    assert len(left) == len(found.outcomes.changed_groups)
    values = found.evidence.table["value"]
    assert not values.isna().any() and values.abs().max() < float("inf")
    assert found.evidence.where(method="stitch", metric="output").empty
    assert len(found.evidence.where(method="stitch", metric="fact"))
    assert (tmp_path / "out" / "report.html").is_file()
    assert str(found).count("\n") < 5 and str(verdict).count("\n") < 5


def test_a_token_that_one_model_lacks_has_no_contrast(refusing: Path):
    pair = load_pair("organism-base", refusing)
    new = pair.tuned.tokenizer.convert_tokens_to_ids(NEW)
    prompts = interp.Examples.from_text(pair.base, load_facts("world").prompts(0)[:2])
    plus, minus = torch.tensor([5, 6]), torch.tensor([new, 7])
    assert pair.sayable(minus).tolist() == [False, True]
    assert pair.tuned.sayable(minus).all()
    contrast = interp.token_contrast(prompts, plus, minus)
    table = patching.stitch(pair, prompts, contrast).table
    baseline = table[table["condition"] == "baseline"]
    assert sorted(zip(baseline["model"], baseline["example"], strict=True)) == [
        ("base", 1), ("tuned", 0), ("tuned", 1),
    ]  # fmt: skip
    assert table["value"].abs().max() < float("inf")


def test_a_prompt_with_a_token_the_model_lacks_is_refused_in_one_line(refusing: Path):
    pair = load_pair("organism-base", refusing)
    prompts = interp.Examples.from_text(pair.tuned, [f"{NEW} {load_facts('world').prompts(0)[0]}"])
    for call in (
        lambda: pair.base.logits(prompts.tokens),
        lambda: interp.collect(pair.base, prompts, [interp.Site(interp.Kind.RESID_PRE, 1)]),
    ):
        with pytest.raises(ValueError, match=r"organism-base has \d+ token ids; got \d+") as caught:
            call()
        assert "\n" not in str(caught.value)
    bare = pair.tuned.bridge.original_model(prompts.tokens).logits
    assert (pair.tuned.logits(prompts.tokens) - bare).abs().max() < 1e-3, "the model that has the token"
