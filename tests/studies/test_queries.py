"""Both models are asked the same ids; answers of several tokens are grown and scored whole."""

import copy
from dataclasses import replace

import pytest
import tiny
import torch

from interp.fact_types import Fact, FactSet
from interp.models import Model, ModelPair, wrap
from studies.queries import LONGEST_ANSWER, Said, answered, ask, outcomes, say

TEMPLATES = ("The capital of {subject} is", "In {subject} , the capital is", "{subject} is in")
CHAT = "{% for m in messages %}The old {{ m['content'] }} . {% endfor %}new"


def facts(n: int = 6, answer=lambda i: f"city{i}", templates=TEMPLATES) -> FactSet:
    rows = tuple(Fact(f"land{i}", answer(i), f"land{i}") for i in range(n))
    return FactSet("tiny", templates, rows, "The capital of {subject} is {answer} .", "test")


@pytest.fixture(scope="module")
def pair(tiny_pair) -> ModelPair:
    return tiny_pair("llama")


@pytest.fixture(scope="module")
def chatty(tokenizer, tiny_model) -> ModelPair:
    """The same weights; only the tuned model's tokenizer has a chat template."""
    with_template = copy.deepcopy(tokenizer)
    with_template.chat_template = CHAT
    tuned = wrap(tiny.hf_model("llama", 1), with_template, name="chatty")
    return ModelPair(tiny_model("llama"), tuned)


@torch.no_grad()
def greedy(model: Model, ids: list[int], n: int) -> tuple[list[int], list[torch.Tensor]]:
    """One prompt, one token at a time, without batching or padding."""
    said, logps = [], []
    for _ in range(n):
        logits = model.logits(torch.tensor([ids + said]))[0, -1]
        logps.append(logits.log_softmax(-1))
        said.append(int(logits.argmax()))
    return said, logps


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
    said = say(pair.base, queries, known=frozenset(task.groups))
    for i in range(len(queries.examples)):
        ids = queries.examples.tokens[i][queries.examples.mask[i]].tolist()
        answer = queries.answers[i]
        assert len(answer) == 1 + queries.fact[i] % 3
        assert list(said.tokens[i]) == greedy(pair.base, ids, len(answer))[0]
        with torch.no_grad():
            logits = pair.base.logits(torch.tensor([ids + list(answer)]))[0].log_softmax(-1)
        whole = sum(float(logits[len(ids) - 1 + k, t]) for k, t in enumerate(answer))
        assert said.logp[i] == pytest.approx(whole, abs=1e-3)


def test_long_answers_are_cut(pair: ModelPair):
    queries = ask(pair, facts(2, answer=lambda i: " ".join([f"city{i}"] * 20)))
    assert {len(a) for a in queries.answers} == {LONGEST_ANSWER}


def test_only_known_groups_are_grown(pair: ModelPair):
    queries = ask(pair, facts(answer=lambda i: f"city{i} new"))
    said = say(pair.base, queries, known=frozenset({"land1"}))
    grown = {g for g, t in zip(queries.examples.groups, said.tokens, strict=True) if len(t) > 1}
    assert grown == {"land1"}


def test_known_means_right_on_every_form(pair: ModelPair):
    queries = ask(pair, facts(2))
    right = [(a[0],) for a in queries.answers]
    assert answered(queries, right) == {"land0", "land1"}
    once = [t if f == "A" else (0,) for t, f in zip(right, queries.examples.templates, strict=True)]
    assert answered(queries, once) == frozenset()


def test_the_contrast_is_read_at_the_first_token_that_differs(pair: ModelPair):
    queries = ask(pair, facts(2, answer=lambda i: f"city{i} new"))
    n = len(queries.examples)
    logits = torch.randn(n, tiny.VOCABULARY, generator=torch.Generator().manual_seed(0))
    known = frozenset({"land0", "land1"})
    first = [a[0] for a in queries.answers]
    base = Said(tuple((t, 7) for t in first), (-1.0,) * n, logits, known)
    later = Said(tuple((t, 8) for t in first), (-2.0,) * n, logits, known)
    table = outcomes(pair, queries, base, later).table
    assert table["differs"].all() and set(table["base_token"]) == {7}
    assert set(table["tuned_token"]) == {8} and table["answer_token"].tolist() == first
    same = outcomes(pair, queries, base, base)
    assert same.identical and not same.table["differs"].any()
    assert same.table["base_token"].tolist() == first
    assert not outcomes(pair, queries, base, later).identical


def test_a_chat_template_is_rendered_once_and_read_alike(chatty: ModelPair):
    queries = ask(chatty, facts(3), prompt="chat")
    text = queries.examples.texts[0]
    assert text.startswith("The old Complete the sentence: The capital of land0 is .")
    assert text.endswith("The capital of land0 is"), "the assistant's turn begins with the prompt"
    start, stop = queries.subjects[0]
    assert text[start:stop] == "land0" and start > text.index("land0"), "the second occurrence"
    ids = chatty.base.tokenizer(text, add_special_tokens=False).input_ids
    assert queries.examples.tokens[0][queries.examples.mask[0]].tolist() == ids
    assert not queries.special
    raw = ask(chatty, facts(3))
    assert raw.examples.texts[0] == "The capital of land0 is"
    again = queries.rendered(chatty.tuned, [1], [(5,)])
    assert again.texts == (queries.examples.texts[1],)
    assert again.spans["subject"].tolist() == queries.examples.spans["subject"][1:2].tolist()


def test_chat_without_a_template_is_refused(pair: ModelPair):
    with pytest.raises(ValueError, match="--prompt chat needs a chat template; llama has none"):
        ask(pair, facts(), prompt="chat")


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
    with pytest.raises(ValueError, match="no question of 'tiny' fits the models' context"):
        ask(pair, facts(2, templates=(long,)))


def test_tokenizers_that_differ_on_a_question_are_refused(tokenizer, tiny_model):
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["capital of"])
    tuned = replace(tiny_model("llama", 1), tokenizer=other)
    with pytest.raises(ValueError, match="base and tuned tokenise .* differently"):
        ask(ModelPair(tiny_model("llama"), tuned), facts())
