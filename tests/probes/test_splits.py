"""What is read of a row comes from the split that held it out."""

import numpy as np

from probes.splits import held_out, held_out_rows, splits_of


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
