"""How good a two-class probe is, beyond its share of right answers: ranking and calibration.

`margins` keeps the held-out log-odds of each example; `scores` turns them into numbers with intervals
over groups. Classes weigh equally throughout, as they do in the fits:

    accuracy           share of right answers
    balanced_accuracy  mean over the classes of the share of right answers
    auroc              P(margin of a positive > margin of a negative), ties half
    brier              mean over the classes of (p − y)², p = σ(margin); 0.25 for the constant ½
    ece                Σ_b w_b |y_b − p_b| over ten equal bins of p, w_b their weight

Brier and ECE speak of probabilities: read them for `Logistic`, whose margins are log-odds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import expit

from interp.activations import Activations
from interp.evidence import Evidence
from interp.stats.testing import benjamini_hochberg, holm, max_statistic_p
from probes.controls import permute_over_groups
from probes.data import Sites, problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import signed_margins
from probes.measures.accuracy import PLACE, resampled
from probes.parallel import each
from probes.rows import margin_rows
from probes.splits import check_sample, group_folds, masked, splits_of

_BINS = 10

Reduce = Callable[[np.ndarray], np.ndarray]


def margins(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    draws: int = 1,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Held-out margin of the second class at every site, over group-disjoint, stratified folds.

    Method ``margin``, unit margin; condition ``probe``, or ``control_task`` for labels permuted over
    groups (`draws` of them, seed = the draw); strength the class 0 or 1 that the row is scored
    against.

    Raises:
        ValueError: on malformed activations, fewer groups than folds, or other than two classes.
    """
    known, solver = problem(activations), named(estimator)
    if known.n_classes != 2:
        raise ValueError(
            f"margins need two classes, got {known.n_classes}; label one class against the rest"
        )
    fold = group_folds(known.groups, folds, seed=seed, labels=known.labels)
    check_sample(known)
    splits = splits_of(fold)
    generator = np.random.default_rng(seed)
    permuted = permute_over_groups(known.labels, known.groups, draws, generator)
    tasks = np.concatenate([known.labels[None], permuted])
    drawn = np.stack([masked(task, train) for task in tasks for train, _ in splits])

    def margin(one: Activations) -> np.ndarray:
        gap = signed_margins(solver, one.values, drawn, known.groups)
        gap = gap.reshape(len(tasks), len(splits), -1)
        return np.take_along_axis(gap, fold[None, None].repeat(len(tasks), 0), 1)[:, 0]

    parts, everyone = [], np.arange(len(fold))
    for one, found in zip(known.sites, each(margin, known.sites), strict=True):
        for i, (task, values) in enumerate(zip(tasks, found, strict=True)):
            condition = "probe" if i == 0 else "control_task"
            parts.append(
                margin_rows(known, one, attribute, condition, max(i - 1, 0), task, values, everyone)
            )
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "draws": draws}
    facts = {f"margin.{attribute}": notes, f"classes.{attribute}": list(known.classes)}
    return Evidence.concat(parts).with_provenance(**facts)


