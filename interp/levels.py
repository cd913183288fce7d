"""Sufficiency, retention and persistence as levels, and the table that turns them into a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp import stats
from interp.stats import Interval
from interp.thresholds import Thresholds

#: (S, F, R) -> what; None matches any level.
TABLE: tuple[tuple[str, str, str | None, str], ...] = (
    ("high", "high", None, "behaviour"),
    ("high", "low", None, "both"),
    ("low", "low", "high", "knowledge"),
    ("low", "high", "high", "knowledge"),
)


@dataclass(frozen=True)
class Levels:
    """S, F and R of a set of groups and the word that the table gives them."""

    n: int
    sufficiency: Interval | None
    retention: Interval | None
    persistence: Interval | None
    s: str
    f: str
    r: str
    what: str


def word(s: str, f: str, r: str) -> str:
    """The table's word for levels of S, F and R ("high", "low", "undetermined")."""
    for want_s, want_f, want_r, what in TABLE:
        if s == want_s and f == want_f and want_r in (None, r):
            return what
    return "undetermined"


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
    """Shares, levels and word of some groups. A veto keeps F, or a high S, from having a level."""
    shares = {name: share_of(said[name], groups, thresholds) for name in "sfr"}
    level = {name: _level(share, thresholds) for name, share in shares.items()}
    if "f" in vetoes:
        level["f"] = "undetermined"
    if "s" in vetoes and level["s"] == "high":
        level["s"] = "undetermined"
    s, f, r = (level[name] for name in "sfr")
    return Levels(len(groups), shares["s"], shares["f"], shares["r"], s, f, r, word(s, f, r))


def _level(share: Interval | None, thresholds: Thresholds) -> str:
    if share is None:
        return "undetermined"
    if share.low >= thresholds.high:
        return "high"
    return "low" if share.high <= thresholds.low else "undetermined"
