"""Columns count by their order, masks choose rows, and other kinds are refused in one line."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from interp.activations import Activations
from interp.examples import Examples
from interp.models.model import Model
from interp.sites import Kind, Site


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return tiny_model("llama")


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
        column([f"{a} of {b} in" for a, b in zip(countries, countries[::-1], strict=True)]),
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
