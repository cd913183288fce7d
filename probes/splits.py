"""Folds by group, what each draw may see, and when a class is too small.

A group (the entity) is never split between training and test, and is the unit that labels are
permuted over. Everything here looks at labels and groups only; no statistic of the activations is
taken before the split.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from interp.arguments import frames_inside
from probes.data import LabelledSites

#: Below these a class is too small to trust its recall: groups, and examples relative to equal shares.
FEWEST_GROUPS, SMALLEST_SHARE = 5, 0.2

#: Training and held-out rows.
Split = tuple[np.ndarray, np.ndarray]

#: The label of a row that a draw must not be fitted on.
UNSEEN = -1


class SmallSample(UserWarning):
    """A class has so few groups or examples that its recall says little."""


def check_disjoint(train: Sequence[str], test: Sequence[str]) -> None:
    """Refuse a split that shares groups.

    Raises:
        ValueError: naming the groups that are on both sides.
    """
    shared = sorted(set(map(str, train)) & set(map(str, test)))
    if shared:
        shown = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        raise ValueError(
            f"train and test must share no group, got {len(shared)} shared: {shown}; split by group"
        )


def group_folds(
    groups: np.ndarray, folds: int, *, seed: int = 0, labels: np.ndarray | None = None
) -> np.ndarray:
    """The fold 0..folds − 1 of each example; a group is in one fold only.

    With labels the folds are stratified (scikit-learn's StratifiedGroupKFold). Without, groups are
    dealt at random, largest first: such folds are exchangeable under a permutation of labels.

    Raises:
        ValueError: if there are fewer groups than folds or fewer than two folds, or a class occurs
            in one group only.
    """
    n_groups = len(np.unique(groups))
    if folds < 2 or n_groups < folds:
        raise ValueError(
            f"need 2 or more folds and at least as many groups, got {folds} folds and {n_groups} "
            "groups; lower folds or add entities"
        )
    fold = np.empty(len(groups), dtype=np.int64)
    if labels is None:
        generator = np.random.default_rng(seed)
        sizes = np.zeros(folds, dtype=np.int64)
        members = [np.flatnonzero(groups == g) for g in generator.permutation(np.unique(groups))]
        for rows in sorted(members, key=len, reverse=True):
            smallest = int(sizes.argmin())
            fold[rows] = smallest
            sizes[smallest] += len(rows)
        return fold
    for value in np.unique(labels):
        if len(np.unique(groups[labels == value])) < 2:
            raise ValueError(
                f"each class must occur in at least 2 groups, class number {value} occurs in 1; "
                "drop or merge the class"
            )
    largest = int(np.unique(labels, return_counts=True)[1].max())
    if largest < folds:
        raise ValueError(
            f"{folds} folds need a class of {folds} examples, the largest has {largest}; lower "
            "folds or add entities"
        )
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class that some folds lack: `check_sample` names it where it is small, in our own words.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for k, (_, test) in enumerate(splitter.split(labels[:, None], labels, groups)):
            fold[test] = k
    return fold


def check_sample(data: LabelledSites) -> None:
    """Warn where a class has under five groups, or under a fifth of its equal share of the examples.

    Its recall, and with it the balanced accuracy, then hangs on a handful of entities.

    Warns:
        SmallSample: naming the class; attributed to the caller of the public function.
    """
    for k, label in enumerate(data.classes):
        members = data.labels == k
        groups, share = len(np.unique(data.groups[members])), members.mean()
        if groups < FEWEST_GROUPS or share * data.n_classes < SMALLEST_SHARE:
            warnings.warn(
                f"class {label} has {groups} groups and {share:.0%} of the examples; balanced accuracy "
                "will be uncertain: add entities or merge classes",
                SmallSample,
                stacklevel=frames_inside(),
            )


def splits_of(fold: np.ndarray, folds: int | None = None) -> list[Split]:
    """The training and held-out rows of each fold.

    Args:
        fold: number of each example's fold.
        folds: how many there are, where one may be empty; by default those that occur.
    """
    numbers = np.unique(fold) if folds is None else range(folds)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in numbers]


def held_out_rows(splits: Sequence[Split]) -> np.ndarray:
    """The rows that any of the splits holds out, in ascending order."""
    return np.sort(np.concatenate([test for _, test in splits]))


def held_out(
    splits: Sequence[Split], n: int, read: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
    """What is read of each example by the split that held it out; NaN where none did.

    Args:
        splits: training and held-out rows.
        n: number of examples.
        read: gives one value or array per row, from the number of a split and its held-out rows.
    """
    parts = [(test, read(k, test)) for k, (_, test) in enumerate(splits)]
    values = np.full((n, *parts[0][1].shape[1:]), np.nan)
    for rows, part in parts:
        values[rows] = part
    return values


def masked(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The labels with every row outside `rows` marked unseen."""
    kept = np.full_like(labels, UNSEEN)
    kept[..., rows] = labels[..., rows]
    return kept


def balance(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Row weights n / (C · n_c): the weighted mean of correctness is the balanced accuracy."""
    count = np.bincount(labels, minlength=n_classes)
    return len(labels) / ((count > 0).sum() * count[labels])
