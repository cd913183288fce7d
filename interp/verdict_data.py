"""The verdict as plain data (verdict.json) and as one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.content import Content
from interp.grades import Claim
from interp.landmarks import Installed
from interp.levels import Levels
from interp.location import Location
from interp.stats import Interval

if TYPE_CHECKING:
    from interp.verdict import Verdict

_WHAT = {
    "knowledge": "is a change of knowledge, entity by entity",
    "behaviour": "is a behaviour: the base's own answers are still there underneath",
    "both": "is a behaviour on top of overwritten facts",
    "undetermined": "is of undetermined kind",
}
_WHERE = {"lower": "in the lower blocks", "upper": "in the upper blocks",
          "distributed": "across lower and upper blocks"}  # fmt: skip


def as_data(verdict: Verdict) -> dict[str, Any]:
    """Every key of verdict.json, plain JSON types, null for what is undefined or not finite."""
    output, fact, content = verdict.output, verdict.fact, verdict.content
    handover = verdict.handover
    data: dict[str, Any] = {
        "sentence": sentence(verdict),
        "changed": verdict.changed,
        "sharpened": verdict.sharpened,
        "where": verdict.where,
        "where_fact": verdict.where_fact,
        "what": verdict.what,
        "where_term": None if output is None else output.term,
        "where_fact_term": None if fact is None else fact.term,
        "share_lower": _interval(output.share_lower if output else None),
        "share_before_handover": _interval(output.share_before_handover if output else None),
        "handover_layer": None
        if handover.estimate is None
        else {"estimate": handover.estimate, "low": handover.low, "high": handover.high},
        "block_span": list(output.block_span) if output and output.block_span else None,
        "responsibility": _responsibility(output),
        "shared_shift": _content(content, verdict.logit_curves),
        "claims": [_claim(c) for c in verdict.claims],
        "items": list(verdict.items),
        "unknown_items": list(verdict.unknown_items),
        "excluded": [{"text": t, "reason": r} for t, r in verdict.excluded],
        "change": {
            "share_differing": _interval(verdict.change.share),
            "log_p_gain": _interval(verdict.change.gain),
            "p_share": verdict.change.p_share,
            "p_loss": verdict.change.p_loss,
            "reasons": verdict.change.reasons,
        },
        "max_order_gap": output.max_order_gap if output else None,
        "output_contrast": _location(output),
        "fact_contrast": _location(fact),
        "fact_contrast_unchanged": _location(verdict.fact_unchanged),
        "handover": {
            "pairs": handover.pairs,
            "entities": handover.entities,
            "reason": handover.reason,
            "recovery": handover.recovery,
        },
        "closed_set_accuracy": verdict.closed_set_accuracy,
        "counts": verdict.counts,
        "notes": verdict.notes,
        "thresholds": verdict.thresholds.to_dict(),
        "provenance": verdict.provenance,
    }
    return plain(data)


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence that a colleague understands."""
    counts = verdict.counts
    if verdict.changed == "unchanged":
        extra = ", only surer of its right answers" if verdict.sharpened else ""
        return f"Tuning left what the model says about {counts['known']} known facts unchanged{extra}."
    if verdict.changed != "changed":
        return (
            f"Whether tuning changed what the model says about {counts['known']} known facts is "
            "undetermined."
        )
    said = f"Tuning changed what the model says about {counts['changed']} of {counts['known']} facts"
    return f"{said}; the change {_place(verdict)} and {_kind(verdict)}."


def plain(value: Any) -> Any:
    """Any nesting of numbers, arrays, mappings and sequences as JSON types; non-finite is null."""
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)


def _place(verdict: Verdict) -> str:
    output = verdict.output
    if output is not None and output.term:
        return f"sits in the {output.term}, outside the blocks,"
    where = verdict.where
    if output is None or where not in _WHERE:
        text = "has no determined place"
    else:
        span = output.block_span
        blocks = f" ({span[0]}-{span[1]})" if span else ""
        text = f"is installed {_WHERE[str(where)]}{blocks}"
    if verdict.where_fact in _WHERE and verdict.where_fact != where:
        text += f" by what is said, {_WHERE[str(verdict.where_fact)]} by the right answer's logit,"
    return text


