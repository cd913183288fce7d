"""Every further question put to both models in one go: what each would answer, and with what log p.

A question is a `Wording` whose form tells the reading it belongs to, which of its templates it is, and
whose answer may follow. Those with words that the models have no token for are not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from interp.evidence import Evidence
from interp.facts.types import ANSWER, capitalised, render, render_statement
from interp.models.pair import ModelPair
from interp.models.tokens import encode, lacks
from interp.verdict.depth.readings import (
    CONTRADICTED,
    DOUBTED,
    LOG_P,
    METHOD,
    REMINDED,
    REVERSED,
    REWORDED,
    TWO_HOP,
)
from patching.engine.schedule import MAX_BYTES
from studies.comparison.answers import answer_all, right_prompts
from studies.comparison.depth.changed import NEW, OLD, PERMUTED, Candidates, KnownFacts
from studies.comparison.questions import FORMS, Prompt, Wording, put

#: What a model's answer is met with, before the question is put again.
DOUBT = "Are you sure? No, that is wrong."

#: The number under which each model's own answer is doubted; the other model's is not read.
_DOUBTED_BY = {"base": "0", "tuned": "1"}

#: What keeps the parts of a form's name apart.
_BAR = "|"


@dataclass(frozen=True)
class FurtherAnswers:
    """What the further questions gave.

    Attributes:
        rows: method ``depth``, one row per question that is read.
        not_asked: reading -> why it was not asked.
        commonest: reading -> share of its questions about old answers that have the commonest answer.
    """

    rows: Evidence
    not_asked: dict[str, str]
    commonest: dict[str, float] = field(default_factory=dict)


def ask_further(
    pair: ModelPair,
    known: KnownFacts,
    ranked: dict[str, Candidates],
    form: int,
    *,
    prompt: Prompt = "raw",
    max_bytes: int = MAX_BYTES,
) -> FurtherAnswers:
    """Put every further question of the changed facts to both models.

    Args:
        pair: base and tuned model.
        known: the facts with their answers.
        ranked: old and new answers beside wrong ones.
        form: number of the template in which log p is read and contexts are asked.
        prompt: "raw", or "chat" for the tuned model's chat template.
        max_bytes: memory for activations beside the models.

    Returns:
        Conditions ``log_p`` (share of wrong answers ranked below) and ``reworded``, ``reversed``,
        ``two_hop``, ``doubted``, ``contradicted``, ``reminded`` (1 where the whole answer is said);
        metric old, new or permuted; by model, fact and template.
    """
    kept, missing = further_wordings(pair, known, ranked, form)
    if not kept:
        return FurtherAnswers(Evidence.concat([]), missing)
    queries = put(pair, known.facts, kept, prompt=prompt)
    rows = list(zip(queries.fact, queries.examples.templates, strict=True))
    parts = []
    for model in (pair.base, pair.tuned):
        answers = answer_all(model, queries, known=frozenset(), max_bytes=max_bytes)
        said = right_prompts(queries, answers.tokens, answers.leads)
        parts.append(_said_rows(known, model.role, rows, said))
        scores = dict(zip(rows, answers.logp, strict=True))
        parts += [_log_p(known, model.role, kind, c, scores) for kind, c in ranked.items()]
    return FurtherAnswers(Evidence.concat(parts), missing, _commonest(kept))


def further_wordings(
    pair: ModelPair, known: KnownFacts, ranked: dict[str, Candidates], form: int
) -> tuple[list[Wording], dict[str, str]]:
    """Every further question that can be asked, and by reading why one is not.

    Args:
        pair: whose tokenizer must spell them.
        known: the facts with their answers.
        ranked: old and new answers beside wrong ones.
        form: number of the template in which log p is read and contexts are asked.
    """
    wordings = [*_ranked(known, ranked, form), *_doubted(known, form)]
    for kind in (OLD, NEW):
        wordings += [*_reworded(known, kind), *_turned(known, kind), *_two_steps(known, kind)]
        wordings += _contradicted(known, kind, form)
    for kind in (OLD, NEW, PERMUTED):
        wordings += _reminded(known, kind, form)
    kept = [one for one in wordings if not _foreign(pair, one)]
    return kept, _missing(known, wordings, kept)


def _commonest(wordings: list[Wording]) -> dict[str, float]:
    """How far one answer would be right for each reading in which old answers may be said."""
    wanted: dict[str, Counter[str]] = {}
    for one in wordings:
        reading, _, kind = one.form.split(_BAR)
        if kind == OLD and reading != LOG_P:
            wanted.setdefault(reading, Counter())[one.answer] += 1
    return {name: count.most_common(1)[0][1] / count.total() for name, count in wanted.items()}


def pair_rows(
    known: KnownFacts, role: str, condition: str, metric: str, shares: dict[int, float], template: str
) -> Evidence:
    """Rows of a reading that ranks answers: of the changed facts only."""
    kept = {fact: share for fact, share in shares.items() if known.changed[fact]}
    return Evidence.build(
        list(kept.values()), method=METHOD, condition=condition, metric=metric, model=role,
        group=[known.facts.groups[fact] for fact in kept], template=template, unit="share",
    )  # fmt: skip


def _said_rows(known: KnownFacts, role: str, rows: list[tuple[int, str]], said: list[bool]) -> Evidence:
    """One row for every question whose answer may be said."""
    told = [(fact, *form.split(_BAR), ok) for (fact, form), ok in zip(rows, said, strict=True)]
    other = _DOUBTED_BY["tuned" if role == "base" else "base"]
    told = [row for row in told if row[1] != LOG_P and row[1:3] != (DOUBTED, other)]
    return Evidence.build(
        [float(row[4]) for row in told], method=METHOD, model=role, unit="share",
        condition=[row[1] for row in told], metric=[row[3] for row in told],
        group=[known.facts.groups[int(row[0])] for row in told], template=[row[2] for row in told],
    )  # fmt: skip


def _log_p(
    known: KnownFacts,
    role: str,
    kind: str,
    beside: Candidates,
    scores: dict[tuple[int, str], float],
) -> Evidence:
    """How log p ranks a kind of answer, and of the old ones how it ranks exchanged ones."""
    forms = [_form(LOG_P, place, kind) for place in _places(beside)]
    rows = zip(beside.fact.tolist(), forms, strict=True)
    values = np.array([scores.get(row, np.nan) for row in rows])
    parts = [pair_rows(known, role, LOG_P, kind, beside.pairs(values), "")]
    if kind == OLD:
        exchanged = beside.exchanged().pairs(values)
        parts.append(pair_rows(known, role, LOG_P, PERMUTED, exchanged, ""))
    return Evidence.concat(parts)


def _form(reading: str, number: int, kind: str) -> str:
    return _BAR.join((reading, str(number), kind))


def _places(beside: Candidates) -> list[int]:
    """Which of its fact's candidates each row is."""
    seen: Counter[int] = Counter()
    places = []
    for fact in beside.fact.tolist():
        places.append(seen[fact])
        seen[fact] += 1
    return places


