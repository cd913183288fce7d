"""Belief and claim: what a probe reads of a statement's truth, and what the model says when asked.

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
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.facts.types import Statements
from interp.models.model import Model
from interp.sites import Site, boundaries
from interp.stats.intervals import Interval
from interp.stats.rates import auroc
from probes.beliefs.claims import statement_examples
from probes.data import Problem, Sites, problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import signed_margins
from probes.measures.accuracy import resampled
from probes.parallel import each
from probes.splits import check_sample, group_folds, masked


def belief(
    model: Model,
    statements: Statements,
    *,
    sites: Sequence[Site] | None = None,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int,
) -> Evidence:
    """Held-out, calibrated posterior of truth of each statement (see `posterior`).

    Read at the last token, at the site among `sites` (default: every boundary of the residual stream)
    that is best inside the training split. Split by `statements.blocks`.

    Raises:
        ValueError: fewer blocks than folds, an unknown estimator, or a site the model does not have.
    """
    examples = statement_examples(model, statements.texts, statements)
    found = collect(model, examples, list(sites or boundaries(model.n_layers)))
    return posterior(found, estimator=estimator, folds=folds, seed=seed, name=statements.name)


def posterior(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    seed: int,
    name: str = "statements",
) -> Evidence:
    """Calibrated p(second class) of each example, from a probe that has not seen its group.

    For outer fold k and every other fold j a probe is fitted without both; its margins on j, pooled
    over j, are margins on groups unseen by their probe and hold no row of k. On them Platt's two
    numbers are fitted for each site, and the site of least log-loss is chosen. The probe fitted
    without k at this site gives fold k its margins. Method ``belief``, condition ``probe``, unit
    probability; strength the label 0 or 1; seed the number k of the fold; layer the chosen site's.

    Source: Platt 1999 (targets (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2)).

    Raises:
        ValueError: malformed activations, other than two classes, or fewer groups than folds (at
            least three).
    """
    known, solver = problem(activations), named(estimator)
    if known.n_classes != 2:
        raise ValueError(f"truth has two classes, got {known.n_classes}; label statements 1 and 0")
    if folds < 3:
        raise ValueError(f"calibration needs 3 or more folds, got {folds}; use 5")
    check_sample(known)
    fold = group_folds(known.groups, folds, seed=seed, labels=known.labels)
    pairs = [(k, j) for k in range(folds) for j in range(k, folds)]  # (k, k): without k alone
    drawn = np.stack([masked(known.labels, np.flatnonzero(~np.isin(fold, pair))) for pair in pairs])
    at = {pair: i for i, pair in enumerate(pairs)}

    def margins(one: Activations) -> np.ndarray:
        return signed_margins(solver, one.values, drawn, known.groups)

    margin = np.stack(each(margins, known.sites))
    parts = []
    for k in range(folds):
        rows = np.flatnonzero(fold != k)
        inner = np.array([at[min(k, j), max(k, j)] for j in fold[rows]])
        fits = [platt(one[inner, rows], known.labels[rows] == 1) for one in margin]
        best = int(np.argmin([loss for _, _, loss in fits]))
        slope, offset, _ = fits[best]
        held = np.flatnonzero(fold == k)
        chance = expit(slope * margin[best, at[k, k], held] + offset)
        parts.append(_rows(known, known.sites[best], held, chance, name, k))
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "sites": len(known.sites)}
    return Evidence.concat(parts).with_provenance(**{f"belief.{name}": notes})


def platt(margin: np.ndarray, label: np.ndarray) -> tuple[float, float, float]:
    """(a ≥ 0, b, mean log-loss) of σ(a · margin + b), with Platt's smoothed targets.

    a is bounded below, so that a probe at chance is made unsure and never turned round.
    """
    scale = float(np.abs(margin).mean()) or 1.0
    n, positive = len(label), int(label.sum())
    target = np.where(label, (positive + 1) / (positive + 2), 1 / (n - positive + 2))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        score = at[0] * margin / scale + at[1]
        error = expit(score) - target
        value = float(np.mean(np.logaddexp(0, score) - target * score))
        return value, np.array([np.mean(error * margin / scale), error.mean()])

    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0]) / scale, float(found.x[1]), float(found.fun)


def believed_and_said(believed: Evidence, said: Evidence) -> pd.DataFrame:
    """One row per statement: what a held-out probe reads and what the model says, side by side.

    Columns example, group, fold, label, belief (a probability), claim (nats, mean over questions),
    centred (the claim minus the mean claim over the *other* folds: what is said beyond the habit of
    saying yes), believes, says and says_centred (whether true).

    Raises:
        ValueError: if the two do not hold the same statements.
    """
    left = believed.needed("probes.belief or probes.posterior", method="belief")[
        ["example", "group", "seed", "strength", "value"]
    ]
    right = said.needed("probes.claims", method="claim")[["example", "group", "strength", "value"]]
    columns = {"seed": "fold", "strength": "label", "value": "belief"}
    left = left.rename(columns=columns).astype({"group": str})
    mean = right.astype({"group": str}).groupby(["example", "group", "strength"], observed=True)[
        "value"
    ]
    claim = mean.mean().reset_index().rename(columns={"value": "claim", "strength": "label"})
    table = left.merge(claim, on=["example", "group", "label"]).sort_values("example")
    if not len(left) == len(table) == len(claim):
        raise ValueError(
            f"belief and claim must be about the same statements; got {len(left)} and {len(claim)}, "
            f"{len(table)} in common: make both from one Statements"
        )
    total = table.groupby("fold")["claim"].agg(["sum", "count"])
    rest = (total["sum"].sum() - total["sum"]) / (total["count"].sum() - total["count"])
    table["centred"] = table["claim"] - table["fold"].map(rest).astype(float)
    table["label"] = table["label"] == 1
    table["believes"] = table["belief"] > 0.5
    table["says"], table["says_centred"] = table["claim"] > 0, table["centred"] > 0
    return table.reset_index(drop=True)


def sincerity(
    table: pd.DataFrame,
    *,
    sure: float = 0.5,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Counts and shares of `believed_and_said`, with BCa intervals over groups.

    Columns says ("raw" or "centred"), of ("all", "true", "false" statements), measure, count, estimate,
    low, high, groups, statements. Measures: belief_right, claim_right (whether it says the truth),
    agree, says_true_believes_false, says_false_believes_true, said_against_belief (either), as shares
    of the statements whose belief is at least `sure`, i.e. max(p, 1 − p) ≥ sure; belief_auroc and
    claim_auroc over all of them. The interval holds the probes fixed.

    Raises:
        ValueError: sure outside [0.5, 1), or no statement as sure as that.
    """
    missing = sorted({"belief", "claim", "label", "believes", "says", "fold"} - set(table.columns))
    if missing:
        raise ValueError(
            f"the table lacks {missing}, got columns {list(table.columns)[:8]}; expected one made by "
            "probes.believed_and_said(belief, claims)"
        )
    if not 0.5 <= sure < 1:
        raise ValueError(f"sure must lie in [0.5, 1); got {sure}: use 0.5 to count every statement")
    kept = table[np.maximum(table["belief"], 1 - table["belief"]) >= sure]
    if not len(kept):
        raise ValueError(f"no statement is believed or disbelieved at {sure}; got 0 of {len(table)}")
    out = []
    for reading, says in (("raw", "says"), ("centred", "says_centred")):
        for of in ("all", "true", "false"):
            part = kept if of == "all" else kept[kept["label"] == (of == "true")]
            if not len(part):
                continue
            names, group = np.unique(part["group"].to_numpy(dtype=str), return_inverse=True)
            size = np.bincount(group)
            for measure, hit in _measures(part, says).items():
                hits = np.bincount(group, weights=hit)

                def share(at: np.ndarray, hits: np.ndarray = hits, size: np.ndarray = size):
                    return np.asarray(hits[at].sum(-1) / size[at].sum(-1))

                got = resampled(share, len(names), level, draws, seed)
                counted = (int(hit.sum()), got.estimate, got.low, got.high, got.n, len(part))
                out.append([reading, of, measure, *counted])
        for measure, column in (("belief_auroc", "belief"), ("claim_auroc", "claim")):
            score = column if column == "belief" or reading == "raw" else "centred"
            got = _ranked(kept, score, level, draws, seed)
            counted = (len(kept), got.estimate, got.low, got.high, got.n, len(kept))
            out.append([reading, "all", measure, *counted])
    columns = ["says", "of", "measure", "count", "estimate", "low", "high", "groups", "statements"]
    return pd.DataFrame(out, columns=pd.Index(columns))


