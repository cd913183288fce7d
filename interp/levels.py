"""Sufficiency, retention and persistence as levels, and the table that turns them into a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp import stats
from interp.answers import PERSISTENCE, RETENTION, SHARES, SUFFICIENCY
from interp.stats import Interval
from interp.thresholds import Thresholds

HIGH, LOW, UNDETERMINED = "high", "low", "undetermined"

#: (sufficiency, retention, persistence) -> what; None matches any level.
TABLE: tuple[tuple[str, str, str | None, str], ...] = (
    (HIGH, HIGH, None, "behaviour"),
    (HIGH, LOW, None, "both"),
    (LOW, LOW, HIGH, "knowledge"),
    (LOW, HIGH, HIGH, "knowledge"),
)


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


def word(sufficiency: str, retention: str, persistence: str) -> str:
    """The table's word for three levels ("high", "low", "undetermined")."""
    for want_s, want_f, want_r, what in TABLE:
        if (sufficiency, retention) == (want_s, want_f) and want_r in (None, persistence):
            return what
    return UNDETERMINED


def share_of(
    said: Mapping[str, bool], groups: Sequence[str], thresholds: Thresholds
) -> Interval | None:
    """Wilson share over the groups; None unless every group was measured."""
    if not groups or any(g not in said for g in groups):
        return None
    yes = sum(said[g] for g in groups)
    return stats.wilson(yes, len(groups), level=1 - thresholds.alpha)


def levels_of(
    said: Mapping[str, Mapping[str, bool]],
    groups: Sequence[str],
    thresholds: Thresholds,
    vetoes: Mapping[str, str],
) -> Levels:
    """Shares, levels and word of some groups.

    A veto keeps retention, or a high sufficiency, from having a level.
    """
    shares = {name: share_of(said[name], groups, thresholds) for name in SHARES}
    level = {name: level_of(share, thresholds) for name, share in shares.items()}
    if RETENTION in vetoes:
        level[RETENTION] = UNDETERMINED
    if SUFFICIENCY in vetoes and level[SUFFICIENCY] == HIGH:
        level[SUFFICIENCY] = UNDETERMINED
    what = word(level[SUFFICIENCY], level[RETENTION], level[PERSISTENCE])
    return Levels(len(groups), shares, level, what)


def level_of(share: Interval | None, thresholds: Thresholds) -> str:
    """High: the lower bound reaches `high`; low: the upper bound is at most `low`."""
    if share is None:
        return UNDETERMINED
    if share.low >= thresholds.high:
        return HIGH
    return LOW if share.high <= thresholds.low else UNDETERMINED
