"""What the shared-shift test answered, its shares beside floor and ceiling, and their levels.

Sufficiency, retention and persistence ask for the token that the tuned model says on the form that
is read, so the tuned model's own rate is the ceiling of the first and last, and the base's the
floor. Retention asks for the right answer among all known ones: there the base is the ceiling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.outcomes import Outcomes
from interp.verdict.output_words import ITEM_BY_ITEM, SHARED_PUSH
from interp.verdict.thresholds import Thresholds

SUFFICIENCY, RETENTION, PERSISTENCE = "sufficiency", "retention", "persistence"

#: The three shares of the verdict's table, in its order.
SHARES = (SUFFICIENCY, RETENTION, PERSISTENCE)

#: The metric under which the whole models' closed-set answers stand in the baseline rows.
CLOSED_SET = "closed_set"


@dataclass(frozen=True)
class Ends:
    """Where a share starts and ends: what the unedited models themselves do on the same groups.

    Attributes:
        floor: the share without any effect; None where it was not measured.
        ceiling: the share of the full effect; None where it was not measured.
    """

    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class Placebo:
    """Random shifts of the push's norm, beside sufficiency on the same groups.

    Attributes:
        largest: the largest share among the random shifts; None without any.
        draws: how many random shifts cover all of the groups they were tried on.
        sufficiency: the share of the real push on these groups.
        groups: how many groups they were tried on.
    """

    largest: float | None = None
    draws: int = 0
    sufficiency: float | None = None
    groups: int = 0


@dataclass(frozen=True)
class ShiftAnswers:
    """The answers of every group that was shifted, at the boundaries chosen for it.

    Attributes:
        groups: the groups that were shifted.
        said: condition -> group -> whether the wanted token was said.
        ends: floor and ceiling of each of the three shares.
        placebo: the random shifts.
        null_share: share of groups that a null tune's shift moves; None without a null tune.
        chance: share that is right of one who knows a group's part and nothing else of it.
    """

    groups: tuple[str, ...]
    said: Mapping[str, Mapping[str, bool]]
    ends: Mapping[str, Ends]
    placebo: Placebo
    null_share: float | None
    chance: float

    @property
    def by_part(self) -> Mapping[str, bool]:
        """Sufficiency with a push per part where one was estimated, of all groups elsewhere."""
        return {**self.said[SUFFICIENCY], **self.said["sufficiency_part"]}


def shifted_groups(evidence: Evidence, form: str) -> set[str]:
    """Names of the groups with sufficiency rows on a form.

    Args:
        evidence: with the rows method ``shift``.
        form: the query form that is read.
    """
    rows = _rows(evidence, form)
    return {str(g) for g in rows.loc[rows["condition"] == SUFFICIENCY, "group"]}


def shift_answers(
    evidence: Evidence,
    outcomes: Outcomes,
    groups: Sequence[str],
    k_star: Mapping[str, int],
    retained_at: Mapping[str, int],
    part_groups: int,
) -> ShiftAnswers:
    """Answers of the shared-shift test at k* and where retention is read.

    Args:
        evidence: with the rows method ``shift``.
        outcomes: what both models said.
        groups: the shifted groups.
        k_star: group -> the boundary at which sufficiency and persistence are read.
        retained_at: group -> the boundary at which retention is read; empty leaves it out.
        part_groups: groups from which a token of the tuned model is a part of its own.

    Returns:
        One value; a condition without rows has no answers.
    """
    rows = _rows(evidence, outcomes.estimating_form)
    rows = rows[rows["group"].astype(str).isin(list(groups))]
    boundaries = {
        SUFFICIENCY: k_star,
        "sufficiency_part": k_star,
        "sufficiency_mean": k_star,
        RETENTION: retained_at,
        "retention_control": retained_at,
        PERSISTENCE: k_star,
    }
    said = {
        condition: {group: value >= 0.5 for group, value in _means(rows, condition, by_group).items()}
        for condition, by_group in boundaries.items()
    }
    null = _means(rows, "null_shift", k_star)
    parts, answers = outcomes.token_classes(groups), outcomes.answer_tokens(groups)
    return ShiftAnswers(
        groups=tuple(groups),
        said=said,
        ends=_ends(evidence, outcomes.estimating_form, groups),
        placebo=_placebo(rows, k_star, said[SUFFICIENCY]),
        null_share=float(np.mean(list(null.values()))) if null else None,
        chance=chance_by_part(parts, answers, part_groups),
    )


def chance_by_part(parts: Sequence[int], answers: Sequence[int], least: int) -> float:
    """Share of right answers where only the part is known: of every part its commonest one.

    The mean state of a part may tell what its members have in common, such as a region.

    Args:
        parts: the tuned token of each group.
        answers: the right one.
        least: groups from which a tuned token is a part; the others are one together.
    """
    sizes = Counter(parts)
    labelled = [part if sizes[part] >= least else None for part in parts]
    pairs = Counter(zip(labelled, answers, strict=True))
    best = {label: max(n for (part, _), n in pairs.items() if part == label) for label in labelled}
    return sum(best.values()) / len(answers)


def _rows(evidence: Evidence, form: str, metric: str = "said") -> pd.DataFrame:
    """Rows of the test on one form, and those that belong to every form."""
    rows = evidence.rows(method="shift", metric=metric)
    return rows[rows["template"].isna() | (rows["template"] == form)]


def _means(rows: pd.DataFrame, condition: str, boundaries: Mapping[str, int]) -> dict[str, float]:
    """Per group, the mean value of a condition at that group's boundary."""
    part = _at_boundaries(rows, condition, boundaries)
    means = part.groupby(part["group"].astype(str))["value"].mean()
    return {str(g): float(v) for g, v in means.items()}


