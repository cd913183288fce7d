"""Grades of representational claims: what can be read at a site, and whether it is used there.

Effects are normalised by the difference between clean and corrupted runs, means before dividing.
`supported`: readable and used. `decodable-inert`: readable and unused. `causal-uncharacterised`:
the whole state is causal and the attribute unreadable. `null`: unreadable, and swapping the whole
state does nothing. `not measured`: read, but no intervention was made there. Everything else is
`undetermined`, with the missing evidence named. Random directions are shown and never decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.readable import PLACE, Key, Reading, as_key, best_read, readings
from interp.verdict.thresholds import Thresholds

Array = np.ndarray

SEPARATOR = " -> "

NOT_MEASURED = "not measured"

#: Removing the attribute's directions at the site and at all later layers together.
JOINT_REMOVAL = "project_out_later"


@dataclass(frozen=True)
class Use:
    """What swapping and removing an attribute's subspace does at one site.

    Effects are shares of clean - corrupted, removals measured down from clean.

    `control` is the spread of the control-task directions' swap effects (estimate: their mean; low
    and high: extremes), `random` the same for random directions. None: not measured.
    """

    n: int
    swap: Interval | None = None
    swap_narrow: Interval | None = None
    removal: Interval | None = None
    later: Interval | None = None
    whole: Interval | None = None
    whole_narrow: Interval | None = None
    control: Interval | None = None
    random: Interval | None = None
    p: float | None = None


@dataclass(frozen=True)
class Claim:
    """One claim "this attribute is represented at this site", graded."""

    attribute: str
    model: str
    site: str
    position: str
    grade: str
    reading: Reading
    use: Use
    notes: tuple[str, ...] = ()
    pieces: Mapping[str, bool | None] = field(default_factory=dict)


def grade_claims(
    probe_evidence: Evidence, causal_evidence: Evidence, thresholds: Thresholds, seed: int = 0
) -> tuple[Claim, ...]:
    """Every claim that the evidence speaks to, graded.

    Sites with claim rows are graded. An attribute with probe rows and no claim rows gets one claim
    per model, at its best-read site, so that the missing causal evidence shows.
    """
    used = _uses(causal_evidence, thresholds)
    keys = sorted(used, key=str)
    keys += best_read(probe_evidence, skip={key[0] for key in keys})
    read = readings(probe_evidence, keys, thresholds, seed)
    return tuple(
        _graded(key, read.get(key, Reading()), used.get(key, Use(0)), thresholds) for key in keys
    )


def _graded(key: Key, reading: Reading, use: Use, thresholds: Thresholds) -> Claim:
    attribute, model, kind, layer, head, span = key
    used, unused = _used(use, thresholds), _unused(use, thresholds)
    causal = None if use.whole is None else use.whole.low >= thresholds.whole_state_effect
    nothing = None if use.whole_narrow is None else _absent(use.whole_narrow, thresholds)
    readable, unreadable = reading.readable, reading.unreadable
    grade = "undetermined"
    if readable and used:
        grade = "supported"
    elif readable and unused:
        grade = "decodable-inert"
    elif unreadable and causal:
        grade = "causal-uncharacterised"
    elif unreadable and nothing:
        grade = "null"
    elif use.n == 0:
        grade = NOT_MEASURED
    notes = list(reading.missing) if not (readable or unreadable) else []
    if grade in ("undetermined", NOT_MEASURED):
        notes += _missing(use, thresholds)
    site = f"{kind}.{layer}" + ("" if head is None else f".h{head}")
    pieces = {
        "readable": readable, "unreadable": unreadable, "used": used, "unused": unused,
        "causal": causal,
    }  # fmt: skip
    return Claim(attribute, model, site, span, grade, reading, use, tuple(notes), pieces)


def _used(use: Use, thresholds: Thresholds) -> bool | None:
    if use.swap is None or use.removal is None or use.p is None:
        return None
    return bool(
        use.swap.estimate > 0
        and use.p < thresholds.claim_p
        and use.swap.low >= thresholds.used_effect
        and use.removal.estimate > 0
    )


def _unused(use: Use, thresholds: Thresholds) -> bool | None:
    if use.swap_narrow is None or use.later is None or use.whole is None:
        return None
    return bool(
        _absent(use.swap_narrow, thresholds)
        and _absent(use.later, thresholds)
        and use.whole.estimate >= thresholds.whole_state_effect
    )


def _absent(narrow: Interval, thresholds: Thresholds) -> bool:
    return stats.equivalent(narrow, thresholds.used_effect)


def _missing(use: Use, thresholds: Thresholds) -> list[str]:
    names = {
        "swap": use.swap,
        "project_out": use.removal,
        "whole_state": use.whole,
        JOINT_REMOVAL: use.later,
    }
    lacking = [name for name, value in names.items() if value is None]
    if use.p is None:
        lacking.append(f"swap_control_task ({thresholds.control_draws} directions)")
    return [f"not measured: {', '.join(lacking)}"] if lacking else []


def _uses(evidence: Evidence, thresholds: Thresholds) -> dict[Key, Use]:
    """The effects at every (attribute, site) with claim rows; p over an attribute's sites."""
    rows = evidence.where(method="claim")
    if rows.empty:
        return {}
    rows = rows.astype({name: object for name in (*PLACE, "condition", "group")})
    uses: dict[Key, Use] = {}
    for _, part in rows.groupby(["metric", "model"], dropna=False):
        sites = {
            as_key(key): _Effects.of(site)
            for key, site in part.groupby(list(PLACE), dropna=False, sort=True)
        }
        p = _family_p(sites, thresholds)
        for key, effects in sites.items():
            uses[key] = effects.use(thresholds, p.get(key))
    return uses


