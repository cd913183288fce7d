"""Contrasts align token by token; pairs differ in group and answer and repeat none."""

import warnings

import pytest
import tiny
import torch
import toy_tokenizers as toys
from hypothesis import given, settings, strategies as st

from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples
from interp.models.loading import wrap
from interp.models.model import Model

quick = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return tiny_model("llama")


def ask(model: Model, countries, answers=None, **given) -> Examples:
    texts = [f"The capital of {c} is" for c in countries]
    return Examples.from_text(model, texts, subjects=list(countries), groups=countries, **given)


def test_a_contrast_from_text_is_scored_on_first_tokens(model: Model):
    pair = Contrast.from_text(
        model,
        ["The capital of land1 is"],
        ["The capital of land2 is"],
        [" city1 new"],
        [" city2"],
        clean_subjects=["land1"],
        corrupted_subjects=["land2"],
    )
    ids = model.tokenizer.convert_tokens_to_ids
    assert (pair.answers.tolist(), pair.foils.tolist()) == ([ids("city1")], [ids("city2")])
    assert len(pair) == 1 and len(pair.subset([0, 0])) == 2


def warned(model: Model, clean, corrupted, **given) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Contrast.from_text(model, clean, corrupted, "city1", "city2", **given)
    return [str(w.message) for w in caught]


def test_prompts_that_differ_nearly_everywhere_are_warned_of_once(model: Model):
    other = "land2 of city3 The old"
    (line,) = warned(model, "The capital of land1 is", other)
    assert "1 of 1 pairs share fewer than half" in line and "shares 0 of 5" in line
    assert warned(model, "The capital of land1 is", "The capital of land2 is") == []
    assert warned(model, "land1 is", "land2 is") == [], "half is enough"
    # One name of an indirect object is exchanged for another, as in the task of that name.
    said = "land1 of land2 of The city3 is {} of the old city4 is"
    assert warned(model, said.format("land1"), said.format("land2")) == []
    subjects = {"clean_subjects": "land1", "corrupted_subjects": "land2"}
    assert warned(model, "The capital of land1", "city3 is old land2", **subjects) == []


@pytest.mark.parametrize(("answer", "foil"), [("city1", "city2"), (" city1", "city2")])
def test_answers_follow_in_running_text_with_or_without_their_space(answer: str, foil: str):
    tokenizer = toys.prepending()
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer)
    words = {"city1": "Paris", "city2": "Madrid"}
    answer, foil = (t.replace(t.strip(), words[t.strip()]) for t in (answer, foil))
    pair = Contrast.from_text(
        model,
        "The capital of France is the city of",
        "The capital of Spain is the city of",
        answer,
        foil,
    )
    tokens = tokenizer.convert_ids_to_tokens
    assert tokens([*pair.answers.tolist(), *pair.foils.tolist()]) == ["▁Paris", "▁Madrid"]
    opened = Contrast.from_text(model, 'France -> ("', 'Spain -> ("', answer.strip(), foil.strip())
    assert tokens(opened.answers.tolist()) == ["Paris"], "the control: behind a quote there is none"


def test_a_contrast_is_read_at_the_first_token_that_differs(model: Model):
    pair = Contrast.from_text(
        model,
        ["The capital of land1 is", "The capital of land3 is"],
        ["The capital of land2 is", "The capital of land4 is"],
        ["new old city1", "city3"],
        ["new old city2", "city4"],
    )
    ids = model.tokenizer.convert_tokens_to_ids
    assert pair.answers.tolist() == [ids("city1"), ids("city3")]
    assert pair.foils.tolist() == [ids("city2"), ids("city4")]
    for side in (pair.clean, pair.corrupted):
        assert side.lengths.tolist() == [7, 5]
        ends = [side.tokens[i, at].item() for i, at in enumerate(side.position("last"))]
        assert ends == [ids("old"), ids("is")]
    with pytest.raises(
        ValueError, match="have equal answers .answer and foil are one token.; give two"
    ):
        Contrast.from_text(model, "land1 is", "land2 is", "city1 new", "city1")


