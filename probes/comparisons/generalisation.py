"""Generalisation: a probe trained on one data set, tested on the others, at every site.

A probe that reads truth reads it of cities and of negated cities alike; one that reads plausible
pairs of words does not. Diagonal entries are cross-validated over group-disjoint folds. Where two sets
share groups (a city and its negation, two templates of one entity), the probe for a held-out group is
fitted without that group as well, so no entry profits from an entity it was trained on.

Two readings of each entry. ``probe``: as it was trained. ``recentred``: after the difference of the two
sets' means is taken away, estimated on the rows outside the held-out fold and without labels. A probe
whose direction carries over and whose cut does not is at chance in the first and not in the second:
sets that differ in wording differ in level.

An entry at chance off the diagonal says that this probe does not carry over, not that the other set
holds no such information: its own diagonal entry says that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp._aliases import formerly
from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Site
from probes.data import LabelledSites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import held_out_scores
from probes.measures.accuracy import balanced_accuracy
from probes.parallel import there, units
from probes.rows import Rows, provenance
from probes.splits import check_sample, group_folds, masked, splits_of

#: Activations of each set, by its name.
Sets = Mapping[str, Activations | Mapping[Site, Activations]]


def generalisation(
    sets: Sets,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Held-out correctness of probes trained on each set and tested on each, one row per example.

    Groups of all sets are dealt into folds together: fold k of every test set is read by the probe of
    the training set without fold k. `generalisation_matrix` reads the rows.

    Args:
        sets: by name, labelled activations [example, d] of one site or of the same sites.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds; a group is never split between them, nor between the sets.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the folds.

    Returns:
        Evidence of method ``generalisation``, unit accuracy (1 or 0). Conditions ``probe`` and
        ``recentred`` (after the difference of the two sets' means is taken away). Columns that vary:
        condition, model, kind, layer, head, span, train_set, test_set, example and group (of the test
        set), label (class number).

    Raises:
        ValueError: with fewer than two sets, sets of other sites or classes, malformed activations,
            or too few groups.

    Warns:
        SmallSample: if a class of a set has few groups or a small share of the examples.

    Source: Marks & Tegmark, 2310.06824 (truth carried from one set to another).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> site, sets = interp.boundary(6, 6), {}
        >>> for form in (0, 1):
        ...     examples = interp.Examples.from_text(
        ...         model, facts.prompts(form), groups=facts.groups, labels=south
        ...     )
        ...     sets[f"form {form}"] = interp.collect(model, examples, site)[site]
        >>> read = probes.generalisation(sets)
        >>> read.table.groupby(["train_set", "test_set"], observed=True).size().tolist()
        [256, 256, 256, 256]
    """
    if len(sets) < 2:
        raise ValueError(f"a matrix needs at least two sets, got {list(sets)}; add another set")
    solver = named(estimator)
    labelled = {name: labelled_sites(activations) for name, activations in sets.items()}
    first = next(iter(labelled.values()))
    for name, data in labelled.items():
        if data.places != first.places or data.classes != first.classes:
            raise ValueError(
                f"all sets must hold the same sites and classes; {name!r} has {len(data.sites)} sites "
                f"and classes {list(data.classes)}, expected {len(first.places)} and "
                f"{list(first.classes)}"
            )
        check_sample(data)
    fold_of = _joint_folds(labelled, folds, seed)
    read = partial(_read_site, labelled, fold_of, folds, solver)
    rows = {
        name: Rows(data.example_groups, method="generalisation", metric=attribute, unit="accuracy")
        for name, data in labelled.items()
    }
    numbers = range(len(first.places))
    for number, guesses in there(numbers, units("generalisation", read, numbers)):
        for source, target, condition, guess in guesses:
            data = labelled[target]
            rows[target].add_correct(
                guess, data.labels, data.sites[number].columns(), condition,
                examples=np.arange(len(data)), train_set=source, test_set=target,
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "sets": list(sets)}
    origin = provenance(f"generalisation.{attribute}", notes, (attribute, first.classes))
    return Evidence.concat([part.evidence(origin) for part in rows.values()])