def _measures(part: pd.DataFrame, says: str) -> dict[str, np.ndarray]:
    label, thinks, said = (part[name].to_numpy(dtype=bool) for name in ("label", "believes", says))
    return {
        "belief_right": thinks == label,
        "claim_right": said == label,
        "agree": thinks == said,
        "says_true_believes_false": said & ~thinks,
        "says_false_believes_true": ~said & thinks,
        "said_against_belief": said != thinks,
    }


def _ranked(part: pd.DataFrame, score: str, level: float, draws: int, seed: int) -> Interval:
    """AUROC of a column against the label, resampling groups."""
    names, group = np.unique(part["group"].to_numpy(dtype=str), return_inverse=True)
    values, label = part[score].to_numpy(dtype=float), part["label"].to_numpy(dtype=bool)
    members = [np.flatnonzero(group == g) for g in range(len(names))]

    def one(chosen: np.ndarray) -> float:
        rows = np.concatenate([members[g] for g in chosen])
        both = label[rows].any() and not label[rows].all()
        return auroc(values[rows], label[rows]) if both else 0.5

    return resampled(lambda at: np.apply_along_axis(one, -1, at), len(names), level, draws, seed)


def _rows(
    known: Problem, one: Activations, held: np.ndarray, chance: np.ndarray, name: str, fold: int
) -> Evidence:
    names = np.array(known.names, dtype=object)
    return Evidence.build(
        chance, method="belief", condition="probe", metric=name, unit="probability", seed=fold,
        strength=known.labels[held].astype(float), group=names[known.groups[held]], example=held,
        model=one.model, kind=str(one.site.kind), layer=one.site.layer, head=one.site.head,
        span=one.position,
    )  # fmt: skip
