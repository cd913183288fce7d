"""Examples hold what they promise, whatever the lengths, padding and order."""

import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st

from interp.columns import group_split
from interp.examples import Examples
from interp.models.model import Model

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


def test_a_span_over_padding_is_refused():
    good = tiny.examples(tiny.token_rows(3, 5), subject=[(1, 3), (1, 3)])
    for bad in ([[2, 4], [1, 3]], [[2, 2], [1, 3]]):
        with pytest.raises(ValueError, match="span 'subject' must hold at least one real token"):
            Examples(
                good.tokens, good.mask, good.texts, good.groups,
                {**good.spans, "subject": torch.tensor(bad)}, good.templates,
            )  # fmt: skip


def test_a_place_at_a_subject_that_was_not_declared_says_how_to_declare_it(model: Model):
    bare, named = Examples.from_text(model, "land1 is"), ask(model, ["land1"])
    how = r"subjects= to Examples.from_text, clean_subjects= and corrupted_subjects= to Contrast"
    for name in ("subject", "subject_first", "subject_last"):
        with pytest.raises(ValueError, match=f"no position '{name}' .no subject was declared.*{how}"):
            bare.position(name)
    with pytest.raises(ValueError, match=f"no span 'subject'.*{how}"):
        bare.span_mask("subject")
    with pytest.raises(ValueError) as refused:  # the control: it was declared
        named.position("subject")
    assert "declared" not in str(refused.value)


def test_unknown_positions_and_spans_are_refused(model: Model):
    found = ask(model, ["land1"])
    for name in ("first", "object_last", "subject_middle"):
        with pytest.raises(ValueError, match=f"no position '{name}'; expected 'last' or one of"):
            found.position(name)
    with pytest.raises(ValueError, match="no span 'object'"):
        found.span_mask("object")


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


@quick
@given(lengths, sides)
def test_the_columns_of_a_batch_are_those_of_its_real_tokens(counts: list[int], pad: str):
    examples = tiny.examples(tiny.token_rows(*counts), pad=pad)
    for rows in examples.by_length():
        columns = examples.columns(rows)
        assert columns.shape == (len(rows), int(examples.lengths[rows[0]]))
        for row, real in zip(rows.tolist(), columns, strict=True):
            assert real.tolist() == examples.mask[row].nonzero()[:, 0].tolist()
            assert int(examples.starts[row]) == int(real[0])
    if len(set(counts)) > 1:
        with pytest.raises(ValueError, match="columns are of examples of one length, got lengths"):
            examples.columns(torch.arange(len(counts)))


@pytest.mark.parametrize("pad", ["left", "right"])
def test_one_token_of_each_example_is_named_numbered_or_given(pad: str):
    examples = tiny.examples(tiny.token_rows(4, 6), subject=[(1, 3), (2, 4)], pad=pad)

    def counted(column: torch.Tensor) -> list[int]:
        return (column - examples.starts).tolist()

    assert counted(examples.columns_at("subject_last")) == [2, 3]
    assert counted(examples.columns_at(1)) == [1, 1] and counted(examples.columns_at(-1)) == [3, 5]
    last = examples.position("last")
    assert torch.equal(examples.columns_at(last), last)
    assert torch.equal(examples.columns_at(last.tolist()), last)
    for wrong, message in (
        (4, "the shortest prompt has 4 tokens"),
        ("subject", "no position 'subject'; expected 'last' or one of"),
        ([0], r"one index per example, shape \(2,\)"),
        ([9, 9], "column of a real token"),
    ):
        with pytest.raises(ValueError, match=message):
            examples.columns_at(wrong)
