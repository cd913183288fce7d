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
from interp.evidence.pairs import PairRuns, pair_runs
from interp.stats.intervals import Interval
from interp.verdict.claims.readable import PLACE, Key, Reading, as_key, best_read, readings
from interp.verdict.thresholds import Thresholds

Array = np.ndarray

NOT_MEASURED = "not measured"

#: Removing the attribute's directions at the site and at all later layers together.
JOINT_REMOVAL = "project_out_later"


@dataclass(frozen=True)
class Use:
    """Effects of swapping and removing an attribute's subspace at one site.

    Effects are shares of clean - corrupted, removals measured down from clean. None: not measured.

    Attributes:
        n: entities of the clean prompts.
        swap: effect of swapping the subspace, two-sided interval of confidence 1 - alpha.
        swap_narrow: the same of confidence 1 - 2 alpha, by which an effect is called absent.
        removal: effect of removing the subspace.
        later: effect of removing it at the site and all later layers, of confidence 1 - 2 alpha.
        whole: effect of swapping the whole state.
        whole_narrow: the same of confidence 1 - 2 alpha.
        control: swap effects of the control-task directions: their mean, smallest and largest.
        random: the same of random directions; shown, and never decisive.
        p: family-wise p of the swap over the attribute's sites.
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
class GradedClaim:
    """One claim "this attribute is represented at this site", graded.

    Attributes:
        attribute: what is claimed to be represented.
        model: role of the model: base or tuned.
        site: kind and layer of the site, and its head where it has one.
        position: the span at which it was read and swapped.
        grade: one of the grades above.
        reading: what the probes say.
        use: what the interventions say.
        notes: which evidence is missing.
        pieces: readable, unreadable, used, unused and causal, each None where it was not decided.
    """

    attribute: str
    model: str
    site: str
    position: str
    grade: str
    reading: Reading
    use: Use
    notes: tuple[str, ...] = ()
    pieces: Mapping[str, bool | None] = field(default_factory=dict)


#: Former name of `GradedClaim`.
Claim = GradedClaim


def grade_claims(
    probe_evidence: Evidence, causal_evidence: Evidence, thresholds: Thresholds, seed: int = 0
) -> tuple[GradedClaim, ...]:
    """Every claim that the evidence speaks to, graded.

    Sites with claim rows are graded. An attribute with probe rows and no claim rows gets one claim
    per model, at its best-read site, so that the missing causal evidence shows.

    Args:
        probe_evidence: with the rows methods ``probe`` and ``readable``.
        causal_evidence: with the rows method ``claim``.
        thresholds: the declared margins.
        seed: of the bootstrap.
    """
    uses = _uses(causal_evidence, thresholds)
    keys = sorted(uses, key=str)
    keys += best_read(probe_evidence, skip={key[0] for key in keys})
    by_site = readings(probe_evidence, keys, thresholds, seed)
    return tuple(
        _graded(key, by_site.get(key, Reading()), uses.get(key, Use(0)), thresholds) for key in keys
    )


def _graded(key: Key, reading: Reading, use: Use, thresholds: Thresholds) -> GradedClaim:
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
    return GradedClaim(attribute, model, site, span, grade, reading, use, tuple(notes), pieces)


def _used(use: Use, thresholds: Thresholds) -> bool | None:
    """Whether swap and removal agree in sign and the swap beats its margin and its controls."""
    if use.swap is None or use.removal is None or use.p is None:
        return None
    return bool(
        use.swap.estimate > 0
        and use.p < thresholds.claim_p
        and use.swap.low >= thresholds.used_effect
        and use.removal.estimate > 0
    )


def _unused(use: Use, thresholds: Thresholds) -> bool | None:
    """Whether swap and joint removal do nothing where the whole state does something."""
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
    """One note with the interventions that were not made; none if all were."""
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
    rows = evidence.rows(method="claim")
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
    """Effects at one site.

    Attributes:
        runs: clean, corrupted and edited runs of every pair; cells are (condition, draw).
    """

    runs: PairRuns

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Effects:
        return cls(pair_runs(rows, ["condition", "draw"]))

    def gained(self, condition: str) -> Array | None:
        """How far each pair moves towards the clean run, [pair, draw]; from clean if removing."""
        edited = self.runs.edited
        values = edited.loc[:, edited.columns.get_level_values("condition") == condition].to_numpy()
        if not values.size or np.isnan(values).any():
            return None
        if condition.startswith("project_out"):
            return self.runs.clean[:, None] - values
        return values - self.runs.corrupted[:, None]

    def interval(self, condition: str, level: float) -> Interval | None:
        """Normalised effect with Fieller's interval, draws averaged first."""
        gained = self.gained(condition)
        if gained is None:
            return None
        groups = self.runs.clean_groups
        return stats.fieller(gained.mean(axis=1), self.runs.effect, groups, level=level)

    def draws(self, condition: str) -> Array | None:
        """Normalised effect of each draw, means over groups before dividing."""
        gained = self.gained(condition)
        if gained is None:
            return None
        groups = self.runs.clean_groups
        whole = stats.group_means(self.runs.effect, groups)[0].mean()
        return np.array([stats.group_means(draw, groups)[0].mean() / whole for draw in gained.T])

    def spread(self, condition: str) -> Interval | None:
        """Mean, smallest and largest effect of the draws."""
        drawn = self.draws(condition)
        if drawn is None:
            return None
        low, high = float(drawn.min()), float(drawn.max())
        return Interval(float(drawn.mean()), low, high, len(drawn))

    def use(self, thresholds: Thresholds, p: float | None) -> Use:
        """Every effect that a grade rests on."""
        wide, narrow = 1 - thresholds.alpha, 1 - 2 * thresholds.alpha
        return Use(
            n=len(set(self.runs.clean_groups)),
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
    observed: dict[Key, float] = {}
    controls: dict[Key, Array] = {}
    for key, effects in sites.items():
        swaps, drawn = effects.draws("swap"), effects.draws("swap_control_task")
        if swaps is not None and drawn is not None and len(drawn) >= thresholds.control_draws:
            observed[key], controls[key] = float(swaps.mean()), drawn
    if not observed:
        return {}
    shortest = min(map(len, controls.values()))
    null = np.column_stack([drawn[:shortest] for drawn in controls.values()])
    adjusted = stats.max_statistic_p(np.array(list(observed.values())), null)
    return dict(zip(observed, map(float, adjusted), strict=True))
