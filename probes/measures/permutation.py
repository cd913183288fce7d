"""The permutation null of a whole sweep, in closed form.

A mass-mean probe depends on the activations only through their Gram matrix: with K = X Xᵀ, A the
indicator of a class divided by its size and μ = Aᵀ X, the score of x_i is K_i A − ½ Aᵀ K A. All
label draws are columns of one matrix product per fold and site. Subtracting the mean of all
examples first is no leak: the difference of two squared distances to class means does not change
under a shift, it only keeps the arithmetic accurate.
"""

from __future__ import annotations

from functools import partial
from statistics import NormalDist

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._aliases import alias, formerly
from interp.evidence import Evidence
from interp.runs.run import series
from interp.stats.testing import benjamini_hochberg, holm, max_statistic_p
from probes.controls import permute_over_groups
from probes.data import LabelledSites, Sites, labelled_sites
from probes.measures.accuracy import PLACE, by_place
from probes.parallel import there
from probes.rows import Rows, provenance
from probes.splits import group_folds

#: The accuracy a single feature carries when a direction is planted.
PLANTED_ACCURACY = 0.75


@formerly(draws="permutations")
def permutation_null(
    activations: Sites,
    *,
    permutations: int = 999,
    planted: int = 20,
    folds: int = 5,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Balanced accuracy of cross-validated mass-mean probes: observed, permuted, and planted.

    Folds are dealt without regard to labels and so are exchangeable under the permutation. A large
    p value does not say that nothing is encoded: see whether the plant was recovered.

    Args:
        activations: labelled activations [example, d] of one site or several.
        permutations: number of permutations of the labels over groups.
        planted: number of planted directions of each kind.
        folds: number of folds; a group is never split between them.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the folds, the permutations and the plants.

    Returns:
        Evidence of method ``readable``, unit accuracy, without example or group. Conditions
        ``observed`` (the real labels); ``permutation`` (labels permuted over groups, the same draw at
        every site, so that a maximum over sites is a valid statistic); ``planted`` (labels permuted
        over groups and a random direction u added to the activations, h + y·δ·u with δ = 2 Φ⁻¹(.75)
        sd(h·u), so that the feature alone is classified with accuracy .75; the value is balanced
        accuracy − ½: what the test would see if that much were there); ``planted_varying`` (the same
        with u drawn with the activations' own covariance: a feature as loud as what the model writes
        there, the easier case). With more than two classes the plant separates about half the classes
        from the rest. Columns that vary: condition, model, kind, layer, head, span, draw (of the
        permutation or the plant).

    Raises:
        ValueError: on malformed activations, or fewer groups than folds.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::3])
        >>> null = probes.permutation_null(states, permutations=19, planted=1)
        >>> null.table.groupby("condition", observed=True).size().to_dict()
        {'observed': 3, 'permutation': 57, 'planted': 3, 'planted_varying': 3}
    """
    data = labelled_sites(activations)
    generator = np.random.default_rng(seed)
    fold = group_folds(data.groups, folds, seed=seed)
    permuted = permute_over_groups(data.labels, data.groups, permutations, generator)
    labels = torch.from_numpy(np.concatenate([data.labels[None], permuted]))
    halves = _two_classes(data)
    tasks = torch.from_numpy(permute_over_groups(halves, data.groups, planted, generator))
    conditions = ["observed"] + ["permutation"] * permutations
    conditions += ["planted"] * planted + ["planted_varying"] * planted
    draws = [None, *range(permutations), *range(planted), *range(planted)]
    rows = Rows(data.example_groups, method="readable", metric=attribute, unit="accuracy")
    sizes = [(width, planted) for site in data.sites for width in (site.values.shape[1], len(data))]
    drawn = [torch.from_numpy(generator.standard_normal(size)) for size in sizes]

    def read(number: int) -> Tensor:
        values = data.sites[number].values.detach().double().cpu()
        values = values - values.mean(0)
        gram = values @ values.T
        quiet, loud = drawn[2 * number : 2 * number + 2]
        plants = torch.cat([quiet, values.T @ loud], dim=1)
        observed = balanced_accuracies(gram, labels, fold, data.n_classes)
        return torch.cat([observed, *_planted_scores(values, gram, plants, tasks, fold)])

    kept = series("permutations", ("probes",), read)
    reads = [kept.unit(number, partial(read, number)) for number in range(len(data.sites))]
    for site, scores in there(data.sites, reads):
        rows.add(scores.numpy(), site.columns(), conditions, draw=draws)
    notes = {"draws": permutations, "planted": planted, "folds": folds, "seed": seed}
    return rows.evidence(provenance(f"readable.{attribute}", notes, (attribute, data.classes)))


def adjust_p_values(evidence: Evidence) -> pd.DataFrame:
    """The p values of `permutation_null`, adjusted for the number of places.

    p = (1 + #{draws ≥ observed}) / (1 + draws), one-sided. All attributes in the evidence count as
    tests. A large p does not say that nothing is encoded.

    Args:
        evidence: made by `permutation_null`.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, estimate (the observed
        balanced accuracy), p, p_holm, p_bh (Benjamini–Hochberg) and p_max, which compares with the
        largest statistic over places of each draw and, unlike Holm, can be small with many places and
        few draws.

    Raises:
        ValueError: if there are no permutation rows, or places differ in their draws.

    Source: Westfall & Young 1993 (p_max).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::3])
        >>> null = probes.permutation_null(states, permutations=19, planted=1)
        >>> table = probes.adjust_p_values(null)
        >>> table["layer"].tolist(), bool((table["p_max"] >= table["p"]).all())
        ([0, 3, 5], True)
    """
    rows = evidence.rows(method="readable")
    permuted = rows[rows["condition"] == "permutation"]
    real = rows[rows["condition"] == "observed"]
    if not len(permuted) or not len(real):
        raise ValueError("no permutation rows to compare with; call permutation_null first")
    places = list(by_place(permuted))
    null = [part.sort_values("draw")["value"].to_numpy(dtype=float) for _, part in places]
    if len({len(draws) for draws in null}) > 1:
        raise ValueError("places must share their draws, got different numbers; use one call")
    observed = np.array([part["value"].iloc[0] for _, part in by_place(real)], dtype=float)
    table = pd.DataFrame([key for key, _ in places], columns=pd.Index(PLACE))
    matrix = np.stack(null, 1)
    p = (1 + (matrix >= observed).sum(0)) / (1 + len(matrix))
    return table.assign(
        estimate=observed, p=p, p_holm=holm(p), p_bh=benjamini_hochberg(p),
        p_max=max_statistic_p(observed, matrix),
    )  # fmt: skip


corrected = alias(adjust_p_values, "corrected")


def _planted_scores(
    values: Float[Tensor, "example d"],
    gram: Float[Tensor, "example example"],
    plants: Float[Tensor, "d planted"],
    tasks: Int[Tensor, "plant example"],
    fold: np.ndarray,
) -> list[Tensor]:
    """Balanced accuracy − ½ with each plant: random directions, then those that vary as the values."""
    scores = []
    for i, direction in enumerate(plants.T):
        task = tasks[i % len(tasks)]
        changed = planted_gram(gram, values @ (direction / direction.norm()), task)
        scores.append(balanced_accuracies(changed, task[None], fold, 2) - 0.5)
    return scores


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


def _two_classes(data: LabelledSites) -> np.ndarray:
    """Labels 0/1 with about half of the examples each, made of whole classes."""
    count = np.bincount(data.labels, minlength=data.n_classes)
    if data.n_classes == 2:
        return data.labels
    size, chosen = 0, []
    for c in np.argsort(-count):
        if size + count[c] <= len(data) / 2 or not chosen:
            chosen.append(c)
            size += count[c]
    return np.isin(data.labels, chosen).astype(np.int64)
