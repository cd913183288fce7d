"""The permutation null of a whole sweep, in closed form.

A mass-mean probe depends on the activations only through their Gram matrix: with K = X Xᵀ, A the
indicator of a class divided by its size and μ = Aᵀ X, the score of x_i is K_i A − ½ Aᵀ K A. All
label draws are columns of one matrix product per fold and site. Subtracting the mean of all
examples first is no leak: the difference of two squared distances to class means does not change
under a shift, it only keeps the arithmetic accurate.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import Problem, Sites, problem
from probes.splits import group_folds

#: The accuracy a single feature carries when a direction is planted.
PLANTED_ACCURACY = 0.75


def permutation_null(
    activations: Sites,
    *,
    draws: int = 999,
    planted: int = 20,
    folds: int = 5,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Balanced accuracy of cross-validated mass-mean probes: observed, permuted, and planted.

    Conditions: ``observed`` (the real labels), ``permutation`` (seed = the draw; labels permuted
    over groups, the same draw at every site, so that a maximum over sites is a valid statistic),
    ``planted`` (seed = the plant; labels permuted over groups and a random direction u added to
    the activations, h + y·δ·u with δ = 2 Φ⁻¹(.75) sd(h·u), so that the feature alone is classified
    with accuracy .75; the value is balanced accuracy − ½: what the test would see if that much were
    there), ``planted_varying`` (the same with u drawn with the activations' own covariance: a
    feature as loud as what the model writes there, the easier case). With more than two classes
    the plant separates about half the classes from the rest. Folds are dealt without regard to
    labels and so are exchangeable under the permutation. Rows have method ``readable``, no example
    and no group; unit accuracy.

    A large p-value does not say that nothing is encoded: see whether the plant was recovered.

    Raises:
        ValueError: on malformed activations, or fewer groups than folds.
    """
    known = problem(activations)
    generator = np.random.default_rng(seed)
    fold = group_folds(known.groups, folds, seed=seed)
    drawn = permute_over_groups(known.labels, known.groups, draws, generator)
    labels = torch.from_numpy(np.concatenate([known.labels[None], drawn]))
    halves = _two_classes(known)
    fake = torch.from_numpy(permute_over_groups(halves, known.groups, planted, generator))
    names = ["observed"] + ["permutation"] * draws
    names += ["planted"] * planted + ["planted_varying"] * planted
    tables = []
    for one in known.sites:
        values = one.values.detach().double().cpu()
        values = values - values.mean(0)
        gram = values @ values.T
        scores = [balanced_accuracies(gram, labels, fold, known.n_classes)]
        quiet = torch.from_numpy(generator.standard_normal((values.shape[1], planted)))
        loud = values.T @ torch.from_numpy(generator.standard_normal((len(values), planted)))
        for i, plant in enumerate(torch.cat([quiet, loud], dim=1).T):
            task = fake[i % planted]
            changed = planted_gram(gram, values @ (plant / plant.norm()), task)
            scores.append(balanced_accuracies(changed, task[None], fold, 2) - 0.5)
        tables.append(
            pd.DataFrame(
                {
                    "value": torch.cat(scores).numpy(),
                    "condition": names,
                    "seed": [0, *range(draws), *range(planted), *range(planted)],
                    "model": one.model,
                    "kind": str(one.site.kind),
                    "layer": one.site.layer,
                    "head": one.site.head,
                    "span": one.position,
                }
            ).astype(object)
        )
    table = pd.concat(tables, ignore_index=True)
    columns = {str(c): table[c].to_numpy() for c in table.columns if c != "value"}
    notes = {"draws": draws, "planted": planted, "folds": folds, "seed": seed}
    return Evidence.build(
        table["value"].to_numpy(dtype=np.float32),
        provenance={f"readable.{attribute}": notes, f"classes.{attribute}": list(known.classes)},
        method="readable", metric=attribute, unit="accuracy", **columns,
    )  # fmt: skip


def balanced_accuracies(
    gram: Float[Tensor, "example example"],
    labels: Int[Tensor, "draw example"],
    fold: np.ndarray,
    n_classes: int,
) -> Float[Tensor, " draw"]:
    """Balanced accuracy of each draw's nearest-class-mean probe, predictions pooled over folds."""
    member = torch.nn.functional.one_hot(labels.T, n_classes).to(gram)  # example, draw, class
    n, draws, _ = member.shape
    right = torch.zeros(n, draws, dtype=gram.dtype)
    for k in np.unique(fold):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        count = member[train].sum(0)
        share = (member[train] / count.clamp(min=1)).reshape(len(train), -1)
        inner = (gram[train][:, train] @ share).mul_(share).sum(0).reshape(draws, n_classes)
        scores = (gram[test][:, train] @ share).reshape(-1, draws, n_classes)
        scores = scores.sub_(0.5 * inner).masked_fill_(count == 0, -torch.inf)
        right[test] = (scores.argmax(-1) == labels.T[test]).to(gram)
    size = member.sum(0)
    recall = torch.einsum("ed,edc->dc", right, member) / size.clamp(min=1)
    return recall.sum(-1) / (size > 0).sum(-1)


def planted_gram(
    gram: Float[Tensor, "example example"],
    along: Float[Tensor, " example"],
    labels: Int[Tensor, " example"],
) -> Float[Tensor, "example example"]:
    """The Gram matrix after adding y·δ·u to the activations, from their projections on u.

    δ = 2 Φ⁻¹(.75) sd(h·u): two Gaussians so far apart are told apart with accuracy .75.
    """
    step = 2 * NormalDist().inv_cdf(PLANTED_ACCURACY) * along.std(correction=0)
    shift = step * labels.to(gram)
    return gram + shift.outer(along) + along.outer(shift) + shift.outer(shift)


def _two_classes(known: Problem) -> np.ndarray:
    """Labels 0/1 with about half of the examples each, made of whole classes."""
    count = np.bincount(known.labels, minlength=known.n_classes)
    if known.n_classes == 2:
        return known.labels
    half, chosen = 0, []
    for c in np.argsort(-count):
        if half + count[c] <= len(known.labels) / 2 or not chosen:
            chosen.append(c)
            half += count[c]
    return np.isin(known.labels, chosen).astype(np.int64)
