"""The verdict in one sentence: what changed, where it was installed, and what kind of change it is."""

from __future__ import annotations

from collections.abc import Mapping

from interp.verdict.answers import HIGH, PERSISTENCE, RETENTION, SUFFICIENCY
from interp.verdict.output_words import ITEM_BY_ITEM, SHARED_PUSH
from interp.verdict.prompts.asked import FACTS, told_of
from interp.verdict.what import MIXED, Content
from interp.verdict.where import Location

_WHAT = {
    "knowledge": "is a change of knowledge, entity by entity",
    "behaviour": "is a behaviour: the base's own answers are still there underneath",
    "both": "is a behaviour on top of overwritten facts",
    "mixed": "is mixed: some outputs follow one push, others change item by item",
    "undetermined": "is of undetermined kind",
    SHARED_PUSH: "is one push that the base's own state predicts",
    ITEM_BY_ITEM: "goes item by item: no push that others predict brings it about",
}

_WHERE = {
    "lower": "in the lower blocks",
    "upper": "in the upper blocks",
    "distributed": "across lower and upper blocks",
    "middle": "in the middle blocks",
    "coupled": "in lower and upper blocks together, neither of which makes it alone",
}


def sentence(
    changed: str,
    counts: Mapping[str, int],
    *,
    sharpened: bool,
    where: str | None,
    where_fact: str | None,
    output: Location | None,
    what: str | None,
    content: Content | None,
    asked: str = FACTS,
) -> str:
    """Verdict in one sentence that a colleague understands.

    Args:
        changed: changed, unchanged or undetermined.
        counts: numbers of known and changed facts, by those names.
        sharpened: whether the right answers became surer.
        where: the place by what is said.
        where_fact: the place by the right answer's logit.
        output: the location behind `where`.
        what: the kind of change.
        content: the measurements behind `what`.
        asked: facts, or prompts of any kind.
    """
    return told_of(
        _of_facts(changed, counts, sharpened, where, where_fact, output, what, content), asked
    )


def _of_facts(
    changed: str,
    counts: Mapping[str, int],
    sharpened: bool,
    where: str | None,
    where_fact: str | None,
    output: Location | None,
    what: str | None,
    content: Content | None,
) -> str:
    """The sentence, written of facts."""
    if changed == "unchanged":
        extra = ", only surer of its right answers" if sharpened else ""
        return f"Tuning left what the model says about {counts['known']} known facts unchanged{extra}."
    if changed != "changed":
        return (
            f"Whether tuning changed what the model says about {counts['known']} known facts is "
            "undetermined."
        )
    scope = f"Tuning changed what the model says about {counts['changed']} of {counts['known']} facts"
    return f"{scope}; the change {_place(output, where, where_fact)} and {_kind(what, content)}."


def _place(output: Location | None, where: str | None, where_fact: str | None) -> str:
    """First half of the sentence: where the change was installed."""
    if output is not None and output.term:
        return f"sits in the {output.term}, outside the blocks,"
    if output is None or where not in _WHERE:
        text = "has no determined place"
    else:
        span = output.block_span
        blocks = f" ({span[0]}-{span[1]})" if span else ""
        text = f"is installed {_WHERE[str(where)]}{blocks}"
    if where_fact in _WHERE and where_fact != where:
        text += f" by what is said, {_WHERE[str(where_fact)]} by the right answer's logit,"
    return text


def _kind(what: str | None, content: Content | None) -> str:
    """Second half of the sentence: what kind of change, with the shares behind it."""
    text = _WHAT[str(what)]
    if content is None or content.levels is None or what == "undetermined":
        return text
    if what == MIXED and content.words is not None:
        shares = content.words.shares
        counted = ", ".join(
            f"{word} {shares[word].estimate:.2f}" for word in (SHARED_PUSH, ITEM_BY_ITEM)
        )
        return f"{text} ({counted} of the outputs)"
    names = [SUFFICIENCY, RETENTION]
    if what in (SHARED_PUSH, ITEM_BY_ITEM):
        names = [SUFFICIENCY, PERSISTENCE]
    if what == "knowledge":
        names.append(PERSISTENCE)
        if content.levels.level[RETENTION] == HIGH:
            text += ", late, with the old facts intact below"
    shares = {name: content.levels.shares[name] for name in names}
    measured = [f"{name} {share.estimate:.2f}" for name, share in shares.items() if share is not None]
    return f"{text} ({', '.join(measured)})"
