"""The verdict as a value, and as the plain data of verdict.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from interp.stats.crossing import Handover
from interp.stats.intervals import Interval
from interp.verdict.answers import RETENTION, SHARES, SUFFICIENCY, Ends, Levels
from interp.verdict.changed import Change
from interp.verdict.claims import GradedClaim
from interp.verdict.depth.judging import Depth
from interp.verdict.output_words import OutputWords
from interp.verdict.prompts.asked import FACTS, PROMPTS, told_of
from interp.verdict.prompts.carriers import Carriers
from interp.verdict.prompts.controls import OpenControls
from interp.verdict.prompts.labels import Labels
from interp.verdict.sentence import sentence
from interp.verdict.summary import as_html, row_of, summary
from interp.verdict.thresholds import Thresholds
from interp.verdict.what import Content
from interp.verdict.where import Location


@dataclass(frozen=True)
class Verdict:
    """What tuning changed, where it was installed, what kind of change it is, and how sure that is.

    A place is where the tuned weights act, not where the base stores its facts; a content word speaks
    of the queries that were asked, and an edit masked by a behaviour can stay invisible.

    Attributes:
        change: whether the answers changed.
        output: place by the output contrast, on the changed groups; None where nothing changed.
        fact: place by the fact contrast, likewise.
        fact_unchanged: the fact contrast on the groups that did not change.
        content: kind of the change; None where nothing changed.
        handover: boundary at which the last position takes over.
        claims: every claim about what is represented, graded.
        items: one row per query of a known fact.
        unknown_items: what was said about facts that the base does not know.
        counts: number of facts that are known, changed, changed on both forms, unknown, and untuned.
        closed_set_accuracy: share of right answers among all known ones, by model.
        logit_curves: mean logits of the shift conditions by boundary; they decide nothing.
        excluded: text and reason of every item that was left out.
        notes: sentences on what is undetermined, and on what else a reader must know.
        thresholds: the declared margins and cut-offs.
        provenance: models, facts, versions and seeds.
        asked: "facts", or "prompts" of any kind, of which no answer is known to be right.
        open_controls: effects where none should be, beside a change of prompts of any kind.
        carriers: the heads and MLPs that carry changed outputs; None where none were exchanged.
        labels: what probes read of the labels of prompts; None without any.
        depth: what became of the old facts, and what the new ones are; None where it was not asked.
    """

    change: Change
    output: Location | None
    fact: Location | None
    fact_unchanged: Location | None
    content: Content | None
    handover: Handover
    claims: tuple[GradedClaim, ...]
    items: Sequence[Mapping[str, Any]]
    unknown_items: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    closed_set_accuracy: Mapping[str, float | None]
    logit_curves: Mapping[str, Any]
    excluded: Sequence[tuple[str, str]]
    notes: tuple[str, ...]
    thresholds: Thresholds
    provenance: Mapping[str, Any] = field(default_factory=dict)
    asked: str = FACTS
    open_controls: OpenControls | None = None
    carriers: Carriers | None = None
    labels: Labels | None = None
    depth: Depth | None = None

    def __repr__(self) -> str:
        """The sentence; every number is in `to_dict()`."""
        return f"Verdict({self.sentence})"

    def _repr_html_(self) -> str:
        """The top of the report, for a notebook: sentence, words with their shares, three outputs."""
        return as_html(summary(self.to_dict()))

    @property
    def changed(self) -> str:
        """One of changed, unchanged, undetermined."""
        return self.change.label

    @property
    def sharpened(self) -> bool:
        """Whether the right answers gained more log-probability than the margin."""
        return self.change.sharpened

    @property
    def where(self) -> str | None:
        """One of lower, upper, middle, distributed, coupled, undetermined (output contrast).

        None if not changed.
        """
        if self.changed != "changed":
            return None
        return "undetermined" if self.output is None else self.output.label

    @property
    def where_fact(self) -> str | None:
        """Place by the fact contrast, in the same words; None of prompts of any kind."""
        if self.changed != "changed" or self.asked == PROMPTS:
            return None
        return "undetermined" if self.fact is None else self.fact.label

    @property
    def what(self) -> str | None:
        """One of knowledge, behaviour, both, mixed, undetermined; None if not changed.

        Of prompts of any kind: shared push, item by item, mixed, undetermined.
        """
        if self.changed != "changed":
            return None
        return "undetermined" if self.content is None else self.content.what

    @property
    def sentence(self) -> str:
        """Verdict in one sentence."""
        return sentence(
            self.changed,
            self.counts,
            sharpened=self.sharpened,
            where=self.where,
            where_fact=self.where_fact,
            output=self.output,
            what=self.what,
            content=self.content,
            asked=self.asked,
        )

    def to_dict(self) -> dict[str, Any]:
        """Content of verdict.json: plain JSON types, null for what is undefined."""
        return as_data(self)

    def row(self) -> dict[str, Any]:
        """Put the verdict into one flat row, for a table of many; `studies.summary` makes that table.

        Returns:
            The words, and each number with its interval, floor, ceiling and n; None for what is
            undefined.
        """
        return row_of(self.to_dict())


#: Shares of a whole: nothing of it, and all of it.
_WHOLE = Ends(0.0, 1.0)


def as_data(verdict: Verdict) -> dict[str, Any]:
    """Every key of verdict.json, plain JSON types, null for what is undefined or not finite."""
    output, fact, content = verdict.output, verdict.fact, verdict.content
    handover = verdict.handover
    data: dict[str, Any] = {
        "sentence": verdict.sentence,
        "asked": verdict.asked,
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
        "claims": [_claim(claim) for claim in verdict.claims],
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
        "open_controls": _controls(verdict.open_controls),
        **{name: part and part.as_dict() for name, part in _parts(verdict).items()},
        "counts": verdict.counts,
        "notes": verdict.notes,
        "thresholds": verdict.thresholds.to_dict(),
        "provenance": verdict.provenance,
    }
    for part in ("change", "output_contrast", "shared_shift"):
        if data[part]:
            reasons = data[part]["reasons"]
            data[part]["reasons"] = [told_of(reason, verdict.asked) for reason in reasons]
    return plain(data)


def plain(value: Any) -> Any:
    """Nested numbers, arrays, mappings and sequences as JSON types; what is not finite becomes null.

    Args:
        value: anything; what has no JSON type becomes text.
    """
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


def _parts(verdict: Verdict) -> dict[str, Carriers | Labels | Depth | None]:
    """What was asked beside the words, by its key."""
    return {"carriers": verdict.carriers, "labels": verdict.labels, "depth": verdict.depth}


def _controls(controls: OpenControls | None) -> dict[str, Any] | None:
    return None if controls is None else {n: _interval(v) for n, v in vars(controls).items()}


def _interval(value: Interval | None) -> dict[str, Any] | None:
    return None if value is None else value.as_dict()


def _share(value: Interval | None, ends: Ends | None) -> dict[str, Any] | None:
    """Interval beside its floor and ceiling."""
    return None if value is None else {**value.as_dict(), **asdict(ends or Ends())}


def _location(location: Location | None) -> dict[str, Any] | None:
    if location is None:
        return None
    return {
        "where": location.label,
        "term": location.term,
        "reasons": location.reasons,
        "n": location.n,
        "total_change": _interval(location.delta),
        "cut": location.cut,
        "share_lower": _share(location.share_lower, _WHOLE),
        "share_lower_order_u": _interval(location.share_lower_u),
        "share_lower_order_v": _interval(location.share_lower_v),
        "share_before_handover": _share(location.share_before_handover, _WHOLE),
        "block_span": location.block_span,
        "max_order_gap": location.max_order_gap,
        "cancellation": location.cancellation,
        "responsibility": _responsibility(location),
        "interaction": _interval(location.at_cut.interaction),
        "coupling": _interval(location.at_cut.coupling),
        "portable_share": _interval(location.at_cut.portable),
        "boundaries": [
            {
                "boundary": k,
                "share_lower_order_u": _interval(cell.share_u),
                "share_lower_order_v": _interval(cell.share_v),
                "interaction": _interval(cell.interaction),
                "coupling": _interval(cell.coupling),
                "portable_share": _interval(cell.portable),
            }
            for k, cell in enumerate(location.boundaries)
        ],
    }


def _responsibility(location: Location | None) -> dict[str, Any] | None:
    if location is None:
        return None
    shares = [_interval(share) for _, share in location.parts]
    return {"embedding": shares[0], "blocks": shares[1:-1], "unembedding": shares[-1]}


def _levels(levels: Levels | None, ends: Mapping[str, Ends]) -> dict[str, Any]:
    if levels is None:
        return dict.fromkeys(SHARES)
    return {
        **{name: _share(levels.shares[name], ends.get(name)) for name in SHARES},
        "levels": dict(levels.level),
        "n": levels.n,
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
            {"tuned_token": token, "what": content.class_words[token], **_levels(levels, {})}
            for token, levels in content.classes.items()
        ],
        "gate": content.gate,
        "elsewhere": _interval(content.elsewhere),
    }


def _words(words: OutputWords | None) -> list[dict[str, Any]]:
    """The four words with their shares and the outputs they belong to."""
    if words is None:
        return []
    return [
        {"word": word, **(_share(share, _WHOLE) or {}), "groups": words.groups(word)}
        for word, share in words.shares.items()
    ]


def _claim(claim: GradedClaim) -> dict[str, Any]:
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
