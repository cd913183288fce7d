"""How much it takes to read a label: learning curves and minimum description length.

A share of right answers does not say how easily a label is read. A learning curve shows what is
reached from few entities. The online code (Voita & Titov, 2003.12298) adds it up: labels are sent
block by block, each encoded by a probe fitted on the blocks before it,

    L = Σ_(i in the first block) log₂ K + Σ_(later i) −log₂ p(y_i | x_i, earlier blocks),

and compression = n log₂ K / L is 1 where nothing can be read. Blocks are made of whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from interp._aliases import formerly
from interp.activations import Activations
from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import LabelledSites, Sites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.logistic import Logistic
from probes.estimators.named import named
from probes.linear import predictions
from probes.measures.accuracy import PLACE, by_place, resampled
from probes.parallel import there, units
from probes.rows import Rows, provenance
from probes.splits import Split, group_folds, held_out_rows, masked, splits_of

#: Ends of the blocks as shares of the groups.
BLOCKS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)

#: Strengths of the code's probe: one for a few rows would forbid the confidence of many.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)

#: Weight of the uniform answer in every code, so that no label costs infinitely many bits.
UNIFORM = 0.01


def learning_curve(
    activations: Sites,
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.4, 0.7, 1.0),
    repeats: int = 3,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Held-out correctness of probes fitted on shares of each fold's training groups.

    A draw without some class cannot predict it. `balanced_accuracy` reads the rows.

    Args:
        activations: labelled activations [example, d] of one site or several.
        shares: shares of the training groups, in (0, 1].
        repeats: number of draws of groups for each share.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds; a group is never split between them.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the folds and of the draws.

    Returns:
        Evidence of method ``probe``, unit accuracy (1 or 0). Conditions ``train_G`` with G the number
        of groups trained on in the first fold. Columns that vary: condition, model, kind, layer, head,
        span, example, group, label (class number), draw (of groups).

    Raises:
        ValueError: on malformed activations, fewer groups than folds, or a share outside (0, 1].

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> read = probes.learning_curve(states, shares=(0.2, 1.0), repeats=2, folds=4)
        >>> read.table.groupby("condition", observed=True).size().to_dict()
        {'train_19': 256, 'train_96': 256}
    """
    data, solver = labelled_sites(activations), named(estimator)
    if not shares or min(shares) <= 0 or max(shares) > 1:
        raise ValueError(f"shares must lie in (0, 1], got {list(shares)}; try (0.1, 0.3, 1.0)")
    splits = splits_of(group_folds(data.groups, folds, seed=seed, labels=data.labels))
    generator = np.random.default_rng(seed)
    subsets = [_subset(data, splits, share, generator) for share in shares for _ in range(repeats)]
    sizes = [len(np.unique(data.groups[subset[0] >= 0])) for subset in subsets]
    trained, examples = np.stack(subsets), held_out_rows(splits)

    def read(site: Activations) -> np.ndarray:
        return predictions(solver, site.values, trained, splits, data.n_classes, data.groups)

    rows = Rows(data.example_groups, method="probe", metric=attribute, unit="accuracy")
    for site, guesses in there(data.sites, units("learning curve", read, data.sites)):
        for i, (size, guess) in enumerate(zip(sizes, guesses, strict=True)):
            rows.add_correct(
                guess, data.labels, site.columns(), f"train_{size}",
                examples=examples, draw=i % repeats,
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "repeats": repeats}
    return rows.evidence(provenance(f"learning.{attribute}", notes, (attribute, data.classes)))


def _subset(
    data: LabelledSites, splits: list[Split], share: float, generator: np.random.Generator
) -> np.ndarray:
    """Labels [split, example] of a share of each split's training groups; −1 elsewhere."""
    parts = []
    for train, _ in splits:
        names = generator.permutation(np.unique(data.groups[train]))
        kept = names[: max(2, round(share * len(names)))]
        parts.append(masked(data.labels, train[np.isin(data.groups[train], kept)]))
    return np.stack(parts)


