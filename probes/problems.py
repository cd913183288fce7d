"""Checked inputs of a probe: activations that share their examples, classes, and folds by group.

A group (the entity) is never split between training and test, and is the unit that labels are
permuted over. Everything here looks at labels and groups only; no statistic of the activations is
taken before the split.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import Activations
from interp.sites import Site

Sites = Activations | Mapping[Site, Activations] | Sequence[Activations]

#: Weights and biases per draw of labels and class, in raw activation coordinates.
Solution = tuple[Float[Tensor, "draw class d"], Float[Tensor, "draw class"]]

#: Below these a class is too small to trust its recall: groups, and examples relative to equal shares.
FEWEST_GROUPS, SMALLEST_SHARE = 5, 0.2

#: Training and held-out rows.
Split = tuple[np.ndarray, np.ndarray]

#: The label of a row that a draw must not be fitted on.
UNSEEN = -1


class SmallSample(UserWarning):
    """A class has so few groups or examples that its recall says little."""


@dataclass(frozen=True)
class Problem:
    """The labels and groups that several sites share.

    `labels` index into `classes` (the label values as they were given); `groups` index entities.
    """

    sites: tuple[Activations, ...]
    labels: np.ndarray
    classes: tuple[int | float | bool, ...]
    groups: np.ndarray
    names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def tensor(self, labels: np.ndarray | None = None) -> Int[Tensor, " example"]:
        """The labels (or other labels of the same examples) as a tensor."""
        return torch.from_numpy(np.asarray(self.labels if labels is None else labels))


def sites_of(activations: Sites) -> tuple[Activations, ...]:
    """One or many sites as a tuple."""
    if isinstance(activations, Activations):
        return (activations,)
    return tuple(activations.values() if isinstance(activations, Mapping) else activations)


def problem(activations: Sites, *, classes: Iterable[int | float | bool] | None = None) -> Problem:
    """Check the activations of one or many sites and index their labels and groups.

    Raises:
        ValueError: if labels are missing, of another length, not finite or of one class; if values
            are not finite or not two-dimensional; or if the sites do not share their examples.
    """
    sites = sites_of(activations)
    if not sites:
        raise ValueError("a probe needs the activations of at least one site, got none")
    first = sites[0]
    if first.labels is None:
        raise ValueError("a probe needs labels, got Activations without; collect labelled examples")
    labels, n = first.labels.detach().cpu(), len(first.groups)
    if labels.shape != (n,):
        raise ValueError(
            f"labels must have shape ({n},), one per group entry; got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() and not torch.isfinite(labels).all():
        raise ValueError("labels must be finite, got NaN or infinity; drop those examples")
    for one in sites:
        if one.values.ndim != 2 or len(one.values) != n:
            raise ValueError(
                f"values at {one.site} must have shape ({n}, d), one row per group entry; "
                f"got {tuple(one.values.shape)}"
            )
        if tuple(one.groups) != tuple(first.groups) or not _same(one.labels, labels):
            raise ValueError(
                f"all sites must hold the same examples; {one.site} differs from {first.site} in "
                "its groups or labels; collect them in one call"
            )
        if not torch.isfinite(one.values).all():
            raise ValueError(
                f"activations at {one.site} hold NaN or infinity; check the model's weights"
            )
    known = sorted(set(labels.tolist())) if classes is None else sorted(classes)
    if len(known) < 2:
        raise ValueError(f"a probe needs at least two classes, got {known}; check the labels")
    unknown = sorted(set(labels.tolist()) - set(known))
    if unknown:
        raise ValueError(f"test labels {unknown} do not occur in training; trained on {known}")
    index = {value: i for i, value in enumerate(known)}
    names, groups = np.unique([str(name) for name in first.groups], return_inverse=True)
    coded = np.array([index[value] for value in labels.tolist()], dtype=np.int64)
    return Problem(sites, coded, tuple(known), groups, tuple(names.tolist()))


def _same(labels: Tensor | None, expected: Tensor) -> bool:
    return labels is not None and torch.equal(labels.detach().cpu(), expected)


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
    groups: np.ndarray, folds: int, *, seed: int, labels: np.ndarray | None = None
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
        for where in sorted(members, key=len, reverse=True):
            chosen = int(sizes.argmin())
            fold[where] = chosen
            sizes[chosen] += len(where)
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
    for k, (_, test) in enumerate(splitter.split(labels[:, None], labels, groups)):
        fold[test] = k
    return fold


def check_sample(known: Problem) -> None:
    """Warn where a class has under five groups, or under a fifth of its equal share of the examples.

    Its recall, and with it the balanced accuracy, then hangs on a handful of entities.

    Warns:
        SmallSample: naming the class; attributed to the caller of the public function.
    """
    for k, name in enumerate(known.classes):
        mine = known.labels == k
        groups, share = len(np.unique(known.groups[mine])), mine.mean()
        if groups < FEWEST_GROUPS or share * known.n_classes < SMALLEST_SHARE:
            warnings.warn(
                f"class {name} has {groups} groups and {share:.0%} of the examples; balanced accuracy "
                "will be uncertain: add entities or merge classes",
                SmallSample,
                stacklevel=3,
            )


def splits_of(fold: np.ndarray) -> list[Split]:
    """The training and held-out rows of each fold."""
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]


def masked(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The labels with every row outside `rows` marked unseen."""
    out = np.full_like(labels, UNSEEN)
    out[..., rows] = labels[..., rows]
    return out


def balance(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Row weights n / (C · n_c): the weighted mean of correctness is the balanced accuracy."""
    count = np.bincount(labels, minlength=n_classes)
    return len(labels) / ((count > 0).sum() * count[labels])
