"""What changed: knowledge, entity by entity, or a behaviour that the base's own state predicts.

Sufficiency: the base, given its state plus the predicted shift at k*, says the tuned token.
Retention: the base's upper blocks, reading the tuned state minus the mean shift at the fact boundary
(the one below the handover), give the base's answer among all known answers. Persistence: the tuned
model, given its state minus the mean shift at k*, still says its token. The tuned token is what the
tuned model says on the form that is read. Shares of changed groups with Wilson intervals; k* is chosen
on one half of the groups and read on the other. Where pushed outputs and item-by-item outputs are both
common, the change is mixed, whatever the three shares of all groups say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.answers import (
    HIGH,
    LOW,
    PERSISTENCE,
    RETENTION,
    SHARES,
    SUFFICIENCY,
    UNDETERMINED,
    Ends,
    Levels,
    Placebo,
    ShiftAnswers,
    levels_of,
    share_of,
    shift_answers,
    shifted_groups,
)
from interp.verdict.boundaries import Installed, chosen_boundaries
from interp.verdict.outcomes import Outcomes
from interp.verdict.output_words import OutputWords, output_words
from interp.verdict.profile import Profile
from interp.verdict.thresholds import Thresholds

MIXED = "mixed"


@dataclass(frozen=True)
class Content:
    """What changed, with the numbers behind the word and the reasons where it is undetermined.

    Attributes:
        what: knowledge, behaviour, both, mixed or undetermined.
        reasons: sentences saying why it is undetermined, each with what would decide it.
        installed: k* of each half of each part of the groups; None where it could not be chosen.
        fact_boundary: the boundary at which retention is read; None without a handover.
        levels: the three shares of all shifted groups with their levels.
        ends: floor and ceiling of each of the three shares.
        words: the word of each changed output and the share of each word.
        classes: tuned token -> levels of the groups whose output it is.
        class_words: tuned token -> the word of its class.
        class_of: group -> the token that the tuned model says on the form that is read.
        answers: the answers of every group; None where nothing could be read.
        sufficiency_mean: sufficiency of the leave-one-out mean in place of the predicted shift.
        retention_control: retention where the tuned state is replaced by its class mean.
        placebo: the random shifts beside sufficiency.
        gate: AUROC with which the base's state tells changed from unchanged, at k*.
        elsewhere: share of facts never tuned on that differ.
    """

    what: str
    reasons: tuple[str, ...]
    installed: Installed | None = None
    fact_boundary: int | None = None
    levels: Levels | None = None
    ends: Mapping[str, Ends] = field(default_factory=dict)
    words: OutputWords | None = None
    classes: Mapping[int, Levels] = field(default_factory=dict)
    class_words: Mapping[int, str] = field(default_factory=dict)
    class_of: Mapping[str, int] = field(default_factory=dict)
    answers: ShiftAnswers | None = None
    sufficiency_mean: Interval | None = None
    retention_control: Interval | None = None
    placebo: Placebo = Placebo()
    gate: float | None = None
    elsewhere: Interval | None = None


def judge_content(
    outcomes: Outcomes,
    evidence: Evidence,
    output: Profile | None,
    thresholds: Thresholds,
    *,
    kappa: int | None,
    seed: int,
) -> Content:
    """The three shares of the changed groups, the table, and every condition that can veto its word.

    Args:
        outcomes: what both models said.
        evidence: with the rows method ``shift`` and, for k*, ``stitch``.
        output: the profile of the output contrast on the changed groups; those that also have shift
            rows are used.
        thresholds: the declared cut-offs.
        kappa: the handover; None where there is none.
        seed: deals the halves where the evidence does not say how they were dealt.

    Returns:
        The word, or undetermined with its reasons.
    """
    fact_boundary = None if kappa is None else kappa - 1
    shifted = shifted_groups(evidence, outcomes.estimating_form)
    groups = () if output is None else tuple(g for g in output.groups if g in shifted)
    why_not = _too_little(outcomes, output, groups, thresholds)
    if output is None or why_not:
        return Content(UNDETERMINED, (why_not,), fact_boundary=fact_boundary)
    output = output.subset(groups)
    installed = chosen_boundaries(evidence, output, outcomes, thresholds, seed)
    answers = shift_answers(evidence, outcomes, groups, installed.by_group, fact_boundary)
    vetoes = _vetoes(answers, fact_boundary, thresholds)
    levels = levels_of(answers.said, groups, thresholds, vetoes)
    words = output_words(answers.by_part, answers.said[PERSISTENCE], groups, thresholds)
    class_of = dict(zip(groups, outcomes.token_classes(groups), strict=True))
    classes = _classes(answers, class_of, thresholds, vetoes)
    elsewhere = _elsewhere(outcomes, thresholds)
    forced = _forced(outcomes, output, installed, thresholds)

    def late(what: str) -> list[str]:
        return _late(what, installed.last, kappa, elsewhere, thresholds)

    if words.mixed(thresholds):
        what, reasons = MIXED, [*forced, *(vetoes[n] for n in (SUFFICIENCY,) if n in vetoes)]
    else:
        what, reasons = levels.what, [*forced, *late(levels.what), *_disagreement(levels, classes)]
        if what == UNDETERMINED:
            reasons += _no_word(levels, vetoes, thresholds)
    return Content(
        what=UNDETERMINED if reasons else what,
        reasons=tuple(reasons),
        installed=installed,
        fact_boundary=fact_boundary,
        levels=levels,
        ends=answers.ends,
        words=words,
        classes=classes,
        class_words={
            token: UNDETERMINED if forced or late(one.what) else one.what
            for token, one in classes.items()
        },
        class_of=class_of,
        answers=answers,
        sufficiency_mean=share_of(answers.said["sufficiency_mean"], groups, thresholds),
        retention_control=share_of(answers.said["retention_control"], groups, thresholds),
        placebo=answers.placebo,
        gate=_gate(evidence, installed),
        elsewhere=elsewhere,
    )


def _too_little(
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


def _vetoes(answers: ShiftAnswers, fact_boundary: int | None, thresholds: Thresholds) -> dict[str, str]:
    """What keeps retention, or a high sufficiency, from having a level."""
    vetoes: dict[str, str] = {}
    control = share_of(answers.said["retention_control"], answers.groups, thresholds)
    if fact_boundary is None:
        vetoes[RETENTION] = (
            "retention is undefined where no layer hands the fact to the last word; give facts whose "
            "prompts form more aligned pairs"
        )
    elif control is None:
        vetoes[RETENTION] = (
            "retention has no control (the tuned state replaced by its class mean); measure it"
        )
    elif control.low > answers.chance:
        vetoes[RETENTION] = (
            f"retention's control, which knows no entity, is still right in {control.estimate:.2f} "
            f"where chance is {answers.chance:.2f}; ask facts with more different answers"
        )
    placebo = answers.placebo
    if placebo.draws < thresholds.placebo_shifts:
        vetoes[SUFFICIENCY] = (
            f"{placebo.draws} random shifts were measured beside sufficiency; measure "
            f"{thresholds.placebo_shifts}"
        )
    elif placebo.largest is not None and not (placebo.sufficiency or 0.0) > placebo.largest:
        vetoes[SUFFICIENCY] = (
            f"a random shift of the same size moves {placebo.largest:.2f} of the outputs, as many as "
            "the push; no number of facts would make such a push evidence"
        )
    elif answers.null_share is not None:
        mine = list(answers.said[SUFFICIENCY].values())
        if not np.mean(mine) > answers.null_share:
            vetoes[SUFFICIENCY] = (
                f"the null tune's shift moves {answers.null_share:.2f} of the outputs, as many as the "
                "push; compare with another null tune"
            )
    return vetoes


def _classes(
    answers: ShiftAnswers,
    class_of: Mapping[str, int],
    thresholds: Thresholds,
    vetoes: Mapping[str, str],
) -> dict[int, Levels]:
    """Levels of each tuned token's own groups, with their own push, where there are enough."""
    sizes = Counter(class_of.values())
    said = {**answers.said, SUFFICIENCY: answers.by_part}
    return {
        token: levels_of(said, [g for g in class_of if class_of[g] == token], thresholds, vetoes)
        for token, size in sorted(sizes.items())
        if size >= thresholds.class_groups
    }


