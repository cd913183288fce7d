"""Sweeps over sites: held-out correctness of a probe and of its controls, one row per example.

Rows have method ``probe``; condition ``probe``, ``shuffled``, ``control_task``,
``random_features`` or ``surface``; metric the attribute's name; span the position's name; value 1
where the held-out example was classified correctly, else 0; seed the number of the control's draw;
and strength the number of the class the row is scored against (for a control task its random
label), so that a balanced accuracy can be taken from the rows alone. The surface baseline is the
same at every site and repeated there, for comparison row by row.

Of two classes the held-out margins of the probe and of its control tasks are kept in the evidence's
`beside`, rows of method ``margin`` that `probes.scores` reads (AUROC, calibration).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Site
from probes.controls import CONTROLS, permute_over_groups, random_features
from probes.data import Problem, Sites, problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import chosen, decisions
from probes.parallel import each
from probes.rows import Rows, margin_rows
from probes.splits import UNSEEN, Split, check_disjoint, check_sample, group_folds, masked, splits_of

#: Features of one trivial reader, or of several by name.
Surface = Tensor | Mapping[str, Tensor]


def cross_validate(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    controls: Sequence[str] = CONTROLS,
    draws: int = 3,
    surface: Surface | None = None,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Held-out correctness at every site by cross-validation over group-disjoint, stratified folds.

    All sites share folds and control labels. `surface` adds the surface baseline (see
    `bag_of_tokens`; its random features then belong to tokens), or several of them by name (see
    `surface_features`). `draws` repeats every control.

    Raises:
        ValueError: on malformed activations, fewer groups than folds, a class in one group only,
            or an unknown control or estimator.

    Warns:
        SmallSample: if a class has few groups or a small share of the examples.
    """
    known = problem(activations)
    fold = group_folds(known.groups, folds, seed=seed, labels=known.labels)
    check_sample(known)
    return _measure(known, splits_of(fold), named(estimator), controls, draws, surface, attribute, seed)