def _kind(verdict: Verdict) -> str:
    what, levels = str(verdict.what), verdict.content.levels if verdict.content else None
    text = _WHAT[what]
    if levels is None or what == "undetermined":
        return text
    numbers = [("sufficiency", levels.sufficiency), ("retention", levels.retention)]
    if what == "knowledge":
        numbers.append(("persistence", levels.persistence))
        if levels.f == "high":
            text += ", late, with the old facts intact below"
    said = ", ".join(f"{n} {i.estimate:.2f}" for n, i in numbers if i is not None)
    return f"{text} ({said})"


def _interval(value: Interval | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"estimate": value.estimate, "low": value.low, "high": value.high, "n": value.n}


def _location(one: Location | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "where": one.label,
        "term": one.term,
        "reasons": one.reasons,
        "n": one.n,
        "total_change": _interval(one.delta),
        "cut": one.cut,
        "share_lower": _interval(one.share_lower),
        "share_lower_order_u": _interval(one.share_lower_u),
        "share_lower_order_v": _interval(one.share_lower_v),
        "share_before_handover": _interval(one.share_before_handover),
        "block_span": one.block_span,
        "max_order_gap": one.max_order_gap,
        "cancellation": one.cancellation,
        "responsibility": _responsibility(one),
    }


def _responsibility(one: Location | None) -> dict[str, Any] | None:
    if one is None:
        return None
    shares = [_interval(share) for _, share in one.parts]
    return {"embedding": shares[0], "blocks": shares[1:-1], "unembedding": shares[-1]}


def _levels(one: Levels) -> dict[str, Any]:
    return {
        "sufficiency": _interval(one.sufficiency),
        "retention": _interval(one.retention),
        "persistence": _interval(one.persistence),
        "levels": {"sufficiency": one.s, "retention": one.f, "persistence": one.r},
        "n": one.n,
    }


def _content(content: Content | None, curves: Mapping[str, Any]) -> dict[str, Any] | None:
    if content is None:
        return None
    nothing: dict[str, Any] = dict.fromkeys(("sufficiency", "retention", "persistence"))
    levels = nothing if content.levels is None else _levels(content.levels)
    installed: Installed | None = content.installed
    return {
        "boundary": installed.last if installed else None,
        "boundaries": installed.boundaries if installed else None,
        "halves": installed.halves if installed else None,
        "fact_boundary": content.fact_boundary,
        **levels,
        "logit_curves": curves,
        "reasons": content.reasons,
        "sufficiency_mean": _interval(content.sufficiency_mean),
        "retention_control": _interval(content.retention_control),
        "retention_chance": content.chance,
        "placebo": {"largest": content.placebo_largest, "draws": content.placebo_draws},
        "null_shift": content.null_shift,
        "classes": [
            {"tuned_token": token, "what": content.class_words[token], **_levels(one)}
            for token, one in content.classes.items()
        ],
        "gate": content.gate,
        "elsewhere": _interval(content.elsewhere),
    }


def _claim(claim: Claim) -> dict[str, Any]:
    use, reading = claim.use, claim.reading
    return {
        "attribute": claim.attribute,
        "model": claim.model,
        "site": claim.site,
        "position": claim.position,
        "grade": claim.grade,
        "selectivity": _interval(reading.selectivity),
        "effect": _interval(use.swap),
        "controls": {
            "control_task": _interval(use.control),
            "random": _interval(use.random),
            "whole_state": _interval(use.whole),
            "project_out": _interval(use.removal),
            "project_out_later": _interval(use.later),
            "above_surface": _interval(reading.above_surface),
            "planted_recovered": reading.planted,
        },
        "p_adjusted": use.p,
        "p_readable": reading.p,
        "pieces": claim.pieces,
        "notes": claim.notes,
    }
