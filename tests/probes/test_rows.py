"""The writer of rows: one row per value, each column where it belongs."""

import numpy as np
import pytest
import torch

from interp.activations import Activations
from interp.sites import Kind, Site
from probes.rows import Rows, provenance

READ = Activations(
    Site(Kind.Z, 2, head=1), torch.zeros(3, 4), ("a", "b", "b"), None, "subject_last", "tuned"
)


def test_blocks_with_different_columns_become_one_table():
    rows = Rows(READ.groups, method="probe", metric="truth", unit="accuracy")
    label, guess = np.array([0, 1, 1]), np.array([0, 0, 1])
    rows.add_correct(guess, label, READ.columns(), "probe", examples=np.array([0, 2]))
    rows.add_correct(guess, label, READ.columns(), "shuffled", examples=np.array([1]), draw=4)
    rows.add(np.array([0.5]), READ.columns(), ["cosine"], draw=[None], unit="cosine", method="other")
    notes = provenance("probe.truth", {"seed": 0}, ("truth", (False, True)))
    evidence = rows.evidence(notes)
    table = evidence.table
    assert table["value"].tolist() == [1.0, 1.0, 0.0, 0.5]
    assert table["group"].astype(object).where(table["group"].notna(), None).tolist() == [
        "a", "b", "b", None,
    ]  # fmt: skip
    assert table["label"].fillna(-1).tolist() == [0, 1, 1, -1]
    assert table["draw"].fillna(-1).tolist() == [-1, -1, 4, -1]
    assert table["method"].tolist() == ["probe"] * 3 + ["other"]
    assert table["unit"].tolist() == ["accuracy"] * 3 + ["cosine"]
    for name, value in READ.columns().items():
        assert set(table[name]) == {value}, name
    assert evidence.provenance == {"probe.truth": {"seed": 0}, "classes.truth": [False, True]}


def test_a_column_of_another_length_is_refused():
    rows = Rows(READ.groups, method="probe", metric="truth", unit="accuracy")
    rows.add(np.zeros(3), READ.columns(), "probe", label=np.zeros(2))
    with pytest.raises(ValueError, match="one entry per value, 3; got 2"):
        rows.evidence()


def test_no_rows_are_an_empty_table():
    assert len(Rows((), method="margin", metric="truth", unit="margin").evidence()) == 0
