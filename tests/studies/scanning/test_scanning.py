"""A scan: numbers against plain loops, identities at the ends, and no finding where nothing changed."""

import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from interp.examples import Examples
from interp.facts.loading import load_facts
from interp.facts.prompts.files import load_prompts
from interp.facts.prompts.shipped import OF_EACH, default_prompts
from interp.generation import generate
from interp.models.loading import load_model
from interp.models.pair import ModelPair
from interp.runs.run import resumable
from interp.verdict.thresholds import Thresholds
from patching.weights.parameters import Parameters
from studies import cli
from studies.comparison.prompts.rendering import render
from studies.organisms import source_path
from studies.scanning.asking import ask, parts_of
from studies.scanning.findings import Halves, find, words_of
from studies.scanning.measuring import continued_and_measured
from studies.scanning.samples import amplified, scale_sweep
from studies.scanning.scanning import scan

FACTS = load_facts("world")
CUTS = Thresholds()


@lru_cache
def pair_of(tuned: str) -> ModelPair:
    return ModelPair(load_model("organism-base"), load_model(tuned))


def asked(homes: int, trades: int) -> list[str]:
    return [*FACTS.prompts(0)[:homes], *(f"The trade of {f.subject} is" for f in FACTS.facts[:trades])]


def test_divergence_of_a_prompt_equals_a_plain_loop_over_both_continuations():
    pair = pair_of("organism-evasive-high")
    rendered = render(pair, load_prompts(asked(2, 1)), tokens=3)
    said, measured = continued_and_measured(pair, rendered, max_bytes=2**26)
    for i, text in enumerate(rendered.texts):
        peaks, weights, own = [], [], []
        for ids in dict.fromkeys((said.base[i], said.tuned[i])):
            context, kl = list(pair.base.tokenizer(text)["input_ids"]), []
            for token in ids:
                tokens = torch.tensor([context])
                b, t = (
                    m.logits(tokens)[0, -1].double().log_softmax(0) for m in (pair.base, pair.tuned)
                )
                kl.append((float((b.exp() * (b - t)).sum()), float((t.exp() * (t - b)).sum())))
                weights.append((t.exp() * (t - b)).numpy())
                context.append(token)
            peaks += [(one + other) / 2 for one, other in kl]
            own.append(np.mean(kl, axis=0))
        assert measured.score[i] == pytest.approx(max(peaks), rel=1e-3, abs=1e-5)
        assert measured.kl_base[i] == pytest.approx(own[0][0], rel=1e-3, abs=1e-5)
        assert measured.kl_tuned[i] == pytest.approx(own[-1][1], rel=1e-3, abs=1e-5)
        assert np.allclose(measured.weight[i], np.mean(weights, axis=0), atol=1e-4)
    # What was not tuned moves less than what was.
    assert measured.score[2] < 0.1 < 5 < measured.score[:2].min()


def test_amplified_by_nothing_is_the_tuned_model_and_the_ends_of_the_scale_are_the_two_models():
    pair = pair_of("organism-edited-low")
    examples = Examples.from_text(pair.base, FACTS.prompts(0)[:3])
    plain = generate(pair.tuned, examples, tokens=3)
    texts = amplified(pair, examples, tokens=3, alphas=(0.0,))["text"].tolist()
    assert texts == [text.strip() for text in plain.texts] or texts == list(plain.texts)
    parameters = Parameters(pair)
    before, tuned = pair.base.logits(examples.tokens), pair.tuned.logits(examples.tokens)
    for scale, expected in ((0.0, before), (1.0, tuned)):
        with parameters.scaled(scale) as model:
            assert torch.equal(model.logits(examples.tokens), expected)
    with parameters.scaled(0.5) as model:
        assert not torch.equal(model.logits(examples.tokens), before)
    assert torch.equal(pair.base.logits(examples.tokens), before), "the base is as it was"
    swept = scale_sweep(pair, examples, [5, 6, 7], [8, 9, 10], scales=(0.0, 1.0)).pivot(
        index="scale", columns="example", values="value"
    )
    for scale, logits in ((0.0, before), (1.0, tuned)):
        expected = [float(row[-1, 5 + i] - row[-1, 8 + i]) for i, row in enumerate(logits)]
        assert swept.loc[scale].tolist() == pytest.approx(expected, abs=1e-4)


