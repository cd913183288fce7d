"""Pairs whose ends, vocabularies and contexts differ, and folders and files that are the user's own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

import studies
from interp.facts.prompts.files import OpenPrompt, load_prompts
from interp.models.loading import load_model, wrap
from interp.models.pair import ModelPair
from studies.comparison.prompts.divergence import continue_both, examples_of
from studies.comparison.prompts.rendering import render
from studies.scanning.context import FIRST, unrelated_texts
from studies.scanning.measuring import continued_and_measured
from studies.scanning.samples import amplified
from studies.scanning.scanning import scan

TEXTS = [f"The capital of land{i} is" for i in range(8)]


def changed_pair(tokenizer, ends: list[int] | None = None) -> ModelPair:
    """A model and one with other weights in its last block, which may have ends of its own."""
    tuned = tiny.hf_model("llama", 0)
    with torch.no_grad():
        tuned.model.layers[-1].mlp.down_proj.weight.mul_(-2.0)
    if ends is not None:
        tuned.generation_config = GenerationConfig(eos_token_id=ends)
    return ModelPair(wrap(tiny.hf_model("llama", 0), tokenizer), wrap(tuned, tokenizer))


def test_nothing_parts_behind_the_end_of_either_text(tokenizer):
    pair = changed_pair(tokenizer)
    rendered = render(pair, load_prompts(TEXTS), tokens=6)
    free = continue_both(pair, rendered)
    later = [i for i, site in enumerate(free.sites) if site is not None and site.prefix]
    assert later, "the control: some part behind a first token that both say"
    place = later[0]
    end = free.sites[place].prefix[0]
    ended = continue_both(changed_pair(tokenizer, [end]), rendered)
    assert ended.sites[place] is None
    assert ended.base[place] == ended.tuned[place] == (end,)
    for ids, site in zip(ended.base, ended.sites, strict=True):
        assert end not in ids[:-1] and (site is None or end not in site.prefix)


def test_amplified_samples_stop_where_the_tuned_model_does(tokenizer):
    pair = changed_pair(tokenizer)
    rendered = render(pair, load_prompts(TEXTS[:2]), tokens=4)
    examples = examples_of(pair, rendered)
    free = amplified(pair, examples, tokens=4, alphas=(0.0,))["text"]
    said = continue_both(pair, rendered).tuned[0]
    stopped = amplified(changed_pair(tokenizer, [said[0]]), examples, tokens=4, alphas=(0.0,))["text"]
    assert stopped[0] == "" and free[0] != ""


@pytest.fixture(scope="module")
def saying_more(tokenizer) -> ModelPair:
    """A model and one with a token more, which it says after every second prompt."""
    base = tiny.hf_model("llama", 0)
    tuned = tiny.hf_model("llama", 0)
    tuned.resize_token_embeddings(base.config.vocab_size + 1, mean_resizing=False)
    model = wrap(base, tokenizer)
    with torch.no_grad():
        states = [
            base.model(torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0, -1]
            for text in TEXTS
        ]
        towards = states[0] - torch.stack(states[1:]).mean(0)
        tuned.get_output_embeddings().weight[-1] = 60 * towards / towards.norm() ** 2
    return ModelPair(model, wrap(tuned, tokenizer))


def test_a_token_that_the_base_lacks_is_measured_up_to_where_it_is_said(saying_more):
    rendered = render(saying_more, load_prompts(TEXTS), tokens=4)
    said, measured = continued_and_measured(saying_more, rendered, max_bytes=2**26)
    lacked = saying_more.base.vocabulary
    strange = np.array([lacked in ids for ids in said.tuned])
    assert strange.any(), "the control: it is said"
    assert np.isfinite(measured.score).all() and np.isfinite(measured.shift).all()
    alone = np.array([all(t >= lacked for t in ids[: ids.index(lacked) + 1]) if lacked in ids else False
                      for ids in said.tuned])  # fmt: skip
    assert np.isnan(measured.perplexity_gap[alone]).all()
    assert np.isfinite(measured.perplexity_gap[~alone]).all()
    found = scan(saying_more, TEXTS, tokens=4)
    assert len(found.prompts) == len(TEXTS)


def test_unrelated_texts_fit_a_small_context(tokenizer):
    config = LlamaConfig(
        vocab_size=96, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(0)
    pair = ModelPair(*(wrap(LlamaForCausalLM(config).eval(), tokenizer) for _ in range(2)))
    lengths = [len(tokenizer(text).input_ids) for text in unrelated_texts(pair)]
    assert all(length <= 16 for length in lengths)
    texts = unrelated_texts(ModelPair(*[load_model("organism-base")] * 2))
    assert all(len(text.split(" ")) <= FIRST for text in texts)


def test_a_paraphrase_that_is_the_prompt_is_no_reading(tokenizer, monkeypatch):
    pair = changed_pair(tokenizer)
    monkeypatch.setattr("studies.comparison.prompts.rendering.RAW_FRAMES", ("The city . ", "In the . "))
    same = pd.DataFrame({"prompt": TEXTS, "paraphrase": TEXTS})
    framed = render(pair, load_prompts(TEXTS), tokens=2).readings
    assert render(pair, load_prompts(same), tokens=2).readings == framed


def test_a_template_that_passes_over_a_system_message_gives_no_reading(tokenizer, monkeypatch):
    pair = changed_pair(tokenizer)
    user, end = "{% if m['role'] == 'user' %}", "{% endif %}"
    template = f"{{% for m in messages %}}{user}{{{{ m['content'] }}}} , {end}{{% endfor %}}"
    monkeypatch.setattr(pair.tuned.tokenizer, "chat_template", template)
    monkeypatch.setattr("studies.comparison.prompts.rendering.CHAT_FRAMES", ("new", "old"))
    assert render(pair, load_prompts(TEXTS[:2]), prompt="chat", tokens=2).readings == (None, None)
    heard = template.replace(user, "").replace(end, "")
    monkeypatch.setattr(pair.tuned.tokenizer, "chat_template", heard)
    assert None not in render(pair, load_prompts(TEXTS[:2]), prompt="chat", tokens=2).readings


def test_a_group_may_bear_the_name_of_one_of_its_prompts(tokenizer):
    pair = changed_pair(tokenizer)
    table = pd.DataFrame({"prompt": TEXTS, "group": [TEXTS[0]] * 4 + [TEXTS[4]] * 4})
    rendered = render(pair, load_prompts(table), tokens=2)
    assert list(rendered.units) == table["group"].tolist()
    alone = render(pair, load_prompts(TEXTS), tokens=2)
    assert alone.units == alone.names, "the control"


@pytest.mark.parametrize("call", ["scan", "compare"])
def test_a_folder_with_files_is_refused_before_anything_runs(call: str, tmp_path: Path, monkeypatch):
    pair = ModelPair(*[load_model("organism-base")] * 2)
    mine = tmp_path / "prompts.jsonl"
    mine.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    monkeypatch.setattr("studies.scanning.scanning.render", None)
    monkeypatch.setattr("studies.comparison.comparing._compare", None)
    for out in (tmp_path, mine):
        with pytest.raises(ValueError, match="must be a new or empty folder.*nothing is overwritten"):
            getattr(studies, call)(pair, load_prompts(mine), out=out)
    assert len(mine.read_text().splitlines()) == len(TEXTS)


def test_what_a_scan_wrote_is_read_as_it_was_asked(tokenizer, tmp_path: Path):
    pair = changed_pair(tokenizer)
    spaced = [f"{text} " for text in TEXTS]
    found = replace(scan(pair, spaced, tokens=2), held_out=tuple(OpenPrompt(t, t) for t in spaced))
    found.save(tmp_path / "out")
    assert load_prompts(tmp_path / "out" / "prompts.jsonl").texts == tuple(spaced)
    with pytest.raises(ValueError, match="must not hold scan.html yet"):
        found.save(tmp_path / "out")


def test_characters_that_are_no_text_are_one_line(tmp_path: Path):
    for content in ("\n".join(TEXTS).encode("utf-16-le"), b"page\x0c\x1b[0m\nother"):
        (tmp_path / "a.txt").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"prompt 1 of a.txt .*; mend it or leave it out"
        ) as raised:
            load_prompts(tmp_path / "a.txt")
        assert "\n" not in str(raised.value)
    for texts in (["\ud800 abc", "a"], ["", ""]):
        with pytest.raises(ValueError, match="prompt 1 of prompts "):
            load_prompts(texts)


def test_a_column_of_prompts_is_known_whatever_its_case():
    pair = ModelPair(*[load_model("organism-base")] * 2)
    texts = ["The home of Farid Jansen is", "The home of Pavel Grimm is"]
    for table in (
        pd.DataFrame({" Prompt": texts}),
        pd.DataFrame({"label": ["a", "b"]}, index=pd.Index(texts, name="prompt")),
    ):
        assert studies.compare(pair, table, tokens=1).verdict.changed == "unchanged"
