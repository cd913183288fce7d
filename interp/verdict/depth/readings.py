"""The readings of the battery, each with its interval, its ends and what it says of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.evidence import Evidence
from interp.stats.intervals import Interval, group_bootstrap, group_means, wilson
from interp.verdict.thresholds import Thresholds

#: The method of all rows.
METHOD = "depth"

#: Readings that rank an answer above wrong ones; chance is one half.
LOG_P, PROBE, VERIFIED = "log_p", "probe", "verified"
RANKED = (LOG_P, PROBE, VERIFIED)

#: Readings in which an answer is said or not.
REWORDED, REVERSED, TWO_HOP, DOUBTED = "reworded", "reversed", "two_hop", "doubted"
SAID = (REWORDED, REVERSED, TWO_HOP, DOUBTED)

#: Readings that are shown and decide nothing.
BELIEF, CLAIM, CONTRADICTED, REMINDED = "belief", "claim", "contradicted", "reminded"
SHOWN = (BELIEF, CLAIM, CONTRADICTED, REMINDED)

READINGS = (*RANKED, *SAID, *SHOWN)

#: What a reading asks of an answer.
MEANS: Mapping[str, str] = {
    LOG_P: "log p of the answer ranks it above wrong ones",
    PROBE: "a held-out probe of truth ranks it above wrong ones",
    VERIFIED: "the model's own “true” ranks it above wrong ones",
    REWORDED: "it is said in wordings that the verdict does not ask",
    REVERSED: "from the answer, its subject is said",
    TWO_HOP: "what follows from it is said",
    DOUBTED: "it is said once the model's own answer is called wrong",
    BELIEF: "the probe reads a statement of it as true",
    CLAIM: "the model calls a statement of it true",
    CONTRADICTED: "it is said behind a statement of another fact's answer",
    REMINDED: "it is said behind a statement of it",
}

KEPT, LOST, BETWEEN = "kept", "lost", "between"


@dataclass(frozen=True)
class Reading:
    """One reading of old and new answers in both models.

    Attributes:
        name: which reading.
        old: of the tuned model on the old answers; None where it was not asked.
        new: of the tuned model on the new answers.
        base_old: of the base on the old answers: the ceiling.
        base_new: of the base on the new answers, which it never learnt: the floor.
        permuted: of the tuned model on answers exchanged between facts: the control.
        old_level: kept (said), lost (not said) or between; None where it does not count.
        new_level: the same of the new answers.
        counts: whether the base passes it with the old answers, and no one answer would.
    """

    name: str
    old: Interval | None
    new: Interval | None
    base_old: Interval | None
    base_new: Interval | None
    permuted: Interval | None
    old_level: str | None
    new_level: str | None
    counts: bool


def read(evidence: Evidence, name: str, thresholds: Thresholds, seed: int) -> Reading:
    """One reading from its rows.

    Args:
        evidence: holds rows of method ``depth``.
        name: which reading.
        thresholds: cut-offs, and the fewest facts on which a level rests.
        seed: of the bootstraps.
    """
    rows = evidence.rows(method=METHOD, condition=name)

    def of(model: str, metric: str) -> Interval | None:
        part = rows[(rows["model"] == model) & (rows["metric"] == metric)]
        return share_of(part, thresholds, seed)

    base_old, old, new = of("base", "old"), of("tuned", "old"), of("tuned", "new")
    passed = _level(name, base_old, thresholds) == KEPT and name not in SHOWN
    commonest = (evidence.provenance.get("depth_commonest") or {}).get(name, 0.0)
    counts = passed and commonest <= thresholds.low
    return Reading(
        name, old, new, base_old, of("base", "new"), of("tuned", "permuted"),
        old_level=_level(name, old, thresholds) if counts else None,
        new_level=_level(name, new, thresholds) if counts else None,
        counts=counts,
    )  # fmt: skip


def share_of(rows: pd.DataFrame, thresholds: Thresholds, seed: int) -> Interval | None:
    """Mean over facts of a share, with its interval; None without rows.

    Of facts that are each 0 or 1 it is Wilson's, else the bootstrap over facts.

    Args:
        rows: with a value and a group.
        thresholds: draws and confidence.
        seed: of the draws.
    """
    if not len(rows):
        return None
    values, groups = rows["value"].to_numpy(float), rows["group"].astype(str).to_numpy()
    means, _ = group_means(values, groups)
    level = 1 - thresholds.alpha
    if np.isin(means, (0.0, 1.0)).all():
        return wilson(int(means.sum()), len(means), level=level)
    return group_bootstrap(values, groups, draws=thresholds.draws, level=level, seed=seed)


def _level(name: str, share: Interval | None, thresholds: Thresholds) -> str | None:
    """What a share says of an answer; None where it rests on too few facts."""
    if share is None or share.n < thresholds.min_groups:
        return None
    high, low = thresholds.high, thresholds.low
    if name in RANKED:
        high, low = thresholds.ranked_kept, thresholds.ranked_lost
    if share.low >= high:
        return KEPT
    return LOST if share.high <= low else BETWEEN


def with_level(readings: Sequence[Reading], which: str, level: str) -> list[str]:
    """Names of the readings that count and have a level for "old" or "new" answers."""
    return [r.name for r in readings if r.counts and getattr(r, f"{which}_level") == level]
