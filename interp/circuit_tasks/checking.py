"""Which items a tokenizer can ask: equal lengths, answers that differ in a token, words it has."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp.circuit_tasks.items import TaskItem
from interp.models.tokens import common_start, encode, following, lacks

UNEQUAL = "prompt and counterfactual differ in their number of tokens"
ONE = "prompt and counterfactual are one to the tokenizer"
UNKNOWN = "a word that the vocabulary lacks"
TOGETHER = "answers and foils do not differ in a token"
LONG = "longer than the model reads"


@dataclass(frozen=True)
class Asked:
    """An item as one tokenizer asks it.

    Attributes:
        item: the item.
        lead: ids that are appended to both prompts: what all answers and foils begin with.
        answers: the first id of each answer behind that, each once.
        foils: the same of the foils; an id that begins an answer as well is in neither.
    """

    item: TaskItem
    lead: tuple[int, ...]
    answers: tuple[int, ...]
    foils: tuple[int, ...]


def asked(tokenizer: Any, item: TaskItem, context: int | None) -> Asked | str:
    """The item as the tokenizer asks it, or why it cannot.

    Args:
        tokenizer: a Hugging Face tokenizer.
        item: the item.
        context: how many tokens the model reads; None for any number.
    """
    clean, corrupted = encode(tokenizer, item.clean), encode(tokenizer, item.corrupted)
    if len(clean) != len(corrupted):
        return UNEQUAL
    if clean == corrupted:
        return ONE
    answers = [following(tokenizer, item.clean, text, between=item.between) for text in item.answers]
    foils = [following(tokenizer, item.clean, text, between=item.between) for text in item.foils]
    if any(not ids or lacks(tokenizer, ids) for ids in (clean, corrupted, *answers, *foils)):
        return UNKNOWN
    if not (_whole(tokenizer, item.clean, clean) and _whole(tokenizer, item.corrupted, corrupted)):
        return UNKNOWN
    lead = _lead(answers, foils)
    if context is not None and len(clean) + len(lead) > context:
        return LONG
    first = _heads(answers, len(lead)), _heads(foils, len(lead))
    both = set(first[0]) & set(first[1])
    apart = [tuple(token for token in heads if token not in both) for heads in first]
    # Of one answer and one foil the first tokens differ, or one of them ends where the other goes on.
    return Asked(item, lead, *apart) if all(apart) else TOGETHER


def _whole(tokenizer: Any, text: str, ids: Sequence[int]) -> bool:
    """Whether a prompt's ids say all of its letters: some tokenizers drop what they lack in silence."""
    said = tokenizer.decode(list(ids), skip_special_tokens=True)
    return _letters(said) == _letters(text)


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _lead(answers: Sequence[tuple[int, ...]], foils: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all answers and foils begin with; nothing where one of them ends there."""
    every = [*answers, *foils]
    lead = common_start(every)
    # An answer that ends where another goes on has no token of its own to compare.
    return () if len(lead) == min(map(len, every)) else lead


def _heads(rows: Sequence[tuple[int, ...]], start: int) -> list[int]:
    """The id at which each row is compared, each once, in their order."""
    return list(dict.fromkeys(row[start] for row in rows))
