"""Why a kind of change has no word: what is too little, what vetoes a share, what forbids every word.

Each reason is a sentence without its full stop that ends with what would decide the matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interp import stats
from interp.stats.intervals import Interval
from interp.verdict.answers import (
    HIGH,
    LOW,
    RETENTION,
    SHARES,
    SUFFICIENCY,
    UNDETERMINED,
    Levels,
    ShiftAnswers,
    share_of,
)
from interp.verdict.boundaries import Installed
from interp.verdict.outcomes import Outcomes
from interp.verdict.output_words import NEITHER, OutputWords
from interp.verdict.profile import Profile
from interp.verdict.thresholds import Thresholds


def too_little(
    outcomes: Outcomes, output: Profile | None, groups: tuple[str, ...], thresholds: Thresholds
) -> str:
    """Why nothing can be read at all; empty where it can."""
    changed, least = outcomes.changed_groups, thresholds.min_groups
    if len(changed) < least:
        return (
            f"{len(changed)} known facts changed, and a kind needs {least}; ask more facts of the sort "
            "that changed"
        )
    if output is None:
        return (
            "the two models were not stitched together on the changed facts, so k* cannot be chosen; "
            "run patching.stitch on them"
        )
    if len(groups) < least:
        return (
            f"{len(groups)} of {len(changed)} changed facts could be asked again on the second "
            f"wording, where {len(outcomes.confirmed_groups)} differ as well, and a kind needs "
            f"{least}; ask more facts, or choose a second wording that the tuned model answers as "
            "it answers the first"
        )
    return ""


def vetoes(answers: ShiftAnswers, fact_boundary: int | None, thresholds: Thresholds) -> dict[str, str]:
    """What keeps retention, or a high sufficiency, from having a level, by the name of the share."""
    against = {
        RETENTION: _retention_veto(answers, fact_boundary, thresholds),
        SUFFICIENCY: _sufficiency_veto(answers, thresholds),
    }
    return {name: reason for name, reason in against.items() if reason}


def _retention_veto(answers: ShiftAnswers, fact_boundary: int | None, thresholds: Thresholds) -> str:
    control = share_of(answers.said["retention_control"], answers.groups, thresholds)
    if fact_boundary is None:
        return (
            "retention is undefined where no layer hands the fact to the last word; give facts whose "
            "prompts form more aligned pairs"
        )
    if control is None:
        return "retention has no control (the tuned state replaced by its class mean); measure it"
    if control.low > answers.chance:
        return (
            f"retention's control, which knows no entity, is still right in {control.estimate:.2f} "
            f"where chance is {answers.chance:.2f}; ask facts with more different answers"
        )
    return ""


def _sufficiency_veto(answers: ShiftAnswers, thresholds: Thresholds) -> str:
    placebo, null_share = answers.placebo, answers.null_share
    if placebo.draws < thresholds.placebo_shifts:
        return (
            f"{placebo.draws} random shifts were measured beside sufficiency; measure "
            f"{thresholds.placebo_shifts}"
        )
    if placebo.largest is not None and not (placebo.sufficiency or 0.0) > placebo.largest:
        return (
            f"a random shift of the same size moves {placebo.largest:.2f} of the outputs, as many as "
            "the push; no number of facts would make such a push evidence"
        )
    pushed = list(answers.said[SUFFICIENCY].values())
    if null_share is not None and not np.mean(pushed) > null_share:
        return (
            f"the null tune's shift moves {null_share:.2f} of the outputs, as many as the push; "
            "compare with another null tune"
        )
    return ""


def forced(
    outcomes: Outcomes, output: Profile, installed: Installed, thresholds: Thresholds
) -> list[str]:
    """Reasons for which no word may be given, whatever the shares are."""
    reasons = []
    if outcomes.selected:
        reasons.append(
            "tokens were chosen and effects estimated on one query form (selected); ask each fact in "
            "two wordings"
        )
    delta = stats.mean_interval(output.delta, output.groups, level=1 - thresholds.alpha)
    if delta.contains(0.0):
        reasons.append(
            f"the total change, [{delta.low:.2f}, {delta.high:.2f}] logits, may be zero, so k* has no "
            "meaning; ask more changed facts"
        )
    if installed.last is None:
        reasons.append(
            f"no boundary holds {thresholds.installed_share:g} of the change in every half of the "
            f"facts while its tuned state makes the base say the tuned answer in "
            f"{thresholds.installed_said:g} of them; where the unembedding was tuned there is none"
        )
    return reasons


def disagreement(
    overall: Levels, classes: Mapping[int, Levels], decisive: Sequence[str] = SHARES
) -> list[str]:
    """Reasons that lie in tokens whose own groups say the opposite of the others."""
    return [
        f"groups of outputs with different words disagree on {name}, so one word would hide two kinds; "
        "read the outputs one by one"
        for name in (SUFFICIENCY, RETENTION)
        if name in decisive
        and {HIGH, LOW} <= {levels.level[name] for levels in (overall, *classes.values())}
    ]


def more_than_mixed(words: OutputWords, thresholds: Thresholds) -> list[str]:
    """Reasons against two kinds, in outputs which are of neither, as weight noise makes them."""
    if not words.common(NEITHER, thresholds):
        return []
    neither = words.shares[NEITHER]
    return [
        f"{neither.estimate:.2f} [{neither.low:.2f}, {neither.high:.2f}] of the outputs neither follow "
        f"a push nor stay with their own fact, more than {thresholds.mixed_share:g} for certain, so "
        "that two kinds are not all of it; read the outputs one by one"
    ]


def no_word(
    levels: Levels,
    against: Mapping[str, str],
    thresholds: Thresholds,
    decisive: Sequence[str] = SHARES,
) -> list[str]:
    """Reasons for which the table gives no word, share by share."""
    why = [against[name] for name in decisive if name in against and levels.level[name] == UNDETERMINED]
    open_shares = {
        name: share
        for name, share in levels.shares.items()
        if name in decisive
        and share is not None
        and levels.level[name] == UNDETERMINED
        and name not in against
    }
    why += [
        f"{name} {share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}] is neither high (lower bound "
        f"at least {thresholds.high:g}) nor low (upper bound at most {thresholds.low:g}); more changed "
        "facts narrow it, and the outputs one by one show whether two kinds are mixed"
        for name, share in open_shares.items()
    ]
    if not why:
        said = ", ".join(f"{name} {levels.level[name]}" for name in decisive)
        why.append(
            f"{said} is no combination that has a word: the change neither follows one push nor stays "
            "with each fact when the push is taken away; read the outputs one by one"
        )
    return why


def late(
    what: str,
    k_star: int | None,
    kappa: int | None,
    elsewhere: Interval | None,
    thresholds: Thresholds,
) -> list[str]:
    """Reasons for which a change installed above the handover is not called knowledge."""
    if what != "knowledge" or kappa is None or k_star is None or k_star <= kappa:
        return []
    condition = (
        f"the change is complete only at boundary {k_star}, above the handover {kappa}, where "
        "knowledge also needs that facts never tuned on stay (upper bound of f below "
        f"{thresholds.elsewhere_share:g})"
    )
    if elsewhere is None:
        return [
            f"{condition}, and none were asked; declare some in the file of facts, by a column untuned "
            "that holds 1 in their rows and 0 elsewhere"
        ]
    if elsewhere.high < thresholds.elsewhere_share:
        return []
    return [
        f"{condition}, and f may be {elsewhere.high:.2f} there; ask more such facts, or take it that "
        "the change reaches beyond the facts that were tuned"
    ]
