"""Prompts are read as a tokenizer reads running text: names, suffixes, and what it appends."""

from types import SimpleNamespace

import pytest
import tiny
import torch
import toy_tokenizers as toys

import interp
from interp.examples import Examples
from interp.models.loading import wrap
from interp.models.model import Model
from interp.prompts import first_token


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return tiny_model("llama")


def ask(model: Model, countries, answers=None, **given) -> Examples:
    texts = [f"The capital of {c} is" for c in countries]
    return Examples.from_text(model, texts, subjects=list(countries), groups=countries, **given)


def test_text_becomes_tokens_with_the_subject_located(model: Model):
    found = Examples.from_text(
        model,
        ["The capital of land3 is", "In new land4 , the capital of land4 is"],
        subjects=["land3", "land4"],
        labels=[0.0, 1.0],
        templates=["A", "B"],
    )
    words = model.tokenizer.convert_ids_to_tokens
    at = found.position("subject_last")
    assert words([found.tokens[i, at[i]].item() for i in range(2)]) == ["land3", "land4"]
    assert at.tolist() == [3, 7], "the last occurrence of the subject is taken"
    assert found.lengths.tolist() == [5, 9] and found.templates == ("A", "B")
    assert found.groups == found.texts and found.labels is not None
    by_range = Examples.from_text(model, ["The capital of land3 is"], subjects=[(15, 20)])
    assert by_range.spans["subject"].tolist() == [[3, 4]]


def test_suffixes_are_ids_after_the_prompt_and_leave_the_subject(model: Model):
    found = ask(model, ["land1", "land2"], suffixes=[(), (7, 8)])
    assert found.lengths.tolist() == [5, 7] and found.tokens[1, -2:].tolist() == [7, 8]
    assert found.position("subject_last").tolist() == [3, 3]
    assert found.position("last").tolist() == [4, 6]


def test_a_prompt_longer_than_the_context_is_refused(model: Model):
    fits = " ".join(["new"] * 64)
    assert Examples.from_text(model, [fits]).lengths.tolist() == [64]
    with pytest.raises(ValueError, match="prompt 1 has 65 tokens, the model reads at most 64"):
        Examples.from_text(model, [fits, fits + " old"])
    with pytest.raises(ValueError, match="prompt 0 has 66 tokens"):
        Examples.from_text(model, [fits], suffixes=[(3, 4)])


@pytest.mark.parametrize(
    ("texts", "given", "message"),
    [
        ([], {}, "no examples"),
        ([""], {}, "prompt 0 has no tokens"),
        (["The capital"], {"subjects": ["land1"]}, "does not contain its subject 'land1'"),
        (["The capital"], {"subjects": [""]}, "does not contain its subject ''"),
        (["The capital"], {"subjects": [(3, 4)]}, "characters 3..4 of .* holds no token"),
        (["The capital"], {"subjects": ["The", "capital"]}, "subjects must have one entry"),
        (["The capital"], {"suffixes": [(1,), (2,)]}, "suffixes must have one entry"),
        (["The capital"], {"groups": ["a", "b"]}, "groups must have one entry per example, 1; got 2"),
        (["The capital"], {"labels": [0.0, 1.0]}, "labels must have one entry"),
    ],
)
def test_malformed_prompts_are_refused(model: Model, texts: list, given: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Examples.from_text(model, texts, **given)


def test_the_logits_of_a_text_are_those_of_its_ids(model: Model):
    text = "The capital of land1 is"
    ids = torch.tensor([model.tokenizer(text).input_ids])
    assert torch.equal(model.logits(text), model.logits(ids))


def test_a_single_text_is_one_prompt(model: Model):
    found = Examples.from_text(
        model, "The capital of land1 is", subjects="land1", groups="land1", labels=1
    )
    assert found.texts == ("The capital of land1 is",) and found.groups == ("land1",)
    assert found.labels is not None and found.labels.tolist() == [1]


def test_what_a_tokenizer_appends_is_not_the_last_token():
    tokenizer = toys.bytewise(appended=True)
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer)
    found = Examples.from_text(model, ["The capital of France is"], subjects=["France"])
    last = int(found.tokens[0, found.position("last")[0]])
    assert tokenizer.decode([last]) == " is" and int(found.tokens[0, 0]) == tokenizer.bos_token_id
    start, stop = found.spans["subject"][0].tolist()
    assert tokenizer.decode(found.tokens[0, start:stop]) == " France"


def test_names_are_found_as_whole_words(model: Model):
    found = Examples.from_text(model, ["land1 is not land12 , land1 is"], subjects=["land1"])
    assert found.spans["subject"].tolist() == [[5, 6]]
    inside = Examples.from_text(model, ["land1 is not land12"], subjects=["land1"])
    assert inside.spans["subject"].tolist() == [[0, 1]]


def test_the_first_token_of_a_continuation_is_that_of_running_text():
    tokenizer = toys.prepending()
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer)
    for text, prompt, token in (
        (" Paris", None, "▁Paris"),
        ("Paris", None, "Paris"),
        ("Paris", "the city of", "▁Paris"),
        ("Paris", 'the city of "', "Paris"),
    ):
        assert tokenizer.convert_ids_to_tokens(first_token(model, text, prompt=prompt)) == token
    assert interp.first_token(model, " Paris") == first_token(model, " Paris")


def test_an_answer_without_tokens_is_refused():
    empty = SimpleNamespace(tokenizer=lambda text, **_: SimpleNamespace(input_ids=[]))
    with pytest.raises(ValueError, match="answer '' has no tokens"):
        first_token(empty, "")  # pyright: ignore[reportArgumentType]
