"""Words that a small vocabulary lacks are refused as answers and told of in prompts."""

import warnings

import pytest

import interp
from studies.comparison.questions import ask

HOME = "The home of Farid Jansen is"


@pytest.fixture(scope="module")
def model():
    return interp.load_model("organism-base")


def test_an_answer_that_no_token_says_is_refused_everywhere(model) -> None:
    with pytest.raises(ValueError, match="'Paris' is not in the tokenizer's vocabulary"):
        interp.first_token(model, "Paris", prompt=HOME)
    with pytest.raises(ValueError, match="'Paris' is not in the tokenizer's vocabulary"):
        interp.Contrast.from_text(model, HOME, "The home of Pavel Grimm is", "Norvik", "Paris")


def test_a_prompt_with_unknown_words_is_told_of_and_one_without_is_not(model) -> None:
    with pytest.warns(UserWarning, match="1 of 2 prompts hold words that the tokenizer has no token"):
        interp.Examples.from_text(model, [HOME, "The home of Napoleon is"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interp.Examples.from_text(model, HOME)


def test_a_fact_whose_answer_cannot_be_said_is_left_out_and_named(tmp_path) -> None:
    world = interp.load_facts("world").subset(list(range(20)))
    rows = [f"{f.subject},{f.answer}" for f in world.facts[:19]] + [f"{world.facts[19].subject},Paris"]
    table = tmp_path / "homes.csv"
    table.write_text("\n".join(["subject,answer", *rows]) + "\n")
    facts = interp.load_facts(table, templates=world.templates)
    pair = interp.load_pair("organism-base", "organism-evasive-high")
    queries = ask(pair, facts)
    reasons = {reason for _, reason in queries.excluded}
    assert reasons == {"answer 'Paris' is not in the tokenizer's vocabulary"}
    assert 19 not in queries.fact
