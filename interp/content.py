"""What changed: knowledge, entity by entity, or a behaviour that the base's own state predicts.

Sufficiency S: the base, given its state plus the predicted shift at k*, says the tuned token.
Retention F: the base's upper blocks, reading the tuned state minus the mean shift at the fact
boundary r = kappa - 1, give the base's answer among all known answers. Persistence R: the tuned
model, given its state minus the mean shift at k*, still says its token. Shares of changed groups
with Wilson intervals; k* is chosen on one half of the groups and read on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.landmarks import Installed, installed_boundary
from interp.levels import Levels, levels_of, share_of, word
from interp.outcomes import Outcomes
from interp.stats import Interval
from interp.stitched import Profile
from interp.thresholds import Thresholds


@dataclass(frozen=True)
class Content:
    """What changed, with the numbers behind the word and the reasons where it is undetermined."""

    what: str
    reasons: tuple[str, ...]
    installed: Installed | None
    fact_boundary: int | None
    levels: Levels | None
    classes: Mapping[int, Levels] = field(default_factory=dict)
    class_words: Mapping[int, str] = field(default_factory=dict)
    class_of: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, tuple[bool | None, bool | None, bool | None]] = field(default_factory=dict)
    sufficiency_mean: Interval | None = None
    retention_control: Interval | None = None
    chance: float | None = None
    placebo_largest: float | None = None
    placebo_draws: int = 0
    null_shift: float | None = None
    gate: float | None = None
    elsewhere: Interval | None = None


def judge_content(
    outcomes: Outcomes,
    evidence: Evidence,
    found: Profile | None,
    thresholds: Thresholds,
    *,
    kappa: int | None,
    seed: int,
) -> Content:
    """S, F and R of the changed groups, the table, and every condition that can veto its word.

    `found` is the profile of the output contrast on the changed groups; those that also have shift
    rows are used.
    """
    changed = outcomes.changed_groups
    r = None if kappa is None else kappa - 1
    if len(changed) < thresholds.min_groups:
        reason = f"{len(changed)} changed groups, at least {thresholds.min_groups} needed"
        return Content("undetermined", (reason,), None, r, None)
    if found is None:
        return Content("undetermined", ("no complete stitch rows to find k*",), None, r, None)
    rows = evidence.where(method="shift", metric="said")
    rows = rows[rows["template"].isna() | (rows["template"] == outcomes.estimating_form)]
    shifted = {str(g) for g in rows.loc[rows["condition"] == "sufficiency", "group"]}
    groups = tuple(g for g in found.groups if g in shifted)
    if len(groups) < thresholds.min_groups:
        reason = f"{len(groups)} changed groups with shift rows, {thresholds.min_groups} needed"
        return Content("undetermined", (reason,), None, r, None)
    found = found.subset(groups)
    installed = installed_boundary(found, groups, thresholds, seed)
    k_star = installed.by_group
    at_fact = {} if r is None or r < 0 else dict.fromkeys(groups, r)

    def read(condition: str, at: Mapping[str, int]) -> dict[str, bool]:
        values = _read(rows, condition, at)
        return {g: bool(v >= 0.5) for g, v in values.items()}

    said = {
        "s": read("sufficiency", k_star),
        "f": read("retention", at_fact),
        "r": read("persistence", k_star),
    }
    control = read("retention_control", at_fact)
    tokens = Counter(outcomes.answer_tokens(groups))
    chance = max(tokens.values()) / len(groups)
    control_share = share_of(control, groups, thresholds)
    placebo, draws = _placebo(rows, k_star)
    null = _read(rows, "null_shift", k_star)
    null_share = float(np.mean(list(null.values()))) if null else None

    vetoes: dict[str, str] = {}
    if r is None:
        vetoes["f"] = "retention is undefined without a handover layer"
    elif control_share is None:
        vetoes["f"] = "no retention control (state replaced by its class mean) was measured"
    elif control_share.low > chance:
        vetoes["f"] = (
            f"the retention control answers {control_share.estimate:.2f} right, chance is {chance:.2f}"
        )
    s_share = share_of(said["s"], groups, thresholds)
    if s_share is not None:
        if draws < thresholds.placebo_shifts:
            vetoes["s"] = f"{draws} random shifts measured, {thresholds.placebo_shifts} needed"
        elif placebo is not None and not s_share.estimate > placebo:
            vetoes["s"] = f"sufficiency does not exceed the largest random shift, {placebo:.2f}"
        elif null_share is not None and not s_share.estimate > null_share:
            vetoes["s"] = f"sufficiency does not exceed the null tune's shift, {null_share:.2f}"

    overall = levels_of(said, groups, thresholds, vetoes)
    tokens_of = dict(zip(groups, outcomes.token_classes(groups), strict=True))
    sizes = Counter(tokens_of.values())
    classes = {
        token: levels_of(said, [g for g in groups if tokens_of[g] == token], thresholds, vetoes)
        for token, size in sorted(sizes.items())
        if size >= thresholds.class_groups
    }
    elsewhere = None
    if outcomes.untuned_groups:
        elsewhere = stats.clopper_pearson(
            outcomes.differing(outcomes.untuned_groups),
            len(outcomes.untuned_groups),
            level=1 - thresholds.alpha,
        )
    forced = _forced(outcomes, found, installed, thresholds)

    def settled(levels: Levels) -> tuple[str, list[str]]:
        late = _late(levels.what, installed.last, kappa, elsewhere, thresholds)
        why = [*forced, *late]
        return "undetermined" if why else levels.what, why

    what, reasons = settled(overall)
    reasons += _disagreement(overall, classes)
    if overall.what == "undetermined":
        reasons += _no_word(overall, vetoes)
    return Content(
        what="undetermined" if reasons else what,
        reasons=tuple(reasons),
        installed=installed,
        fact_boundary=r,
        levels=overall,
        classes=classes,
        class_words={token: settled(levels)[0] for token, levels in classes.items()},
        class_of=tokens_of,
        bits={g: (said["s"].get(g), said["f"].get(g), said["r"].get(g)) for g in groups},
        sufficiency_mean=share_of(read("sufficiency_mean", k_star), groups, thresholds),
        retention_control=control_share,
        chance=chance,
        placebo_largest=placebo,
        placebo_draws=draws,
        null_shift=null_share,
        gate=_gate(evidence, installed),
        elsewhere=elsewhere,
    )


def item_word(content: Content, group: str) -> str:
    """The word for one changed group: that of all, or of its class, if its own answers agree."""
    own = content.bits.get(group)
    if own is None or None in own:
        return "undetermined"
    general = content.what
    if general == "undetermined":
        general = content.class_words.get(content.class_of[group], "undetermined")
    mine = word(*("high" if bit else "low" for bit in own))
    return mine if mine == general else "undetermined"


def _read(rows: pd.DataFrame, condition: str, at: Mapping[str, int]) -> dict[str, float]:
    """Per group, the mean value of a condition at that group's boundary."""
    part = rows[rows["condition"] == condition]
    part = part[part["layer"] == part["group"].astype(object).map(at).astype("Int64")]
    means = part.groupby(part["group"].astype(str))["value"].mean()
    return {str(g): float(v) for g, v in means.items()}


