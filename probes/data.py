"""Checked inputs of a probe: activations that share their examples, labels and groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.activations import Activations
from interp.activations.rows import joined_rows
from interp.activations.values import activations_of
from interp.sites import Site
from probes.blocks import blocks

Sites = Activations | Mapping[Site, Activations] | Sequence[Activations]

#: The value of a label, as it was given.
Label = int | float | bool


@dataclass(frozen=True)
class LabelledSites:
    """Several sites of the same examples, with the labels and groups that they share.

    Attributes:
        sites: the activations of each site.
        labels: number of each example's class, an index into `classes`.
        classes: the label values as they were given, in ascending order.
        groups: number of each example's group, an index into `group_names`.
        group_names: names of the groups (entities), sorted.
    """

    sites: tuple[Activations, ...]
    labels: np.ndarray
    classes: tuple[Label, ...]
    groups: np.ndarray
    group_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def example_groups(self) -> np.ndarray:
        """Name of each example's group."""
        return np.array(self.group_names, dtype=object)[self.groups]

    @property
    def places(self) -> list[tuple[Site, str]]:
        """Site and position of each of the sites."""
        return [(activations.site, activations.position) for activations in self.sites]

    def tensor(self) -> Int[Tensor, " example"]:
        """The labels as a tensor."""
        return torch.from_numpy(np.asarray(self.labels))


def sites_of(activations: Sites) -> tuple[Activations, ...]:
    """One or many sites as a tuple.

    Raises:
        ValueError: for anything but activations.
    """
    if isinstance(activations, Activations):
        return (activations,)
    several = tuple(activations.values() if isinstance(activations, Mapping) else activations)
    for one in several:
        if not isinstance(one, Activations):
            shape = f" of shape {list(one.shape)}" if isinstance(one, Tensor) else ""
            raise ValueError(
                f"activations got a {type(one).__name__}{shape}; expected Activations, as "
                "interp.collect gives them, or interp.Activations(site, values, groups, labels)"
            )
    return several


def labelled_sites(activations: Sites, *, classes: Iterable[Label] | None = None) -> LabelledSites:
    """Check the activations of one or many sites and index their labels and groups.

    Args:
        activations: one site, several, or a mapping of them.
        classes: the label values that may occur; by default those that do.

    Raises:
        ValueError: if labels are missing, of another length, not finite or of one class; if values
            are not finite or not two-dimensional; or if the sites do not share their examples.
    """
    sites = sites_of(activations)
    if not sites:
        raise ValueError("a probe needs the activations of at least one site, got none")
    labels = _checked_labels(sites[0])
    for site in sites:
        _check_site(site, sites[0], labels)
    values = labels.tolist()
    allowed = sorted(set(values)) if classes is None else sorted(classes)
    if len(allowed) < 2:
        raise ValueError(f"a probe needs at least two classes, got {allowed}; check the labels")
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        raise ValueError(f"test labels {unknown} do not occur in training; trained on {allowed}")
    number = {value: i for i, value in enumerate(allowed)}
    names, groups = np.unique([str(name) for name in sites[0].groups], return_inverse=True)
    coded = np.array([number[value] for value in values], dtype=np.int64)
    return LabelledSites(sites, coded, tuple(allowed), groups, tuple(names.tolist()))


def joined(first: LabelledSites, second: LabelledSites) -> list[Activations]:
    """The examples of the first and then those of the second, site by site.

    Raises:
        ValueError: if the sites or positions differ.
    """
    if first.places != second.places:
        raise ValueError(
            f"train and test must hold the same sites in one order, got {len(first.places)} from "
            f"{first.places[0]} and {len(second.places)} from {second.places[0]}; collect both with "
            "the same call"
        )
    both = []
    for head, tail in zip(first.sites, second.sites, strict=True):
        assert head.labels is not None and tail.labels is not None  # held by `labelled_sites`
        labels, rows = torch.cat([head.labels, tail.labels]), joined_rows(head.rows, tail.rows)
        groups = (*head.groups, *tail.groups)
        both.append(activations_of(rows, head.site, groups, labels, head.position, tail.model))
    return both


def _checked_labels(activations: Activations) -> Tensor:
    """The labels of the first site, on the CPU."""
    if activations.labels is None:
        raise ValueError("a probe needs labels, got Activations without; collect labelled examples")
    labels, n = activations.labels.detach().cpu(), len(activations.groups)
    if labels.shape != (n,):
        raise ValueError(
            f"labels must have shape ({n},), one per group entry; got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() and not torch.isfinite(labels).all():
        raise ValueError("labels must be finite, got NaN or infinity; drop those examples")
    return labels


def _check_site(activations: Activations, first: Activations, labels: Tensor) -> None:
    """Refuse a site of another shape, of other examples, or with numbers that are not finite."""
    n = len(labels)
    if len(activations.shape) != 2 or len(activations) != n:
        raise ValueError(
            f"values at {activations.site} must have shape ({n}, d), one row per group entry; "
            f"got {activations.shape}"
        )
    same = activations.labels is not None and torch.equal(activations.labels.detach().cpu(), labels)
    if tuple(activations.groups) != tuple(first.groups) or not same:
        raise ValueError(
            f"all sites must hold the same examples; {activations.site} differs from {first.site} in "
            "its groups or labels; collect them in one call"
        )
    if not all(bool(torch.isfinite(part).all()) for _, part in blocks(activations.rows)):
        raise ValueError(
            f"activations at {activations.site} hold NaN or infinity; check the model's weights"
        )
