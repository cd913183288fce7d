"""Asking both models the same questions: prompts, what each says, and the outcomes table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.facts import FactSet
from interp.models import Model, ModelPair
from interp.outcomes import Outcomes
from interp.progress import tracked
from interp.tasks import Examples

Prompt = Literal["raw", "chat"]

#: Answers are continued and scored over at most this many tokens.
LONGEST_ANSWER = 8
FORMS = "ABCDEFGH"
BATCH = 64


@dataclass(frozen=True, eq=False)
class Queries:
    """Every fact in the forms the verdict reads, as the same ids for both models.

    Attributes:
        facts: the fact behind each prompt is `facts.facts[fact[i]]`.
        examples: the prompts; `templates` are the form letters.
        fact: index of each prompt's fact.
        answers: the answer's token ids, cut to `LONGEST_ANSWER`.
        subjects: character range of each subject in its prompt.
        excluded: (text, reason) of facts that could not be asked.
        special: whether the tokenizer adds its special tokens (not to a chat rendering).
    """

    facts: FactSet
    examples: Examples
    fact: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    subjects: tuple[tuple[int, int], ...]
    excluded: tuple[tuple[str, str], ...]
    special: bool

    @property
    def first(self) -> Int[Tensor, " example"]:
        """First answer token of each prompt."""
        device = self.examples.tokens.device
        return torch.tensor([a[0] for a in self.answers], device=device)

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
            suffixes=suffixes,
            add_special_tokens=self.special,
        )


def ask(pair: ModelPair, facts: FactSet, *, prompt: Prompt = "raw", forms: int = 2) -> Queries:
    """The prompts of the first forms of a fact set, rendered once and tokenised alike.

    "chat" puts each prompt into the tuned model's chat template as a user's request to complete it,
    with the assistant's turn begun by the same words; both models read the identical ids.

    Raises:
        ValueError: if the tokenizers differ on any prompt, "chat" is asked of a model without a
            template, or no fact can be asked.
    """
    template = getattr(pair.tuned.tokenizer, "chat_template", None)
    if prompt == "chat" and not template:
        raise ValueError(
            f"--prompt chat needs a chat template; {pair.tuned.name} has none; use --prompt raw"
        )
    tokenizer = pair.tuned.tokenizer
    texts: list[str] = []
    subjects, groups, letters, index, answers = [], [], [], [], []
    excluded: list[tuple[str, str]] = []
    for form, letter in zip(range(min(forms, len(facts.templates))), FORMS, strict=False):
        asked = zip(facts.facts, facts.prompts(form), facts.subject_spans(form), strict=True)
        for i, (fact, text, (start, stop)) in enumerate(asked):
            ids = tokenizer(" " + fact.answer, add_special_tokens=False).input_ids
            if not ids:
                excluded.append((text, f"answer {fact.answer!r} has no tokens"))
                continue
            if prompt == "chat":
                turn = [{"role": "user", "content": f"Complete the sentence: {text}"}]
                opened = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
                text = opened + text
            else:
                opened = ""
            texts.append(text)
            subjects.append((start + len(opened), stop + len(opened)))
            groups.append(fact.group)
            letters.append(letter)
            index.append(i)
            answers.append(tuple(ids[:LONGEST_ANSWER]))
    special = prompt == "raw"
    texts_kept, keep = _that_fit(pair, texts, answers, index, special, excluded)
    if not texts_kept:
        raise ValueError(
            f"no question of {facts.name!r} fits the models' context; shorten the templates"
        )
    pair.require_same_ids(texts_kept)
    examples = Examples.from_text(
        pair.base,
        texts_kept,
        subjects=[subjects[i] for i in keep],
        groups=[groups[i] for i in keep],
        templates=[letters[i] for i in keep],
        add_special_tokens=special,
    )
    return Queries(
        facts,
        examples,
        tuple(index[i] for i in keep),
        tuple(answers[i] for i in keep),
        tuple(subjects[i] for i in keep),
        tuple(excluded),
        special,
    )


def _that_fit(
    pair: ModelPair,
    texts: Sequence[str],
    answers: Sequence[Sequence[int]],
    fact: Sequence[int],
    special: bool,
    excluded: list[tuple[str, str]],
) -> tuple[list[str], list[int]]:
    """Prompts of the facts that fit in every form: a fact is asked in all of them or in none."""
    limit = min((m.context for m in (pair.base, pair.tuned) if m.context), default=None)
    beyond: set[int] = set()
    for i, text in enumerate(texts):
        length = len(pair.base.tokenizer(text, add_special_tokens=special).input_ids)
        if limit is not None and length + len(answers[i]) > limit:
            reason = f"{length} tokens and its answer exceed the context of {limit}; shorten it"
            excluded.append((text, reason))
            beyond.add(fact[i])
    keep = [i for i in range(len(texts)) if fact[i] not in beyond]
    return [texts[i] for i in keep], keep


@dataclass(frozen=True, eq=False)
class Said:
    """What one model answers, per prompt.

    Attributes:
        tokens: greedy tokens over the answer's own length; the first one only, where not grown.
        logp: log p of the whole answer, nats.
        first_logits: logits at the last position of the prompt, [example, vocabulary].
        known: groups this model answers right, first token, on every form.
    """

    tokens: tuple[tuple[int, ...], ...]
    logp: tuple[float, ...]
    first_logits: Float[Tensor, "example vocabulary"]
    known: frozenset[str]


@torch.no_grad()
def say(model: Model, queries: Queries, *, known: frozenset[str] | None = None) -> Said:
    """Greedy answers over the answer's own length, and log p of the whole answer.

    One pass over prompt and answer gives log p and the first token; further tokens are grown for
    the groups in `known` only. With `known` None they are the groups this model itself answers
    right on every form, which is how the base says which facts it knows.
    """
    n = len(queries.examples)
    logp = [0.0] * n
    logits = None
    for width, answer, members, prompt in _batches(model, queries, range(n), "asking"):
        scores = model.logits(torch.cat([prompt, answer], 1))[:, width - 1 : -1].float()
        picked = scores.log_softmax(-1).gather(2, answer[..., None])[..., 0].sum(1)
        if logits is None:
            logits = scores.new_zeros(n, scores.shape[-1])
        logits[members] = scores[:, 0]
        for i, value in zip(members, picked.tolist(), strict=True):
            logp[i] = value
    assert logits is not None
    said = [(token,) for token in logits.argmax(1).tolist()]
    right = answered(queries, said)
    grow = right if known is None else known
    wanted = [i for i, group in enumerate(queries.examples.groups) if group in grow]
    for _, answer, members, prompt in _batches(model, queries, wanted, "continuing"):
        grown = torch.tensor([said[i] for i in members], device=prompt.device)
        for _ in range(answer.shape[1] - 1):
            step = model.logits(torch.cat([prompt, grown], 1))[:, -1:]
            grown = torch.cat([grown, step.argmax(-1)], 1)
        for i, tokens in zip(members, grown.tolist(), strict=True):
            said[i] = tuple(tokens)
    return Said(tuple(said), tuple(logp), logits, right)


def answered(queries: Queries, said: Sequence[tuple[int, ...]]) -> frozenset[str]:
    """Groups whose answer's first token is said first on every form."""
    wrong = {
        group
        for group, tokens, answer in zip(queries.examples.groups, said, queries.answers, strict=True)
        if tokens[0] != answer[0]
    }
    return frozenset(queries.examples.groups) - wrong


