"""One verdict beside the known answer: which words are right, wrong, or not decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp.models.loading import load_pair
from interp.verdict.claims.grading import GradedClaim
from interp.verdict.profile import profile
from interp.verdict.result import Verdict
from studies.comparison.comparing import compare
from studies.comparison.result import Comparison
from studies.scores.coverage import covered
from studies.scores.single_methods import KINDS, PLACES, Changed
from studies.scores.truths import FREE, Known

RIGHT, WRONG, UNDECIDED = "right", "wrong", "undetermined"
#: Not scored: the organism is not installed, or its answer is not imposed.
UNSCORED = "not scored"
OPPOSITE = {"lower": "upper", "upper": "lower"}


def score(known: Known, *, seed: int = 0) -> dict[str, Any]:
    """Compare an organism with its base and put the verdict beside the known answer.

    Args:
        known: the organism.
        seed: of the comparison.

    Returns:
        A flat row: the known words (true_…), the verdict's, whether each is right, wrong,
        undetermined or not scored, the numbers behind them, and what every single method alone would
        have said.
    """
    pair = load_pair(str(known.base), str(known.tuned))
    deep = known.old is not None or known.new is not None
    comparison = compare(pair, known.facts, seed=seed, depth=deep)
    row = {**_identity(known), **judged(known, comparison.verdict)}
    row["covered"] = _coverage(known, comparison)
    changed = Changed(pair, comparison.outcomes, comparison.evidence, known.facts)
    alone = comparison.verdict.changed == "changed" and len(comparison.outcomes.confirmed_groups) > 1
    for methods in (PLACES, KINDS):
        row |= {name: say(changed) if alone else None for name, say in methods.items()}
    return row


def _coverage(known: Known, comparison: Comparison) -> float | None:
    """How often the interval of a place covers it, of organisms whose change is on both sides."""
    outcomes, verdict = comparison.outcomes, comparison.verdict
    stitched = profile(
        comparison.evidence, "output", groups=outcomes.changed_groups, forms=[outcomes.estimating_form]
    )
    if known.where != FREE or verdict.changed != "changed" or stitched is None:
        return None
    return covered(stitched, verdict.thresholds)


def _identity(known: Known) -> dict[str, Any]:
    return {
        "organism": known.name,
        "world": known.world,
        "installed": known.installed,
        "decoy": known.decoy,
        "strength": known.strength,
        "true_where": known.where,
        "true_what": known.what,
    }


def judged(known: Known, verdict: Verdict) -> dict[str, Any]:
    """The words of a verdict beside the known ones.

    Args:
        known: the known answer.
        verdict: on the organism and its base.

    Returns:
        The verdict's part of a row of the scorecard.
    """
    share = verdict.output.share_lower if verdict.output else None
    content = verdict.to_dict()["shared_shift"] or {}
    strengths = {
        name: (content.get(name) or {}).get("estimate")
        for name in ("sufficiency", "retention", "persistence")
    }
    change = verdict.change.share
    return {
        "changed": verdict.changed,
        "where": verdict.where,
        "where_fact": verdict.where_fact,
        "what": verdict.what,
        "changed_right": _changed(known, verdict),
        "where_right": _word(known, known.where, verdict.where),
        "what_right": _word(known, known.what, verdict.what),
        "opposite": known.installed and OPPOSITE.get(str(known.where), "") == verdict.where,
        "changed_share": None if change is None else change.estimate,
        "changed_low": None if change is None else change.low,
        "share_lower": None if share is None else share.estimate,
        "share_low": None if share is None else share.low,
        "share_high": None if share is None else share.high,
        "blocks_beyond": _blocks_beyond(known, verdict),
        **strengths,
        **_outputs(known, verdict),
        "placebos_supported": sum(
            claim.grade == "supported" and _column(claim) in known.facts.placebos
            for claim in verdict.claims
        ),
        **_grades(known, verdict),
        **_depth(known, verdict),
    }


def _column(claim: GradedClaim) -> str:
    """The column of the facts that a claim is about: its attribute without the value."""
    return claim.attribute.partition(" = ")[0]


def _grades(known: Known, verdict: Verdict) -> Mapping[str, str | None]:
    """The grade of what was planted at the subject, beside the known one."""
    claims = [c for c in verdict.claims if c.position == "subject_last" and _column(c) in known.grades]
    said = claims[0].grade if claims else None
    truth = next(iter(known.grades.values()), None)
    return {"true_grade": truth, "grade": said, "grade_right": _word(known, truth, said)}


def _depth(known: Known, verdict: Verdict) -> Mapping[str, str | None]:
    """What became of the old facts and what the new ones are, beside what is known of them."""
    deep = verdict.depth
    old, new = (deep.old, deep.new) if deep else (None, None)
    return {
        "true_old": known.old,
        "old": old,
        "old_right": _word(known, known.old, old),
        "true_new": known.new,
        "new": new,
        "new_right": _word(known, known.new, new),
    }


def _changed(known: Known, verdict: Verdict) -> str:
    """Whether the first word is right: what changes no answer must not be called changed."""
    if not known.installed:
        return UNSCORED
    if verdict.changed == "undetermined":
        return UNDECIDED
    return RIGHT if (verdict.changed == "changed") == (known.what is not None) else WRONG


def _word(known: Known, truth: str | None, said: str | None) -> str:
    """Whether a word is right; undetermined is not right where the answer is known."""
    if not known.installed or truth in (None, FREE):
        return UNSCORED
    if said in (None, UNDECIDED):
        return UNDECIDED
    return RIGHT if said == truth else WRONG


def _blocks_beyond(known: Known, verdict: Verdict) -> int | None:
    """Location error in blocks: how far the 5–95% span of responsibility reaches out of the mask."""
    span = verdict.output.block_span if verdict.output else None
    if span is None or not known.blocks or known.where in (None, FREE):
        return None
    return max(0, min(known.blocks) - span[0]) + max(0, span[1] - max(known.blocks))


def _outputs(known: Known, verdict: Verdict) -> Mapping[str, int | None]:
    """Of a mixture: how many outputs were given what drives them, the opposite, and a word at all."""
    words = verdict.content.words.of if verdict.content and verdict.content.words else {}
    pairs = [(known.drives[group], word) for group, word in words.items() if group in known.drives]
    if not known.drives:
        return {"outputs_right": None, "outputs_opposite": None, "outputs": None}
    decided = set(known.drives.values())
    return {
        "outputs_right": sum(truth == word for truth, word in pairs),
        "outputs_opposite": sum(truth != word and word in decided for truth, word in pairs),
        "outputs": len(pairs),
    }
