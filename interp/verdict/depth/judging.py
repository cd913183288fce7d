"""What became of the old facts and what the new ones are, by the declared rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.evidence import Evidence
from interp.stats.intervals import Interval, fieller, mean_interval, wilson
from interp.verdict.answers import HIGH
from interp.verdict.depth.readings import (
    DOUBTED,
    KEPT,
    LOG_P,
    LOST,
    MEANS,
    METHOD,
    PROBE,
    READINGS,
    REVERSED,
    REWORDED,
    TWO_HOP,
    VERIFIED,
    Reading,
    read,
    share_of,
    with_level,
)
from interp.verdict.thresholds import Thresholds

HIDDEN, SUPPRESSED, OVERWRITTEN = "hidden", "suppressed", "overwritten"
KNOWN, RECITED, UNDETERMINED = "known", "recited", "undetermined"

#: Conditions of the short tune, and of what the tuned model gives in the place of each old answer.
RELEARNED, RECOVERED, ONE_ANSWER = "relearned", "recovered", "one_answer"

#: Where an old answer still comes out: readings by which it is outward.
_OUTWARD = (LOG_P, VERIFIED, REWORDED, REVERSED, TWO_HOP, DOUBTED)

#: What can be done with a fact beside saying it.
_USES = (PROBE, VERIFIED, REVERSED, TWO_HOP)


@dataclass(frozen=True)
class Relearning:
    """A short tune that teaches answers back, beside one that teaches exchanged answers.

    Attributes:
        old: mean step at which an old answer is first said.
        control: the same of answers of other facts, which were never known of these.
        saved: share of the steps that the old ones save, 1 − old / control.
        recovered: share of facts that were not taught whose old answer is said afterwards.
        recovered_control: the same behind the control tune.
    """

    old: Interval
    control: Interval
    saved: Interval
    recovered: Interval | None
    recovered_control: Interval | None


@dataclass(frozen=True)
class Depth:
    """How deep the change of some facts goes.

    Attributes:
        old: hidden, suppressed, overwritten or undetermined: the old facts.
        new: known, recited or undetermined: the new ones.
        readings: everything that was read, in the order of the battery.
        one_answer: share of the changed facts that get the commonest new answer.
        relearning: of the short tune; None where it was not done.
        not_asked: reading -> why it was not asked.
        reasons: "old" and "new" -> on what the word rests, or what is missing.
        facts: how many changed facts were read.
    """

    old: str
    new: str
    readings: tuple[Reading, ...]
    one_answer: Interval | None
    relearning: Relearning | None
    not_asked: Mapping[str, str]
    reasons: Mapping[str, str]
    facts: int

    @property
    def sentence(self) -> str:
        """Both words in one line."""
        return f"depth: the old facts are {self.old}, the new ones {self.new}"

    def as_dict(self) -> dict[str, Any]:
        """What verdict.json holds of it."""
        return {
            "old": self.old,
            "new": self.new,
            "reasons": dict(self.reasons),
            "facts": self.facts,
            "readings": [_row(reading) for reading in self.readings],
            "one_answer": _share(self.one_answer),
            "relearning": None if self.relearning is None else _relearning(self.relearning),
            "not_asked": dict(self.not_asked),
        }


def judge_depth(
    evidence: Evidence, thresholds: Thresholds, *, retention: str | None = None, seed: int = 0
) -> Depth | None:
    """The words of the depth of a change.

    Args:
        evidence: with rows of method ``depth``.
        thresholds: the declared cut-offs.
        retention: level of the retention by the shared shift; None where it was not asked.
        seed: of the bootstraps.

    Returns:
        The words with the numbers behind them; None without such rows.
    """
    rows = evidence.rows(method=METHOD)
    if not len(rows):
        return None
    every = [read(evidence, name, thresholds, seed) for name in READINGS]
    readings = tuple(r for r in every if any((r.old, r.new, r.base_old)))
    relearning = _relearned(evidence, thresholds, seed)
    common = evidence.rows(method=METHOD, condition=ONE_ANSWER)
    one = wilson(int(common["value"].sum()), len(common)) if len(common) else None
    old, why_old = _old(readings, relearning, retention, thresholds)
    new, why_new = _new(readings, one, thresholds)
    return Depth(
        old, new, readings, one, relearning,
        not_asked=dict(evidence.provenance.get("depth_not_asked") or {}),
        reasons={"old": why_old, "new": why_new},
        facts=int(rows.loc[rows["model"] == "tuned", "group"].nunique()),
    )  # fmt: skip


def _old(
    readings: tuple[Reading, ...],
    relearning: Relearning | None,
    retention: str | None,
    thresholds: Thresholds,
) -> tuple[str, str]:
    """The word of the old facts and what it rests on."""
    kept, lost = with_level(readings, "old", KEPT), with_level(readings, "old", LOST)
    outward = [name for name in kept if name in _OUTWARD]
    if outward:
        return SUPPRESSED, f"{MEANS[outward[0]]} ({', '.join(outward)})"
    saved = None if relearning is None else relearning.saved
    sooner = saved is not None and saved.low >= thresholds.saved_steps
    if LOG_P in lost and (PROBE in kept or sooner):
        how = MEANS[PROBE] if PROBE in kept else "it is relearned sooner than what was never known"
        return HIDDEN, f"log p ranks it no longer, and {how}"
    no_sooner = saved is None or saved.high < thresholds.saved_steps
    if LOG_P in lost and PROBE in lost and not kept and no_sooner and retention != HIGH:
        return OVERWRITTEN, "neither log p nor a probe ranks it, and nothing else asked gives it"
    missing = [name for name in (LOG_P, PROBE) if name not in (*kept, *lost)]
    if missing:
        return UNDETERMINED, f"{' and '.join(missing)} do not decide; ask more changed facts"
    if retention == HIGH:
        return UNDETERMINED, (
            "no reading finds it, but the base reads it from the tuned model's state; questions that "
            "bring it out would show it"
        )
    return UNDETERMINED, "the readings do not agree; ask more changed facts"


def _new(
    readings: tuple[Reading, ...], one: Interval | None, thresholds: Thresholds
) -> tuple[str, str]:
    """The word of the new facts and what it rests on."""
    if one is not None and one.n >= thresholds.min_groups and one.low > 0.5:
        return RECITED, f"one answer is given to {one.estimate:.2f} of the changed facts"
    kept, lost = with_level(readings, "new", KEPT), with_level(readings, "new", LOST)
    if REWORDED in lost:
        return RECITED, "it is not said in wordings that the verdict does not ask"
    counted = [r.name for r in readings if r.name in _USES and r.counts and r.new_level is not None]
    if len(counted) > 1 and all(name in lost for name in counted):
        return RECITED, f"nothing can be done with it beside saying it ({', '.join(counted)})"
    used = [name for name in kept if name in _USES]
    if REWORDED in kept and used:
        return KNOWN, f"it is said in other wordings, and {MEANS[used[0]]} ({', '.join(used)})"
    if not counted:
        return UNDETERMINED, "no use of it could be asked that the base passes; give more questions"
    return UNDETERMINED, "the readings do not agree; ask more changed facts"


def _relearned(evidence: Evidence, thresholds: Thresholds, seed: int) -> Relearning | None:
    rows = evidence.rows(method=METHOD, condition=RELEARNED, unit="steps")
    if not len(rows):
        return None
    steps = rows.pivot_table(index="group", columns="metric", values="value", observed=True).dropna()
    old, control = (steps[metric].to_numpy(float) for metric in ("old", "permuted"))
    recovered = evidence.rows(method=METHOD, condition=RECOVERED)

    def share(metric: str) -> Interval | None:
        return share_of(recovered[recovered["metric"] == metric], thresholds, seed)

    spent = fieller(old, control, level=1 - thresholds.alpha)
    saved = Interval(1 - spent.estimate, 1 - spent.high, 1 - spent.low, spent.n)
    level = 1 - thresholds.alpha
    facts = [str(group) for group in steps.index]
    return Relearning(
        mean_interval(old, facts, level=level), mean_interval(control, facts, level=level), saved,
        share("old"), share("permuted"),
    )  # fmt: skip


def _row(reading: Reading) -> dict[str, Any]:
    floor, ceiling = reading.base_new, reading.base_old
    ends = {
        "floor": None if floor is None else floor.estimate,
        "ceiling": None if ceiling is None else ceiling.estimate,
    }
    return {
        "reading": reading.name,
        "counts": reading.counts,
        **{
            which: None if share is None else {**share.as_dict(), **ends, "level": level}
            for which, share, level in (
                ("old", reading.old, reading.old_level),
                ("new", reading.new, reading.new_level),
            )
        },
        "base_old": _share(ceiling),
        "base_new": _share(floor),
        "permuted": _share(reading.permuted),
    }


def _share(share: Interval | None) -> dict[str, Any] | None:
    return None if share is None else share.as_dict()


def _relearning(found: Relearning) -> dict[str, Any]:
    return {name: _share(value) for name, value in vars(found).items()}
