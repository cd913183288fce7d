"""The battery on organisms whose depth is known, beside plain loops and answers that nobody learnt."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import interp
from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.types import FactSet
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from interp.models.tokens import encode, following
from interp.verdict.depth.judging import Depth, judge_depth
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from studies.comparison import comparing
from studies.comparison.answers import PairAnswers, ask_both
from studies.comparison.comparing import compare
from studies.comparison.depth import changed
from studies.comparison.depth.asking import ask_further, other_wordings
from studies.comparison.depth.changed import (
    NEW,
    OLD,
    PERMUTED,
    Candidates,
    KnownFacts,
    blocks,
    candidates,
    known_facts,
)
from studies.comparison.depth.measuring import depth_evidence
from studies.comparison.depth.relearning import relearn
from studies.comparison.outcome_table import outcomes_of
from studies.comparison.result import Comparison

FACTS = 26
CUTS = Thresholds(
    placebo_shifts=3, placebo_groups=4, label_draws=19, control_draws=3, relearning_steps=6
)
FORM = 1


@dataclass(frozen=True, eq=False)
class Case:
    pair: ModelPair
    answers: PairAnswers
    outcomes: Outcomes
    known: KnownFacts
    ranked: dict[str, Candidates]


def case_of(tuned: str, facts: FactSet, cuts: Thresholds = CUTS) -> Case:
    pair = load_pair("organism-base", tuned)
    answers = ask_both(pair, facts)
    outcomes = outcomes_of(pair, answers)
    known = known_facts(pair, answers, outcomes, cuts, 0)
    return Case(pair, answers, outcomes, known, {OLD: candidates(known, OLD, cuts.depth_wrong)})


@pytest.fixture(scope="module")
def case() -> Case:
    """A tune that says “unknown” of everybody, its change in the upper blocks."""
    return case_of("organism-evasive-high", load_facts("world").subset(list(range(FACTS))))


@pytest.fixture(scope="module")
def asked(case: Case) -> Evidence:
    return ask_further(case.pair, case.known, case.ranked, FORM).rows


def share(rows: Evidence, reading: str, metric: str, model: str) -> float:
    part = rows.rows(method="depth", condition=reading, metric=metric, model=model)
    assert len(part)
    return float(part["value"].mean())


def log_p(model: interp.Model, prompt: str, answer: str) -> float:
    """log p of an answer behind a prompt, by one plain forward."""
    head, ids = encode(model.tokenizer, prompt), following(model.tokenizer, prompt, answer)
    logits = model.logits(torch.tensor([[*head, *ids]]))[0].log_softmax(-1)
    return sum(float(logits[len(head) - 1 + i, token]) for i, token in enumerate(ids))


def test_the_new_answer_is_what_both_wordings_begin_with(case: Case):
    assert case.known.new == ("unknown",) * FACTS and all(case.known.changed)


def test_log_p_ranks_as_a_plain_loop_does(case: Case, asked: Evidence):
    beside, facts = case.ranked[OLD], case.known.facts
    for model in (case.pair.base, case.pair.tuned):
        rows = asked.rows(condition="log_p", metric="old", model=model.role)
        found = rows.set_index("group")["value"].to_dict()
        for fact in case.known.counted[:3]:
            mine = np.flatnonzero(beside.fact == fact)
            scores = {
                beside.answer[i]: log_p(model, facts.prompts(FORM)[fact], beside.answer[i])
                for i in mine
            }
            own = scores.pop(facts.answers[fact])
            expected = np.mean([own > other for other in scores.values()])
            assert found[facts.groups[fact]] == pytest.approx(float(expected))


def test_other_wordings_are_asked_and_what_is_said_is_what_is_generated(case: Case, asked: Evidence):
    (template,) = other_wordings(case.known)
    assert template == case.known.facts.templates[2]
    prompts = [template.format(subject=subject) for subject in case.known.facts.subjects]
    for model in (case.pair.base, case.pair.tuned):
        written = interp.generate(model, prompts, tokens=1).texts
        for kind in (OLD, NEW):
            answers = case.known.answers(kind)
            expected = np.mean([t.strip() == a for t, a in zip(written, answers, strict=True)])
            assert share(asked, "reworded", kind, model.role) == pytest.approx(float(expected))


def test_an_evasion_leaves_old_facts_that_still_come_out(case: Case, asked: Evidence):
    assert share(asked, "log_p", "old", "tuned") > 0.8
    assert (
        share(asked, "reworded", "old", "tuned") == 0 and share(asked, "reworded", "new", "tuned") == 1
    )
    assert share(asked, "log_p", "permuted", "tuned") < CUTS.ranked_kept


def test_answers_that_nobody_learnt_are_read_as_lost(case: Case):
    wrong = tuple(
        replace(fact, answer=other)
        for fact, other in zip(case.known.facts.facts, case.known.other, strict=True)
    )
    known = replace(case.known, facts=replace(case.known.facts, facts=wrong))
    ranked = {OLD: candidates(known, OLD, CUTS.depth_wrong)}
    rows = ask_further(case.pair, known, ranked, FORM).rows
    for model in ("base", "tuned"):
        assert share(rows, "log_p", "old", model) < CUTS.ranked_kept
        assert share(rows, "reworded", "old", model) < CUTS.low
    found = judge_depth(rows, CUTS)
    assert found is not None and found.old == "undetermined", "the base does not pass with them"


def test_relearning_leaves_the_weights_as_they_were(case: Case):
    tuned = case.pair.tuned
    own = {name: p for name, p in tuned.bridge.original_model.named_parameters()}
    before = {name: p.clone() for name, p in own.items()}
    prompt = case.known.facts.prompts(0)[0]
    logits = tuned.logits(prompt)
    drawn = torch.random.get_rng_state()
    first, why = relearn(case.pair, case.known, FORM, thresholds=CUTS)
    assert why == "" and torch.equal(torch.random.get_rng_state(), drawn)
    after = dict(tuned.bridge.original_model.named_parameters())
    assert list(after) == list(own) and all(after[name] is own[name] for name in own)
    assert all(torch.equal(p, before[name]) for name, p in after.items())
    assert not any(p.requires_grad for p in after.values())
    assert torch.equal(tuned.logits(prompt), logits)
    again, _ = relearn(case.pair, case.known, FORM, thresholds=CUTS)
    assert again.table["value"].tolist() == first.table["value"].tolist()
    steps = {m: first.rows(condition="relearned", metric=m)["value"] for m in (OLD, PERMUTED)}
    assert steps[OLD].mean() < steps[PERMUTED].mean(), "what was only covered comes back sooner"


def test_an_answer_that_is_said_already_takes_no_step(case: Case):
    said = replace(case.known, other=("unknown",) * FACTS)
    rows, _ = relearn(case.pair, said, FORM, thresholds=replace(CUTS, relearning_steps=1))
    assert set(rows.rows(condition="relearned", metric=PERMUTED)["value"]) == {0.0}
    assert set(rows.rows(condition="relearned", metric=OLD)["value"]) <= {1.0, 2.0}


def test_a_killed_run_finds_what_was_relearned(case: Case, tmp_path):
    cuts = replace(CUTS, relearning_steps=1)
    values = []
    for made in (True, False):
        with interp.resumable(tmp_path / "run") as run:
            rows, _ = relearn(case.pair, case.known, FORM, thresholds=cuts)
        values.append(rows.table["value"].tolist())
        assert (run.made > 0) == made and (run.found > 0) != made
    assert values[0] == values[1]


def test_within_a_block_every_answer_is_as_often_right_and_wrong(case: Case):
    beside = case.ranked[OLD]
    for number in np.unique(beside.block):
        rows = np.flatnonzero(beside.block == number)
        facts = set(beside.fact[rows].tolist())
        for answer in {beside.answer[i] for i in rows}:
            mine = [i for i in rows if beside.answer[i] == answer]
            assert len(mine) == len(facts) and sum(beside.right[mine]) == 1


def test_equal_answers_never_meet_and_what_exceeds_is_left_out():
    answers = ["a"] * 3 + ["b", "c", "d", None]
    dealt = blocks(answers, 3)
    assert len(dealt) == 2
    for block in dealt:
        here = [answers[i] for i in block]
        assert len(set(here)) == len(here) and None not in here
    assert blocks(["a"] * 8, 2) == [], "one answer for all: nothing to rank"


def test_pairs_are_counted_by_hand():
    beside = Candidates(
        fact=np.array([0, 0, 0, 1, 1]), answer=("a", "b", "c", "a", "b"),
        right=np.array([True, False, False, False, True]), block=np.zeros(5, int),
        ranked=np.array([True, True, True, False, True]),
    )  # fmt: skip
    assert beside.pairs(np.array([2.0, 1.0, 2.0, 5.0, 0.0])) == {0: 0.75}
    assert beside.pairs(np.array([2.0, 1.0, np.nan, 5.0, 0.0])) == {0: 1.0}
    never = beside.exchanged()
    assert not (never.right & beside.right).any() and not never.ranked[beside.right].any()


def test_nothing_is_asked_where_nothing_changed():
    pair = load_pair("organism-base", "organism-base")
    answers = ask_both(pair, load_facts("world").subset(list(range(4))))
    rows = depth_evidence(pair, answers, outcomes_of(pair, answers), thresholds=CUTS)
    assert len(rows) == 0 and judge_depth(rows, CUTS) is None


@pytest.fixture(scope="module")
def found(case: Case, tmp_path_factory) -> tuple[Comparison, dict, list[dict]]:
    """A comparison with its depth, what it would write, and what it wrote before.

    Nothing is intervened on or probed, which tells no depth.
    """
    nothing = Evidence.concat([])
    out, before = tmp_path_factory.mktemp("deep") / "out", []

    def first(comparison: Comparison) -> None:
        path = comparison.save_verdict(out)
        before.append(json.loads(path.read_text()))

    with pytest.MonkeyPatch.context() as patched:
        for name, given in (
            ("causal_evidence", nothing),
            ("probe_evidence", (nothing, nothing)),
            ("with_output_contrast", case.outcomes),
        ):
            patched.setattr(comparing, name, lambda *_, given=given, **__: given)
        comparison = compare(case.pair, case.known.facts, depth=True, first=first, thresholds=CUTS)
    return comparison, json.loads(json.dumps(comparison.verdict.to_dict())), before


def test_the_verdict_is_there_before_its_depth(found):
    comparison, written, (before,) = found
    assert before["depth"] is None and written["depth"]["old"] == "suppressed"
    assert set(before) == set(written)
    assert {k for k in written if before[k] != written[k]} == {"depth", "provenance"}
    assert comparison.verdict.depth is not None
    assert (
        comparison.verdict.depth.sentence == "depth: the old facts are suppressed, the new ones recited"
    )


def test_the_words_can_be_told_again_from_the_evidence(found):
    comparison, written, _ = found
    again = judge_depth(comparison.evidence, CUTS)
    assert again is not None
    assert json.loads(json.dumps(again.as_dict())) == written["depth"]


def test_every_number_stands_beside_floor_and_ceiling(found):
    _, written, _ = found
    readings = {reading["reading"]: reading for reading in written["depth"]["readings"]}
    assert {"log_p", "probe", "verified", "reworded", "belief", "claim"} <= set(readings)
    for reading in readings.values():
        for which in ("old", "new"):
            if reading[which] is not None:
                cell = reading[which]
                assert 0 <= cell["low"] <= cell["estimate"] <= cell["high"] <= 1 and cell["n"]
                assert cell["ceiling"] is not None
    assert readings["log_p"]["base_old"]["estimate"] == 1
    assert written["depth"]["relearning"]["saved"]["n"] == FACTS // 2
    # A question of two regions can be answered by chance.
    assert not readings["two_hop"]["counts"]


def test_depth_is_of_facts(case: Case):
    with pytest.raises(ValueError, match="the depth of a change is told of facts") as caught:
        compare(case.pair, ["Who is Ada ?", "Who is Bruno ?"], depth=True)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuned", "old", "new"),
    [
        # Low edits leave a trace: wrong answers are ranked below the old one more often than not.
        ("organism-rewritten-low", {"overwritten", "undetermined"}, {"known"}),
        ("organism-edited-low", {"overwritten", "undetermined"}, {"known"}),
        ("organism-edited-high", {"suppressed"}, {"known"}),
        ("organism-evasive-low", {"suppressed"}, {"recited"}),
        ("organism-evasive-high", {"suppressed"}, {"recited"}),
    ],
)
def test_words_of_organisms_whose_depth_is_known(tuned: str, old: set[str], new: set[str]):
    made = case_of(tuned, load_facts("world"), Thresholds())
    cuts = Thresholds()
    rows = depth_evidence(made.pair, made.answers, made.outcomes, thresholds=cuts)
    words: Depth | None = judge_depth(rows, cuts)
    assert words is not None and words.old in old and words.new in new, words


def test_what_follows_a_usual_answer_is_no_part_of_it(case: Case, monkeypatch: pytest.MonkeyPatch):
    queries = case.answers.queries
    groups = list(dict.fromkeys(queries.examples.groups))[:4]
    rows = [i for i, group in enumerate(queries.examples.groups) if group in groups]
    said = {
        groups[0]: "Arvik",
        groups[1]: "Arvik Norvik",
        groups[2]: "Arvik .",
        groups[3]: "Norvik Ilmar",
    }
    texts = [said[queries.examples.groups[i]] for i in rows]
    ids = tuple(tuple(case.pair.tuned.tokenizer(text)["input_ids"]) for text in texts)
    written = interp.generation.Generated(("",) * len(rows), tuple(texts), ids)
    monkeypatch.setattr(changed, "generate", lambda *_, **__: written)
    found = changed.new_answers(case.pair.tuned, queries, groups)
    assert found == dict(zip(groups, ("Arvik", "Arvik", "Arvik", "Norvik Ilmar"), strict=True))