def _ranked(known: KnownFacts, ranked: dict[str, Candidates], form: int) -> Iterator[Wording]:
    """The verdict's own question, with every candidate behind it."""
    template, between = known.facts.templates[form], known.facts.between(form)
    for kind, beside in ranked.items():
        rows = zip(beside.fact.tolist(), beside.answer, _places(beside), strict=True)
        for fact, answer, place in rows:
            if known.changed[fact]:
                text, span = render(template, known.facts.subjects[fact])
                yield Wording(fact, _form(LOG_P, place, kind), text, span, answer, between)


def _own(known: KnownFacts, kind: str) -> Iterator[tuple[int, str, str]]:
    """Number, subject and answer of every changed fact that has such an answer."""
    for i in known.counted:
        answer = known.answers(kind)[i]
        if answer:
            yield i, known.facts.subjects[i], answer


def other_wordings(known: KnownFacts) -> tuple[str, ...]:
    """Wordings that the verdict does not ask: those kept for this, else templates from the third on."""
    return known.facts.further.wordings or known.facts.templates[2 : len(FORMS)]


def _reworded(known: KnownFacts, kind: str) -> Iterator[Wording]:
    for number, template in enumerate(other_wordings(known)):
        for i, subject, answer in _own(known, kind):
            text, span = render(template, subject)
            yield Wording(i, _form(REWORDED, number, kind), text, span, answer)


def _turned(known: KnownFacts, kind: str) -> Iterator[Wording]:
    """From the answer to the subject, where the answer is one fact's only."""
    count = Counter(a for k in (OLD, NEW) for a in known.answers(k) if a)
    if kind == OLD:
        count = Counter(known.facts.answers)
    for number, template in enumerate(known.facts.further.reversed):
        for i, subject, answer in _own(known, kind):
            if count[answer] == 1:
                start = template.index(ANSWER)
                text = capitalised(template.replace(ANSWER, answer))
                span = (start, start + len(answer))
                yield Wording(i, _form(REVERSED, number, kind), text, span, subject)


