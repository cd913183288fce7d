"""Belief and claim side by side: whether a model says what a probe reads."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from interp._aliases import alias, formerly
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.stats.rates import auroc
from probes.measures.accuracy import resampled


@formerly(believed="belief", said="claim")
def belief_claim_table(belief: Evidence, claim: Evidence) -> pd.DataFrame:
    """One row per statement: what a held-out probe reads and what the model says, side by side.

    Args:
        belief: made by `belief` or `posterior`.
        claim: made by `claims`, about the same statements.

    Returns:
        A table with columns example, group, fold, label (whether true), belief (a probability), claim
        (nats, mean over questions), centred (the claim minus the mean claim over the *other* folds:
        what is said beyond the habit of saying yes), believes, says and says_centred (whether true).

    Raises:
        ValueError: if the two do not hold the same statements.

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
        >>> question = probes.Question("{statement} We know", (facts.answers[0],), (facts.answers[2],))
        >>> table = probes.belief_claim_table(read, probes.claims(model, said, questions=[question]))
        >>> len(table), list(table.columns)[-3:]
        (48, ['believes', 'says', 'says_centred'])
    """
    left = belief.needed("probes.belief or probes.posterior", method="belief")[
        ["example", "group", "fold", "label", "value"]
    ]
    left = left.rename(columns={"value": "belief"}).astype({"group": str})
    rows = claim.needed("probes.claims", method="claim").astype({"group": str})
    mean = rows.groupby(["example", "group", "label"], observed=True)["value"].mean()
    right = mean.reset_index().rename(columns={"value": "claim"})
    table = left.merge(right, on=["example", "group", "label"]).sort_values("example")
    if not len(left) == len(table) == len(right):
        raise ValueError(
            f"belief and claim must be about the same statements; got {len(left)} and {len(right)}, "
            f"{len(table)} in common: make both from one Statements"
        )
    total = table.groupby("fold")["claim"].agg(["sum", "count"])
    rest = (total["sum"].sum() - total["sum"]) / (total["count"].sum() - total["count"])
    table["centred"] = table["claim"] - table["fold"].map(rest).astype(float)
    table["label"] = table["label"] == 1
    table["believes"] = table["belief"] > 0.5
    table["says"], table["says_centred"] = table["claim"] > 0, table["centred"] > 0
    return table.reset_index(drop=True)


believed_and_said = alias(belief_claim_table, "believed_and_said")


@formerly(draws="resamples")
def belief_claim_summary(
    table: pd.DataFrame,
    *,
    sure: float = 0.5,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Counts and shares of `belief_claim_table`, with BCa intervals over groups.

    The interval holds the probes fixed. Where the probe is at chance, nothing follows from a
    disagreement.

    Args:
        table: made by `belief_claim_table`.
        sure: count statements whose belief is at least so sure, max(p, 1 − p) ≥ sure.
        level: of the intervals.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns says ("raw" or "centred"), of ("all", "true", "false" statements), measure,
        count, estimate, low, high, groups, statements. Measures: belief_right, claim_right (whether it
        says the truth), agree, says_true_believes_false, says_false_believes_true and
        said_against_belief (either) as shares; belief_auroc and claim_auroc over all statements.

    Raises:
        ValueError: sure outside [0.5, 1), or no statement as sure as that.

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
        >>> question = probes.Question("{statement} We know", (facts.answers[0],), (facts.answers[2],))
        >>> table = probes.belief_claim_table(read, probes.claims(model, said, questions=[question]))
        >>> summary = probes.belief_claim_summary(table, resamples=20)
        >>> summary.loc[summary["measure"] == "agree", ["says", "of"]].values.tolist()[:2]
        [['raw', 'all'], ['raw', 'true']]
    """
    missing = sorted({"belief", "claim", "label", "believes", "says", "fold"} - set(table.columns))
    if missing:
        raise ValueError(
            f"the table lacks {missing}, got columns {list(table.columns)[:8]}; expected one made by "
            "probes.belief_claim_table(belief, claims)"
        )
    if not 0.5 <= sure < 1:
        raise ValueError(f"sure must lie in [0.5, 1); got {sure}: use 0.5 to count every statement")
    kept = table[np.maximum(table["belief"], 1 - table["belief"]) >= sure]
    if not len(kept):
        raise ValueError(f"no statement is believed or disbelieved at {sure}; got 0 of {len(table)}")
    settings = (level, resamples, seed)
    rows = []
    for reading, says in (("raw", "says"), ("centred", "says_centred")):
        for truth in ("all", "true", "false"):
            part = kept if truth == "all" else kept[kept["label"] == (truth == "true")]
            if not len(part):
                continue
            for measure, hit in _hits(part, says).items():
                share = _share_interval(part, hit, *settings)
                counted = (int(hit.sum()), share.estimate, share.low, share.high, share.n, len(part))
                rows.append([reading, truth, measure, *counted])
        for measure, column in (("belief_auroc", "belief"), ("claim_auroc", "claim")):
            score = column if column == "belief" or reading == "raw" else "centred"
            area = _auroc_interval(kept, score, *settings)
            counted = (len(kept), area.estimate, area.low, area.high, area.n, len(kept))
            rows.append([reading, "all", measure, *counted])
    columns = ["says", "of", "measure", "count", "estimate", "low", "high", "groups", "statements"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


sincerity = alias(belief_claim_summary, "sincerity")


def _hits(part: pd.DataFrame, says: str) -> dict[str, np.ndarray]:
    """Per measure, the statements that count."""
    label, believes, claims = (part[name].to_numpy(dtype=bool) for name in ("label", "believes", says))
    return {
        "belief_right": believes == label,
        "claim_right": claims == label,
        "agree": believes == claims,
        "says_true_believes_false": claims & ~believes,
        "says_false_believes_true": ~claims & believes,
        "said_against_belief": claims != believes,
    }


def _share_interval(
    part: pd.DataFrame, hit: np.ndarray, level: float, resamples: int, seed: int
) -> Interval:
    """The share of statements that count, resampling groups."""
    names, group = np.unique(part["group"].to_numpy(dtype=str), return_inverse=True)
    share = partial(_share, np.bincount(group, weights=hit), np.bincount(group))
    return resampled(share, len(names), level, resamples, seed)


def _share(hits: np.ndarray, sizes: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.asarray(hits[drawn].sum(-1) / sizes[drawn].sum(-1))


def _auroc_interval(
    part: pd.DataFrame, score: str, level: float, resamples: int, seed: int
) -> Interval:
    """AUROC of a column against the label, resampling groups."""
    names, group = np.unique(part["group"].to_numpy(dtype=str), return_inverse=True)
    values, label = part[score].to_numpy(dtype=float), part["label"].to_numpy(dtype=bool)
    members = [np.flatnonzero(group == g) for g in range(len(names))]

    def area(chosen: np.ndarray) -> float:
        rows = np.concatenate([members[g] for g in chosen])
        both = label[rows].any() and not label[rows].all()
        return auroc(values[rows], label[rows]) if both else 0.5

    def areas(drawn: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(area, -1, drawn)

    return resampled(areas, len(names), level, resamples, seed)