def _batches(
    model: Model, queries: Queries, wanted: Sequence[int], what: str
) -> Iterator[tuple[int, Tensor, list[int], Tensor]]:
    """Prompts of equal length with answers of equal length: (length, answers, indices, tokens)."""
    examples = queries.examples
    lengths = examples.lengths.tolist()
    shapes: dict[tuple[int, int], list[int]] = {}
    for i in wanted:
        shapes.setdefault((lengths[i], len(queries.answers[i])), []).append(i)
    parts = [(k, m[at : at + BATCH]) for k, m in shapes.items() for at in range(0, len(m), BATCH)]
    for (width, _), members in tracked(parts, f"{what} {model.role}"):
        prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in members])
        answer = torch.tensor([queries.answers[i] for i in members], device=prompt.device)
        yield width, answer, members, prompt


def outcomes(
    pair: ModelPair,
    queries: Queries,
    base: Said,
    tuned: Said,
    *,
    reference: tuple[Queries, Said, Said] | None = None,
) -> Outcomes:
    """The table of what was said; `reference` adds known facts of another relation, never tuned."""
    tables = [_table(pair, queries, base, tuned)]
    excluded = list(queries.excluded)
    if reference is not None:
        other = _table(pair, *reference)
        other["untuned"] = True
        other["group"] = [f"{g} ({reference[0].facts.name})" for g in other["group"]]
        tables[0]["untuned"] = False
        tables.append(other)
    identical = bool(torch.equal(base.first_logits, tuned.first_logits)) and base.logp == tuned.logp
    return Outcomes(pd.concat(tables, ignore_index=True), excluded, identical)


def _table(pair: ModelPair, queries: Queries, base: Said, tuned: Said) -> pd.DataFrame:
    decode = pair.base.tokenizer.decode
    closed = {
        role: _closed(queries, said.first_logits) for role, said in (("base", base), ("tuned", tuned))
    }
    groups = queries.examples.groups
    rows = []
    for i, (ours, theirs) in enumerate(zip(base.tokens, tuned.tokens, strict=True)):
        apart = next((j for j, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)
        at = apart or 0
        rows.append(
            {
                "text": queries.examples.texts[i],
                "group": groups[i],
                "form": queries.examples.templates[i],
                "answer": queries.facts.facts[queries.fact[i]].answer,
                "said_base": decode(ours).strip(),
                "said_tuned": decode(theirs).strip(),
                "known": groups[i] in base.known,
                "differs": apart is not None,
                "answer_token": queries.answers[i][0],
                "base_token": ours[at],
                "tuned_token": theirs[at],
                "logp_base": base.logp[i],
                "logp_tuned": tuned.logp[i],
                "metric_base": float("nan"),
                "metric_tuned": float("nan"),
                "closed_base": closed["base"][i],
                "closed_tuned": closed["tuned"][i],
            }
        )
    return pd.DataFrame(rows)


def _closed(queries: Queries, first_logits: Tensor) -> list[bool]:
    tokens = queries.first.unique()
    best = tokens[first_logits[:, tokens].argmax(1)]
    return (best == queries.first).tolist()