def sweep(
    train: Mapping[Site, Activations] | Activations | Sequence[Activations],
    test: Mapping[Site, Activations] | Activations | Sequence[Activations],
    *,
    estimator: str | Estimator = "logistic",
    controls: Sequence[str] = CONTROLS,
    draws: int = 5,
    surface: Surface | None = None,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Correctness on the test examples of probes fitted on the training examples, at every site.

    `surface` has the rows of the training examples and then those of the test examples, made by one
    call: features of two calls (token counts, say) number their columns differently.

    Raises:
        ValueError: if train and test share a group or differ in sites, test holds a label unseen in
            training, the activations are malformed, or a control or the estimator is unknown.

    Warns:
        SmallSample: if a class has few training groups or a small share of the training examples.
    """
    fitted = problem(train)
    held = problem(test, classes=fitted.classes)
    check_disjoint(fitted.names, held.names)
    check_sample(fitted)
    joint = problem(joined(fitted, held))
    n = len(fitted.labels)
    split = (np.arange(n), np.arange(n, n + len(held.labels)))
    return _measure(joint, [split], named(estimator), controls, draws, surface, attribute, seed)


def joined(first: Problem, second: Problem) -> list[Activations]:
    """The examples of two problems one after the other, site by site.

    Raises:
        ValueError: if the sites or positions differ.
    """
    a = [(one.site, one.position) for one in first.sites]
    b = [(one.site, one.position) for one in second.sites]
    if a != b:
        raise ValueError(
            f"train and test must hold the same sites in one order, got {len(a)} from {a[0]} and "
            f"{len(b)} from {b[0]}; collect both with the same call"
        )
    out = []
    for one, two in zip(first.sites, second.sites, strict=True):
        labels = torch.cat([_labels(one), _labels(two)])
        values = torch.cat([one.values, two.values])
        groups = (*one.groups, *two.groups)
        out.append(Activations(one.site, values, groups, labels, one.position, two.model))
    return out


def _labels(activations: Activations) -> Tensor:
    assert activations.labels is not None  # held by `problem`
    return activations.labels


def _measure(
    known: Problem,
    splits: list[Split],
    solver: Estimator,
    controls: Sequence[str],
    draws: int,
    surface: Surface | None,
    attribute: str,
    seed: int,
) -> Evidence:
    unknown = sorted(set(controls) - set(CONTROLS))
    if unknown:
        raise ValueError(f"controls must be among {list(CONTROLS)}, got {unknown}")
    trivial = readers(surface, len(known.labels))
    tokens = trivial.get("surface", trivial.get("surface_tokens"))
    generator = np.random.default_rng(seed)
    labels, groups = known.labels, known.groups
    real = np.stack([masked(labels, train) for train, _ in splits])
    tasks = [("probe", 0, labels, real)]
    if "shuffled" in controls:
        shuffles = np.full((draws, *real.shape), UNSEEN)
        for k, (train, _) in enumerate(splits):
            drawn = permute_over_groups(labels[train], groups[train], draws, generator)
            shuffles[:, k, train] = drawn
        tasks += [("shuffled", i, labels, shuffled) for i, shuffled in enumerate(shuffles)]
    if "control_task" in controls:
        for i, task in enumerate(permute_over_groups(labels, groups, draws, generator)):
            drawn = np.stack([masked(task, train) for train, _ in splits])
            tasks.append(("control_task", i, task, drawn))
    trained = np.stack([drawn for *_, drawn in tasks])
    repeats = draws if "random_features" in controls else 0
    seeds = [generator.spawn(repeats) for _ in known.sites]

    def decided(values: Tensor, drawn: np.ndarray) -> np.ndarray:
        return decisions(solver, values, drawn, splits, known.n_classes, groups)

    def guesses(values: Tensor, drawn: np.ndarray) -> np.ndarray:
        return chosen(decided(values, drawn))

    def measured(at: int) -> tuple[np.ndarray, list[np.ndarray]]:
        values = known.sites[at].values
        noises = [random_features(len(labels), values.shape[1], own, tokens) for own in seeds[at]]
        return decided(values, trained), [guesses(noise, real[None])[0] for noise in noises]

    rows = Rows(known, attribute)
    read = {name: guesses(features, real[None])[0] for name, features in trivial.items()}
    held = np.sort(np.concatenate([test for _, test in splits]))
    margins = []
    for one, (score, noise) in zip(known.sites, each(measured, range(len(known.sites))), strict=True):
        for (condition, draw, target, _), own in zip(tasks, score, strict=True):
            rows.add(splits, chosen(own), target, one, condition, draw)
            if known.n_classes == 2 and condition != "shuffled":
                gap = own[:, 1] - own[:, 0]
                margins.append(
                    margin_rows(
                        known,
                        one,
                        attribute,
                        condition,
                        draw,
                        target[held],
                        gap[held],
                        held,
                    )
                )
        for draw, got in enumerate(noise):
            rows.add(splits, got, labels, one, "random_features", draw)
        for name, got in read.items():
            rows.add(splits, got, labels, one, name, 0)
    notes = {"seed": seed, "estimator": solver.name, "folds": len(splits), "draws": draws}
    facts = {f"probe.{attribute}": notes, f"classes.{attribute}": list(known.classes)}
    return replace(rows.evidence(facts), beside=Evidence.concat(margins) if margins else None)


def readers(surface: Surface | None, n: int) -> dict[str, Tensor]:
    """Features of trivial readers by condition: ``surface``, or ``surface_NAME`` of several.

    Raises:
        ValueError: if a reader's features are no finite matrix of n rows.
    """
    if surface is None:
        return {}
    if isinstance(surface, Tensor):
        out = {"surface": surface}
    else:
        out = {f"surface_{name}": features for name, features in surface.items()}
    for name, features in out.items():
        if features.ndim != 2 or len(features) != n:
            raise ValueError(
                f"{name} must be a matrix of one row per example, {n}; got {tuple(features.shape)}"
            )
        if not bool(torch.isfinite(features).all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity; drop or fill those rows")
    return out