@formerly(draws="repeats")
def description_length(
    activations: Sites,
    *,
    estimator: Logistic | None = None,
    repeats: int = 3,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Bits that each label costs in the online code, at every site.

    Labels are sent block by block, each encoded by a probe fitted on the blocks before it; the order
    of the groups is drawn once from the seed. `compression` reads the rows.

    Args:
        activations: labelled activations [example, d] of one site or several.
        estimator: a `Logistic`; by default one without class weights, since the code must know how
            frequent the labels are, whose strength is chosen inside the blocks before.
        repeats: number of control tasks, labels permuted over groups.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the order of the groups and of the permutations.

    Returns:
        Evidence of method ``code``, unit bits. Conditions ``probe`` and ``control_task``. Columns that
        vary: condition, model, kind, layer, head, span, example, group, draw (of a control task);
        n_classes is the number of classes.

    Raises:
        ValueError: on malformed activations, or fewer groups than blocks.

    Source: Voita & Titov, 2003.12298.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> coded = probes.description_length(states, estimator=probes.Logistic(balanced=False))
        >>> len(coded), coded.table["n_classes"].unique().tolist()
        (512, [2])
    """
    data = labelled_sites(activations)
    solver = estimator or Logistic(c=STRENGTHS, balanced=False)
    n_groups = len(data.group_names)
    if n_groups < len(BLOCKS):
        raise ValueError(
            f"the online code needs at least {len(BLOCKS)} groups, got {n_groups}; add entities"
        )
    generator = np.random.default_rng(seed)
    rank = generator.permutation(n_groups)[data.groups]
    ends = np.unique(np.maximum(1, np.round(np.array(BLOCKS) * n_groups)).astype(int))
    block = np.searchsorted(ends, rank, side="right")
    permuted = permute_over_groups(data.labels, data.groups, repeats, generator)
    tasks = np.concatenate([data.labels[None], permuted])
    bits = units("code", partial(_bits, data, solver, tasks, block), data.sites)
    rows = Rows(data.example_groups, method="code", metric=attribute, unit="bits")
    conditions = [("probe", None), *(("control_task", draw) for draw in range(repeats))]
    for site, costs in there(data.sites, bits):
        for (condition, draw), values in zip(conditions, costs, strict=True):
            rows.add(
                values, site.columns(), condition,
                examples=np.arange(len(data)), draw=draw, n_classes=data.n_classes,
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "draws": repeats, "blocks": ends.tolist()}
    return rows.evidence(provenance(f"code.{attribute}", notes, (attribute, data.classes)))


def _bits(
    data: LabelledSites, solver: Logistic, tasks: np.ndarray, block: np.ndarray, site: Activations
) -> np.ndarray:
    """Bits of each task's labels [task, example], each block coded by the probe of those before."""
    blocks = range(1, int(block.max()) + 1)
    before = [np.flatnonzero(block < k) for k in blocks]
    drawn = np.stack([masked(task, rows) for task in tasks for rows in before])
    labels = torch.from_numpy(drawn).to(site.values.device)
    weight, bias = solver.solve(site.values, labels, data.n_classes, data.groups)
    bits = np.full(tasks.shape, np.log2(data.n_classes))
    for i, task in enumerate(tasks):
        for k in blocks:
            fit, rows = i * len(before) + k - 1, block == k
            logits = site.values[torch.from_numpy(rows)].double() @ weight[fit].T + bias[fit]
            probability = logits.softmax(1).cpu().numpy()[np.arange(rows.sum()), task[rows]]
            bits[i, rows] = -np.log2((1 - UNIFORM) * probability + UNIFORM / data.n_classes)
    return bits


@formerly(draws="resamples")
def compression(
    evidence: Evidence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compression n log₂ K / L per place and condition.

    1: nothing is read; below 1: worse than the uniform code. BCa bootstrap over groups, which holds
    the order of the blocks fixed. Repeated draws of a control are pooled.

    Args:
        evidence: made by `description_length`.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, condition, bits (of all
        labels), estimate (the compression), low, high and groups.

    Raises:
        ValueError: if the evidence holds no code.

    Source: Voita & Titov, 2003.12298.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> coded = probes.description_length(states, estimator=probes.Logistic(balanced=False))
        >>> probes.compression(coded, resamples=50)["condition"].tolist()
        ['probe', 'control_task']
    """
    table = []
    rows = evidence.needed("probes.description_length", method="code")
    for key, part in by_place(rows, "condition"):
        uniform_bits = np.log2(part["n_classes"].to_numpy(dtype=float))
        names, group = np.unique(part["group"].astype(str), return_inverse=True)
        coded = np.bincount(group, weights=part["value"].to_numpy(dtype=float))
        uniform = np.bincount(group, weights=uniform_bits)
        ratio = partial(_compression, uniform, coded)
        interval = resampled(ratio, len(names), level, resamples, seed)
        bits = coded.sum() / max(part["draw"].nunique(), 1)
        table.append([*key, bits, interval.estimate, interval.low, interval.high, interval.n])
    columns = [*PLACE, "condition", "bits", "estimate", "low", "high", "groups"]
    return pd.DataFrame(table, columns=pd.Index(columns))


def _compression(uniform: np.ndarray, coded: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.asarray(uniform[drawn].sum(-1) / coded[drawn].sum(-1))
