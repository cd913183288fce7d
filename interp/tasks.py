"""Prompts as tokens with named places, pairs of them, and the first token of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples, group_split
from interp.tokens import continued, following

if TYPE_CHECKING:
    from interp.models import Model

__all__ = ["Contrast", "Examples", "aligned_pairs", "first_token", "group_split"]


def first_token(model: Model, text: str, *, prompt: str | None = None) -> int:
    """The first token id of a continuation in running text, without special tokens.

    Args:
        model: whose tokenizer is used.
        text: the continuation. Without a prompt it is taken as it stands, so that " Paris" begins
            with a space and "Paris" does not.
        prompt: what it follows; a space is put between the two where running text has one.

    Raises:
        ValueError: if the text has no tokens.
    """
    if prompt is None:
        ids = continued(model.tokenizer, text)
    else:
        ids = following(model.tokenizer, prompt, text)
    if not ids:
        raise ValueError(f"answer {text!r} has no tokens; expected some text")
    return ids[0]
