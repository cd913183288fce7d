"""Strengths, counts and words that estimators are made with."""

import numpy as np
import pytest
import torch

from probes.estimators.choosing import check_choice, check_count, normalised
from probes.estimators.class_means import PCAMeans
from probes.estimators.logistic import Logistic
from probes.estimators.ridge import Ridge, RidgeClassifier
from probes.estimators.sparse import KSparse

STRONG = (Logistic, RidgeClassifier, Ridge, KSparse)
ARRAYS = ([0.1, 1.0], (0.1, 1.0), np.array([0.1, 1.0]), torch.tensor([0.1, 1.0], dtype=torch.float64))


def strength_name(reader: type) -> str:
    """What the reader calls its strength."""
    return "c" if reader in (Logistic, KSparse) else "alpha"


@pytest.mark.parametrize("reader", STRONG)
def test_strengths_come_as_a_number_or_any_sequence(reader: type) -> None:
    for given in ARRAYS:
        assert reader(**{strength_name(reader): given}) == reader(**{strength_name(reader): (0.1, 1.0)})
    kept = getattr(reader(**{strength_name(reader): np.array(2.0)}), strength_name(reader))
    assert kept == 2.0 and isinstance(kept, float)
    for given, message in ((-3.0, "positive, got -3.0"), (np.array([1, np.nan]), "finite, got")):
        with pytest.raises(ValueError, match=f"{strength_name(reader)}: strengths must be {message}"):
            reader(**{strength_name(reader): given})


# Past the shape checks of the tests, which refuse words and booleans before we can.
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.0, "must be positive, got 0.0;"),
        (np.array([0.1, -1.0]), r"must be positive, got \[0.1, -1.0\];"),
        (np.nan, "must be finite, got nan;"),
        ([1.0, np.inf], r"must be finite, got \[1.0, inf\];"),
        ("strong", "must be numbers, one or a flat sequence, got 'strong';"),
        ({1.0, 2.0}, "must be numbers"),
        (True, "must be numbers"),
        (None, "must be numbers"),
        ([], r"must be numbers, one or a flat sequence, got \[\];"),
        (np.ones((2, 2)), "must be numbers"),
    ],
)
def test_bad_strengths_are_one_line(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"c: strengths {message}") as error:
        normalised(given, "c")
    assert "\n" not in str(error.value)
    assert normalised(range(1, 3), "c") == (1.0, 2.0) and normalised(np.float32(2), "c") == 2.0


def test_bad_options_are_one_line() -> None:
    cases = [
        (
            lambda: check_choice("jax", "backend", ("torch",)),
            r"backend must be one of \['torch'\], got 'j",
        ),
        (lambda: check_count(2.5, "components"), "components must be at least 1, got 2.5"),
        (lambda: PCAMeans(components=0), "components must be at least 1, got 0"),
        (lambda: KSparse(k=-1), "k must be at least 1, got -1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