def _at_boundaries(rows: pd.DataFrame, condition: str, boundaries: Mapping[str, int]) -> pd.DataFrame:
    """Rows of a condition at each group's own boundary."""
    part = rows[rows["condition"] == condition]
    return part[part["layer"] == part["group"].astype(object).map(boundaries).astype("Int64")]


def _placebo(rows: pd.DataFrame, boundaries: Mapping[str, int], pushed: Mapping[str, bool]) -> Placebo:
    """Random shifts at the groups' boundaries, beside the real push on the same groups."""
    part = _at_boundaries(rows, "placebo", boundaries)
    if part.empty:
        return Placebo()
    table = part.astype({"group": str}).pivot_table(index="group", columns="draw", values="value")
    table = table.dropna(axis="columns")
    tried = [pushed[group] for group in table.index if group in pushed]
    if table.empty or len(tried) < len(table):
        return Placebo()
    return Placebo(float(table.mean(axis=0).max()), table.shape[1], float(np.mean(tried)), len(table))


def _ends(evidence: Evidence, form: str, groups: Sequence[str]) -> dict[str, Ends]:
    """Floors and ceilings, from the rows of the two unedited models."""

    def rate(metric: str, model: str) -> float | None:
        rows = _rows(evidence, form, metric)
        rows = rows[(rows["condition"] == "baseline") & (rows["model"] == model)]
        rows = rows[rows["group"].astype(str).isin(list(groups))]
        return float(rows["value"].mean()) if len(rows) else None

    says = Ends(rate("said", "base"), rate("said", "tuned"))
    right = Ends(rate(CLOSED_SET, "tuned"), rate(CLOSED_SET, "base"))
    return {SUFFICIENCY: says, RETENTION: right, PERSISTENCE: says}


HIGH, LOW, UNDETERMINED = "high", "low", "undetermined"

#: Rows of (sufficiency, retention, persistence, what); None matches any level.
Table: TypeAlias = tuple[tuple[str, str | None, str | None, str], ...]

TABLE: Table = (
    (HIGH, HIGH, None, "behaviour"),
    (HIGH, LOW, None, "both"),
    (LOW, LOW, HIGH, "knowledge"),
    (LOW, HIGH, HIGH, "knowledge"),
)

#: The same of prompts of any kind, where no answer is known to be right and retention decides nothing.
OPEN_TABLE: Table = ((HIGH, None, LOW, SHARED_PUSH), (LOW, None, HIGH, ITEM_BY_ITEM))


@dataclass(frozen=True)
class Levels:
    """The three shares of a set of groups, their levels, and the word that the table gives them.

    Attributes:
        n: number of groups.
        shares: sufficiency, retention and persistence -> Wilson interval; None where not every
            group was measured.
        level: the same names -> "high", "low" or "undetermined".
        what: the table's word.
    """

    n: int
    shares: Mapping[str, Interval | None]
    level: Mapping[str, str]
    what: str


def word(sufficiency: str, retention: str, persistence: str, table: Table = TABLE) -> str:
    """Word of a table for three levels ("high", "low", "undetermined")."""
    levels = (sufficiency, retention, persistence)
    for *row, what in table:
        if all(wanted in (None, level) for wanted, level in zip(row, levels, strict=True)):
            return str(what)
    return UNDETERMINED


def share_of(
    said: Mapping[str, bool], groups: Sequence[str], thresholds: Thresholds
) -> Interval | None:
    """Share of the groups with Wilson's interval; None unless every group was measured."""
    if not groups or any(g not in said for g in groups):
        return None
    yes = sum(said[g] for g in groups)
    return stats.wilson(yes, len(groups), level=1 - thresholds.alpha)


def levels_of(
    said: Mapping[str, Mapping[str, bool]],
    groups: Sequence[str],
    thresholds: Thresholds,
    vetoes: Mapping[str, str],
    table: Table = TABLE,
) -> Levels:
    """Shares, levels and word of some groups.

    Args:
        said: condition -> group -> whether the wanted token was said.
        groups: those whose levels are wanted.
        thresholds: the declared cut-offs.
        vetoes: a veto keeps retention, or a high sufficiency, from having a level.
        table: which levels have which word.
    """
    shares = {name: share_of(said[name], groups, thresholds) for name in SHARES}
    level = {name: level_of(share, thresholds) for name, share in shares.items()}
    if RETENTION in vetoes:
        level[RETENTION] = UNDETERMINED
    if SUFFICIENCY in vetoes and level[SUFFICIENCY] == HIGH:
        level[SUFFICIENCY] = UNDETERMINED
    what = word(level[SUFFICIENCY], level[RETENTION], level[PERSISTENCE], table)
    return Levels(len(groups), shares, level, what)


def level_of(share: Interval | None, thresholds: Thresholds) -> str:
    """Level of a share: high from a lower bound of `high` on, low up to an upper bound of `low`."""
    if share is None:
        return UNDETERMINED
    if share.low >= thresholds.high:
        return HIGH
    return LOW if share.high <= thresholds.low else UNDETERMINED
