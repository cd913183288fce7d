"""Malformed input: one line that says what was got, what was expected and what to do."""

from typing import Any

import pytest
import torch
from probe_toys import READERS, sample

from interp.activations import Activations

GROUPED = (
    "cross_validate",
    "held_out_margins",
    "learning_curve",
    "description_length",
    "permutation_null",
)


def spoilt(change: dict[str, Any]) -> Activations:
    """Well-formed activations changed afterwards, past the checks on construction."""
    out = sample()
    for name, value in change.items():
        object.__setattr__(out, name, value)
    return out


def with_nan(values: torch.Tensor) -> torch.Tensor:
    """One number of them missing."""
    out = values.clone()
    out[3, 2] = torch.nan
    return out


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "a probe needs labels, got Activations without; collect labelled"),
        ({"labels": torch.ones(24)}, r"at least two classes, got \[1.0\]; check the labels"),
        ({"labels": torch.full((24,), torch.nan)}, "labels must be finite, got NaN or infinity; drop"),
        ({"labels": torch.ones(24, 2)}, r"labels must have shape \(24,\).*got \(24, 2\)"),
        ({"values": with_nan(sample().values)}, "hold NaN or infinity; check the model's weights"),
        ({"values": torch.zeros(24, 3, 5)}, r"must have shape \(24, d\).*got \(24, 3, 5\)"),
    ],
)
def test_every_reader_refuses_what_is_malformed(reader: str, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        READERS[reader](spoilt(change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", GROUPED)
def test_fewer_groups_than_folds_are_refused(reader: str) -> None:
    few = sample(groups=tuple(f"g{i // 8}" for i in range(24)))
    with pytest.raises(ValueError, match="got 5 folds and 3 groups|at least 6 groups, got 3") as error:
        READERS[reader](few)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "reader", ["cross_validate", "held_out_margins", "learning_curve", "inlp", "check_erasure"]
)
# The class is also too small to trust, which `check_erasure` says first.
@pytest.mark.filterwarnings("ignore::probes.SmallSample")
def test_a_class_of_one_group_is_refused(reader: str) -> None:
    lonely = sample(labels=(torch.arange(24) == 7).long())
    with pytest.raises(
        ValueError, match="at least 2 groups, class number 1 occurs in 1; drop or merge"
    ):
        READERS[reader](lonely)


def test_no_reader_refuses_well_formed_input() -> None:
    # The control of the refusals above; what readers give is tested elsewhere.
    strong = sample(n=80)
    assert strong.labels is not None
    strong.values[:, 0] += 8.0 * strong.labels
    for name, reader in READERS.items():
        assert reader(strong) is not None, name
