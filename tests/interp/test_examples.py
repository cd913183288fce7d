"""Examples and contrasts hold what they promise, whatever the lengths, padding and order."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import toy_tokenizers as toys
from hypothesis import given, settings, strategies as st

import interp
from interp.activations import Activations
from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples, first_token, group_split
from interp.models.loading import wrap
from interp.models.model import Model
from interp.sites import Kind, Site

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
    with pytest.raises(ValueError, match="share one token as answer and foil"):
        Contrast.from_text(model, "land1 is", "land2 is", "city1 new", "city1")


def test_both_sides_of_a_pair_have_an_entity_of_their_own(model: Model):
    def groups(**given) -> list[tuple[str, ...]]:
        pair = Contrast.from_text(model, "land1 is", "land2 is", "city1", "city2", **given)
        return [*pair.clean.groups, *pair.corrupted.groups]

    assert groups() == ["land1 is", "land2 is"]
    assert groups(clean_groups="land1", corrupted_groups=["land2"]) == ["land1", "land2"]
    assert groups(groups=["pair"]) == ["pair", "pair"]
    assert groups(groups=["pair"], corrupted_groups=["land2"]) == ["pair", "land2"]


FRAME = [3, 2, 1, 0]
COLUMNS = {
    "a shuffled frame": lambda values: pd.Series(values, index=FRAME),
    "a filtered frame": lambda values: pd.Series(values, index=[5, 7, 9, 11]),
    "an array": lambda values: np.array(values, dtype=object),
    "a tuple": tuple,
    "what can be read once": iter,
}


@pytest.mark.parametrize("how", COLUMNS)
def test_columns_count_by_their_order_and_not_by_their_index(model: Model, how: str):
    column = COLUMNS[how]
    countries = [f"land{i}" for i in range(4)]
    found = Examples.from_text(
        model,
        column([f"{a} and {b} in" for a, b in zip(countries, countries[::-1], strict=True)]),
        subjects=column(countries),
        groups=column(countries[::-1]),
        templates=column(["A", "B", "A", "B"]),
        labels=column([True, False, True, True]),
        suffixes=column([(), (), (5,), ()]),
    )
    words = model.tokenizer.convert_ids_to_tokens
    at = found.position("subject_last")
    assert words([found.tokens[i, at[i]].item() for i in range(4)]) == countries
    assert found.groups == tuple(countries[::-1]) and found.templates == ("A", "B", "A", "B")
    assert found.labels is not None and found.labels.tolist() == [1.0, 0.0, 1.0, 1.0]
    assert found.lengths.tolist() == [4, 4, 5, 4]


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"labels": ["true", "false"]},
            "labels must be numbers, .* 0 and 1; got 'true' in place 0",
        ),
        ({"labels": [1, float("nan")]}, "labels must be numbers.* got nan in place 1"),
        ({"labels": "10"}, "labels must be a list .* got the text '10'"),
        ({"labels": [None, 1]}, "labels must be numbers.* got None"),
        ({"groups": "ab"}, "groups must have one entry per example, 2; got 1"),
        ({"groups": [None, "b"]}, "groups must be texts; got None in place 0"),
        ({"subjects": "land1"}, "subjects must have one entry per example, 2; got 1"),
        ({"subjects": [4, 5]}, "a subject must be a name in its prompt or a character range"),
        ({"templates": ["A"]}, "templates must have one entry per example, 2; got 1"),
        ({"texts": ["land1 in", float("nan")]}, "texts must be texts; got nan in place 1"),
    ],
)
def test_columns_of_another_kind_are_refused_in_one_line(model: Model, given: dict, message: str):
    given = {"texts": ["land1 in", "land2 in"], **given}
    with pytest.raises(ValueError, match=message) as caught:
        Examples.from_text(model, **given)
    assert "\n" not in str(caught.value)


MASKS = {
    "list": list,
    "tensor": torch.tensor,
    "array": np.array,
    "column": lambda values: pd.Series(values, index=range(9, 9 - len(values), -1)),
}


@pytest.mark.parametrize("how", MASKS)
def test_a_truth_value_per_example_is_a_mask(how: str):
    pairs = tiny.contrast(4, 5, 6, 5)
    found = pairs.clean
    states = Activations(Site(Kind.RESID_PRE, 0), torch.arange(8.0).reshape(4, 2), found.groups)
    mask, rows = MASKS[how]([False, False, True, True]), MASKS[how]([3, 2, -1])
    assert found.subset(mask).groups == ("e2", "e3") == pairs.subset(mask).corrupted.groups
    assert states.subset(mask).groups == ("e2", "e3")
    assert states.subset(mask).values.tolist() == [[4, 5], [6, 7]]
    for some in (found.subset(rows), pairs.subset(rows).clean, states.subset(rows)):
        assert some.groups == ("e3", "e2", "e3")
    for wrong, message in (
        ([True, False], "a mask must have one truth value per example, 4; got 2"),
        ([True, False, True, True, True], "a mask must have one truth value per example, 4; got 5"),
        ([0.0, 1.0], "rows must be whole numbers or a mask"),
        ([0, 4], "row 4 does not exist: there are 4 examples, 0..3"),
    ):
        for what in (found, pairs, states):
            with pytest.raises(ValueError, match=message):
                what.subset(MASKS[how](wrong))
    with pytest.raises(ValueError, match="got the text 'all'"):
        found.subset("all")  # pyright: ignore[reportArgumentType]
    assert found.subset(1).groups == ("e1",) and found.subset(range(2)).groups == ("e0", "e1")


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