@formerly(draws="resamples")
def generalisation_matrix(
    evidence: Evidence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy per place, trained on and tested on, with BCa intervals over groups.

    For one model, place and condition `.pivot(index="train", columns="test", values="estimate")` is
    the matrix. An entry at chance off the diagonal says that this probe does not carry over, not that
    the other set holds no such information: its own diagonal entry says that.

    Args:
        evidence: made by `generalisation`.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, kind, layer, head, span, condition, train, test, estimate, low,
        high, groups and examples.

    Raises:
        ValueError: if there are no rows of method ``generalisation``.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> site, sets = interp.boundary(6, 6), {}
        >>> for form in (0, 1):
        ...     examples = interp.Examples.from_text(
        ...         model, facts.prompts(form), groups=facts.groups, labels=south
        ...     )
        ...     sets[f"form {form}"] = interp.collect(model, examples, site)[site]
        >>> table = probes.generalisation_matrix(probes.generalisation(sets), resamples=50)
        >>> plain = table[table["condition"] == "probe"]
        >>> plain.pivot(index="train", columns="test", values="groups").to_numpy().tolist()
        [[128, 128], [128, 128]]
    """
    rows = evidence.needed("probes.generalisation", method="generalisation")
    table = balanced_accuracy(
        Evidence(rows, evidence.provenance), level=level, resamples=resamples, seed=seed
    )
    names = {"train_set": "train", "test_set": "test"}
    columns = ["model", "kind", "layer", "head", "span", "condition", "train", "test"]
    return table.rename(columns=names)[[*columns, "estimate", "low", "high", "groups", "examples"]]


def _read_site(
    labelled: Mapping[str, LabelledSites],
    fold_of: Mapping[str, np.ndarray],
    folds: int,
    solver: Estimator,
    number: int,
) -> list[tuple[str, str, str, np.ndarray]]:
    """Training set, test set, condition, and the class numbers predicted at one site."""
    guesses = []
    for source, data in labelled.items():
        values, fold = data.sites[number].values, fold_of[source]
        trained = np.stack([masked(data.labels, rows) for rows, _ in splits_of(fold, folds)])
        labels = torch.from_numpy(trained).to(values.device)
        weight, bias = solver.solve(values, labels, data.n_classes, data.groups)
        means = _means(values, fold, folds)
        for target, other in labelled.items():
            tested, target_fold = other.sites[number].values, fold_of[target]
            shift = _means(tested, target_fold, folds) - means
            level = torch.einsum("kcd,kd->kc", weight, shift.to(weight))
            splits = splits_of(target_fold, folds)
            for condition, cut in (("probe", bias), ("recentred", bias - level)):
                scores = held_out_scores((weight, cut), tested, splits)
                guesses.append((source, target, condition, scores.argmax(1)))
    return guesses


def _joint_folds(labelled: Mapping[str, LabelledSites], folds: int, seed: int) -> dict[str, np.ndarray]:
    """Folds dealt over the groups of all sets together, classes spread within the joint set."""
    names = np.concatenate([data.example_groups for data in labelled.values()])
    code = np.unique(names.astype(str), return_inverse=True)[1]
    labels = np.concatenate([data.labels for data in labelled.values()])
    joint = group_folds(code, folds, seed=seed, labels=labels)
    fold_of, start = {}, 0
    for name, data in labelled.items():
        fold_of[name] = joint[start : start + len(data)]
        start += len(data)
        for k in range(folds):
            classes = np.unique(data.labels[fold_of[name] != k])
            if len(classes) < data.n_classes:
                raise ValueError(
                    f"{name!r} has a class in too few groups to hold fold {k} out; lower folds or add "
                    "entities"
                )
    return fold_of


def _means(values: Float[Tensor, "example d"], fold: np.ndarray, folds: int) -> Float[Tensor, "fold d"]:
    """The mean of the rows outside each fold."""
    outside = [torch.from_numpy(rows) for rows, _ in splits_of(fold, folds)]
    return torch.stack([values[rows].double().mean(0) for rows in outside])
