"""Both models are asked the same ids; answers of several tokens are grown and scored whole."""

import copy
from dataclasses import replace

import pytest
import tiny
import torch
import toy_tokenizers as toys
from tiny import TEMPLATES, facts
from torch.utils._python_dispatch import TorchDispatchMode

from interp.examples import Examples
from interp.facts.types import Fact, FactSet
from interp.models.loading import wrap
from interp.models.model import Model
from interp.models.pair import ModelPair
from studies.comparison.answers import (
    Answers,
    PairAnswers,
    answer_all,
    answer_both,
    ask_both,
    right_groups,
)
from studies.comparison.known_questions import known_questions
from studies.comparison.outcome_table import few_known, outcomes_of
from studies.comparison.questions import LONGEST_ANSWER, Queries, ask


@pytest.fixture(scope="module")
def pair(tiny_pair) -> ModelPair:
    return tiny_pair("llama")


@torch.no_grad()
def greedy(model: Model, ids: list[int], n: int) -> tuple[list[int], list[torch.Tensor]]:
    """One prompt, one token at a time, without batching or padding."""
    said, logps = [], []
    for _ in range(n):
        logits = model.logits(torch.tensor([ids + said]))[0, -1]
        logps.append(logits.log_softmax(-1))
        said.append(int(logits.argmax()))
    return said, logps


def unpadded(examples: Examples) -> list[list[int]]:
    return [ids[mask].tolist() for ids, mask in zip(examples.tokens, examples.mask, strict=True)]


def test_two_forms_of_every_fact_are_asked(pair: ModelPair):
    queries = ask(pair, facts())
    assert len(queries.examples) == 12 and set(queries.examples.templates) == {"A", "B"}
    assert queries.examples.texts[0] == "The capital of land0 is"
    words = pair.base.tokenizer.convert_ids_to_tokens
    at = queries.examples.position("subject_last")
    asked = [words(int(queries.examples.tokens[i, at[i]])) for i in range(12)]
    assert asked == list(queries.examples.groups)
    assert words(queries.first.tolist()) == [queries.facts.answers[i] for i in queries.fact]
    assert len(ask(pair, facts(), forms=3).examples) == 18
    assert queries.excluded == () and queries.special


def test_one_pass_gives_what_asking_one_by_one_gives(pair: ModelPair):
    """Answers of one, two and three tokens; every group grown, as if it were known."""
    task = facts(answer=lambda i: " ".join([f"city{i}", "new", "old"][: 1 + i % 3]))
    queries = ask(pair, task)
    said = answer_all(pair.base, queries, known=frozenset(task.groups))
    for i in range(len(queries.examples)):
        ids = queries.examples.tokens[i][queries.examples.mask[i]].tolist()
        answer = queries.answers[i]
        assert len(answer) == 1 + queries.fact[i] % 3
        assert list(said.tokens[i]) == greedy(pair.base, ids, len(answer))[0]
        with torch.no_grad():
            logits = pair.base.logits(torch.tensor([ids + list(answer)]))[0].log_softmax(-1)
        whole = sum(float(logits[len(ids) - 1 + k, t]) for k, t in enumerate(answer))
        assert said.logp[i] == pytest.approx(whole, abs=1e-3)