def test_both_sides_of_a_pair_have_an_entity_of_their_own(model: Model):
    def groups(**given) -> list[tuple[str, ...]]:
        pair = Contrast.from_text(model, "land1 is", "land2 is", "city1", "city2", **given)
        return [*pair.clean.groups, *pair.corrupted.groups]

    assert groups() == ["land1 is", "land2 is"]
    assert groups(clean_groups="land1", corrupted_groups=["land2"]) == ["land1", "land2"]
    assert groups(groups=["pair"]) == ["pair", "pair"]
    assert groups(groups=["pair"], corrupted_groups=["land2"]) == ["pair", "land2"]


@pytest.mark.parametrize(
    ("clean", "corrupted", "foil", "subject", "why"),
    [
        ("The capital of land1 is", "The capital of new land2 is", " city2", "land2", "token counts"),
        ("The capital of land1 is", "land2 capital of new is", " city2", "land2", "'subject' at"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_align_are_refused(model, clean, corrupted, foil, subject, why):
    with pytest.raises(ValueError, match=f"pair 0 cannot be contrasted: .*{why}.*aligned_pairs"):
        Contrast.from_text(
            model, [clean], [corrupted], [" city1"], [foil],
            clean_subjects=["land1"], corrupted_subjects=[subject],
        )  # fmt: skip


@pytest.mark.parametrize("foil", [" city1", "city1"])
def test_equal_answers_are_said_to_be_equal(model: Model, foil: str):
    with pytest.raises(ValueError, match="answers and foils of pair 1 are equal, 'city1', behind 'In"):
        Contrast.from_text(
            model, ["land1 is", "In land1 is"], ["land2 is", "In land2 is"],
            ["city1", " city1"], ["city2", foil],
        )  # fmt: skip


@quick
@given(
    st.lists(st.tuples(st.integers(4, 6), st.integers(0, 3), st.integers(5, 7)), min_size=1),
    st.integers(1, 3),
)
def test_aligned_pairs_align_differ_and_repeat_no_pair(rows: list, per_example: int):
    counts, entities, answers = ([*column] for column in zip(*rows, strict=True))
    found = tiny.examples(
        tiny.token_rows(*counts), subject=[(1, 3)] * len(rows), groups=[f"e{e}" for e in entities]
    )
    said = torch.tensor(answers)
    clean, corrupted = aligned_pairs(found, said, per_example=per_example)
    assert len(set(zip(clean, corrupted, strict=True))) == len(clean) == len(corrupted)
    assert all(clean.count(i) <= per_example for i in clean)
    for i, j in zip(clean, corrupted, strict=True):
        assert counts[i] == counts[j]
        assert entities[i] != entities[j] and answers[i] != answers[j]
    if clean:
        Contrast(found.subset(clean), found.subset(corrupted), said[clean], said[corrupted])
    partners = {
        i
        for i in range(len(rows))
        for j in range(len(rows))
        if counts[i] == counts[j] and entities[i] != entities[j] and answers[i] != answers[j]
    }
    assert set(clean) == partners, "whoever has a partner gets one"


def test_aligned_pairs_may_have_to_lie_apart_and_balance_roles(model: Model):
    found = ask(model, [f"land{i}" for i in range(6)])
    answers = torch.arange(6)
    clean, corrupted = aligned_pairs(found, answers)
    assert sorted(clean) == sorted(corrupted) == list(range(6)), "clean as often as corrupted"
    side = {f"land{i}": i % 2 for i in range(6)}
    for i, j in zip(*aligned_pairs(found, answers, apart=side), strict=True):
        assert i % 2 != j % 2
    assert aligned_pairs(found, answers, apart=dict.fromkeys(side, 1)) == ([], [])
