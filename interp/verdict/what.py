"""What changed: knowledge, entity by entity, or a behaviour that the base's own state predicts.

Sufficiency: the base, given its state plus the predicted shift at k*, says the tuned token.
Retention: the base's upper blocks, reading the tuned state minus the mean shift at the fact boundary
(the one below the handover), give the base's answer among all known answers. Persistence: the tuned
model, given its state minus the mean shift at k*, still says its token. The tuned token is what the
tuned model says on the form that is read. Shares of changed groups with Wilson intervals; k* is chosen
on one half of the groups and read on the other. Where pushed outputs and item-by-item outputs are both
common, the change is mixed, whatever the three shares of all groups say, unless outputs that follow
neither are common as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict import reasons
from interp.verdict.answers import (
    OPEN_TABLE,
    PERSISTENCE,
    RETENTION,
    SHARES,
    SUFFICIENCY,
    TABLE,
    UNDETERMINED,
    Ends,
    Levels,
    Placebo,
    ShiftAnswers,
    Table,
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
    """Kind of change, with the numbers behind the word and the reasons where it is undetermined.

    Attributes:
        what: knowledge, behaviour, both, mixed or undetermined; of prompts of any kind shared push,
            item by item, mixed or undetermined.
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
    """Kind of change, from the three shares of the changed groups and all that can veto its word.

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
    lacking = reasons.too_little(outcomes, output, groups, thresholds)
    if output is None or lacking:
        return Content(UNDETERMINED, (lacking,), fact_boundary=fact_boundary)
    output = output.subset(groups)
    installed = chosen_boundaries(evidence, output, outcomes, thresholds, seed)
    retained_at = _retained_at(groups, installed, fact_boundary, outcomes)
    answers = shift_answers(
        evidence, outcomes, groups, installed.by_group, retained_at, thresholds.part_groups
    )
    vetoes = reasons.vetoes(answers, fact_boundary, thresholds)
    table = OPEN_TABLE if outcomes.open else TABLE
    if outcomes.open:
        vetoes.pop(RETENTION, None)  # it decides nothing there
    levels = levels_of(answers.said, groups, thresholds, vetoes, table)
    words = output_words(answers.by_part, answers.said[PERSISTENCE], groups, thresholds)
    class_of = dict(zip(groups, outcomes.token_classes(groups), strict=True))
    classes = by_token_class(answers, class_of, thresholds, vetoes, table)
    elsewhere = _share_elsewhere(outcomes, thresholds)
    forced = reasons.forced(outcomes, output, installed, thresholds)
    late = partial(
        reasons.late,
        k_star=installed.last,
        kappa=kappa,
        elsewhere=elsewhere,
        thresholds=thresholds,
    )
    decisive = (SUFFICIENCY, PERSISTENCE) if outcomes.open else SHARES
    what, against = settle(
        levels, classes, words, vetoes, late(levels.what), thresholds, decisive=decisive
    )
    why = [*forced, *against]
    return Content(
        what=UNDETERMINED if why else what,
        reasons=tuple(why),
        installed=installed,
        fact_boundary=fact_boundary,
        levels=levels,
        ends=answers.ends,
        words=words,
        classes=classes,
        class_words={
            token: UNDETERMINED if forced or late(own.what) else own.what
            for token, own in classes.items()
        },
        class_of=class_of,
        answers=answers,
        sufficiency_mean=share_of(answers.said["sufficiency_mean"], groups, thresholds),
        retention_control=share_of(answers.said["retention_control"], groups, thresholds),
        placebo=answers.placebo,
        gate=_gate(evidence, installed),
        elsewhere=elsewhere,
    )


def settle(
    levels: Levels,
    classes: Mapping[int, Levels],
    words: OutputWords,
    vetoes: Mapping[str, str],
    late: Sequence[str],
    thresholds: Thresholds,
    *,
    decisive: Sequence[str] = SHARES,
) -> tuple[str, list[str]]:
    """Word of the change, and what the measured shares hold against it.

    Args:
        levels: of all shifted groups.
        classes: tuned token -> levels of its own groups.
        words: of single outputs; where pushed and item-by-item ones are common the change is mixed.
        vetoes: share -> why it has no level.
        late: reasons against knowledge that was installed above the handover.
        thresholds: the declared cut-offs.
        decisive: the shares on which the word rests.
    """
    if words.mixed(thresholds):
        against = [reason for name, reason in vetoes.items() if name == SUFFICIENCY]
        return MIXED, against + reasons.more_than_mixed(words, thresholds)
    against = [*late, *reasons.disagreement(levels, classes, decisive)]
    if levels.what == UNDETERMINED:
        against += reasons.no_word(levels, vetoes, thresholds, decisive)
    return levels.what, against


def by_token_class(
    answers: ShiftAnswers,
    class_of: Mapping[str, int],
    thresholds: Thresholds,
    vetoes: Mapping[str, str],
    table: Table = TABLE,
) -> dict[int, Levels]:
    """Levels of each tuned token's own groups, with their own push, where there are enough."""
    sizes = Counter(class_of.values())
    said = {**answers.said, SUFFICIENCY: answers.by_part}
    return {
        token: levels_of(said, [g for g in class_of if class_of[g] == token], thresholds, vetoes, table)
        for token, size in sorted(sizes.items())
        if size >= thresholds.class_groups
    }


def _retained_at(
    groups: Sequence[str], installed: Installed, fact_boundary: int | None, outcomes: Outcomes
) -> Mapping[str, int]:
    """Where retention is read: below the handover, and of prompts of any kind at k*."""
    if outcomes.open:
        return installed.by_group
    if fact_boundary is None or fact_boundary < 0:
        return {}
    return dict.fromkeys(groups, fact_boundary)


def _share_elsewhere(outcomes: Outcomes, thresholds: Thresholds) -> Interval | None:
    """Share of the facts never tuned on that differ all the same; None where none were asked."""
    if not outcomes.untuned_groups:
        return None
    return stats.clopper_pearson(
        outcomes.differing(outcomes.untuned_groups),
        len(outcomes.untuned_groups),
        level=1 - thresholds.alpha,
    )


def _gate(evidence: Evidence, installed: Installed) -> float | None:
    """AUROC of the gate, averaged over the boundaries at which the groups are read."""
    rows = evidence.rows(method="shift", condition="gate", metric="auroc")
    values = rows.loc[rows["layer"].isin(installed.layers), "value"]
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None