def test_both_models_are_asked_the_same_and_the_tuned_one_goes_on_where_the_base_knows(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def spy(pair: ModelPair, queries: Queries, **options):
        asked.append(queries.facts.name)
        return answer_both(pair, queries, **options)

    monkeypatch.setattr("studies.comparison.answers.answer_both", spy)
    task, other = facts(4), replace(facts(3), name="other")
    both = ask_both(pair, task, other)
    assert asked == ["tiny", "other"]
    same_answers(both.base, answer_all(pair.base, both.queries))
    same_answers(both.tuned, answer_all(pair.tuned, both.queries, known=both.base.known))
    assert both.reference is not None
    assert len(both.reference.queries.examples) == 6 and both.reference.reference is None
    assert ask_both(pair, task).reference is None


def same_answers(one: Answers, other: Answers) -> None:
    words = ("tokens", "known", "leads", "best")
    assert [getattr(one, word) for word in words] == [getattr(other, word) for word in words]
    assert one.logp == pytest.approx(other.logp, abs=1e-4)


def test_long_answers_are_cut(pair: ModelPair):
    queries = ask(pair, facts(2, answer=lambda i: " ".join([f"city{i}"] * 20)))
    assert {len(a) for a in queries.answers} == {LONGEST_ANSWER}


def test_only_known_groups_are_grown(pair: ModelPair):
    queries = ask(pair, facts(answer=lambda i: f"city{i} new"))
    said = answer_all(pair.base, queries, known=frozenset({"land1"}))
    grown = {g for g, t in zip(queries.examples.groups, said.tokens, strict=True) if len(t) > 1}
    assert grown == {"land1"}


def test_known_means_right_on_every_form(pair: ModelPair):
    queries = ask(pair, facts(2))
    right = [(a[0],) for a in queries.answers]
    assert right_groups(queries, right) == {"land0", "land1"}
    once = [t if f == "A" else (0,) for t, f in zip(right, queries.examples.templates, strict=True)]
    assert right_groups(queries, once) == frozenset()


def answers(queries: Queries, tokens, known, logp: float = -1.0, digest: str = "") -> Answers:
    first = tuple(queries.first.tolist())
    n = len(queries.examples)
    return Answers(tuple(tokens), (logp,) * n, frozenset(known), queries.leads, first, digest)


def test_the_contrast_is_read_at_the_first_token_that_differs(pair: ModelPair):
    queries = ask(pair, facts(2, answer=lambda i: f"city{i} new"))
    first = queries.first.tolist()
    base = answers(queries, [(t, 7) for t in first], ["land0", "land1"])
    later = answers(queries, [(t, 8) for t in first], ["land0", "land1"], -2.0, "other")
    table = outcomes_of(pair, PairAnswers(queries, base, later)).table
    assert table["differs"].all() and set(table["base_token"]) == {7}
    assert set(table["tuned_token"]) == {8} and table["answer_token"].tolist() == first
    same = outcomes_of(pair, PairAnswers(queries, base, base))
    assert same.identical and not same.table["differs"].any()
    assert same.table["base_token"].tolist() == first
    assert not outcomes_of(pair, PairAnswers(queries, base, later)).identical


def test_answers_that_go_on_otherwise_are_not_known(pair: ModelPair):
    """Every answer begins as what the base says; half of them also end so."""
    words = pair.base.tokenizer.convert_ids_to_tokens
    probe = ask(pair, facts(24, templates=TEMPLATES[2:]))
    said = [words(greedy(pair.base, ids, 2)[0]) for ids in unpadded(probe.examples)]
    plain = [i for i, spoken in enumerate(said) if all(word.isalnum() for word in spoken)][:6]
    rows = tuple(
        Fact(f"land{i}", f"{said[i][0]} {said[i][1] if at % 2 else 'filler1'}", f"land{i}")
        for at, i in enumerate(plain)
    )
    rows += (Fact("old", "filler1", "old"),)  # what all begin with would be part of the prompt
    task = FactSet("tiny", TEMPLATES[2:], rows, "{subject} is {answer} .", "test")
    assert len(rows) == 7
    queries = ask(pair, task)
    found = answer_all(pair.base, queries)
    assert found.known == {f"land{i}" for i in plain[1::2]}
    begun = [t[0] == a[0] for t, a in zip(found.tokens, queries.answers, strict=True)]
    assert begun == [True] * 6 + [False] and set(queries.leads) == {()}
    table = outcomes_of(pair, PairAnswers(queries, found, found))
    known = table.table[table.table["known"]]
    assert (known["said_base"] == known["answer"]).all() and len(known) == 3
    assert all("begun right only: here the base says" in reason for _, reason in table.excluded)
    assert len(table.excluded) == 3


def test_a_fact_known_on_one_form_only_is_listed_with_that_reason(pair: ModelPair):
    queries = ask(pair, facts(2))
    tokens = [
        a if f == "A" else (5,)
        for a, f in zip(queries.answers, queries.examples.templates, strict=True)
    ]
    base = answers(queries, tokens, [])
    word = pair.base.tokenizer.decode([5])
    assert outcomes_of(pair, PairAnswers(queries, base, base)).excluded[0] == (
        "In land0 , the capital is",
        f"right on form A only: here the base says “{word}”, so it is not known",
    )
    message = few_known(pair.base, queries, base, 2)
    assert "gives the right answer first for 0 of the facts of 'tiny' on every form" in message
    assert "'The capital of {subject} is' gets 2 of 2" in message
    assert f"gets 0 of 2, and otherwise mostly “{word}” (2)" in message


def test_a_tuned_model_that_knows_more_than_its_base_may_be_swapped_with_it(pair: ModelPair):
    queries = ask(pair, facts(6))
    none, all_ = (answers(queries, queries.answers, known) for known in ([], set(facts(6).groups)))
    outcomes = outcomes_of(pair, PairAnswers(queries, none, all_))
    with pytest.raises(
        ValueError, match="the tuned model gives 6 of 6: are --base and --tuned swapped"
    ):
        known_questions(pair, PairAnswers(queries, none, all_), outcomes)
    with pytest.raises(ValueError) as refused:  # the control: neither knows them
        known_questions(pair, PairAnswers(queries, none, none), outcomes)
    assert "swapped" not in str(refused.value)


def test_facts_declared_untuned_are_a_reference_and_are_never_compared(pair: ModelPair):
    task = facts(6)
    declared = tuple(replace(fact, untuned=i >= 4) for i, fact in enumerate(task.facts))
    for rows, counted in ((task.facts, 6), (declared, 4)):  # the control: nothing is declared
        queries = ask(pair, replace(task, facts=rows))
        base = answers(queries, queries.answers, [f"land{i}" for i in range(6)])
        tuned = answers(queries, [(5,)] * len(queries.answers), [], digest="other")
        found = PairAnswers(queries, base, tuned)
        outcomes = outcomes_of(pair, found)
        reference = tuple(f"land{i}" for i in range(counted, 6))
        assert outcomes.untuned_groups == reference
        assert len(outcomes.known_groups) == len(outcomes.changed_groups) == counted
        asked = known_questions(pair, found, outcomes).examples.groups
        assert set(asked).isdisjoint(reference) and len(set(asked)) == counted
    message = few_known(pair.base, queries, answers(queries, queries.answers, ["land4"]), 2)
    assert "for 0 of the facts" in message and "1 more is declared untuned" in message


def numbers_pair() -> ModelPair:
    """Random models behind a tokenizer that has a token for every digit and a space of its own."""
    tokenizer = toys.bytewise(r" (?=\p{N})|\p{N}| ?[^\s\p{N}]+|\s+")
    models = [wrap(tiny.hf_model("llama", seed, vocab_size=toys.SIZE), tokenizer) for seed in (0, 1)]
    return ModelPair(*models)


def test_what_all_answers_begin_with_becomes_part_of_the_prompt():
    pair = numbers_pair()
    years = ["1914", "1945", "1989"]
    task = facts(3, answer=lambda i: years[i])
    queries = ask(pair, task)
    decode = pair.base.tokenizer.decode
    assert {decode(list(lead)) for lead in queries.leads} == {" 1"} or {
        decode(list(lead)) for lead in queries.leads
    } == {" 19"}
    for i, (lead, answer) in enumerate(zip(queries.leads, queries.answers, strict=True)):
        tokens = queries.examples.tokens[i][queries.examples.mask[i]].tolist()
        assert tuple(tokens[-len(lead) :]) == lead
        assert decode([*lead, *answer]) == " " + years[queries.fact[i]]
        assert decode(tokens) == queries.examples.texts[i] + decode(list(lead))
    assert len(queries.first.unique()) == 3
    again = queries.rendered(pair.tuned, [0, 4], [(), (7,)])
    assert (
        again.tokens[0][again.mask[0]].tolist()
        == queries.examples.tokens[0][queries.examples.mask[0]].tolist()
    )
    assert again.tokens[1][again.mask[1]].tolist()[-1] == 7


def test_the_lead_must_be_said_and_counts_in_log_p():
    pair = numbers_pair()
    queries = ask(pair, facts(3, answer=lambda i: ["1914", "1945", "1989"][i]))
    found = answer_all(pair.base, queries)
    for i, lead in enumerate(queries.leads):
        ids = queries.examples.tokens[i][queries.examples.mask[i]].tolist()[: -len(lead)]
        whole = [*lead, *queries.answers[i]]
        with torch.no_grad():
            logits = pair.base.logits(torch.tensor([ids + whole]))[0].log_softmax(-1)
        steps = logits[len(ids) - 1 :]
        expected = sum(float(steps[k, t]) for k, t in enumerate(whole))
        assert found.logp[i] == pytest.approx(expected, abs=1e-3)
        spoken = steps.argmax(-1).tolist()
        right = next((k for k, t in enumerate(lead) if spoken[k] != t), len(lead) - 1)
        assert list(found.leads[i]) == spoken[: right + 1]
        assert not found.known, "the control: given the lead, some answers are told apart"
        closed = queries.first.unique()
        assert found.best[i] == int(closed[steps[len(lead), closed].argmax()])


def test_a_tuned_model_that_leaves_the_lead_is_one_line(monkeypatch):
    pair = numbers_pair()
    queries = ask(pair, facts(3, answer=lambda i: ["1914", "1945", "1989"][i]))
    base = answers(queries, queries.answers, queries.facts.groups)
    gone = replace(base, leads=(tuple(pair.base.tokenizer(" no").input_ids),) * len(queries.leads))
    with pytest.raises(ValueError, match=r"leaves 3 of the 3 known answers of 'tiny' within ' 19?', "
                       r"with which every answer begins \(it says “no"):  # fmt: skip
        outcomes_of(pair, PairAnswers(queries, base, gone))
    assert not outcomes_of(pair, PairAnswers(queries, base, base)).table["differs"].any()


def test_answers_that_share_their_token_count_as_one(pair: ModelPair):
    queries = ask(pair, facts(3, answer=lambda i: ["city1 new", "city1 old", "city2"][i]))
    assert queries.counted_as_one == (("city1 new", "city1 old"),)
    assert ask(pair, facts(3)).counted_as_one == ()


@pytest.mark.parametrize("kind", sorted(toys.KINDS))
@pytest.mark.parametrize(
    ("templates", "answers", "between"),
    [
        (("The capital of {subject} is", "In {subject} is"), ["Paris", "Madrid"], " "),
        (('{"{subject}": "', "{subject} -> ("), ["Paris", "Madrid"], ""),
        (("{subject}的首都是", "日本 {subject}的首都是"), ["巴黎", "东京"], ""),
        (('"{subject}":{answer}', "{subject} is {answer}"), ["Paris", "Madrid"], None),
    ],
)
def test_answers_are_asked_in_running_text(kind: str, templates, answers, between):
    tokenizer = toys.KINDS[kind]()
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer)
    task = facts(2, answer=lambda i: answers[i], templates=templates)
    queries = ask(ModelPair(model, model), task)
    for i, answer in enumerate(queries.answers):
        ids = queries.examples.tokens[i][queries.examples.mask[i]].tolist()
        gap = ["", " "][queries.examples.templates[i] == "B"] if between is None else between
        whole = tokenizer.decode([*ids, *answer], skip_special_tokens=True)
        assert whole == queries.examples.texts[i] + gap + answers[queries.fact[i]]
        assert ids[-1] != getattr(tokenizer, "eos_token_id", None)


