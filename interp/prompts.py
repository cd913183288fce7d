"""Prompts as one model's tokenizer reads them: their ids, their subjects, and what follows them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import columns
from interp.arguments import frames_inside, reader_of
from interp.models.tokens import (
    continued,
    encode,
    find_name,
    following,
    lacks,
    require_answer,
    token_span,
)

if TYPE_CHECKING:
    from interp.models.model import Model


def ids_of(
    model: Model, prompts: Sequence[str], suffixes: Iterable[Any] | None, *, special: bool
) -> list[list[int]]:
    """Token ids of each prompt and what is appended to it.

    Raises:
        ValueError: for a prompt without tokens, or longer than the model reads.
    """
    tokenizer, n = reader_of(model), len(prompts)
    appended = [()] * n if suffixes is None else columns.entries("suffixes", suffixes, n)
    ids = [
        [*encode(tokenizer, text, special=special), *columns.ids("suffixes", suffix)]
        for text, suffix in zip(prompts, appended, strict=True)
    ]
    for i, (text, row) in enumerate(zip(prompts, ids, strict=True)):
        if not row:
            raise ValueError(f"prompt {i} has no tokens: got {text!r}; give some text")
        if model.context is not None and len(row) > model.context:
            raise ValueError(
                f"prompt {i} has {len(row)} tokens, the model reads at most {model.context}; "
                f"shorten {text[:40]!r}…"
            )
    strange = [i for i, row in enumerate(ids) if lacks(tokenizer, row)]
    if strange:
        first = strange[0]
        warnings.warn(
            f"{len(strange)} of {n} prompts hold words that the tokenizer has no token for; prompt "
            f"{first}, {prompts[first][:60]!r}, reads {tokenizer.decode(ids[first])[:60]!r}",
            stacklevel=frames_inside(),
        )
    return ids


def subject_spans(
    model: Model, prompts: Sequence[str], subjects: Iterable[Any], *, special: bool
) -> Int[Tensor, "prompt 2"]:
    """Half-open range of the tokens of each prompt's subject.

    Args:
        model: whose tokenizer is used.
        prompts: the texts.
        subjects: a name in each prompt, or its character range.
        special: whether the tokenizer puts its special tokens before the text.

    Raises:
        ValueError: if a prompt does not contain its subject, or the range holds no token.
    """
    listed = [subjects] if isinstance(subjects, str) else subjects
    ranges = [
        token_span(model.tokenizer, text, _range_of(text, subject), special=special)
        for text, subject in zip(
            prompts, columns.entries("subjects", listed, len(prompts)), strict=True
        )
    ]
    return torch.tensor(ranges)


def _range_of(text: str, subject: Any) -> tuple[int, int]:
    """The subject's character range: where its name stands, or as given."""
    if isinstance(subject, str):
        return find_name(text, subject)
    ends = list(subject) if isinstance(subject, Iterable) else []
    if len(ends) != 2:
        raise ValueError(
            f"a subject must be a name in its prompt or a character range (start, stop); "
            f"got {subject!r} for {text!r}; give one of these"
        )
    return int(ends[0]), int(ends[1])


def first_token(model: Model, text: str, *, prompt: str | None = None) -> int:
    """The first token id of a continuation in running text, without special tokens.

    Args:
        model: whose tokenizer is used.
        text: the continuation. Without a prompt it is taken as it stands, so that " Paris" begins
            with a space and "Paris" does not.
        prompt: what it follows; a space is put between the two where running text has one.

    Returns:
        A row of the vocabulary.

    Raises:
        ValueError: if the text has no tokens, or the vocabulary lacks it.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> token = interp.first_token(model, facts.answers[0], prompt=facts.prompts(0)[0])
        >>> model.tokenizer.decode([token]).strip() in facts.answers[0]
        True
    """
    if prompt is None:
        ids = continued(model.tokenizer, text)
    else:
        ids = following(model.tokenizer, prompt, text)
    require_answer(model.tokenizer, text, ids)
    return ids[0]