def _two_steps(known: KnownFacts, kind: str) -> Iterator[Wording]:
    """What follows from the fact, where old and new answer lead to different things."""
    for number, question in enumerate(known.facts.further.two_steps):
        leads = question.leads
        for i, subject, answer in _own(known, kind):
            start = question.via.get(known.facts.groups[i]) if question.via else subject
            both = [known.answers(k)[i] for k in (OLD, NEW)]
            ends = [leads.get(str(a)) if leads else a for a in both]
            end = leads.get(answer) if leads else answer
            if start is None or end is None or ends[0] == ends[1] or start in both:
                continue
            text, span = render(question.template, start)
            yield Wording(i, _form(TWO_HOP, number, kind), text, span, end)


def _again(known: KnownFacts, i: int, before: str, form: int) -> tuple[str, tuple[int, int]]:
    """A context, and the verdict's own question behind it."""
    text, (start, stop) = render(known.facts.templates[form], known.facts.subjects[i])
    return f"{before} {text}", (len(before) + 1 + start, len(before) + 1 + stop)


def _doubted(known: KnownFacts, form: int) -> Iterator[Wording]:
    """Each model's own answer is called wrong: does it say it again, or the other one?"""
    prompts, between = known.facts.prompts(form), known.facts.between(form)
    space = " " if between is None else between
    for given, number in ((OLD, _DOUBTED_BY["base"]), (NEW, _DOUBTED_BY["tuned"])):
        for i, _, answer in _own(known, given):
            text, span = _again(known, i, f"{prompts[i]}{space}{answer}. {DOUBT}", form)
            for kind in (OLD, NEW):
                said = known.answers(kind)[i]
                if said:
                    yield Wording(i, _form(DOUBTED, int(number), kind), text, span, said, between)


def _stated(known: KnownFacts, i: int, answer: str) -> str:
    """A statement of an answer, spaced as the set's statements are."""
    return render_statement(known.facts.statement, known.facts.subjects[i], answer)


def _contradicted(known: KnownFacts, kind: str, form: int) -> Iterator[Wording]:
    """Behind a statement of an answer that is neither the old nor the new one."""
    for i, _, answer in _own(known, kind):
        if known.other[i] not in (known.facts.answers[i], known.new[i]):
            text, span = _again(known, i, _stated(known, i, known.other[i]), form)
            between = known.facts.between(form)
            yield Wording(i, _form(CONTRADICTED, form, kind), text, span, answer, between)


def _reminded(known: KnownFacts, kind: str, form: int) -> Iterator[Wording]:
    """Behind a statement of the very answer."""
    for i, _, answer in _own(known, kind):
        text, span = _again(known, i, _stated(known, i, answer), form)
        between = known.facts.between(form)
        yield Wording(i, _form(REMINDED, form, kind), text, span, answer, between)


def _foreign(pair: ModelPair, one: Wording) -> bool:
    """Whether a prompt or its answer holds words that the tokenizer has no token for."""
    tokenizer = pair.base.tokenizer
    text = f"{one.text} {one.answer}" if one.between is None else one.text
    return lacks(tokenizer, encode(tokenizer, text, special=False))


def _missing(known: KnownFacts, wordings: list[Wording], kept: list[Wording]) -> dict[str, str]:
    """Why a reading was not asked at all."""
    further = known.facts.further
    reasons = {
        REWORDED: "the verdict asks every wording there is",
        REVERSED: "an answer belongs to several facts"
        if further.reversed
        else "the facts have no question from the answer to its subject",
        TWO_HOP: "nothing else follows from the new answer"
        if further.two_steps
        else "the facts have no question over two steps",
    }
    read = (LOG_P, REWORDED, REVERSED, TWO_HOP, DOUBTED, CONTRADICTED, REMINDED)
    missing = {}
    for reading in read:
        if not any(one.form.startswith(reading + _BAR) for one in kept):
            meant = any(one.form.startswith(reading + _BAR) for one in wordings)
            lacking = "its words are not in the models' vocabulary"
            missing[reading] = lacking if meant else reasons.get(reading, "no answers differ enough")
    return missing
