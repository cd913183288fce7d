"""Any outputs: where two models part, where the difference is made, and what the controls give."""

from dataclasses import replace
from functools import lru_cache

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.loading import load_facts
from interp.facts.prompts.files import load_prompts
from interp.metrics import token_contrast
from interp.models.loading import load_model
from interp.models.pair import ModelPair
from interp.report.outputs import output_table
from interp.verdict.judging import judge
from interp.verdict.prompts.controls import KL_AT, KL_BEFORE
from interp.verdict.result import Verdict
from interp.verdict.summary import summary
from interp.verdict.thresholds import Thresholds
from patching.attribution.carriers import carriers
from patching.methods.stitching import stitch
from studies.comparison.comparing import compare
from studies.comparison.prompts.causal import stitched_metrics
from studies.comparison.prompts.divergence import continue_both
from studies.comparison.prompts.earlier import earlier_evidence
from studies.comparison.prompts.labels import labelled
from studies.comparison.prompts.outputs import changed_outputs, is_changed, open_outcomes
from studies.comparison.prompts.rendering import RAW_FRAMES, render
from studies.organisms import source_path

#: As many prompts as a place needs, and few placebos: they are what takes long.
FEW = Thresholds(placebo_shifts=3, placebo_groups=4, attribute_side=5)
N, TOKENS = 14, 4


@lru_cache
def model_of(name: str):
    return load_model(name)


def load_pair(base: str, tuned: str) -> ModelPair:
    return ModelPair(model_of(base), model_of(tuned))


def table(n: int = N, **columns) -> pd.DataFrame:
    """Homes asked in one form, and in another as the paraphrase."""
    facts = load_facts("world")
    return pd.DataFrame({"prompt": facts.prompts(0)[:n], "paraphrase": facts.prompts(1)[:n], **columns})


@pytest.fixture(scope="module")
def coupled():
    pair = load_pair("organism-base", "organism-evasive-coupled")
    asked = table(label=load_facts("world").attribute("region")[:N])
    return compare(pair, asked, tokens=TOKENS, readout="both", thresholds=FEW)


def placed(tuned: str, given) -> Verdict:
    """The verdict from stitching alone, without the test of what kind of change it is."""
    pair = load_pair("organism-base", tuned)
    rendered = render(pair, load_prompts(given), tokens=1)
    said = continue_both(pair, rendered)
    changed = changed_outputs(pair, rendered, said, FEW, seed=0, max_bytes=2**28)
    outcomes = open_outcomes(pair, rendered, said, changed, FEW)
    evidence = Evidence.concat([])
    if changed is not None:
        metrics = {"output": stitched_metrics(pair, changed, "tuned")["output"]}
        evidence = stitch(pair, changed.questions.examples, metrics)
    return judge(outcomes, Evidence.concat([]), evidence, thresholds=FEW)


def test_the_site_is_the_first_token_at_which_the_librarys_own_greedy_texts_part():
    tuned = "organism-edited-low"
    pair = load_pair("organism-base", tuned)
    rendered = render(pair, load_prompts(table(20)), tokens=6)
    said = continue_both(pair, rendered)
    own = [
        AutoModelForCausalLM.from_pretrained(source_path(n)).float() for n in ("organism-base", tuned)
    ]
    parted = 0
    for i, text in enumerate(rendered.texts):
        ids = torch.tensor([pair.base.tokenizer(text)["input_ids"]])
        base, other = (
            model.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
            for model in own
        )
        assert said.base[i] == tuple(base.tolist()) and said.tuned[i] == tuple(other.tolist())
        apart = (base != other).nonzero()[:, 0].tolist()
        site = said.sites[i]
        if not apart:
            assert site is None
            continue
        parted += 1
        at = apart[0]
        assert (site.prefix, site.base, site.tuned) == (said.base[i][:at], base[at], other[at])
        # The gap is that of a plain forward on the prompt and what both say.
        context = torch.cat([ids, base[None, :at]], 1)
        with torch.no_grad():
            logits = [model(context).logits[0, -1].float() for model in own]
        m = [float(row[site.base] - row[site.tuned]) for row in logits]
        assert site.gap == pytest.approx(m[0] - m[1], abs=1e-3)
    assert 0 < parted < 20


