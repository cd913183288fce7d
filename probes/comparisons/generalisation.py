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

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Site
from probes.data import Problem, problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.measures.accuracy import accuracy
from probes.parallel import each
from probes.rows import Rows
from probes.splits import check_sample, group_folds, masked

Sets = Mapping[str, Activations | Mapping[Site, Activations]]


def generalisation(
    sets: Sets,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Held-out correctness of probes trained on each set and tested on each, one row per example.

    Method ``generalisation``; donor the set trained on, template the set tested on, condition
    ``probe`` or ``recentred``; strength the class. Groups of all sets are dealt into folds together:
    fold k of every test set is read by the probe of the training set without fold k. Read with
    `generalisation_matrix`.

    Raises:
        ValueError: with fewer than two sets, sets of other sites or classes, malformed activations,
            or too few groups.

    Warns:
        SmallSample: if a class of a set has few groups or a small share of the examples.
    """
    if len(sets) < 2:
        raise ValueError(f"a matrix needs at least two sets, got {list(sets)}; add another set")
    solver = named(estimator)
    known = {name: problem(one) for name, one in sets.items()}
    first = next(iter(known.values()))
    places = [(one.site, one.position) for one in first.sites]
    for name, one in known.items():
        if [(a.site, a.position) for a in one.sites] != places or one.classes != first.classes:
            raise ValueError(
                f"all sets must hold the same sites and classes; {name!r} has {len(one.sites)} sites "
                f"and classes {list(one.classes)}, expected {len(places)} and {list(first.classes)}"
            )
        check_sample(one)
    folded = _joint_folds(known, folds, seed)

    def read(at: int) -> dict[tuple[str, str, str], np.ndarray]:
        out = {}
        for source, one in known.items():
            values, fold = one.sites[at].values, folded[source]
            drawn = np.stack([masked(one.labels, np.flatnonzero(fold != k)) for k in range(folds)])
            weight, bias = solver.solve(
                values, torch.from_numpy(drawn).to(values.device), one.n_classes, one.groups
            )
            own = _means(values, fold, folds)
            for target, other in known.items():
                there, apart = other.sites[at].values, folded[target]
                shift = _means(there, apart, folds) - own
                level = torch.einsum("kcd,kd->kc", weight, shift.to(weight))
                out[source, target, "probe"] = _by_fold(there, weight, bias, apart)
                out[source, target, "recentred"] = _by_fold(there, weight, bias - level, apart)
        return out

    rows = {target: Rows(one, attribute, "generalisation") for target, one in known.items()}
    for at, found in enumerate(each(read, range(len(places)))):
        for (source, target, condition), guess in found.items():
            one = known[target]
            everyone = np.arange(len(one.labels))
            rows[target].add(
                [(everyone, everyone)], guess, one.labels, one.sites[at], condition, 0,
                donor=source, template=target,
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "sets": list(sets)}
    facts = {f"generalisation.{attribute}": notes, f"classes.{attribute}": list(first.classes)}
    return Evidence.concat([r.evidence(facts) for r in rows.values()])


def generalisation_matrix(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy per place, trained on and tested on, with BCa intervals over groups.

    Columns model, kind, layer, head, span, condition, train, test, estimate, low, high, groups and
    examples. For one model, place and condition `.pivot(index="train", columns="test",
    values="estimate")` is the matrix.
    """
    rows, parts = evidence.needed("probes.generalisation", method="generalisation"), []
    for target in rows["template"].dropna().unique():
        part = Evidence(rows[rows["template"] == target], evidence.provenance)
        parts.append(accuracy(part, level=level, draws=draws, seed=seed).assign(test=target))
    table = pd.concat(parts, ignore_index=True).rename(columns={"donor": "train"})
    columns = ["model", "kind", "layer", "head", "span", "condition", "train", "test"]
    return table[[*columns, "estimate", "low", "high", "groups", "examples"]]


def _joint_folds(known: Mapping[str, Problem], folds: int, seed: int) -> dict[str, np.ndarray]:
    """Folds dealt over the groups of all sets together, classes spread within the joint set."""
    names = np.concatenate([np.array(p.names, dtype=object)[p.groups] for p in known.values()])
    code = np.unique(names.astype(str), return_inverse=True)[1]
    labels = np.concatenate([p.labels for p in known.values()])
    fold = group_folds(code, folds, seed=seed, labels=labels)
    out, start = {}, 0
    for name, one in known.items():
        out[name] = fold[start : start + len(one.labels)]
        start += len(one.labels)
        for k in range(folds):
            left = np.unique(one.labels[out[name] != k])
            if len(left) < one.n_classes:
                raise ValueError(
                    f"{name!r} has a class in too few groups to hold fold {k} out; lower folds or add "
                    "entities"
                )
    return out


def _means(values: Float[Tensor, "example d"], fold: np.ndarray, folds: int) -> Float[Tensor, "fold d"]:
    """The mean of the rows outside each fold."""
    outside = [torch.from_numpy(np.flatnonzero(fold != k)) for k in range(folds)]
    return torch.stack([values[rows].double().mean(0) for rows in outside])


def _by_fold(
    values: Float[Tensor, "example d"],
    weight: Float[Tensor, "fold class d"],
    bias: Float[Tensor, "fold class"],
    fold: np.ndarray,
) -> np.ndarray:
    """Each example read by the probe of its own fold."""
    out = np.empty(len(fold), dtype=np.int64)
    for k, (w, b) in enumerate(zip(weight, bias, strict=True)):
        rows = np.flatnonzero(fold == k)
        if len(rows):
            out[rows] = (values[torch.from_numpy(rows)].to(w) @ w.T + b).argmax(1).cpu().numpy()
    return out
