"""Erasure: affine maps after which a label can no longer be read linearly, and whether that holds.

`leace` takes away the least (in mean squared distance) that makes all class means equal, after which
no linear probe beats the constant answer on those rows. `inlp` takes away the directions of probes
fitted one after the other. Both are fitted on some rows; that the label is gone from others is a
claim about generalisation, which `check_erasure` tests with fresh probes on other entities.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from interp.activations import Activations
from interp.directions import AffineEraser
from interp.evidence import Evidence
from probes.estimators import Estimator, named
from probes.linear import fit, predictions
from probes.problems import group_folds, masked, problem, splits_of
from probes.sweeping import Rows

Eraser = Callable[[Activations], AffineEraser]


def leace(train: Activations) -> AffineEraser:
    """Least-squares concept erasure: P = I − W⁺ U Uᵀ W, U spanning W Σ_xz, W = Σ_xx^(−½).

    Σ_xz is the covariance with the one-hot labels, Σ_xx that of the activations with Ledoit–Wolf
    shrinkage (scikit-learn), so that it is invertible with fewer examples than dimensions; P Σ_xz = 0
    holds whatever the shrinkage. Rank: classes − 1.

    Source: Belrose et al., 2306.03819.

    Raises:
        ValueError: on malformed activations or labels.
    """
    from sklearn.covariance import ledoit_wolf

    known = problem(train)
    values = train.values.detach().double().cpu()
    centre = values.mean(0)
    centred = values - centre
    member = torch.nn.functional.one_hot(known.tensor(), known.n_classes).double()
    cross = centred.T @ (member - member.mean(0)) / len(values)
    covariance, _ = ledoit_wolf(centred.numpy(), assume_centered=True)
    energy, basis = torch.linalg.eigh(torch.from_numpy(covariance))
    held = energy > 1e-10 * energy[-1]
    root = energy[held].sqrt()
    whiten = (basis[:, held] / root).T
    left, size, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
    left = left[:, size > 1e-6 * size[0].clamp(min=1e-30)][:, : known.n_classes - 1]
    return AffineEraser(
        train.site, (basis[:, held] * root) @ left, left.T @ whiten, centre, train.position, "leace"
    )


def inlp(
    train: Activations,
    *,
    estimator: str | Estimator = "logistic",
    rounds: int = 20,
    margin: float = 0.02,
    folds: int = 5,
    seed: int = 0,
) -> AffineEraser:
    """Iterative nullspace projection: project out a probe's directions, fit again, until chance.

    Stops when the probe's balanced accuracy on held-out groups is within `margin` of 1 / classes, or
    after `rounds`. Takes away more than `leace`, along the probes rather than between the means.

    Source: Ravfogel et al., 2004.07667.

    Raises:
        ValueError: on malformed activations, or too few groups to hold any out.
    """
    known = problem(train)
    values = train.values.detach().double().cpu()
    centre = values.mean(0)
    removed = values.new_zeros(values.shape[1], 0)
    for _ in range(rounds):
        rest = values - (values - centre) @ removed @ removed.T
        at = Activations(train.site, rest, train.groups, train.labels, train.position, train.model)
        probe = fit(at, estimator=estimator, folds=folds, seed=seed)
        if probe.score is None:
            raise ValueError(
                f"erasure is checked on held-out groups, got {len(known.names)} groups for {folds} "
                "folds; lower folds or add entities"
            )
        if probe.score <= 1 / known.n_classes + margin:
            break
        added = (probe.weight[1:] - probe.weight[:1]).T
        added = added - removed @ (removed.T @ added)
        removed = torch.cat([removed, torch.linalg.qr(added)[0]], dim=1)
    if not removed.shape[1]:
        raise ValueError("nothing to erase: the first probe is at chance on held-out groups")
    return AffineEraser(train.site, removed, removed.T, centre, train.position, "inlp")


def check_erasure(
    activations: Activations,
    *,
    method: Eraser = leace,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Held-out correctness of fresh probes before and after erasure, one row per example.

    Half of the groups fit the eraser. Conditions: ``intact``, ``erased`` and ``placebo`` (as many
    random directions projected out) are fresh probes cross-validated within the other half, which the
    eraser never saw; ``erased_known`` is a probe fitted on the erased first half and scored on the
    second. ``intact`` is the positive control: where it is at chance, erasure showed nothing.
    ``erased`` stays above chance by the error of the eraser's class means, about Φ(√(d/n)) of its n
    rows in d dimensions: what it left is then too little data, not another encoding. Rows are like
    those of `cross_validate`; read them with `accuracy`.

    Raises:
        ValueError: on malformed activations, or fewer groups than folds in a half.
    """
    known, solver = problem(activations), named(estimator)
    half = group_folds(known.groups, 2, seed=seed, labels=known.labels)
    first, second = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    eraser = method(_rows(activations, first))
    values = activations.values.detach().double().cpu()
    erased = eraser.apply(values)
    fold = np.full(len(values), -1)
    fold[second] = group_folds(known.groups[second], folds, seed=seed, labels=known.labels[second])
    splits = [
        (np.setdiff1d(train, first), test) for train, test in splits_of(fold) if fold[test[0]] >= 0
    ]
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(*eraser.left.shape, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(random)[0]
    placebo = values - (values - eraser.centre) @ basis @ basis.T
    rows = Rows(known, attribute, "erasure")

    def add(condition: str, at: Tensor, parts: list[tuple[np.ndarray, np.ndarray]]) -> None:
        drawn = np.stack([masked(known.labels, train) for train, _ in parts])[None]
        guess = predictions(solver, at, drawn, parts, known.n_classes, known.groups)[0]
        rows.add(parts, guess, known.labels, activations, condition, 0)

    for condition, at in (("intact", values), ("erased", erased), ("placebo", placebo)):
        add(condition, at, splits)
    add("erased_known", erased, [(first, second)])
    notes = {"seed": seed, "estimator": solver.name, "eraser": eraser.origin, "folds": folds}
    notes |= {"rank": eraser.left.shape[1]}
    return rows.evidence({f"erasure.{attribute}": notes, f"classes.{attribute}": list(known.classes)})


def _rows(activations: Activations, index: np.ndarray) -> Activations:
    assert activations.labels is not None  # held by `problem`
    groups = tuple(activations.groups[i] for i in index)
    return Activations(
        activations.site, activations.values[index], groups, activations.labels[index],
        activations.position, activations.model,
    )  # fmt: skip
