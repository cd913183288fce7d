"""Several labels of the same examples, which need not exclude each other: one probe for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from interp._aliases import formerly
from interp.activations import Activations
from interp.evidence import Evidence
from probes.controls import CONTROLS, Surface
from probes.cross_validation import cross_validate
from probes.data import Sites, sites_of
from probes.estimators.base import Estimator
from probes.linear import LinearProbe, fit

#: One column of labels per name.
Labels = Mapping[str, Sequence[int | float | bool] | Shaped[Tensor, " example"]]


def fit_labels(
    train: Activations,
    labels: Labels,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int = 0,
) -> dict[str, LinearProbe]:
    """One probe for each label, by name.

    Args:
        train: activations [example, d]; their own labels are not read.
        labels: by name, the labels of the same examples (numbers or bools).
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds for the scores.
        seed: of the folds.

    Returns:
        Probes by the names of the labels.

    Raises:
        ValueError: if a label has another length or one class, or the activations are malformed.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_text(model, facts.prompts(0), groups=facts.groups)
        >>> site = interp.boundary(6, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> labels = {
        ...     "region": [region == "south" for region in facts.attribute("region")],
        ...     "initial": [initial == "odd" for initial in facts.attribute("initial")],
        ... }
        >>> {name: probe.classes for name, probe in probes.fit_labels(states, labels).items()}
        {'region': (False, True), 'initial': (False, True)}
    """
    return {
        name: fit(_labelled(train, name, column), estimator=estimator, folds=folds, seed=seed)
        for name, column in labels.items()
    }


@formerly(draws="repeats")
def cross_validate_labels(
    activations: Sites,
    labels: Labels,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    controls: Sequence[str] = CONTROLS,
    repeats: int = 3,
    surface: Surface | None = None,
    seed: int = 0,
) -> Evidence:
    """`cross_validate` of each label with its controls; the label's name is the metric of its rows.

    Args:
        activations: activations [example, d] of one site or several; their labels are not read.
        labels: by name, the labels of the same examples (numbers or bools).
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds; a group is never split between them.
        controls: any of "shuffled", "control_task" and "random_features".
        repeats: number of draws of each control.
        surface: features of a trivial reader, or of several by name.
        seed: of the folds and of the controls.

    Returns:
        Evidence as `cross_validate` gives it, which varies in metric too.

    Raises:
        ValueError: no labels, or as `cross_validate`, or a label of another length.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_text(model, facts.prompts(0), groups=facts.groups)
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> labels = {
        ...     "region": [region == "south" for region in facts.attribute("region")],
        ...     "initial": [initial == "odd" for initial in facts.attribute("initial")],
        ... }
        >>> read = probes.cross_validate_labels(states, labels, controls=[])
        >>> read.table.groupby("metric", observed=True).size().to_dict()
        {'region': 128, 'initial': 128}
    """
    if not labels:
        raise ValueError("give at least one label by name, got none; {'name': [0, 1, ...]}")
    return Evidence.concat(
        [
            cross_validate(
                [_labelled(site, name, column) for site in sites_of(activations)],
                estimator=estimator, folds=folds, controls=controls, repeats=repeats,
                surface=surface, attribute=name, seed=seed,
            )
            for name, column in labels.items()
        ]
    )  # fmt: skip


def _labelled(
    activations: Activations,
    name: str,
    labels: Sequence[int | float | bool] | Shaped[Tensor, " example"],
) -> Activations:
    """The activations with other labels."""
    column = torch.as_tensor(labels)
    if column.shape != (len(activations),):
        raise ValueError(
            f"label {name!r} must have one entry per example, ({len(activations)},); "
            f"got {tuple(column.shape)}"
        )
    return activations.with_labels(column)