@dataclass(frozen=True)
class _Effects:
    """Per-pair numbers of one site: ends, and each condition's values (one column per draw)."""

    groups: tuple[str, ...]
    clean: Array
    corrupted: Array
    values: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Effects:
        tables = {
            str(c): part.assign(seed=part["seed"].fillna(0).astype(int)).pivot_table(
                index="example", columns="seed", values="value", aggfunc="mean"
            )
            for c, part in rows.groupby("condition")
        }
        ends = [tables.pop(c, pd.DataFrame()) for c in ("clean", "corrupted")]
        index = ends[0].index.intersection(ends[1].index)
        names = rows.drop_duplicates("example").set_index("example")["group"]
        groups = tuple(str(g).split(SEPARATOR, 1)[0] for g in names.reindex(index))
        clean, corrupted = (e.reindex(index).to_numpy(float).reshape(len(index), -1)[:, :1].ravel()
                            for e in ends)  # fmt: skip
        return cls(groups, clean, corrupted, {c: t.reindex(index) for c, t in tables.items()})

    def gained(self, condition: str) -> Array | None:
        """How far each pair moves towards the clean run, [pair, draw]; from clean if removing."""
        table = self.values.get(condition)
        if table is None or not len(table) or table.isna().to_numpy().any():
            return None
        values = table.to_numpy(float)
        if condition.startswith("project_out"):
            return self.clean[:, None] - values
        return values - self.corrupted[:, None]

    def interval(self, condition: str, level: float) -> Interval | None:
        gained = self.gained(condition)
        if gained is None:
            return None
        span = self.clean - self.corrupted
        return stats.fieller(gained.mean(axis=1), span, self.groups, level=level)

    def draws(self, condition: str) -> Array | None:
        """The normalised effect of each draw, means over groups before dividing."""
        gained = self.gained(condition)
        if gained is None:
            return None
        span = stats.group_means(self.clean - self.corrupted, self.groups)[0].mean()
        columns = [stats.group_means(g, self.groups)[0].mean() / span for g in gained.T]
        return np.asarray(columns)

    def spread(self, condition: str) -> Interval | None:
        drawn = self.draws(condition)
        if drawn is None:
            return None
        low, high = float(drawn.min()), float(drawn.max())
        return Interval(float(drawn.mean()), low, high, len(drawn))

    def use(self, thresholds: Thresholds, p: float | None) -> Use:
        wide, narrow = 1 - thresholds.alpha, 1 - 2 * thresholds.alpha
        return Use(
            n=len(set(self.groups)),
            swap=self.interval("swap", wide),
            swap_narrow=self.interval("swap", narrow),
            removal=self.interval("project_out", wide),
            later=self.interval(JOINT_REMOVAL, narrow),
            whole=self.interval("whole_state", wide),
            whole_narrow=self.interval("whole_state", narrow),
            control=self.spread("swap_control_task"),
            random=self.spread("swap_random"),
            p=p,
        )


def _family_p(sites: Mapping[Key, _Effects], thresholds: Thresholds) -> dict[Key, float]:
    """Family-wise p of each site's swap against the largest control-task effect over sites."""
    found: dict[Key, tuple[float, Array]] = {}
    for key, effects in sites.items():
        observed, drawn = effects.draws("swap"), effects.draws("swap_control_task")
        if observed is not None and drawn is not None and len(drawn) >= thresholds.control_draws:
            found[key] = (float(observed.mean()), drawn)
    if not found:
        return {}
    shortest = min(len(drawn) for _, drawn in found.values())
    null = np.column_stack([drawn[:shortest] for _, drawn in found.values()])
    p = stats.max_statistic_p(np.array([observed for observed, _ in found.values()]), null)
    return dict(zip(found, (float(v) for v in p), strict=True))
