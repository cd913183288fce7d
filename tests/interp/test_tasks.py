"""Examples and contrasts hold what they promise, whatever the lengths, padding and order."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.models import Model
from interp.tasks import Contrast, Examples, aligned_pairs, first_token, group_split

quick = settings(max_examples=40, deadline=None)
lengths = st.lists(st.integers(3, 9), min_size=1, max_size=7)
sides = st.sampled_from(["left", "right"])


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return tiny_model("llama")


def ask(model: Model, countries, answers=None, **given) -> Examples:
    texts = [f"The capital of {c} is" for c in countries]
    return Examples.from_text(model, texts, subjects=list(countries), groups=countries, **given)


@quick
@given(lengths, sides)
def test_spans_and_lengths_point_at_real_tokens(counts: list[int], pad: str):
    rows = tiny.token_rows(*counts)
    found = tiny.examples(rows, subject=[(1, 3)] * len(rows), pad=pad)
    assert found.lengths.tolist() == counts and len(found) == len(counts)
    for i, ids in enumerate(rows):
        assert found.tokens[i][found.mask[i]].tolist() == ids
        assert found.tokens[i][found.span_mask("subject")[i]].tolist() == ids[1:3]
        assert found.tokens[i, found.position("last")[i]] == ids[-1]
        assert found.tokens[i, found.position("subject_first")[i]] == ids[1]
        assert found.tokens[i, found.position("subject_last")[i]] == ids[2]
        assert torch.equal(found.span_mask("all")[i], found.mask[i])


@quick
@given(lengths, sides, st.data())
def test_a_subset_keeps_every_part_of_every_example(counts: list[int], pad: str, data):
    found = tiny.examples(tiny.token_rows(*counts), pad=pad)
    index = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=9))
    some = found.subset(index)
    assert some.groups == tuple(found.groups[i] for i in index)
    assert some.texts == tuple(found.texts[i] for i in index)
    assert torch.equal(some.tokens, found.tokens[index])
    assert torch.equal(some.position("last"), found.position("last")[index])


@quick
@given(lengths, sides)
def test_batches_by_length_hold_everything_once_and_need_no_padding(counts: list[int], pad: str):
    found = tiny.examples(tiny.token_rows(*counts), pad=pad)
    parts = found.by_length()
    assert sorted(torch.cat(parts).tolist()) == list(range(len(counts)))
    assert all(len(set(found.lengths[part].tolist())) == 1 for part in parts)
    assert len(parts) == len(set(counts))


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


def test_a_span_over_padding_is_refused():
    good = tiny.examples(tiny.token_rows(3, 5), subject=[(1, 3), (1, 3)])
    for bad in ([[2, 4], [1, 3]], [[2, 2], [1, 3]]):
        with pytest.raises(ValueError, match="span 'subject' must hold at least one real token"):
            Examples(
                good.tokens, good.mask, good.texts, good.groups,
                {**good.spans, "subject": torch.tensor(bad)}, good.templates,
            )  # fmt: skip


def test_unknown_positions_and_spans_are_refused(model: Model):
    found = ask(model, ["land1"])
    for name in ("first", "object_last", "subject_middle"):
        with pytest.raises(ValueError, match=f"no position '{name}'; expected 'last' or one of"):
            found.position(name)
    with pytest.raises(ValueError, match="no span 'object'"):
        found.span_mask("object")


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


@pytest.mark.parametrize(
    ("clean", "corrupted", "foil", "subject", "why"),
    [
        ("The capital of land1 is", "The capital of new land2 is", " city2", "land2", "token counts"),
        ("The capital of land1 is", "land2 capital of new is", " city2", "land2", "'subject' at"),
        ("The capital of land1 is", "The capital of land2 is", " city1", "land2", "share one token"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_align_are_refused(model, clean, corrupted, foil, subject, why):
    with pytest.raises(ValueError, match=f"pair 0 cannot be contrasted: .*{why}.*aligned_pairs"):
        Contrast.from_text(
            model, [clean], [corrupted], [" city1"], [foil],
            clean_subjects=["land1"], corrupted_subjects=[subject],
        )  # fmt: skip


def test_an_answer_without_tokens_is_refused():
    empty = SimpleNamespace(tokenizer=lambda text, **_: SimpleNamespace(input_ids=[]))
    with pytest.raises(ValueError, match="answer '' has no tokens"):
        first_token(empty, "")  # pyright: ignore[reportArgumentType]


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


@quick
@given(
    st.lists(st.sampled_from("abcdefg"), min_size=4, max_size=30), st.floats(0.2, 0.8),
    st.integers(0, 9),
)  # fmt: skip
def test_a_split_shares_no_group_and_loses_no_example(groups: list, share: float, seed: int):
    if not 0 < round(share * len(set(groups))) < len(set(groups)):
        with pytest.raises(ValueError, match="leaves one part of"):
            group_split(groups, share=share, seed=seed)
        return
    train, test = group_split(groups, share=share, seed=seed)
    assert sorted(train + test) == list(range(len(groups)))
    assert not {groups[i] for i in train} & {groups[i] for i in test}
    assert group_split(groups, share=share, seed=seed) == (train, test)


def test_another_seed_splits_otherwise():
    groups = [f"g{i}" for i in range(20)]
    assert group_split(groups, seed=0) != group_split(groups, seed=1)