def _placebo(rows: pd.DataFrame, at: Mapping[str, int]) -> tuple[float | None, int]:
    """Largest share over random shifts, and how many shifts cover every group."""
    part = rows[rows["condition"] == "placebo"]
    part = part[part["layer"] == part["group"].astype(object).map(at).astype("Int64")]
    if part.empty:
        return None, 0
    table = part.astype({"group": str}).pivot_table(index="group", columns="seed", values="value")
    table = table.dropna(axis="columns")
    if table.empty or len(table) < len(at):
        return None, 0
    return float(table.mean(axis=0).max()), table.shape[1]


def _forced(
    outcomes: Outcomes, found: Profile, installed: Installed, thresholds: Thresholds
) -> list[str]:
    """Why no word may be given, whatever S, F and R are."""
    reasons = []
    if outcomes.selected:
        reasons.append("tokens were chosen and effects estimated on one query form (selected)")
    delta = stats.mean_interval(found.delta, found.groups, level=1 - thresholds.alpha)
    if delta.contains(0.0):
        reasons.append("the total change may be zero, so k* has no meaning")
    if installed.last is None:
        reasons.append(f"no boundary holds {thresholds.installed_share:g} of the change in both halves")
    return reasons


def _disagreement(overall: Levels, classes: Mapping[int, Levels]) -> list[str]:
    return [
        f"classes of tuned tokens disagree on {label}"
        for name, label in (("s", "sufficiency"), ("f", "retention"))
        if {"high", "low"} <= {getattr(one, name) for one in (overall, *classes.values())}
    ]


def _no_word(overall: Levels, vetoes: Mapping[str, str]) -> list[str]:
    names = (("s", "sufficiency"), ("f", "retention"), ("r", "persistence"))
    said = ", ".join(f"{label} {getattr(overall, name)}" for name, label in names)
    why = [vetoes[n] for n, _ in names if n in vetoes and getattr(overall, n) == "undetermined"]
    return [*why, f"the table has no word for {said}"]


def _late(
    what: str,
    k_star: int | None,
    kappa: int | None,
    elsewhere: Interval | None,
    thresholds: Thresholds,
) -> list[str]:
    """Why a knowledge change installed above the handover is not called knowledge, if so."""
    if what != "knowledge" or kappa is None or k_star is None or k_star <= kappa:
        return []
    late = f"k* = {k_star} lies above the handover {kappa}: knowledge would need"
    absent = f"{late} facts never tuned on to stay (upper bound of f < {thresholds.elsewhere_share:g})"
    if elsewhere is None:
        return [f"{absent}, and none were declared (column untuned)"]
    if elsewhere.high < thresholds.elsewhere_share:
        return []
    return [f"{absent}, got {elsewhere.high:.2f}"]


def _gate(evidence: Evidence, installed: Installed) -> float | None:
    rows = evidence.where(method="shift", condition="gate", metric="auroc")
    at = rows[rows["layer"].isin(installed.layers)]["value"]
    return float(at.mean()) if len(at) and np.isfinite(at).all() else None