def test_asking_keeps_no_logits_of_whole_prompts():
    """No tensor that is made while asking is larger than the budget: whole logits would be."""
    rows, budget = 30_000, 2**20
    tokenizer = toys.bytewise()
    model = wrap(tiny.hf_model("llama", vocab_size=rows), tokenizer)
    queries = ask(ModelPair(model, model), facts())
    roomy = answer_all(model, queries)
    owned = {p.untyped_storage().data_ptr() for p in model.bridge.original_model.parameters()}
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for part in torch.utils._pytree.tree_leaves(out):
                if isinstance(part, torch.Tensor):
                    storage = part.untyped_storage()
                    if storage.data_ptr() not in owned:
                        largest = max(largest, storage.nbytes())
            return out

    with Watch():
        tight = answer_all(model, queries, known=frozenset(queries.facts.groups), max_bytes=budget)
    assert 0 < largest <= budget
    assert len(queries.examples) * rows * 4 > budget, "the control: first logits alone exceed it"
    assert tight.logp == pytest.approx(roomy.logp, abs=1e-4)
    assert (tight.best, tight.leads) == (roomy.best, roomy.leads)


def test_what_the_tuned_model_said_is_written_by_its_own_tokenizer(pair: ModelPair):
    other = copy.deepcopy(pair.base.tokenizer)
    other.add_tokens(["refusal"])
    mixed = ModelPair(pair.base, replace(pair.tuned, tokenizer=other))
    queries = ask(mixed, facts(2))
    new = len(other) - 1
    refuses = answers(queries, [(new,)] * len(queries.examples), [], digest="other")
    base = answers(queries, queries.answers, queries.facts.groups)
    table = outcomes_of(mixed, PairAnswers(queries, base, refuses)).table
    assert set(table["said_tuned"]) == {"refusal"} and set(table["tuned_token"]) == {new}


def test_facts_beyond_the_context_are_left_out_of_every_form(pair: ModelPair):
    long = " ".join(["new"] * 60) + " {subject} is"
    task = facts(3, lambda i: "city0 new old" if i == 1 else f"city{i}", (TEMPLATES[0], long))
    queries = ask(pair, task)
    assert set(queries.examples.groups) == {"land0", "land2"} and len(queries.examples) == 4
    ((text, reason),) = queries.excluded
    assert text.endswith("land1 is")
    assert reason == "62 tokens and its answer exceed the context of 64; shorten it"


def test_facts_of_which_none_fits_are_refused(pair: ModelPair):
    long = " ".join(["new"] * 70) + " {subject} is"
    with pytest.raises(ValueError, match="no fact of 'tiny' can be asked: 72 tokens"):
        ask(pair, facts(2, templates=(long,)))


def test_tokenizers_that_differ_on_a_question_are_refused(tokenizer, tiny_model):
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["capital of"])
    tuned = replace(tiny_model("llama", 1), tokenizer=other)
    with pytest.raises(ValueError, match="base and tuned tokenise .* differently"):
        ask(ModelPair(tiny_model("llama"), tuned), facts())