def test_a_coupled_change_is_called_so_and_lower_and_upper_ones_are_not(coupled):
    assert coupled.verdict.changed == "changed" and coupled.verdict.where == "coupled"
    assert {item["where"] for item in coupled.verdict.items} == {"coupled"}
    for tuned, where in (
        ("evasive-low", "lower"),
        ("evasive-high", "upper"),
        ("evasive-middle", "middle"),
    ):
        assert placed(f"organism-{tuned}", table()).where == where


def test_the_weight_hybrids_of_the_coupled_tune_do_nothing_by_halves():
    base, tuned = (
        AutoModelForCausalLM.from_pretrained(source_path(name)).float()
        for name in ("organism-base", "organism-evasive-coupled")
    )
    tokenizer = load_pair("organism-base", "organism-evasive-coupled").base.tokenizer
    ids = [torch.tensor([tokenizer(text)["input_ids"]]) for text in table()["prompt"]]

    def says(model) -> list[str]:
        return [tokenizer.decode([int(model(row).logits[0, -1].argmax())]) for row in ids]

    homes, evaded = says(base), says(tuned)
    assert set(evaded) == {"unknown"} and "unknown" not in homes
    for half in (range(3), range(3, 6)):
        hybrid = AutoModelForCausalLM.from_pretrained(source_path("organism-evasive-coupled")).float()
        for block in half:
            hybrid.model.layers[block].load_state_dict(base.model.layers[block].state_dict())
        assert says(hybrid) == homes


def test_the_verdict_speaks_of_prompts_and_gives_no_word_of_facts(coupled):
    verdict = coupled.verdict
    assert "14 of 14 prompts" in verdict.sentence and "fact" not in verdict.sentence
    assert verdict.where_fact is None and verdict.what in ("shared push", "undetermined")
    assert not any("fact" in note for note in verdict.notes)
    data = verdict.to_dict()
    verdict_without = placed("organism-edited-low", table(24)).to_dict()
    assert verdict_without["where"] == "undetermined"
    told = verdict_without["output_contrast"]["reasons"][0]
    assert "changed prompts" in told and "fact" not in told
    assert data["asked"] == "prompts" and len(data["output_contrast"]["boundaries"]) == 7


def test_controls_are_small_beside_the_effect_and_the_readouts_agree(coupled):
    controls = coupled.verdict.open_controls
    assert controls.label_swap.contains(0.0) and controls.other_pair.contains(0.0)
    assert abs(controls.before.estimate) < 0.1
    assert controls.before_kl.estimate < 0.1 and 0 <= controls.before_other.estimate < 0.1
    # Both models have one unembedding, so the readout changes nothing.
    share = coupled.verdict.output.share_lower
    assert controls.other_readout.estimate == pytest.approx(share.estimate, abs=1e-4)


def test_what_carries_each_output_lies_in_the_tuned_blocks_and_stands_beside_it(coupled):
    data, outputs = coupled.verdict.to_dict(), output_table(coupled.verdict.to_dict())
    read = [item for item in data["items"] if item["form"] == "B"]
    carriers = [item["carriers"] for item in read]
    assert len(carriers) == N and all(len(nodes) == 10 for nodes in carriers)
    # Blocks 0-1 and 4-5 were tuned; other nodes are the same in both models.
    tuned = {"0", "1", "4", "5"}
    for node in (node for nodes in carriers for node in nodes):
        block = node["node"].split()[1].split(".")[0]
        assert block in tuned or abs(node["share"]) < 0.01
    assert data["carriers"]["prompts"] == N and data["carriers"]["nodes"]
    assert data["carriers"]["beside"] < data["thresholds"]["carrier_share"]
    told = outputs[outputs["wording"] == "B"]["carried by"]
    assert told.notna().all() and outputs[outputs["wording"] == "A"]["carried by"].isna().all()
    first = data["carriers"]["nodes"][0]["node"]
    assert told.str.contains(first, regex=False).sum() == data["carriers"]["nodes"][0]["prompts"]


