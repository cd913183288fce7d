"""Asking both models the same questions: the prompts, and the tokens of the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from interp.examples import Examples
from interp.facts.types import FactSet
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import common_start, encode, following, lacks, user_turn

Prompt = Literal["raw", "chat"]
#: The letters of the query forms, in the order of the templates.
FORMS = "ABCDEFGH"

#: Answers are continued and scored over at most this many tokens.
LONGEST_ANSWER = 8


@dataclass(frozen=True, eq=False)
class Queries:
    """Every fact in the forms the verdict reads, as the same ids for both models.

    Where all answers to a form begin with the same tokens, such as the space or the digits that
    years share, these are its lead: every prompt goes on to the end of the lead, so that answers are
    told apart by the token that comes next.

    Attributes:
        facts: the fact behind each prompt is `facts.facts[fact[i]]`.
        examples: the prompts, continued by their leads; `templates` are the form letters.
        fact: index of each prompt's fact.
        answers: the answer's token ids behind the lead, cut to `LONGEST_ANSWER` with it.
        leads: the token ids of each prompt that belong to its answer already.
        subjects: character range of each subject in its prompt.
        excluded: (text, reason) of facts that could not be asked.
        special: whether the tokenizer adds its special tokens (not to a chat rendering).
    """

    facts: FactSet
    examples: Examples
    fact: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    leads: tuple[tuple[int, ...], ...]
    subjects: tuple[tuple[int, int], ...]
    excluded: tuple[tuple[str, str], ...]
    special: bool

    @property
    def first(self) -> Int[Tensor, " example"]:
        """The answer token of each prompt that comes next: the first behind the lead."""
        device = self.examples.tokens.device
        return torch.tensor([a[0] for a in self.answers], device=device)

    @property
    def counted_as_one(self) -> tuple[tuple[str, ...], ...]:
        """Answers with the same first token behind the lead: one position cannot tell them apart."""
        alike: dict[int, set[str]] = {}
        for answer, fact in zip(self.answers, self.fact, strict=True):
            alike.setdefault(answer[0], set()).add(self.facts.facts[fact].answer)
        return tuple(sorted(tuple(sorted(a)) for a in alike.values() if len(a) > 1))

    def rendered(
        self, model: Model, index: Sequence[int], suffixes: Sequence[Sequence[int]]
    ) -> Examples:
        """Some of the prompts, each continued by token ids."""
        return Examples.from_text(
            model,
            [self.examples.texts[i] for i in index],
            subjects=[self.subjects[i] for i in index],
            groups=[self.examples.groups[i] for i in index],
            templates=[self.examples.templates[i] for i in index],
            suffixes=[(*self.leads[i], *more) for i, more in zip(index, suffixes, strict=True)],
            add_special_tokens=self.special,
        )


@dataclass(frozen=True)
class Wording:
    """One fact put into words, with an answer that may follow.

    Attributes:
        fact: number of the fact.
        form: letter or name of the form.
        text: the prompt.
        subject: character range of the subject in it.
        answer: what may follow, not necessarily the fact's own answer.
        between: what stands between prompt and answer; None leaves that to running text.
    """

    fact: int
    form: str
    text: str
    subject: tuple[int, int]
    answer: str
    between: str | None = None


@dataclass(frozen=True)
class _Question:
    """One fact in one form: its prompt, and how the answer goes on from it."""

    fact: int
    form: str
    text: str
    subject: tuple[int, int]
    answer: tuple[int, ...]
    lead: tuple[int, ...] = ()


def ask(pair: ModelPair, facts: FactSet, *, prompt: Prompt = "raw", forms: int = 2) -> Queries:
    """The prompts of the first forms of a fact set, rendered once and tokenised alike.

    Answers are tokenised as they follow their prompt in running text. "chat" puts each prompt into
    the tuned model's chat template as a user's request to complete it, with the assistant's turn begun
    by the same words; both models read the identical ids.

    Args:
        pair: the models; the base's tokenizer is used, the tuned model's must agree with it.
        facts: what is asked.
        prompt: "raw", or "chat" for the tuned model's chat template.
        forms: how many of the templates are asked.

    Returns:
        The prompts of every fact that fits into the models' context, in all forms.

    Raises:
        ValueError: if the tokenizers differ on any prompt or answer, "chat" is asked of a model
            without a template or with one that refuses, or no fact can be asked.
    """
    if prompt == "chat" and not getattr(pair.tuned.tokenizer, "chat_template", None):
        raise ValueError(
            f"--prompt chat needs a chat template; {pair.tuned.name} has none; use --prompt raw"
        )
    return put(pair, facts, worded(facts, forms), prompt=prompt)


def worded(facts: FactSet, forms: int) -> Iterator[Wording]:
    """Every fact with its own answer in the first forms of its set."""
    for form, letter in zip(range(min(forms, len(facts.templates))), FORMS, strict=False):
        rendered = zip(facts.facts, facts.prompts(form), facts.subject_spans(form), strict=True)
        for i, (fact, text, span) in enumerate(rendered):
            yield Wording(i, letter, text, span, fact.answer, facts.between(form))


def put(
    pair: ModelPair, facts: FactSet, wordings: Iterable[Wording], *, prompt: Prompt = "raw"
) -> Queries:
    """Prompts of any wordings of a fact set, rendered once and tokenised alike, as `ask` does it.

    Args:
        pair: the models.
        facts: whose facts the wordings are of.
        wordings: what is asked, and what may be answered.
        prompt: "raw", or "chat" for the tuned model's chat template.

    Raises:
        ValueError: as `ask`.
    """
    excluded: list[tuple[str, str]] = []
    questions = list(_questions(pair, wordings, prompt, excluded))
    questions = _led(_that_fit(pair, questions, prompt == "raw", excluded))
    if not questions:
        raise ValueError(
            f"no fact of {facts.name!r} can be asked: {excluded[0][1] if excluded else 'it has none'}; "
            "give facts and templates that fit the models' vocabulary and context"
        )
    examples = Examples.from_text(
        pair.base,
        [q.text for q in questions],
        subjects=[q.subject for q in questions],
        groups=[facts.groups[q.fact] for q in questions],
        templates=[q.form for q in questions],
        suffixes=[q.lead for q in questions],
        add_special_tokens=prompt == "raw",
    )
    return Queries(
        facts,
        examples,
        tuple(q.fact for q in questions),
        tuple(q.answer for q in questions),
        tuple(q.lead for q in questions),
        tuple(q.subject for q in questions),
        tuple(excluded),
        special=prompt == "raw",
    )


def _questions(
    pair: ModelPair, wordings: Iterable[Wording], prompt: Prompt, excluded: list[tuple[str, str]]
) -> Iterator[_Question]:
    """Every wording with the answer's ids; those without any are excluded."""
    tokenizer, special = pair.base.tokenizer, prompt == "raw"
    for one in wordings:
        answer, between, opened = one.answer, one.between, ""
        if prompt == "chat":
            wish = f"Complete the sentence: {one.text}"
            opened = user_turn(pair.tuned.tokenizer, wish, pair.tuned.name)
        whole = opened + one.text
        pair.require_same_ids([whole], add_special_tokens=special)
        ids = following(tokenizer, whole, answer, between=between, special=special)
        if not ids:
            excluded.append((whole, f"answer {answer!r} has no tokens"))
            continue
        if lacks(tokenizer, ids):
            excluded.append((whole, f"answer {answer!r} is not in the tokenizer's vocabulary"))
            continue
        same = following(pair.tuned.tokenizer, whole, answer, between=between, special=special)
        if ids != same:
            raise ValueError(
                f"base and tuned tokenise the answer {answer!r} behind {whole!r} differently, "
                f"{list(ids)} and {list(same)}; the same ids are needed in both; give a pair that "
                "shares its tokenizer"
            )
        subject = (one.subject[0] + len(opened), one.subject[1] + len(opened))
        yield _Question(one.fact, one.form, whole, subject, ids[:LONGEST_ANSWER])


def _that_fit(
    pair: ModelPair, questions: Sequence[_Question], special: bool, excluded: list[tuple[str, str]]
) -> list[_Question]:
    """Prompts of the facts that fit in every form: a fact is asked in all of them or in none."""
    limit = min((m.context for m in (pair.base, pair.tuned) if m.context), default=None)
    beyond: set[int] = set()
    for question in questions:
        length = len(encode(pair.base.tokenizer, question.text, special=special))
        if limit is not None and length + len(question.answer) > limit:
            reason = f"{length} tokens and its answer exceed the context of {limit}; shorten it"
            excluded.append((question.text, reason))
            beyond.add(question.fact)
    return [question for question in questions if question.fact not in beyond]


def _led(questions: Sequence[_Question]) -> list[_Question]:
    """Move what all answers to a form begin with from the answers into the prompts."""
    leads = {}
    for form in {question.form for question in questions}:
        answers = {question.answer for question in questions if question.form == form}
        start = common_start(sorted(answers)) if len(answers) > 1 else ()
        # No answer is used up: one token of each is left to be said.
        leads[form] = start[: min(map(len, answers)) - 1]
    return [replace(q, answer=q.answer[len(leads[q.form]) :], lead=leads[q.form]) for q in questions]
