"""What is read of a row comes from the split that held it out."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from probes.splits import group_folds, held_out, held_out_rows, splits_of


def test_each_row_is_read_by_its_own_fold_and_rows_of_none_stay_empty():
    fold = np.array([1, 0, -1, 1])
    splits = splits_of(fold, 2)
    assert held_out_rows(splits).tolist() == [0, 1, 3]
    read = held_out(splits, 4, lambda k, rows: 10.0 * k + rows)
    assert read[[0, 1, 3]].tolist() == [10.0, 1.0, 13.0] and np.isnan(read[2])
    wide = held_out(splits, 4, lambda k, rows: np.stack([rows, rows + k], 1))
    assert wide.shape == (4, 2) and wide[3].tolist() == [3.0, 4.0]
    other = held_out(splits[::-1], 4, lambda k, rows: 10.0 * k + rows)
    assert other[0] == 0.0 != read[0], "the control: another order of splits reads otherwise"


def test_a_fold_without_rows_counts_where_the_number_of_folds_is_given():
    fold = np.array([0, 2])
    assert len(splits_of(fold)) == 2 and len(splits_of(fold, 3)) == 3
    assert splits_of(fold, 3)[1][1].tolist() == []


def test_a_class_smaller_than_the_folds_is_dealt_without_a_warning_of_another_library():
    labels, groups = np.array([0] * 12 + [1] * 3), np.array([f"g{i}" for i in range(15)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = group_folds(groups, 5, labels=labels)
    assert sorted(np.bincount(fold)) == [3] * 5 and len(set(fold[labels == 1])) == 3
    with pytest.warns(UserWarning, match="least populated class"):  # the control: it would be told
        list(StratifiedGroupKFold(5).split(labels[:, None], labels, groups))
