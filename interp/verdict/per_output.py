"""The verdict output by output: one row per query, each with its own place and content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.verdict.answers import (
    HIGH,
    LOW,
    RETENTION,
    SHARES,
    SUFFICIENCY,
    UNDETERMINED,
    word,
)
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
    """Rows of the verdict output by output: one per query of a known fact.

    A changed group carries the output contrast, its own share below the middle boundary, its own
    place, the kind of change that the verdict and its own answers agree on (`what`), and what drives
    its output (`word`: shared push, item by item, either, neither; None where it was not asked);
    other groups carry the fact contrast, and null for place and content. Group shares have no
    interval: read them beside the pooled verdict.

    Args:
        outcomes: what both models said.
        output: profile of the output contrast on the changed groups.
        fact: profile of the fact contrast on the known groups.
        content: the kind of change.
        thresholds: the declared cut-offs.
        changed: whether the verdict is that anything changed.
    """
    changed_groups = set(outcomes.changed_groups)
    places = {} if output is None else _places(output, thresholds)
    fact_contrast = _by_group(fact)
    rows = []
    known_groups = set(outcomes.known_groups)
    for row in outcomes.table.to_dict("records"):
        group = str(row["group"])
        if group not in known_groups:
            continue
        differs = group in changed_groups
        base, tuned = fact_contrast.get(group, (None, None))
        if differs:
            base, tuned = _number(row["metric_base"]), _number(row["metric_tuned"])
        judged = differs and changed
        place = places.get(group, _ItemPlace()) if judged else None
        what = None
        if judged:
            what = UNDETERMINED if content is None else item_kind(content, group)
            if outcomes.open and content and content.words:
                what = content.words.of.get(group, UNDETERMINED)
        rows.append(
            {str(k): row[k] for k in SAID}
            | {
                "contrast": "output" if differs else "fact",
                "metric_base": base,
                "metric_tuned": tuned,
                "share_lower": place.share if place else None,
                "share_lower_order_u": place.share_u if place else None,
                "share_lower_order_v": place.share_v if place else None,
                "where": place.where if place else None,
                "what": what,
                "word": content.words.of.get(group) if judged and content and content.words else None,
            }
            | ({"site": row["site"], "unit": row["unit"]} if outcomes.open else {})
        )
    return rows


def item_kind(content: Content, group: str) -> str:
    """Kind of change of one group: that of all, or of its class, if its own answers agree.

    In a mixed change a pushed output is behaviour where the old answer is retained and both where it
    is not, and an item-by-item output is knowledge.

    Args:
        content: the kind of change of all groups.
        group: one of those that were asked.
    """
    answers = content.answers
    if answers is None:
        return UNDETERMINED
    yes = {name: answers.said[name].get(group) for name in SHARES}
    if content.what == MIXED:
        driver = content.words.of.get(group) if content.words else None
        if driver == ITEM_BY_ITEM:
            return "knowledge"
        if driver != SHARED_PUSH or yes[RETENTION] is None:
            return UNDETERMINED
        return "behaviour" if yes[RETENTION] else "both"
    if None in yes.values():
        return UNDETERMINED
    general = content.what
    if general == UNDETERMINED:
        general = content.class_words.get(content.class_of[group], UNDETERMINED)
        yes[SUFFICIENCY] = answers.by_part[group]
    sufficiency, retention, persistence = (HIGH if yes[name] else LOW for name in SHARES)
    single = word(sufficiency, retention, persistence)
    return single if single == general else UNDETERMINED


def unknown_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Rows of the facts that the base does not know: reported, never judged.

    Args:
        outcomes: what both models said.
    """
    table = outcomes.table[outcomes.table["group"].isin(outcomes.unknown_groups)]
    return [{str(k): row[k] for k in SAID} for row in table.to_dict("records")]


@dataclass(frozen=True)
class _ItemPlace:
    """Place of one group: its own shares below the cut, None where its effect is too small."""

    where: str = UNDETERMINED
    share: float | None = None
    share_u: float | None = None
    share_v: float | None = None


def _places(stitched: Profile, thresholds: Thresholds) -> Mapping[str, _ItemPlace]:
    """The place of every group."""
    cut = int(stitched.n_layers * thresholds.cut)
    below_u, below_v = stitched.below(cut)
    parts = np.mean(stitched.parts(), axis=0)
    places: dict[str, _ItemPlace] = {}
    for i, group in enumerate(stitched.groups):
        delta = stitched.delta[i]
        if abs(delta) < thresholds.smallest_effect:
            places[group] = _ItemPlace()
            continue
        u, v = float(below_u[i] / delta), float(below_v[i] / delta)
        cancels = np.abs(parts[i]).sum() / abs(delta) > thresholds.cancellation
        ends = max(abs(parts[i, 0]), abs(parts[i, -1])) / abs(delta)
        sound = not cancels and ends <= thresholds.term_share
        where = _place(u, v, thresholds) if sound else UNDETERMINED
        places[group] = _ItemPlace(where, (u + v) / 2, u, v)
    return places


def _place(u: float, v: float, thresholds: Thresholds) -> str:
    """Place of one group from its shares in the two orders."""
    if u - v > thresholds.coupling:
        return "coupled"
    if abs(u - v) > thresholds.item_order_gap:
        return UNDETERMINED
    if min(u, v) >= thresholds.lower_share:
        return "lower"
    if max(u, v) <= thresholds.upper_share:
        return "upper"
    inside = min(u, v) > thresholds.upper_share and max(u, v) < thresholds.lower_share
    return "distributed" if inside else UNDETERMINED


def _by_group(contrast: Profile | None) -> dict[str, tuple[float | None, float | None]]:
    """The base's and the tuned model's own contrast of each group."""
    if contrast is None:
        return {}
    rows = zip(contrast.groups, contrast.base, contrast.tuned, strict=True)
    return {group: (float(base), float(tuned)) for group, base, tuned in rows}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
