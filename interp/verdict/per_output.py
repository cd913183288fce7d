"""The verdict output by output: one row per query, each with its own place and content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interp.verdict.answers import HIGH, LOW, SHARES, UNDETERMINED, word
from interp.verdict.outcomes import Outcomes
from interp.verdict.output_words import ITEM_BY_ITEM, SHARED_PUSH
from interp.verdict.profile import Profile
from interp.verdict.thresholds import Thresholds
from interp.verdict.what import MIXED, Content

SAID = ("text", "group", "form", "answer", "said_base", "said_tuned")


def item_rows(
    outcomes: Outcomes,
    output: Profile | None,
    fact: Profile | None,
    content: Content | None,
    thresholds: Thresholds,
    *,
    changed: bool,
) -> list[dict[str, Any]]:
    """One row per query of a known fact.

    A changed group carries the output contrast, its own share below the middle boundary, its own
    place, the kind of change that the verdict and its own answers agree on (`what`), and what drives
    its output (`word`: shared push, item by item, either, neither; None where it was not asked);
    other groups carry the fact contrast, and null for place and content. Group shares have no
    interval: read them beside the pooled verdict.
    """
    changed_groups = set(outcomes.changed_groups)
    places = {} if output is None else _places(output, thresholds)
    facts = _ends(fact)
    rows = []
    known = set(outcomes.known_groups)
    for row in outcomes.table.to_dict("records"):
        group = str(row["group"])
        if group not in known:
            continue
        mine = group in changed_groups
        base, tuned = facts.get(group, (None, None))
        if mine:
            base, tuned = _number(row["metric_base"]), _number(row["metric_tuned"])
        judged = mine and changed
        share, where = places.get(group, (None, "undetermined")) if judged else (None, None)
        what = None
        if judged:
            what = UNDETERMINED if content is None else item_kind(content, group)
        rows.append(
            {str(k): row[k] for k in SAID}
            | {
                "contrast": "output" if mine else "fact",
                "metric_base": base,
                "metric_tuned": tuned,
                "share_lower": share,
                "where": where,
                "what": what,
                "word": content.words.of.get(group) if judged and content and content.words else None,
            }
        )
    return rows


def item_kind(content: Content, group: str) -> str:
    """The kind of change of one group: that of all, or of its class, if its own answers agree.

    In a mixed change a pushed output is behaviour where the old answer is retained and both where it
    is not, and an item-by-item output is knowledge.
    """
    answers = content.answers
    if answers is None:
        return UNDETERMINED
    own = [answers.said[name].get(group) for name in SHARES]
    if content.what == MIXED:
        driver = content.words.of.get(group) if content.words else None
        if driver == ITEM_BY_ITEM:
            return "knowledge"
        if driver != SHARED_PUSH or own[1] is None:
            return UNDETERMINED
        return "behaviour" if own[1] else "both"
    if None in own:
        return UNDETERMINED
    general = content.what
    if general == UNDETERMINED:
        general = content.class_words.get(content.class_of[group], UNDETERMINED)
        own[0] = answers.by_part[group]
    mine = word(*(HIGH if yes else LOW for yes in own))
    return mine if mine == general else UNDETERMINED


def unknown_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """What was said about facts that the base does not know: reported, never judged."""
    table = outcomes.table[outcomes.table["group"].isin(outcomes.unknown_groups)]
    return [{str(k): row[k] for k in SAID} for row in table.to_dict("records")]


def _places(found: Profile, thresholds: Thresholds) -> Mapping[str, tuple[float | None, str]]:
    """Each group's own share below the cut (None where its effect is too small) and its place."""
    cut = int(found.n_layers * thresholds.cut)
    below_u, below_v = found.below(cut)
    u, v = found.parts()
    parts = (u + v) / 2
    places: dict[str, tuple[float | None, str]] = {}
    for i, group in enumerate(found.groups):
        delta = found.delta[i]
        if abs(delta) < thresholds.smallest_effect:
            places[group] = (None, "undetermined")
            continue
        one, two = below_u[i] / delta, below_v[i] / delta
        agree = abs(one - two) <= thresholds.item_order_gap
        cancels = np.abs(parts[i]).sum() / abs(delta) > thresholds.cancellation
        ends = max(abs(parts[i, 0]), abs(parts[i, -1])) / abs(delta)
        where = "undetermined"
        if agree and not cancels and ends <= thresholds.term_share:
            where = _place(min(one, two), max(one, two), thresholds)
        places[group] = (float((one + two) / 2), where)
    return places


def _place(smaller: float, larger: float, thresholds: Thresholds) -> str:
    if smaller >= thresholds.lower_share:
        return "lower"
    if larger <= thresholds.upper_share:
        return "upper"
    inside = smaller > thresholds.upper_share and larger < thresholds.lower_share
    return "distributed" if inside else "undetermined"


def _ends(found: Profile | None) -> dict[str, tuple[float | None, float | None]]:
    if found is None:
        return {}
    pairs = zip(found.groups, found.base, found.tuned, strict=True)
    return {g: (float(b), float(t)) for g, b, t in pairs}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
