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
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from interp.directions import AffineEraser
from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import problem
from probes.estimators.base import Estimator
from probes.estimators.choosing import check_count
from probes.estimators.class_means import MassMean
from probes.estimators.named import named
from probes.linear import predictions
from probes.rows import Rows
from probes.splits import balance, check_sample, group_folds, masked, splits_of

Eraser = Callable[[Activations], AffineEraser]

_PLACEBOS = 3


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

    How many rounds it takes is found on held-out groups: each of `folds` parts in turn is kept out of
    every round, of its directions and of the probe that is scored on the part. The first number of
    rounds after which these probes' balanced accuracy is within `margin` of 1 / classes, or `rounds`,
    is then run on all rows. Takes away more than `leace`, along the probes rather than between the
    means.

    It does not promise chance to other readers. At chance are probes fitted on as many rows: what n
    rows in d dimensions no longer resolve stays, and a probe with more rows of other entities reads
    it. Little stays where n is many times d; where d ≥ n expect fresh probes well above chance (with
    five directions of 2.5 standard deviations each: .70 to .73 at n = 200, d = 600, where `leace`
    leaves .92; .54 to .57 at n = 2,000, d = 64). `check_erasure` says how much.

    Source: Ravfogel et al., 2004.07667.

    Raises:
        ValueError: on malformed activations, too few groups to hold any out, or if the first probe is
            at chance.
    """
    check_count(rounds, "rounds")
    known, solver = problem(train), named(estimator)
    if len(known.names) < folds:
        raise ValueError(
            f"erasure is checked on held-out groups, got {len(known.names)} groups for {folds} "
            "folds; lower folds or add entities"
        )
    values = train.values.detach().double().cpu()
    centre = values.mean(0)
    values = values - centre
    splits = splits_of(group_folds(known.groups, folds, seed=seed, labels=known.labels))
    # One run of projections without each part, and one on all rows, which is the one returned.
    seen = [masked(known.labels, rows) for rows, _ in splits] + [known.labels]
    removed = [values.new_zeros(values.shape[1], 0) for _ in seen]
    for _ in range(rounds):
        weights, guesses = [], []
        for labels, gone in zip(seen, removed, strict=True):
            rest = values - values @ gone @ gone.T
            weight, bias = solver.solve(
                rest, torch.from_numpy(labels)[None], known.n_classes, known.groups
            )
            weights.append(weight[0])
            guesses.append((rest @ weight[0].T + bias[0]).argmax(1).numpy())
        right = np.zeros(len(values))
        for guess, (_, test) in zip(guesses[:-1], splits, strict=True):
            right[test] = guess[test] == known.labels[test]
        score = float((right * balance(known.labels, known.n_classes)).mean())
        if score <= 1 / known.n_classes + margin:
            break
        removed = [_widened(*both) for both in zip(removed, weights, strict=True)]
    found = removed[-1]
    if not found.shape[1]:
        raise ValueError("nothing to erase: the first probe is at chance on held-out groups")
    return AffineEraser(train.site, found, found.T, centre, train.position, "inlp")


def _widened(basis: Float[Tensor, "d rank"], weight: Float[Tensor, "class d"]) -> Tensor:
    """An orthonormal basis of this span and the differences between the class weights."""
    added = (weight[1:] - weight[:1]).T
    size = added.norm(dim=0).amax()
    added = added - basis @ (basis.T @ added)
    left, energy, _ = torch.linalg.svd(added, full_matrices=False)
    return torch.cat([basis, left[:, energy > 1e-6 * size]], dim=1)


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

    Half of the groups fit the erasers. Conditions: ``intact``, ``erased`` and ``placebo`` are fresh
    probes cross-validated within the other half, which no eraser saw; ``erased_known`` is a probe
    fitted on the erased first half and scored on the second. ``intact`` is the positive control: where
    it is at chance, erasure showed nothing. ``placebo`` pools three erasers of the same rank that
    project out class means of labels permuted over groups: where it falls too, losing any so many of
    the directions in which the activations vary does the damage; a low rank in many dimensions seldom
    does. ``erased`` stays above chance by the error of the eraser's class means, for `leace` about
    Φ(√(d/n)) of its n rows in d dimensions: what it left is then too little data, not another
    encoding. Rows are like those of `cross_validate`; read them with `accuracy`.

    Raises:
        ValueError: on malformed activations, or fewer groups than folds in a half.

    Warns:
        SmallSample: if a class has very few groups or examples.
    """
    known, solver = problem(activations), named(estimator)
    check_sample(known)
    half = group_folds(known.groups, 2, seed=seed, labels=known.labels)
    first, second = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    train = _rows(activations, first)
    eraser = method(train)
    rank = eraser.left.shape[1]
    values = activations.values.detach().double().cpu()
    erased = eraser.apply(values)
    fold = np.full(len(values), -1)
    fold[second] = group_folds(known.groups[second], folds, seed=seed, labels=known.labels[second])
    splits = [(np.setdiff1d(rows, first), test) for rows, test in splits_of(fold) if fold[test[0]] >= 0]
    rows = Rows(known, attribute, "erasure")

    def add(
        condition: str, at: Tensor, parts: list[tuple[np.ndarray, np.ndarray]], draw: int = 0
    ) -> None:
        drawn = np.stack([masked(known.labels, seen) for seen, _ in parts])[None]
        guess = predictions(solver, at, drawn, parts, known.n_classes, known.groups)[0]
        rows.add(parts, guess, known.labels, activations, condition, draw)

    add("intact", values, splits)
    add("erased", erased, splits)
    for draw in range(_PLACEBOS):
        placebo = _placebo(train, rank, seed + draw)
        add("placebo", placebo.apply(values), splits, draw)
    add("erased_known", erased, [(first, second)])
    notes = {"seed": seed, "estimator": solver.name, "eraser": eraser.origin, "folds": folds}
    notes |= {"rank": rank, "placebos": _PLACEBOS}
    return rows.evidence({f"erasure.{attribute}": notes, f"classes.{attribute}": list(known.classes)})


def _placebo(train: Activations, rank: int, seed: int) -> AffineEraser:
    """Projects out class means of control tasks, of as many draws as the rank takes.

    Random directions would be too weak: among hundreds they miss those in which the activations vary.
    """
    known = problem(train)
    draws = -(-rank // (known.n_classes - 1))
    tasks = permute_over_groups(known.labels, known.groups, draws, np.random.default_rng(seed))
    values = train.values.detach().double().cpu()
    weight, _ = MassMean().solve(values, torch.from_numpy(tasks), known.n_classes)
    basis = values.new_zeros(values.shape[1], 0)
    for one in weight:
        basis = _widened(basis, one)
    basis = basis[:, :rank]
    return AffineEraser(train.site, basis, basis.T, values.mean(0), train.position, "control_task")


def _rows(activations: Activations, index: np.ndarray) -> Activations:
    assert activations.labels is not None  # held by `problem`
    groups = tuple(activations.groups[i] for i in index)
    return Activations(
        activations.site, activations.values[index], groups, activations.labels[index],
        activations.position, activations.model,
    )  # fmt: skip
