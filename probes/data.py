"""Checked inputs of a probe: activations that share their examples, labels and groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.activations import Activations
from interp.sites import Site

Sites = Activations | Mapping[Site, Activations] | Sequence[Activations]


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
