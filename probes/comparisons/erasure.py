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
from probes.data import LabelledSites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.choosing import check_count
from probes.estimators.class_means import MassMean
from probes.estimators.named import named
from probes.linear import predictions
from probes.rows import Rows, provenance
from probes.splits import (
    Split,
    balance,
    check_sample,
    group_folds,
    held_out_rows,
    masked,
    splits_of,
)

#: Makes an eraser from training activations.
Eraser = Callable[[Activations], AffineEraser]

_PLACEBOS = 3


def leace(train: Activations) -> AffineEraser:
    """Least-squares concept erasure: P = I − W⁺ U Uᵀ W, U spanning W Σ_xz, W = Σ_xx^(−½).

    Σ_xz is the covariance with the one-hot labels, Σ_xx that of the activations with Ledoit–Wolf
    shrinkage (scikit-learn), so that it is invertible with fewer examples than dimensions; P Σ_xz = 0
    holds whatever the shrinkage. No linear probe beats the constant answer on the rows it was fitted
    on; what is left on other rows `check_erasure` says.

    Args:
        train: labelled activations [example, d].

    Returns:
        An affine map of rank classes − 1 with `apply`, `subspace` and `matrix`.

    Raises:
        ValueError: on malformed activations or labels.

    Source: Belrose et al., 2306.03819.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> site = interp.boundary(6, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> eraser = probes.leace(states)
        >>> erased = eraser.apply(states.values.double())
        >>> means = [erased[states.labels == label].mean(0) for label in (0, 1)]
        >>> tuple(eraser.left.shape), bool((means[0] - means[1]).abs().max() < 1e-4)
        ((64, 1), True)
    """
    from sklearn.covariance import ledoit_wolf

    data = labelled_sites(train)
    values = train.values.detach().double().cpu()
    centre = values.mean(0)
    centred = values - centre
    member = torch.nn.functional.one_hot(data.tensor(), data.n_classes).double()
    cross = centred.T @ (member - member.mean(0)) / len(values)
    covariance, _ = ledoit_wolf(centred.numpy(), assume_centered=True)
    energy, basis = torch.linalg.eigh(torch.from_numpy(covariance))
    kept = energy > 1e-10 * energy[-1]
    root = energy[kept].sqrt()
    whiten = (basis[:, kept] / root).T
    left, size, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
    left = left[:, size > 1e-6 * size[0].clamp(min=1e-30)][:, : data.n_classes - 1]
    return AffineEraser(
        train.site, (basis[:, kept] * root) @ left, left.T @ whiten, centre, train.position, "leace"
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

    Args:
        train: labelled activations [example, d].
        estimator: a name in `ESTIMATORS`, or an estimator.
        rounds: the largest number of rounds.
        margin: distance from 1 / classes that counts as chance.
        folds: number of folds that the number of rounds is found on.
        seed: of the folds.

    Returns:
        An affine map, an orthogonal projection about the mean, with `apply` and `subspace`.

    Raises:
        ValueError: on malformed activations, too few groups to hold any out, or if the first probe is
            at chance.

    Source: Ravfogel et al., 2004.07667.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> site = interp.boundary(6, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> eraser = probes.inlp(states, estimator="mass_mean", rounds=2)
        >>> 1 <= eraser.subspace().basis.shape[1] <= 2
        True
    """
    check_count(rounds, "rounds")
    data, solver = labelled_sites(train), named(estimator)
    if len(data.group_names) < folds:
        raise ValueError(
            f"erasure is checked on held-out groups, got {len(data.group_names)} groups for {folds} "
            "folds; lower folds or add entities"
        )
    values = train.values.detach().double().cpu()
    centre = values.mean(0)
    values = values - centre
    splits = splits_of(group_folds(data.groups, folds, seed=seed, labels=data.labels))
    # One run of projections without each part, and one on all rows, which is the one returned.
    runs = [masked(data.labels, rows) for rows, _ in splits] + [data.labels]
    bases = [values.new_zeros(values.shape[1], 0) for _ in runs]
    for _ in range(rounds):
        weights, guesses = [], []
        for labels, basis in zip(runs, bases, strict=True):
            weight, guess = _probe_without(values, basis, labels, data, solver)
            weights.append(weight)
            guesses.append(guess)
        correct = np.zeros(len(values))
        for guess, (_, test) in zip(guesses[:-1], splits, strict=True):
            correct[test] = guess[test] == data.labels[test]
        score = float((correct * balance(data.labels, data.n_classes)).mean())
        if score <= 1 / data.n_classes + margin:
            break
        bases = [_widened(*both) for both in zip(bases, weights, strict=True)]
    basis = bases[-1]
    if not basis.shape[1]:
        raise ValueError("nothing to erase: the first probe is at chance on held-out groups")
    return AffineEraser(train.site, basis, basis.T, centre, train.position, "inlp")


def _probe_without(
    values: Float[Tensor, "example d"],
    basis: Float[Tensor, "d rank"],
    labels: np.ndarray,
    data: LabelledSites,
    solver: Estimator,
) -> tuple[Float[Tensor, "class d"], np.ndarray]:
    """Weights of a probe without these directions, and the class numbers it predicts of all rows."""
    rest = values - values @ basis @ basis.T
    weight, bias = solver.solve(rest, torch.from_numpy(labels)[None], data.n_classes, data.groups)
    return weight[0], (rest @ weight[0].T + bias[0]).argmax(1).numpy()


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
    seed: int = 0,
) -> Evidence:
    """Held-out correctness of fresh probes before and after erasure, one row per example.

    Half of the groups fit the erasers. ``intact`` is the positive control: where it is at chance,
    erasure showed nothing. ``placebo`` pools three erasers of the same rank that project out class
    means of labels permuted over groups: where it falls too, losing any so many of the directions in
    which the activations vary does the damage; a low rank in many dimensions seldom does. ``erased``
    stays above chance by the error of the eraser's class means, for `leace` about Φ(√(d/n)) of its n
    rows in d dimensions: what it left is then too little data, not another encoding.

    Args:
        activations: labelled activations [example, d].
        method: makes the eraser from training activations, as `leace` and `inlp` do.
        estimator: a name in `ESTIMATORS`, or an estimator, of the fresh probes.
        folds: number of folds within the second half of the groups.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the halves, the folds and the placebos.

    Returns:
        Evidence of method ``erasure``, unit accuracy (1 or 0). Conditions ``intact``, ``erased`` and
        ``placebo``, fresh probes cross-validated within the half that no eraser saw, and
        ``erased_known``, a probe fitted on the erased first half and scored on the second. Columns
        that vary: condition, example, group, label (class number), draw (of the placebo). Read with
        `balanced_accuracy`.

    Raises:
        ValueError: on malformed activations, or fewer groups than folds in a half.

    Warns:
        SmallSample: if a class has very few groups or examples.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> site = interp.boundary(6, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> checked = probes.check_erasure(states, estimator="mass_mean")
        >>> checked.table.groupby("condition", observed=True).size().to_dict()
        {'erased': 64, 'erased_known': 64, 'intact': 64, 'placebo': 192}
    """
    data, solver = labelled_sites(activations), named(estimator)
    check_sample(data)
    half = group_folds(data.groups, 2, seed=seed, labels=data.labels)
    first, second = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    train = activations.subset(torch.from_numpy(first))
    eraser = method(train)
    rank = eraser.left.shape[1]
    values = activations.values.detach().double().cpu()
    erased = eraser.apply(values)
    fold = np.full(len(values), -1)
    fold[second] = group_folds(data.groups[second], folds, seed=seed, labels=data.labels[second])
    splits = [(np.setdiff1d(rows, first), test) for rows, test in splits_of(fold, folds)]
    rows = Rows(data.example_groups, method="erasure", metric=attribute, unit="accuracy")

    def add(condition: str, shown: Tensor, parts: list[Split], draw: int | None = None) -> None:
        trained = np.stack([masked(data.labels, training) for training, _ in parts])[None]
        guess = predictions(solver, shown, trained, parts, data.n_classes, data.groups)[0]
        rows.add_correct(
            guess, data.labels, activations.columns(), condition,
            examples=held_out_rows(parts), draw=draw,
        )  # fmt: skip

    add("intact", values, splits)
    add("erased", erased, splits)
    for draw in range(_PLACEBOS):
        placebo = _placebo(train, rank, seed + draw)
        add("placebo", placebo.apply(values), splits, draw)
    add("erased_known", erased, [(first, second)])
    notes = {"seed": seed, "estimator": solver.name, "eraser": eraser.origin, "folds": folds}
    notes |= {"rank": rank, "placebos": _PLACEBOS}
    return rows.evidence(provenance(f"erasure.{attribute}", notes, (attribute, data.classes)))


def _placebo(train: Activations, rank: int, seed: int) -> AffineEraser:
    """Projects out class means of control tasks, of as many draws as the rank takes.

    Random directions would be too weak: among hundreds they miss those in which the activations vary.
    """
    data = labelled_sites(train)
    draws = -(-rank // (data.n_classes - 1))
    tasks = permute_over_groups(data.labels, data.groups, draws, np.random.default_rng(seed))
    values = train.values.detach().double().cpu()
    weights, _ = MassMean().solve(values, torch.from_numpy(tasks), data.n_classes)
    basis = values.new_zeros(values.shape[1], 0)
    for weight in weights:
        basis = _widened(basis, weight)
    basis = basis[:, :rank]
    return AffineEraser(train.site, basis, basis.T, values.mean(0), train.position, "control_task")
