"""Belief: what a probe reads of a statement's truth, beside what the model says when asked.

    belief   p = σ(a · margin + b): the margin of a truth probe at the statement's last token, with
             Platt scaling (a ≥ 0) fitted on groups that the probe behind it had not seen
    claim    ln Σ p(yes words) − ln Σ p(no words), in nats, after the statement and a question;
             one number per wording of the question

A statement is said against belief where p and the claim lie on different sides of ½ and 0. "Belief" is
a name for a linear reading, fitted on what *we* call true: it does not show that the model uses it
(that is for interventions), and where the probe is at chance nothing follows from a disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.facts.types import Statements
from interp.models.model import Model
from interp.sites import Site, boundaries
from probes.beliefs.claims import statement_examples
from probes.data import Sites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import signed_margins
from probes.parallel import each
from probes.rows import Rows, provenance
from probes.splits import check_sample, group_folds, masked


def belief(
    model: Model,
    statements: Statements,
    *,
    sites: Sequence[Site] | None = None,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int = 0,
) -> Evidence:
    """Held-out, calibrated posterior of truth of each statement, p = σ(a · margin + b).

    Read at the last token, at the site that is best inside the training split, by `posterior`; split
    by `statements.blocks`. "Belief" is a name for a linear reading, fitted on what *we* call true: it
    does not show that the model uses it.

    Args:
        model: whose activations are read.
        statements: true and false sentences.
        sites: where to read; by default every boundary of the residual stream.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds, at least three.
        seed: of the folds.

    Returns:
        Evidence of method ``belief``, condition ``probe``, unit probability, metric the statements'
        name. Columns that vary: layer (the chosen site's), example, group, label (0 or 1), fold.

    Raises:
        ValueError: fewer blocks than folds, an unknown estimator, or a site the model does not have.

    Source: Platt 1999.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> texts, labels, groups = [], [], []
        >>> for fact, other in zip(facts.facts[:24], facts.facts[1:25]):
        ...     for answer in (fact.answer, other.answer):
        ...         texts.append(f"We know {fact.subject} lives in {answer} .")
        ...         labels.append(answer == fact.answer)
        ...         groups.append(fact.subject)
        >>> said = interp.Statements(
        ...     "homes", tuple(texts), tuple(labels), tuple(groups), tuple(texts), tuple(groups)
        ... )
        >>> read = probes.belief(model, said, sites=interp.boundaries(6)[::3], folds=3)
        >>> len(read), set(read.table["unit"]), read.table["fold"].nunique()
        (48, {'probability'}, 3)
    """
    examples = statement_examples(model, statements.texts, statements)
    states = collect(model, examples, list(sites or boundaries(model.n_layers)))
    return posterior(states, estimator=estimator, folds=folds, seed=seed, name=statements.name)


def posterior(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int = 0,
    name: str = "statements",
) -> Evidence:
    """Calibrated p(second class) of each example, from a probe that has not seen its group.

    For outer fold k and every other fold j a probe is fitted without both; its margins on j, pooled
    over j, are margins on groups unseen by their probe and hold no row of k. On them Platt's two
    numbers are fitted for each site, and the site of least log-loss is chosen. The probe fitted
    without k at this site gives fold k its margins. A probe at chance gives probabilities near ½.

    Args:
        activations: activations [example, d] of one site or several, with labels of two classes.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds, at least three.
        seed: of the folds.
        name: the metric of the rows.

    Returns:
        Evidence of method ``belief``, condition ``probe``, unit probability. Columns that vary: kind,
        layer, head and span (the chosen site's), example, group, label (0 or 1), fold.

    Raises:
        ValueError: malformed activations, other than two classes, or fewer groups than folds (at
            least three).

    Warns:
        SmallSample: if a class has few groups or a small share of the examples.

    Source: Platt 1999 (targets (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2)).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::6])
        >>> read = probes.posterior(states, folds=3)
        >>> len(read), bool(read.table["value"].between(0, 1).all())
        (128, True)
    """
    data, solver = labelled_sites(activations), named(estimator)
    if data.n_classes != 2:
        raise ValueError(f"truth has two classes, got {data.n_classes}; label statements 1 and 0")
    if folds < 3:
        raise ValueError(f"calibration needs 3 or more folds, got {folds}; use 5")
    check_sample(data)
    fold = group_folds(data.groups, folds, seed=seed, labels=data.labels)
    pairs = [(k, j) for k in range(folds) for j in range(k, folds)]  # (k, k): without k alone
    trained = np.stack([masked(data.labels, np.flatnonzero(~np.isin(fold, pair))) for pair in pairs])
    number_of = {pair: i for i, pair in enumerate(pairs)}

    def read(site: Activations) -> np.ndarray:
        return signed_margins(solver, site.values, trained, data.groups)

    margins = np.stack(each(read, data.sites))
    rows = Rows(data.example_groups, method="belief", metric=name, unit="probability")
    for k in range(folds):
        calibrating = np.flatnonzero(fold != k)
        inner = np.array([number_of[min(k, j), max(k, j)] for j in fold[calibrating]])
        truth = data.labels[calibrating] == 1
        fits = [platt(margin[inner, calibrating], truth) for margin in margins]
        best = int(np.argmin([loss for _, _, loss in fits]))
        slope, offset, _ = fits[best]
        test = np.flatnonzero(fold == k)
        probability = expit(slope * margins[best, number_of[k, k], test] + offset)
        where = data.sites[best].columns()
        rows.add(probability, where, "probe", examples=test, label=data.labels[test], fold=k)
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "sites": len(data.sites)}
    return rows.evidence(provenance(f"belief.{name}", notes))


def platt(margin: np.ndarray, label: np.ndarray) -> tuple[float, float, float]:
    """(a ≥ 0, b, mean log-loss) of σ(a · margin + b), with Platt's smoothed targets.

    a is bounded below, so that a probe at chance is made unsure and never turned round.

    Args:
        margin: of each example.
        label: whether the example is of the second class.
    """
    scale = float(np.abs(margin).mean()) or 1.0
    n, positive = len(label), int(label.sum())
    target = np.where(label, (positive + 1) / (positive + 2), 1 / (n - positive + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        score = parameters[0] * margin / scale + parameters[1]
        error = expit(score) - target
        value = float(np.mean(np.logaddexp(0, score) - target * score))
        return value, np.array([np.mean(error * margin / scale), error.mean()])

    bounds = [(0, None), (None, None)]
    optimum = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    return float(optimum.x[0]) / scale, float(optimum.x[1]), float(optimum.fun)