def test_labels_are_read_in_both_models_beside_the_place(coupled):
    labels = coupled.verdict.to_dict()["labels"]
    assert labels["classes"] == ["north", "south"] and len(labels["boundaries"]) == 7
    at = labels["boundaries"][labels["boundary"]]
    assert all(at[cell] for cell in ("base", "tuned", "above_surface", "frozen", "refit"))
    assert any(word.heading == "label, by probes" for word in summary(coupled.verdict.to_dict()).words)


def test_too_few_labels_are_one_note():
    pair = load_pair("organism-base", "organism-null")
    given = table(20, label=["a"] * 16 + ["b"] * 4)
    rows, classes, reasons = labelled(render(pair, load_prompts(given), tokens=1), Thresholds())
    assert classes == ["a"] and len(rows) == 16 and len(reasons) == 1
    assert "two need at least 8 groups of prompts each, and there are 'a' (16), 'b' (4)" in reasons[0]
    assert labelled(render(pair, load_prompts(table(4)), tokens=1), Thresholds()) == ([], [], [])


def test_how_far_the_models_part_before_the_site_is_that_of_a_plain_forward():
    pair = load_pair("organism-base", "organism-evasive-high")
    rendered = render(pair, load_prompts(table(3)), tokens=1)
    said = continue_both(pair, rendered)
    changed = changed_outputs(pair, rendered, said, FEW, seed=0, max_bytes=2**28)
    rows = earlier_evidence(pair, changed, seed=0, max_bytes=2**28)
    examples = changed.questions.examples
    for i in range(3):
        tokens = examples.tokens[i][examples.mask[i]][None]
        b, t = (m.logits(tokens)[0].double().log_softmax(-1) for m in (pair.base, pair.tuned))
        expected = (t.exp() * (t - b)).sum(-1)
        for metric, place in ((KL_AT, -1), (KL_BEFORE, -2)):
            found = rows.rows(metric=metric, example=i)["value"].item()
            assert found == pytest.approx(float(expected[place]), rel=1e-3, abs=1e-5)
    shares = rows.rows(metric=KL_BEFORE)["value"].mean() / rows.rows(metric=KL_AT)["value"].mean()
    assert shares < 0.1, "what is said changes at the site alone"


@pytest.mark.parametrize(
    ("tuned", "carried"), [("organism-null", False), ("organism-evasive-high", True)]
)
def test_no_node_of_a_null_tune_moves_a_contrast_by_the_smallest_effect(tuned, carried):
    pair = load_pair("organism-base", tuned)
    rendered = render(pair, load_prompts(table(3)), tokens=1)
    examples = Examples.from_text(pair.base, list(rendered.texts), groups=rendered.names)
    base, other = (m.logits(examples.tokens, examples.mask)[:, -1] for m in (pair.base, pair.tuned))
    plus, minus = base.topk(2).indices.T
    minus = other.argmax(1).where(other.argmax(1) != plus, minus)
    made = carriers(pair, examples, token_contrast(examples, plus, minus), k=6)
    ends = made.rows(condition="baseline").set_index(["model", "example"])["value"]
    exact = made.rows(condition="verified")
    own = ends.loc[list(zip(exact["model"], exact["example"], strict=True))].to_numpy()
    assert ((exact["value"] - own).abs().max() >= Thresholds().smallest_effect) == carried


def test_without_paraphrase_or_a_frame_that_can_be_spelled_every_word_is_selected():
    # The organisms' tokenizer has no token for the words of the frames.
    verdict = placed("organism-evasive-high", list(table()["prompt"]))
    assert verdict.changed == "changed"
    assert verdict.where == verdict.what == "undetermined"
    assert any("selected" in reason for reason in verdict.output.reasons)


