"""How good a two-class probe is, beyond its share of right answers: ranking and calibration.

`held_out_margins` keeps the held-out log-odds of each example; `score_table` turns them into numbers
with intervals over groups. Classes weigh equally throughout, as they do in the fits:

    accuracy           share of right answers
    balanced_accuracy  mean over the classes of the share of right answers
    auroc              P(margin of a positive > margin of a negative), ties half
    brier              mean over the classes of (p − y)², p = σ(margin); 0.25 for the constant ½
    ece                Σ_b w_b |y_b − p_b| over ten equal bins of p, w_b their weight

Brier and ECE speak of probabilities: read them for `Logistic`, whose margins are log-odds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import expit

from interp._aliases import alias, formerly
from interp.activations import Activations
from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import Sites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import signed_margins
from probes.measures.accuracy import PLACE, by_place, resampled
from probes.parallel import there, units
from probes.rows import Rows, provenance
from probes.splits import check_sample, group_folds, held_out, masked, splits_of

_BINS = 10

#: A statistic of how often each group counts, shape (draw, group) to (draw).
Reduce = Callable[[np.ndarray], np.ndarray]


@formerly(draws="repeats")
def held_out_margins(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    repeats: int = 1,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Held-out margin of the second class at every site, over group-disjoint, stratified folds.

    `score_table` reads the rows. Margins of `Logistic` are log-odds, those of others have a scale of
    their own.

    Args:
        activations: activations [example, d] of one site or several, with labels of two classes.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds; a group is never split between them.
        repeats: number of control tasks, labels permuted over groups.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the folds and of the permutations.

    Returns:
        Evidence of method ``margin``, unit margin. Conditions ``probe`` and ``control_task``. Columns
        that vary: condition, model, kind, layer, head, span, example, group, label (class 0 or 1 that
        the row is scored against), draw (of a control task).

    Raises:
        ValueError: on malformed activations, fewer groups than folds, or other than two classes.

    Warns:
        SmallSample: if a class has few groups or a small share of the examples.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::3])
        >>> read = probes.held_out_margins(states)
        >>> read.table.groupby(["condition", "layer"], observed=True).size().tolist()
        [128, 128, 128, 128, 128, 128]
    """
    data, solver = labelled_sites(activations), named(estimator)
    if data.n_classes != 2:
        raise ValueError(
            f"margins need two classes, got {data.n_classes}; label one class against the rest"
        )
    fold = group_folds(data.groups, folds, seed=seed, labels=data.labels)
    check_sample(data)
    splits = splits_of(fold)
    generator = np.random.default_rng(seed)
    permuted = permute_over_groups(data.labels, data.groups, repeats, generator)
    tasks = np.concatenate([data.labels[None], permuted])
    trained = np.stack([masked(task, train) for task in tasks for train, _ in splits])

    def read(site: Activations) -> np.ndarray:
        margin = signed_margins(solver, site.values, trained, data.groups)
        margin = margin.reshape(len(tasks), len(splits), -1)
        return held_out(splits, len(data), lambda k, rows: margin[:, k, rows].T).T

    rows = Rows(data.example_groups, method="margin", metric=attribute, unit="margin")
    conditions = [("probe", None), *(("control_task", draw) for draw in range(repeats))]
    everyone = np.arange(len(data))
    for site, margins in there(data.sites, units("margins", read, data.sites)):
        for (condition, draw), task, values in zip(conditions, tasks, margins, strict=True):
            rows.add(values, site.columns(), condition, examples=everyone, label=task, draw=draw)
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "draws": repeats}
    return rows.evidence(provenance(f"margin.{attribute}", notes, (attribute, data.classes)))


margins = alias(held_out_margins, "margins")


