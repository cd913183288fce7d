"""Tokenizers of a few words, a token to a word between spaces."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

#: Positions that a model has at the least: so many are read when it is loaded.
POSITIONS = 8


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of these words; it adds no special tokens.

    Args:
        words: everything that it has a token for, in the order of their ids.
    """
    numbered = {word: number for number, word in enumerate((*words, "<unk>"))}
    core = Tokenizer(models.WordLevel(numbered, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", clean_up_tokenization_spaces=False
    )