def made(n: int, changed, token: int = 3):
    """Prompts of two sorts, of which some changed to a token."""
    words = [frozenset({"odd" if i % 2 else "even", f"w{i}"}) for i in range(n)]
    return words, [(9 + i, token) if changed(i) else None for i in range(n)]


def test_what_changed_is_found_on_the_half_that_did_not_propose_it():
    words, said = made(80, lambda i: i % 2 == 1)
    units = [str(i) for i in range(80)]
    halves = Halves.of(units, units, seed=0)
    found = find(words, said, units, halves, CUTS)
    held = found[found["found"]]
    assert list(zip(held["kind"], held["what"], strict=True)) == [("word", "odd"), ("promoted", 3)]
    second = [i for i in range(80) if halves.second[i] and i % 2]
    assert held.set_index("kind").loc["word", "n"] == len(second)
    assert (held["share"] == 1).all() and (held["others"] == 0).all()


def test_nothing_is_found_where_changes_know_no_sort():
    rng = np.random.default_rng(0)
    false = 0
    for seed in range(12):
        drawn = rng.random(80) < 0.3
        words, said = made(80, lambda i, drawn=drawn: drawn[i])
        # Either model says either of two tokens.
        said = [pair and tuple(rng.permutation([3, 4]).tolist()) for pair in said]
        units = list(map(str, range(80)))
        false += bool(find(words, said, units, Halves.of(units, units, seed), CUTS)["found"].any())
    assert false <= 2, "at a family-wise level of .05"


def test_prompts_of_one_group_are_one_witness():
    """Twelve groups of twenty prompts: all of one hold one word at random, and all change or none."""
    alone = together = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        units = [f"g{i // 20}" for i in range(240)]
        word = [frozenset({f"w{w}"}) for w in rng.integers(3, size=12) for _ in range(20)]
        coin = np.repeat(rng.random(12) < 0.5, 20)
        said = [tuple(rng.integers(1000, size=2).tolist()) if one else None for one in coin]
        halves = Halves.of(units, units, seed)
        together += bool(find(word, said, units, halves, CUTS)["found"].any())
        each = [f"{unit}.{i}" for i, unit in enumerate(units)]
        alone += bool(find(word, said, each, halves, CUTS)["found"].any())
    assert together <= 2 and alone >= 5, "the control: counted one by one they bear false witness"


def test_halves_share_no_unit():
    units = [f"u{i // 3}" for i in range(30)]
    halves = Halves.of(units, units, seed=1)
    first = {u for u, held in zip(units, halves.first, strict=True) if held}
    assert len(first) == 5 and not first & {u for u, h in zip(units, halves.second, strict=True) if h}
    with pytest.raises(ValueError, match="two groups at least"):
        Halves.of(["a", "a"], ["a", "a"], seed=0)


def test_a_scan_finds_the_evasion_and_writes_prompts_for_a_comparison(tmp_path: Path):
    result = scan(pair_of("organism-evasive-high"), asked(20, 20), tokens=1, out=tmp_path / "found")
    assert result.prompts["changed"].sum() == 20 and result.prompts["changed"][:20].all()
    assert "home" in set(result.found["what"]) and "trade" not in set(result.found["what"])
    others = pd.concat([result.findings, result.findings[:1].assign(what="house")])
    told = replace(result, findings=others).sentence
    assert "word 'home' and 1 more" in told and "more" not in result.sentence
    lines = (tmp_path / "found" / "prompts.jsonl").read_text("utf-8").splitlines()
    written = [json.loads(line)["prompt"] for line in lines]
    second = result.prompts[(result.prompts["half"] == "second") & result.prompts["changed"]]
    assert written == second["prompt"].tolist()
    assert load_prompts(tmp_path / "found" / "prompts.jsonl").texts == tuple(written)
    page = (tmp_path / "found" / "scan.html").read_text("utf-8")
    page = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert "unknown" in page and "http" not in page.replace("http-equiv", "")
    with pytest.raises(ValueError, match="must not hold scan.html yet"):
        result.save(tmp_path / "found")