@formerly(draws="resamples")
def score_table(
    evidence: Evidence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Accuracy, balanced accuracy, AUROC, Brier score and calibration error of held-out margins.

    BCa bootstrap over groups; it holds the fitted probes fixed, so it covers new entities and not
    new training sets. Repeated draws of a control are pooled inside each group.

    ``ece`` has no interval: it is biased upwards, and resampling biases it further. Beside it stands
    ``ece_if_calibrated``: what a calibrated probe with the same margins would show (mean and quantiles
    over labels drawn from its own probabilities). An ``ece`` inside that range is no sign of
    miscalibration, where the classes are of similar size.

    Args:
        evidence: the margins that `held_out_margins` makes, and `cross_validate` and `train_test` for
            two classes.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, condition, measure,
        estimate, low, high and groups, one row per measure.

    Raises:
        ValueError: if the evidence holds no margins.

    Source: Bröcker & Smith 2007 (calibration under finite samples).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> table = probes.score_table(probes.held_out_margins(states), resamples=50)
        >>> table.loc[table["condition"] == "probe", "measure"].tolist()
        ['accuracy', 'balanced_accuracy', 'auroc', 'brier', 'ece', 'ece_if_calibrated']
    """
    both = evidence if evidence.beside is None else Evidence.concat([evidence, evidence.beside])
    rows = both.needed(
        "probes.cross_validate of two classes, or probes.held_out_margins(activations)",
        method="margin",
    )
    table = []
    for key, part in by_place(rows, "condition"):
        names, group = np.unique(part["group"].astype(str), return_inverse=True)
        margin, label = (part[name].to_numpy(dtype=float) for name in ("value", "label"))
        n = len(names)
        for name, reduce in _measures(margin, label, group).items():
            interval = resampled(_counted(reduce, n), n, level, resamples, seed)
            table.append([*key, name, interval.estimate, interval.low, interval.high, interval.n])
        drawn = _ece_if_calibrated(margin, resamples, seed)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        table.append([*key, "ece", _ece(expit(margin), label), np.nan, np.nan, n])
        table.append([*key, "ece_if_calibrated", drawn.mean(), low, high, n])
    columns = [*PLACE, "condition", "measure", "estimate", "low", "high", "groups"]
    return pd.DataFrame(table, columns=pd.Index(columns))


scores = alias(score_table, "scores")


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
    n, positive = int(group.max()) + 1, label == 1
    correct = ((margin > 0) == positive).astype(float)
    error = (expit(margin) - label) ** 2

    def by_class(values: np.ndarray) -> Float[np.ndarray, "group 2"]:
        parts = (values * ~positive, values * positive)
        return np.stack([np.bincount(group, weights=part, minlength=n) for part in parts], 1)

    sizes, hits, errors = (by_class(values) for values in (np.ones_like(margin), correct, error))
    wins = _wins(margin, positive, group, n)
    return {
        "accuracy": partial(_ratio, hits.sum(1), sizes.sum(1)),
        "balanced_accuracy": partial(_mean_over_classes, hits, sizes),
        "auroc": partial(_auroc, wins, sizes),
        "brier": partial(_mean_over_classes, errors, sizes),
    }


def _ratio(sums: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return (counts @ sums) / (counts @ sizes)


def _mean_over_classes(sums: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean over the classes present of each class's mean."""
    rows = counts @ sizes
    means = np.divide(counts @ sums, rows, out=np.zeros_like(rows), where=rows > 0)
    return means.sum(-1) / np.maximum((rows > 0).sum(-1), 1)


def _auroc(wins: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The share of pairs that the positive wins; one half where there are none."""
    pairs = np.prod(counts @ sizes, axis=-1)
    won = ((counts @ wins) * counts).sum(-1)
    return np.divide(won, pairs, out=np.full_like(won, 0.5), where=pairs > 0)


def _ece(probability: np.ndarray, label: np.ndarray) -> float:
    """Expected calibration error over ten bins, the classes weighing equally."""
    positive = label == 1
    share = np.where(positive, 0.5 / max(positive.sum(), 1), 0.5 / max((~positive).sum(), 1))
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gap = np.bincount(bins, weights=share * (label - probability), minlength=_BINS)
    return float(np.abs(gap).sum() / share.sum())


def _ece_if_calibrated(margin: np.ndarray, draws: int, seed: int) -> Float[np.ndarray, " draw"]:
    """The calibration error of labels drawn from the margins' own probabilities."""
    probability, generator = expit(margin), np.random.default_rng(seed)
    drawn = generator.uniform(size=(min(draws, 500), len(probability))) < probability
    return np.array([_ece(probability, labels.astype(float)) for labels in drawn])


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