def scores(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Every measure per place and condition: columns measure, estimate, low, high, groups.

    Of the held-out margins that `margins` makes, and `cross_validate` and `sweep` for two classes.

    BCa bootstrap over groups; it holds the fitted probes fixed, so it covers new entities and not
    new training sets. Repeated draws of a control are pooled inside each group.

    ``ece`` has no interval: it is biased upwards, and resampling biases it further. Beside it stands
    ``ece_if_calibrated``: what a calibrated probe with the same margins would show (mean and quantiles
    over labels drawn from its own probabilities; Bröcker & Smith 2007). An ``ece`` inside that range is
    no sign of miscalibration, where the classes are of similar size.
    """
    read = evidence if evidence.beside is None else Evidence.concat([evidence, evidence.beside])
    rows = read.needed(
        "probes.cross_validate of two classes, or probes.margins(activations, seed=0)", method="margin"
    )
    out = []
    for key, part in rows.groupby([*PLACE, "condition"], dropna=False, observed=True, sort=False):
        names, group = np.unique(part["group"].astype(str), return_inverse=True)
        margin = part["value"].to_numpy(dtype=float)
        measures = _measures(margin, part["strength"].to_numpy(dtype=float), group)
        for name, reduce in measures.items():
            counted = _counted(reduce, len(names))
            got = resampled(counted, len(names), level, draws, seed)
            out.append([*key, name, got.estimate, got.low, got.high, got.n])
        label, n = part["strength"].to_numpy(dtype=float), len(names)
        drawn = _ece_if_calibrated(margin, draws, seed)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        out.append([*key, "ece", _ece(expit(margin), label), np.nan, np.nan, n])
        out.append([*key, "ece_if_calibrated", drawn.mean(), low, high, n])
    columns = [*PLACE, "condition", "measure", "estimate", "low", "high", "groups"]
    return pd.DataFrame(out, columns=pd.Index(columns))


def corrected(evidence: Evidence) -> pd.DataFrame:
    """The p values of `permutation_null` rows, corrected over all places: p, p_holm, p_bh, p_max.

    p = (1 + #{draws ≥ observed}) / (1 + draws), one-sided. p_max compares with the largest
    statistic over places of each draw (Westfall & Young 1993) and, unlike Holm, can be small with many
    places and few draws. All attributes in the evidence count as tests.

    Raises:
        ValueError: if there are no permutation rows, or places differ in their draws.
    """
    rows = evidence.where(method="readable")
    null = rows[rows["condition"] == "permutation"]
    seen = rows[rows["condition"] == "observed"]
    if not len(null) or not len(seen):
        raise ValueError("no permutation rows to compare with; call permutation_null first")
    grouped = list(null.groupby(list(PLACE), dropna=False, observed=True, sort=False))
    drawn = [part.sort_values("seed")["value"].to_numpy(dtype=float) for _, part in grouped]
    if len({len(d) for d in drawn}) > 1:
        raise ValueError("places must share their draws, got different numbers; use one call")
    observed = np.array(
        [
            part["value"].iloc[0]
            for _, part in seen.groupby(list(PLACE), dropna=False, observed=True, sort=False)
        ],
        dtype=float,
    )
    table = pd.DataFrame([key for key, _ in grouped], columns=pd.Index(PLACE))
    matrix = np.stack(drawn, 1)
    p = (1 + (matrix >= observed).sum(0)) / (1 + len(matrix))
    return table.assign(
        estimate=observed, p=p, p_holm=holm(p), p_bh=benjamini_hochberg(p),
        p_max=max_statistic_p(observed, matrix),
    )  # fmt: skip


def _counted(reduce: Reduce, n: int) -> Reduce:
    """A statistic of resampled group numbers from one of how often each group was drawn."""

    def statistic(numbers: np.ndarray) -> np.ndarray:
        flat = np.atleast_2d(numbers).astype(int)
        shifted = flat + n * np.arange(len(flat))[:, None]
        counts = np.bincount(shifted.ravel(), minlength=n * len(flat)).reshape(-1, n)
        return np.asarray(reduce(counts.astype(float))).reshape(np.shape(numbers)[:-1])

    return statistic


def _measures(margin: np.ndarray, label: np.ndarray, group: np.ndarray) -> dict[str, Reduce]:
    """Each measure as a function of how often each group counts, shape (draw, group) to (draw)."""
    n, chance, positive = int(group.max()) + 1, expit(margin), label == 1
    right = ((margin > 0) == positive).astype(float)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values, minlength=n)

    sizes = np.stack([total(~positive), total(positive)], 1)
    hits = np.stack([total(right * ~positive), total(right * positive)], 1)
    error = (chance - label) ** 2
    errors = np.stack([total(error * ~positive), total(error * positive)], 1)
    wins = _wins(margin, positive, group, n)

    def by_class(sums: np.ndarray) -> Reduce:
        def mean(counts: np.ndarray) -> np.ndarray:
            seen = counts @ sizes
            each_class = np.divide(counts @ sums, seen, out=np.zeros_like(seen), where=seen > 0)
            return each_class.sum(-1) / np.maximum((seen > 0).sum(-1), 1)

        return mean

    def auroc(counts: np.ndarray) -> np.ndarray:
        pairs = np.prod(counts @ sizes, axis=-1)
        won = ((counts @ wins) * counts).sum(-1)
        return np.divide(won, pairs, out=np.full_like(won, 0.5), where=pairs > 0)

    return {
        "accuracy": lambda counts: (counts @ hits.sum(1)) / (counts @ sizes.sum(1)),
        "balanced_accuracy": by_class(hits),
        "auroc": auroc,
        "brier": by_class(errors),
    }


def _ece(chance: np.ndarray, label: np.ndarray) -> float:
    """Expected calibration error over ten bins, the classes weighing equally."""
    positive = label == 1
    share = np.where(positive, 0.5 / max(positive.sum(), 1), 0.5 / max((~positive).sum(), 1))
    bins = np.minimum((chance * _BINS).astype(int), _BINS - 1)
    gap = np.bincount(bins, weights=share * (label - chance), minlength=_BINS)
    return float(np.abs(gap).sum() / share.sum())


def _ece_if_calibrated(margin: np.ndarray, draws: int, seed: int) -> Float[np.ndarray, " draw"]:
    """The calibration error of labels drawn from the margins' own probabilities."""
    chance, generator = expit(margin), np.random.default_rng(seed)
    drawn = generator.uniform(size=(min(draws, 500), len(chance))) < chance
    return np.array([_ece(chance, labels.astype(float)) for labels in drawn])


def _wins(margin: np.ndarray, positive: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    """How often a positive of group g beats a negative of group h, ties half."""
    order = np.argsort(group, kind="stable")
    margin, positive, group = margin[order], positive[order], group[order]
    beats = (margin[positive][:, None] > margin[~positive]).astype(np.float64)
    beats += 0.5 * (margin[positive][:, None] == margin[~positive])
    wins = np.zeros((n, n))
    if beats.size:
        above, first = np.unique(group[positive], return_index=True)
        below, second = np.unique(group[~positive], return_index=True)
        summed = np.add.reduceat(np.add.reduceat(beats, first, axis=0), second, axis=1)
        wins[np.ix_(above, below)] = summed
    return wins
