"""The verdict as plain data (verdict.json) and as one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.answers import PERSISTENCE, RETENTION, SHARES, SUFFICIENCY, Ends
from interp.content import MIXED, Content
from interp.grades import Claim
from interp.levels import HIGH, Levels
from interp.location import Location
from interp.output_words import ITEM_BY_ITEM, SHARED_PUSH, OutputWords
from interp.stats import Interval

if TYPE_CHECKING:
    from interp.verdict import Verdict

_WHAT = {
    "knowledge": "is a change of knowledge, entity by entity",
    "behaviour": "is a behaviour: the base's own answers are still there underneath",
    "both": "is a behaviour on top of overwritten facts",
    "mixed": "is mixed: some outputs follow one push, others change item by item",
    "undetermined": "is of undetermined kind",
}
_WHERE = {"lower": "in the lower blocks", "upper": "in the upper blocks",
          "distributed": "across lower and upper blocks"}  # fmt: skip
#: Shares of a whole: nothing of it, and all of it.
_WHOLE = Ends(0.0, 1.0)


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
        "share_lower": _share(output.share_lower if output else None, _WHOLE),
        "share_before_handover": _share(output.share_before_handover if output else None, _WHOLE),
        "handover_layer": None
        if handover.estimate is None
        else {
            "estimate": handover.estimate,
            "low": handover.low,
            "high": handover.high,
            "n": handover.entities,
        },
        "block_span": list(output.block_span) if output and output.block_span else None,
        "responsibility": _responsibility(output),
        "shared_shift": _content(content, verdict.logit_curves),
        "claims": [_claim(c) for c in verdict.claims],
        "items": list(verdict.items),
        "unknown_items": list(verdict.unknown_items),
        "excluded": [{"text": t, "reason": r} for t, r in verdict.excluded],
        "change": {
            "share_differing": _share(verdict.change.share, _WHOLE),
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
    what, content = str(verdict.what), verdict.content
    text = _WHAT[what]
    if content is None or content.levels is None or what == "undetermined":
        return text
    if what == MIXED and content.words is not None:
        shares = content.words.shares
        said = ", ".join(f"{w} {shares[w].estimate:.2f}" for w in (SHARED_PUSH, ITEM_BY_ITEM))
        return f"{text} ({said} of the outputs)"
    names = [SUFFICIENCY, RETENTION]
    if what == "knowledge":
        names.append(PERSISTENCE)
        if content.levels.level[RETENTION] == HIGH:
            text += ", late, with the old facts intact below"
    shares = {name: content.levels.shares[name] for name in names}
    said = ", ".join(f"{name} {one.estimate:.2f}" for name, one in shares.items() if one is not None)
    return f"{text} ({said})"


def _interval(value: Interval | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"estimate": value.estimate, "low": value.low, "high": value.high, "n": value.n}


def _share(value: Interval | None, ends: Ends | None) -> dict[str, Any] | None:
    """An interval beside its floor and ceiling."""
    shown = _interval(value)
    if shown is None:
        return None
    ends = ends or Ends()
    return {**shown, "floor": ends.floor, "ceiling": ends.ceiling}


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
        "share_lower": _share(one.share_lower, _WHOLE),
        "share_lower_order_u": _interval(one.share_lower_u),
        "share_lower_order_v": _interval(one.share_lower_v),
        "share_before_handover": _share(one.share_before_handover, _WHOLE),
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


def _levels(one: Levels | None, ends: Mapping[str, Ends]) -> dict[str, Any]:
    if one is None:
        return dict.fromkeys(SHARES)
    return {
        **{name: _share(one.shares[name], ends.get(name)) for name in SHARES},
        "levels": dict(one.level),
        "n": one.n,
    }


def _content(content: Content | None, curves: Mapping[str, Any]) -> dict[str, Any] | None:
    if content is None:
        return None
    installed = content.installed
    answers, placebo = content.answers, content.placebo
    return {
        "boundary": installed.last if installed else None,
        "boundaries": installed.boundaries if installed else None,
        "halves": installed.halves if installed else None,
        "fact_boundary": content.fact_boundary,
        **_levels(content.levels, content.ends),
        "output_words": _words(content.words),
        "logit_curves": curves,
        "reasons": content.reasons,
        "sufficiency_mean": _share(content.sufficiency_mean, content.ends.get(SUFFICIENCY)),
        "retention_control": _share(content.retention_control, content.ends.get(RETENTION)),
        "retention_chance": answers.chance if answers else None,
        "placebo": {
            "largest": placebo.largest,
            "draws": placebo.draws,
            "sufficiency": placebo.sufficiency,
            "groups": placebo.groups,
        },
        "null_shift": answers.null_share if answers else None,
        "classes": [
            {"tuned_token": token, "what": content.class_words[token], **_levels(one, {})}
            for token, one in content.classes.items()
        ],
        "gate": content.gate,
        "elsewhere": _interval(content.elsewhere),
    }


def _words(words: OutputWords | None) -> list[dict[str, Any]]:
    """The four words with their shares and the outputs they belong to."""
    if words is None:
        return []
    return [
        {"word": word, **(_share(share, Ends(0.0, 1.0)) or {}), "groups": words.groups(word)}
        for word, share in words.shares.items()
    ]


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