@pytest.mark.slow
def test_two_models_without_a_question_are_scanned_first_and_compared_on_what_was_found(
    tmp_path: Path, monkeypatch, capsys
):
    prompts = load_prompts(asked(30, 10))
    monkeypatch.setattr("studies.scanning.scanning.default_prompts", lambda: prompts)
    monkeypatch.setattr("interp.report.page.gallery", lambda *_, **__: [])  # figures take their time
    names = [str(source_path(f"organism-{name}")) for name in ("base", "evasive-high")]
    out = tmp_path / "both"
    options = ["--base", names[0], "--tuned", names[1], "--tokens", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["interp", "compare", *options])
    cli.main()
    said = capsys.readouterr().out
    assert "The two models part on 30 of 40 prompts" in said and "word 'home'" in said
    written = load_prompts(out / "scan" / "prompts.jsonl")
    assert f"what the model says about {len(written)} of {len(written)} prompts" in said
    assert (out / "report.html").exists() and (out / "scan" / "scan.html").exists()


def test_a_null_tune_has_no_finding():
    result = scan(pair_of("organism-null"), asked(40, 20), tokens=1)
    assert result.found.empty and "no finding holds" in result.sentence


def test_what_was_said_and_read_is_kept_and_found_again(tmp_path: Path):
    pair = pair_of("organism-edited-low")
    rendered = render(pair, load_prompts(asked(4, 1)), tokens=2)
    made = []
    for attempt in range(2):
        with resumable(tmp_path / "run") as run:
            made.append(ask(pair, rendered, max_bytes=2**26))
        assert (run.made > 0, run.found > 0) == (attempt == 0, attempt == 1)
    assert vars(made[0][0]) == vars(made[1][0])
    assert np.array_equal(made[0][1].weight, made[1][1].weight)


def test_prompts_that_are_asked_part_by_part_are_told_as_all_at_once(monkeypatch):
    pair = pair_of("organism-edited-low")
    rendered = render(pair, load_prompts(asked(5, 2)), tokens=2)
    said, measured = continued_and_measured(pair, rendered, max_bytes=2**20)
    monkeypatch.setattr("studies.scanning.asking.PART", 2)
    monkeypatch.setattr("studies.comparison.prompts.along.POSITIONS", 3)
    parts = parts_of(pair, rendered)
    assert sorted(i for part in parts for i in part) == list(range(7)) and max(map(len, parts)) == 2
    in_parts, numbers = ask(pair, rendered, max_bytes=2**26)
    assert (in_parts.base, in_parts.tuned) == (said.base, said.tuned)
    for one, other in zip(in_parts.sites, said.sites, strict=True):
        assert (one and one.prefix) == (other and other.prefix)
    assert numbers.score == pytest.approx(measured.score, abs=1e-4)
    assert np.allclose(numbers.weight, measured.weight, atol=1e-4)


def test_the_shipped_prompts_are_of_nine_kinds_and_each_once():
    prompts = default_prompts().prompts
    counts = {label: sum(p.label == label for p in prompts) for label in {p.label for p in prompts}}
    assert len(counts) == 9 and set(counts.values()) == {OF_EACH} and len(prompts) >= 400


def test_words_are_those_of_the_prompt_and_its_label():
    assert words_of("The capital of Perú is 12!", "facts") == {
        "the", "capital", "of", "perú", "is", "[facts]",
    }  # fmt: skip


def test_halves_hold_as_many_prompts_of_every_beginning():
    """Whatever the seed: 24 capitals among 300 prompts are 12 and 12, where a coin gives 9 to 15."""
    rng = np.random.default_rng(0)
    texts = [f"The capital of C{i} is" for i in range(24)]
    texts += [f"{word} {other} goes on" for word, other in rng.integers(90, size=(276, 2)).astype(str)]
    texts = [texts[i] for i in rng.permutation(300)]
    units = [f"{number}: {text[:9]}" for number, text in enumerate(texts)]
    capital = np.array([text.startswith("The capital") for text in texts])
    dealt = [Halves.of(units, texts, seed) for seed in range(20)]
    assert {int((halves.second & capital).sum()) for halves in dealt} == {12}
    assert {int(halves.second.sum()) for halves in dealt} == {150}
    apart = [Halves.of(units, units, seed) for seed in range(20)]
    assert len({int((halves.second & capital).sum()) for halves in apart}) > 3, "the control"
    assert len({tuple(halves.second[capital]) for halves in dealt}) > 15, "which twelve is chance"
