"""`judge`: the verdict from probes, interventions and controls together.

It applies every rule and holds none itself: `changed` (did it change), `where` (in which blocks),
`what` (which kind of change), `claims` (what is represented and used), `per_output` (output by
output); the margins are in `thresholds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from interp.evidence import Evidence
from interp.stats.crossing import Handover
from interp.verdict.answers import RETENTION
from interp.verdict.boundaries import handover_layer
from interp.verdict.changed import Change, judge_change
from interp.verdict.claims import NOT_MEASURED, GradedClaim, grade_claims
from interp.verdict.depth.judging import Depth, judge_depth
from interp.verdict.outcomes import Outcomes
from interp.verdict.per_output import item_rows, unknown_rows
from interp.verdict.profile import Profile, profile
from interp.verdict.prompts.asked import asked, told_of
from interp.verdict.prompts.carriers import carriers_of, with_carriers
from interp.verdict.prompts.controls import OpenControls, open_controls
from interp.verdict.prompts.labels import labels_of
from interp.verdict.result import Verdict
from interp.verdict.thresholds import Thresholds
from interp.verdict.what import Content, judge_content
from interp.verdict.where import Location, locate


def judge(
    outcomes: Outcomes,
    probe_evidence: Evidence,
    causal_evidence: Evidence,
    *,
    thresholds: Thresholds | None = None,
    seed: int = 0,
) -> Verdict:
    """The verdict on a pair of models from what they said, what probes read and what edits did.

    Evidence that is missing makes the word that would rest on it ``undetermined``, and a note names
    it.

    Args:
        outcomes: what both models said to every query.
        probe_evidence: with the rows methods ``probe`` and ``readable``; may be empty.
        causal_evidence: with the rows methods ``stitch``, ``handover``, ``shift`` and ``claim``; may
            be empty.
        thresholds: the margins and cut-offs; the declared ones by default.
        seed: of every bootstrap, and of the halves where the evidence does not say how they were
            dealt.

    Returns:
        The words (`changed`, `where`, `where_fact`, `what`), the sentence, the numbers behind them
        (`to_dict`), and notes on what is undetermined and what would decide it.

    Source: the definitions and thresholds of this toolkit; stitching and graft controls after
    2402.14811, selectivity after 1909.03368. Does not show where facts are stored.

    Example:
        >>> import interp, pandas as pd
        >>> answers = {"known": True, "closed_base": True, "closed_tuned": True, "answer_token": 1,
        ...     "base_token": 1, "text": "The capital of X is", "answer": " Y", "said_base": " Y",
        ...     "logp_base": -0.1, "metric_base": float("nan"), "metric_tuned": float("nan")}
        >>> said = pd.DataFrame([
        ...     {**answers, "group": f"country {i}", "form": form, "differs": i < 30,
        ...         "said_tuned": " Z" if i < 30 else " Y", "tuned_token": 2 if i < 30 else 1,
        ...         "logp_tuned": -3.0 if i < 30 else -0.1}
        ...     for i in range(60) for form in "AB"])
        >>> nothing = interp.Evidence.concat([])
        >>> verdict = interp.judge(interp.Outcomes(said), nothing, nothing)
        >>> verdict.changed, verdict.where, verdict.counts["changed"]
        ('changed', 'undetermined', 30)
        >>> verdict.sentence[:60]
        'Tuning changed what the model says about 30 of 60 facts; the'
    """
    thresholds = thresholds or Thresholds()
    known, changed = outcomes.known_groups, outcomes.changed_groups
    what_was_asked = asked(outcomes.open)
    change = judge_change(outcomes, thresholds, seed)
    handover = handover_layer(causal_evidence, thresholds, seed)
    is_changed = change.label == "changed"
    output = profile(causal_evidence, "output", groups=changed, forms=[outcomes.estimating_form])
    facts = None if outcomes.open else profile(causal_evidence, "fact", groups=known)
    places = (
        _places(outcomes, causal_evidence, output, facts, handover, thresholds) if is_changed else {}
    )
    content, controls, carried = None, None, None
    if is_changed and outcomes.open:
        controls = _open_controls(outcomes, causal_evidence, output, thresholds, seed)
    if is_changed:
        carried = carriers_of(causal_evidence, thresholds)
        kappa = handover.estimate
        content = judge_content(outcomes, causal_evidence, output, thresholds, kappa=kappa, seed=seed)
    labels = labels_of(probe_evidence, thresholds, seed) if outcomes.open else None
    claims = () if outcomes.open else grade_claims(probe_evidence, causal_evidence, thresholds, seed)
    return Verdict(
        change=change,
        output=places.get("output"),
        fact=places.get("fact"),
        fact_unchanged=places.get("fact_unchanged"),
        content=content,
        handover=handover,
        claims=claims,
        items=with_carriers(
            item_rows(outcomes, output, facts, content, thresholds, changed=is_changed), carried
        ),
        unknown_items=unknown_rows(outcomes),
        counts=_counts(outcomes),
        closed_set_accuracy={
            m: None if outcomes.open else outcomes.closed_set_accuracy(m, known)
            for m in ("base", "tuned")
        },
        logit_curves=_logit_curves(causal_evidence, outcomes) if is_changed else {},
        excluded=outcomes.excluded,
        notes=(
            *(
                told_of(note, what_was_asked)
                for note in _notes(change, places, content, handover, outcomes, output, thresholds)
            ),
            *_claim_notes(claims),
            *(
                f"{reason}."
                for key in ("not_probed", "probed_on_few")
                for reason in probe_evidence.provenance.get(key, ())
            ),
        ),
        asked=what_was_asked,
        open_controls=controls,
        carriers=carried,
        labels=labels,
        depth=depth_of(causal_evidence, content, thresholds, seed) if is_changed else None,
        thresholds=thresholds,
        provenance={**probe_evidence.provenance, **causal_evidence.provenance, "judge_seed": seed},
    )


def _counts(outcomes: Outcomes) -> dict[str, int]:
    """Numbers of groups by what was said about them."""
    return {
        "known": len(outcomes.known_groups),
        "changed": len(outcomes.changed_groups),
        "changed_on_both_forms": len(outcomes.confirmed_groups),
        "unknown": len(outcomes.unknown_groups),
        "untuned": len(outcomes.untuned_groups),
    }


def _open_controls(
    outcomes: Outcomes,
    evidence: Evidence,
    output: Profile | None,
    thresholds: Thresholds,
    seed: int,
) -> OpenControls | None:
    """Controls of a change of prompts of any kind; None where its contrast was not stitched."""
    if output is None:
        return None
    return open_controls(evidence, outcomes, output.pooled(outcomes.unit_of), thresholds, seed)


def depth_of(
    evidence: Evidence, content: Content | None, thresholds: Thresholds, seed: int
) -> Depth | None:
    """How deep a change goes, where the evidence was asked for it.

    Args:
        evidence: with rows of method ``depth``.
        content: the kind of change, whose retention can contradict that a fact is gone.
        thresholds: the declared cut-offs.
        seed: of the bootstraps.
    """
    levels = None if content is None or content.levels is None else content.levels.level
    retention = None if levels is None else levels.get(RETENTION)
    return judge_depth(evidence, thresholds, retention=retention, seed=seed)


def _places(
    outcomes: Outcomes,
    evidence: Evidence,
    output: Profile | None,
    facts: Profile | None,
    handover: Handover,
    thresholds: Thresholds,
) -> dict[str, Location]:
    """Places by the output contrast, the fact contrast, and the fact contrast of unchanged groups.

    Those that were not stitched are left out.
    """
    pooled = None if output is None else output.pooled(outcomes.unit_of)
    if outcomes.open:
        if pooled is None or not pooled.groups:
            return {}
        return {"output": locate(pooled, thresholds, kappa=None, selected=outcomes.selected)}
    # Groups were picked on the first form, so effects of the picked are read on the others.
    others = list(outcomes.forms[1:] or outcomes.forms)
    changed_facts = profile(evidence, "fact", groups=outcomes.changed_groups, forms=others)
    unchanged_facts = None if facts is None else facts.subset(outcomes.unchanged_groups)
    contrasts = {
        "output": (pooled, outcomes.selected),
        "fact": (changed_facts, outcomes.selected),
        "fact_unchanged": (unchanged_facts, False),
    }
    return {
        name: locate(stitched, thresholds, kappa=handover.estimate, selected=selected)
        for name, (stitched, selected) in contrasts.items()
        if stitched is not None and stitched.groups
    }


def _logit_curves(evidence: Evidence, outcomes: Outcomes) -> dict[str, Any]:
    """Mean logits of the shift conditions by boundary: descriptive, they decide nothing."""
    rows = evidence.rows(method="shift", metric=["answer_logit", "tuned_logit"])
    rows = rows[rows["group"].isin(list(outcomes.changed_groups)) & rows["layer"].notna()]
    curves: dict[str, Any] = {}
    for (condition, metric), part in rows.groupby(["condition", "metric"], observed=True):
        means = part.groupby("layer")["value"].mean().sort_index()
        curves.setdefault(str(condition), {})[str(metric)] = {
            "boundary": [int(k) for k in means.index],
            "mean": [float(v) for v in means],
        }
    return curves


def _notes(
    change: Change,
    places: Mapping[str, Location],
    content: Content | None,
    handover: Handover,
    outcomes: Outcomes,
    stitched: Profile | None,
    thresholds: Thresholds,
) -> tuple[str, ...]:
    """Sentences on what is undetermined and what would decide it, and what else must be known."""
    notes = [f"`changed` is undetermined: {reason}." for reason in change.reasons]
    if change.label != "changed":
        return tuple(notes)
    if handover.estimate is None and not outcomes.open:
        notes.append(
            f"No layer clearly hands the fact to the last word ({handover.reason}), so what lies "
            f"underneath cannot be read; {thresholds.needs}"
        )
    contrasts = (("output", "where"), ("fact", "where_fact"))
    for name, word in contrasts[:1] if outcomes.open else contrasts:
        place = places.get(name)
        if place is None:
            notes.append(
                f"`{word}` is undetermined: the models were not stitched together on the {name} "
                "contrast; run patching.stitch on the changed facts."
            )
            continue
        notes += [f"`{word}` is undetermined: {reason}." for reason in place.reasons]
        if thresholds.min_groups <= place.n < thresholds.low_n:
            notes.append(
                f"The place by the {name} contrast rests on {place.n} facts only; more than "
                f"{thresholds.low_n} make it firm."
            )
    notes += _count_notes(outcomes, stitched)
    output, fact = places.get("output"), places.get("fact")
    if output is not None and fact is not None and output.label != fact.label:
        notes.append(
            f"By what is said the change reads {output.label}, by the right answer's logit "
            f"{fact.label}: both are true of what they measure, and both are shown."
        )
    if content is not None:
        notes += [f"`what` is undetermined: {reason}." for reason in content.reasons]
        if content.what in ("behaviour", "both"):
            notes.append(
                "An edit that a behaviour masks can stay invisible to these questions; questions that "
                "the behaviour does not answer would show it."
            )
    return tuple(notes)


def _count_notes(outcomes: Outcomes, stitched: Profile | None) -> list[str]:
    """How many changed facts each step could not use."""
    notes = []
    changed, again = len(outcomes.changed_groups), len(outcomes.confirmed_groups)
    if again < changed:
        notes.append(
            f"{changed - again} of {changed} changed facts differ on the first wording only; what kind "
            "of change it is rests on the others."
        )
    if stitched is not None and len(stitched.groups) < changed:
        notes.append(
            f"{changed - len(stitched.groups)} of {changed} changed facts were not stitched at every "
            "boundary and count nowhere; stitch them to include them."
        )
    return notes


def _claim_notes(claims: Sequence[GradedClaim]) -> list[str]:
    """Which evidence undetermined claims lack, each lack told once; unmeasured claims are no claims."""
    graded = [claim for claim in claims if claim.grade != NOT_MEASURED]
    unsure = [claim for claim in graded if claim.grade == "undetermined"]
    lacks = Counter(note for claim in unsure for note in claim.notes)
    notes = [
        f"{n} of {len(graded)} claims about what is represented are undetermined for want of evidence "
        f"({note}); measuring it would decide them."
        for note, n in lacks.items()
    ]
    straddling = sum(not claim.notes for claim in unsure)
    if straddling:
        notes.append(
            f"{straddling} of {len(graded)} claims about what is represented are undetermined: their "
            "intervals reach over a margin; more entities narrow them."
        )
    read_only = sorted({claim.attribute for claim in claims if claim.grade == NOT_MEASURED})
    if read_only:
        notes.append(
            f"What probes read of {', '.join(read_only)} was not tested by intervention: it is "
            "readable or not, and nothing is claimed about its use; patching.swap_and_remove would "
            "test it."
        )
    return notes