def _elsewhere(outcomes: Outcomes, thresholds: Thresholds) -> Interval | None:
    if not outcomes.untuned_groups:
        return None
    return stats.clopper_pearson(
        outcomes.differing(outcomes.untuned_groups),
        len(outcomes.untuned_groups),
        level=1 - thresholds.alpha,
    )


def _forced(
    outcomes: Outcomes, output: Profile, installed: Installed, thresholds: Thresholds
) -> list[str]:
    """Why no word may be given, whatever the shares are."""
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


def _disagreement(overall: Levels, classes: Mapping[int, Levels]) -> list[str]:
    return [
        f"groups of outputs with different words disagree on {name}, so one word would hide two kinds; "
        "read the outputs one by one"
        for name in (SUFFICIENCY, RETENTION)
        if {HIGH, LOW} <= {one.level[name] for one in (overall, *classes.values())}
    ]


def _no_word(levels: Levels, vetoes: Mapping[str, str], thresholds: Thresholds) -> list[str]:
    """Why the table gives no word, share by share."""
    why = [vetoes[name] for name in SHARES if name in vetoes and levels.level[name] == UNDETERMINED]
    open_shares = {
        name: share
        for name, share in levels.shares.items()
        if share is not None and levels.level[name] == UNDETERMINED and name not in vetoes
    }
    why += [
        f"{name} {one.estimate:.2f} [{one.low:.2f}, {one.high:.2f}] is neither high (lower bound at "
        f"least {thresholds.high:g}) nor low (upper bound at most {thresholds.low:g}); more changed "
        "facts narrow it, and the outputs one by one show whether two kinds are mixed"
        for name, one in open_shares.items()
    ]
    if not why:
        said = ", ".join(f"{name} {levels.level[name]}" for name in SHARES)
        why.append(
            f"{said} is no combination that has a word: the change neither follows one push nor stays "
            "with each fact when the push is taken away; read the outputs one by one"
        )
    return why


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
    late = (
        f"the change is complete only at boundary {k_star}, above the handover {kappa}, where "
        "knowledge also needs that facts never tuned on stay (upper bound of f below "
        f"{thresholds.elsewhere_share:g})"
    )
    if elsewhere is None:
        return [f"{late}, and none were asked; declare some (column untuned)"]
    if elsewhere.high < thresholds.elsewhere_share:
        return []
    return [
        f"{late}, and f may be {elsewhere.high:.2f} there; ask more such facts, or take it that the "
        "change reaches beyond the facts that were tuned"
    ]


def _gate(evidence: Evidence, installed: Installed) -> float | None:
    rows = evidence.where(method="shift", condition="gate", metric="auroc")
    at = rows[rows["layer"].isin(installed.layers)]["value"]
    return float(at.mean()) if len(at) and np.isfinite(at).all() else None
