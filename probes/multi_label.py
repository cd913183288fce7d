"""Several labels of the same examples, which need not exclude each other: one probe for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from interp.activations import Activations
from interp.evidence import Evidence
from probes.controls import CONTROLS
from probes.cross_validation import Surface, cross_validate
from probes.data import Sites, sites_of
from probes.estimators.base import Estimator
from probes.linear import LinearProbe, fit

Labels = Mapping[str, Sequence[int] | Shaped[Tensor, " example"]]


def fit_labels(
    train: Activations,
    labels: Labels,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int = 0,
) -> dict[str, LinearProbe]:
    """One probe for each label, by name.

    Raises:
        ValueError: if a label has another length or one class, or the activations are malformed.
    """
    return {
        name: fit(_labelled(train, name, given), estimator=estimator, folds=folds, seed=seed)
        for name, given in labels.items()
    }


def cross_validate_labels(
    activations: Sites,
    labels: Labels,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    controls: Sequence[str] = CONTROLS,
    draws: int = 3,
    surface: Surface | None = None,
    seed: int,
) -> Evidence:
    """`cross_validate` of each label with its controls; the label's name is the metric of its rows.

    Raises:
        ValueError: no labels, or as `cross_validate`, or a label of another length.
    """
    if not labels:
        raise ValueError("give at least one label by name, got none; {'name': [0, 1, ...]}")
    return Evidence.concat(
        [
            cross_validate(
                [_labelled(one, name, given) for one in sites_of(activations)], estimator=estimator,
                folds=folds, controls=controls, draws=draws, surface=surface, attribute=name,
                seed=seed,
            )
            for name, given in labels.items()
        ]
    )  # fmt: skip


def _labelled(
    activations: Activations, name: str, given: Sequence[int] | Shaped[Tensor, " example"]
) -> Activations:
    column = torch.as_tensor(given)
    if column.shape != (len(activations),):
        raise ValueError(
            f"label {name!r} must have one entry per example, ({len(activations)},); "
            f"got {tuple(column.shape)}"
        )
    return replace(activations, labels=column)
