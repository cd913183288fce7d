"""How much it takes to read a label: learning curves and minimum description length.

A share of right answers does not say how easily a label is read. A learning curve shows what is
reached from few entities. The online code (Voita & Titov, 2003.12298) adds it up: labels are sent
block by block, each encoded by a probe fitted on the blocks before it,

    L = Σ_(i in the first block) log₂ K + Σ_(later i) −log₂ p(y_i | x_i, earlier blocks),

and compression = n log₂ K / L is 1 where nothing can be read. Blocks are made of whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from interp.activations import Activations
from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import Sites, problem
from probes.estimators.base import Estimator
from probes.estimators.logistic import Logistic
from probes.estimators.named import named
from probes.linear import predictions
from probes.measures.accuracy import PLACE, resampled
from probes.parallel import each
from probes.rows import Rows
from probes.splits import group_folds, masked, splits_of

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
    seed: int,
) -> Evidence:
    """Held-out correctness of probes fitted on shares of each fold's training groups.

    Conditions ``train_G`` with G the number of groups trained on in the first fold; `repeats` draws
    of groups (seed = the draw). A draw without some class cannot predict it. Rows as those of
    `cross_validate`: read them with `accuracy`.

    Raises:
        ValueError: on malformed activations, fewer groups than folds, or a share outside (0, 1].
    """
    known, solver = problem(activations), named(estimator)
    if not shares or min(shares) <= 0 or max(shares) > 1:
        raise ValueError(f"shares must lie in (0, 1], got {list(shares)}; try (0.1, 0.3, 1.0)")
    splits = splits_of(group_folds(known.groups, folds, seed=seed, labels=known.labels))
    generator = np.random.default_rng(seed)
    drawn, sizes = [], []
    for share in shares:
        for _ in range(repeats):
            parts = []
            for train, _ in splits:
                names = generator.permutation(np.unique(known.groups[train]))
                kept = names[: max(2, round(share * len(names)))]
                parts.append(masked(known.labels, train[np.isin(known.groups[train], kept)]))
            drawn.append(np.stack(parts))
            sizes.append(len(np.unique(known.groups[drawn[-1][0] >= 0])))
    tasks = np.stack(drawn)

    def guesses(one: Activations) -> np.ndarray:
        return predictions(solver, one.values, tasks, splits, known.n_classes, known.groups)

    rows = Rows(known, attribute)
    for one, found in zip(known.sites, each(guesses, known.sites), strict=True):
        for i, guess in enumerate(found):
            rows.add(splits, guess, known.labels, one, f"train_{sizes[i]}", i % repeats)
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "repeats": repeats}
    facts = {f"learning.{attribute}": notes, f"classes.{attribute}": list(known.classes)}
    return rows.evidence(facts)


def description_length(
    activations: Sites,
    *,
    estimator: Logistic | None = None,
    draws: int = 3,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Bits that each label costs in the online code, at every site.

    Method ``code``, unit bits; condition ``probe``, or ``control_task`` for labels permuted over groups
    (`draws` of them, seed = the draw); strength the number of classes. The probe is a logistic
    regression without class weights, since the code must know how frequent the labels are; its
    strength is chosen inside the blocks before. The order of the groups is drawn once from the seed.
    Read with `compression`.

    Raises:
        ValueError: on malformed activations, or fewer groups than blocks.
    """
    known = problem(activations)
    solver = estimator or Logistic(c=STRENGTHS, balanced=False)
    n_groups = len(known.names)
    if n_groups < len(BLOCKS):
        raise ValueError(
            f"the online code needs at least {len(BLOCKS)} groups, got {n_groups}; add entities"
        )
    generator = np.random.default_rng(seed)
    rank = generator.permutation(n_groups)[known.groups]
    ends = np.unique(np.maximum(1, np.round(np.array(BLOCKS) * n_groups)).astype(int))
    block = np.searchsorted(ends, rank, side="right")
    permuted = permute_over_groups(known.labels, known.groups, draws, generator)
    tasks = np.concatenate([known.labels[None], permuted])
    before = [np.flatnonzero(block < k) for k in range(1, len(ends))]
    drawn = np.stack([masked(task, rows) for task in tasks for rows in before])

    def bits(one: Activations) -> np.ndarray:
        weight, bias = solver.solve(
            one.values, torch.from_numpy(drawn).to(one.values.device), known.n_classes, known.groups
        )
        out = np.full(tasks.shape, np.log2(known.n_classes))
        for i, task in enumerate(tasks):
            for k in range(1, len(ends)):
                at, rows = i * len(before) + k - 1, block == k
                logits = one.values[torch.from_numpy(rows)].double() @ weight[at].T + bias[at]
                chance = logits.softmax(1).cpu().numpy()[np.arange(rows.sum()), task[rows]]
                out[i, rows] = -np.log2((1 - UNIFORM) * chance + UNIFORM / known.n_classes)
        return out

    names, parts = np.array(known.names, dtype=object)[known.groups], []
    for one, found in zip(known.sites, each(bits, known.sites), strict=True):
        for i, values in enumerate(found):
            parts.append(
                Evidence.build(
                    values, method="code", condition="probe" if i == 0 else "control_task",
                    metric=attribute, unit="bits", strength=float(known.n_classes), group=names,
                    example=np.arange(len(values)), seed=max(i - 1, 0), model=one.model,
                    kind=str(one.site.kind), layer=one.site.layer, head=one.site.head,
                    span=one.position,
                )
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "draws": draws, "blocks": ends.tolist()}
    facts = {f"code.{attribute}": notes, f"classes.{attribute}": list(known.classes)}
    return Evidence.concat(parts).with_provenance(**facts)


def compression(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compression n log₂ K / L per place and condition: columns bits, estimate, low, high, groups.

    1: nothing is read; below 1: worse than the uniform code. BCa bootstrap over groups, which holds
    the order of the blocks fixed. Repeated draws of a control are pooled.
    """
    out = []
    rows = evidence.needed("probes.description_length", method="code")
    for key, part in rows.groupby([*PLACE, "condition"], dropna=False, observed=True, sort=False):
        uniform = np.log2(part["strength"].to_numpy(dtype=float))
        names, group = np.unique(part["group"].astype(str), return_inverse=True)
        spent = np.bincount(group, weights=part["value"].to_numpy(dtype=float))
        plain = np.bincount(group, weights=uniform)

        def ratio(at: np.ndarray, spent: np.ndarray = spent, plain: np.ndarray = plain) -> np.ndarray:
            return np.asarray(plain[at].sum(-1) / spent[at].sum(-1))

        got = resampled(ratio, len(names), level, draws, seed)
        repeats = part["seed"].nunique()
        out.append([*key, spent.sum() / repeats, got.estimate, got.low, got.high, got.n])
    columns = [*PLACE, "condition", "bits", "estimate", "low", "high", "groups"]
    return pd.DataFrame(out, columns=pd.Index(columns))