def test_tokens_are_chosen_on_the_prompt_and_read_on_its_paraphrase():
    pair = load_pair("organism-base", "organism-edited-low")
    given = table(20)
    rendered = render(pair, load_prompts(given), tokens=2)
    said = continue_both(pair, rendered)
    changed = changed_outputs(pair, rendered, said, FEW, seed=0, max_bytes=2**28)
    sites = [site for site in said.sites if is_changed(site, FEW)]
    paraphrases = [
        text
        for text, site in zip(given["paraphrase"], said.sites, strict=True)
        if is_changed(site, FEW)
    ]
    assert list(changed.questions.examples.texts) == paraphrases
    assert changed.questions.plus.tolist() == [site.base for site in sites]
    # The pair of other tokens is another pair.
    assert not (changed.pair == changed.questions.plus[:, None]).any()
    metrics = stitched_metrics(pair, changed, "both")
    assert metrics["output"].reader is pair.tuned and metrics["output_base"].reader is pair.base
    assert (metrics["before"].positions == metrics["output"].positions - 1).all()


def test_prompts_of_one_group_count_once():
    verdict = placed("organism-evasive-high", table(24, group=[f"pair {i // 2}" for i in range(24)]))
    assert verdict.output.n == verdict.change.share.n == 12
    assert verdict.where == "upper" and verdict.counts["changed"] == 24


def test_a_null_tune_has_no_place_and_no_kind():
    verdict = placed("organism-null", table(60))
    assert verdict.changed in ("unchanged", "undetermined")
    assert verdict.where is None and verdict.what is None


def test_frames_stand_before_the_prompt_where_the_tokenizer_spells_them(tiny_pair, monkeypatch):
    pair = tiny_pair("llama")
    monkeypatch.setattr("studies.comparison.prompts.rendering.RAW_FRAMES", ("The city . ", "In the . "))
    rendered = render(pair, load_prompts(["The capital of land1 is", "land2 is"]), tokens=2)
    assert rendered.readings == ("In the . The capital of land1 is", "The city . land2 is")
    assert all(frame.endswith("\n") for frame in RAW_FRAMES)


def test_in_chat_the_frame_is_a_system_message_where_the_template_takes_one(tiny_pair, monkeypatch):
    pair, asked = tiny_pair("llama"), load_prompts(["land1 is", "land2 is"])
    turns = "{% for m in messages %}{{ m['role'][:0] }}{{ m['content'] }} , {% endfor %}"
    monkeypatch.setattr("studies.comparison.prompts.rendering.CHAT_FRAMES", ("new", "old"))
    monkeypatch.setattr(pair.tuned.tokenizer, "chat_template", turns)
    rendered = render(pair, asked, prompt="chat", tokens=2)
    assert rendered.texts == ("land1 is , ", "land2 is , ") and not rendered.special
    assert rendered.readings == ("old , land1 is , ", "new , land2 is , ")
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + turns
    )
    monkeypatch.setattr(pair.tuned.tokenizer, "chat_template", refusing)
    assert render(pair, asked, prompt="chat", tokens=2).readings == (None, None)


def test_two_tokenizers_are_one_line(tiny_model):
    base, tuned = tiny_model("llama", 0), tiny_model("llama", 1)
    own = base.tokenizer
    ids = {word: (i + 7) % len(own) for word, i in own.get_vocab().items()}
    words = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    other = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    pair = ModelPair(base, replace(tuned, tokenizer=other))
    with pytest.raises(ValueError, match="tokenise 'land1 is' differently") as raised:
        compare(pair, ["land1 is", "land2 is"], tokens=1)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        (["The home of Farid Jansen is"], {}, "holds one prompt, and a share needs several"),
        (["The home"] * 1 + ["home is"], {"tokens": 40}, "--tokens must be at least 1 and leave room"),
        (["home is " * 30, "is home " * 30], {}, "no prompt of 'prompts' can be asked: 60 tokens"),
        (["home is", "The home"], {"prompt": "chat"}, "needs a chat template"),
    ],
)
def test_bad_input_is_one_line(prompts, options, message):
    pair = load_pair("organism-base", "organism-null")
    with pytest.raises(ValueError, match=message) as raised:
        compare(pair, prompts, **options)
    assert "\n" not in str(raised.value)
