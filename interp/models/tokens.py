"""Text as one tokenizer reads it: prompts, the answers that follow them, names, and chat turns.

What follows a prompt is tokenised together with it, because the same word has other ids at the start
of a text, after a letter or after a bracket, and tokenizers differ in which.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

#: Characters of scripts that put no space between words, with their punctuation and wide forms.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3000-\u312f\u3190-\u4dbf\u4e00-\ua4cf"
    "\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\U00020000-\U0003ffff]"
)

#: Marks after which the next word stands without a space, and marks that need none before them.
_OPENING, _CLOSING = frozenset("¿¡@#$€£¥\\"), frozenset(",;:!?%)]}")

#: Texts behind which a continuation is tokenised where it has no prompt of its own.
_ANCHORS = ("\n", ".", ":", "a")


def encode(tokenizer: Any, text: str, *, special: bool = True) -> list[int]:
    """Token ids of a prompt, as a model goes on from them.

    Args:
        tokenizer: a Hugging Face tokenizer.
        text: the prompt.
        special: whether the tokenizer puts its special tokens before the text. Those that it would
            put behind the text, such as an end of sequence, are always left out.

    Returns:
        The ids, empty for a text without tokens.
    """
    ids = list(tokenizer(text, add_special_tokens=special).input_ids)
    return ids[: len(ids) - _appended(tokenizer, text, ids)] if special else ids


def _appended(tokenizer: Any, text: str, whole: list[int]) -> int:
    """How many special tokens stand behind the text in its ids."""
    plain = list(tokenizer(text, add_special_tokens=False).input_ids)
    if not plain:
        return _appended(tokenizer, "a", list(tokenizer("a").input_ids)) if text != "a" else 0
    n = len(plain)
    start = next((k for k in range(len(whole) - n + 1) if whole[k : k + n] == plain), len(whole) - n)
    return len(whole) - n - start


def separator(prompt: str, answer: str) -> str:
    """What stands between a prompt and its answer in running text: a space or nothing.

    Nothing stands after white space, an opening quote or bracket, or a hyphen that is joined to a
    word; next to scripts that are written without spaces; and before closing punctuation.
    """
    before, after = prompt[-1:], answer[:1]
    if not before or before.isspace() or after.isspace() or after in _CLOSING:
        return ""
    unspaced = _UNSPACED.match(before) or _UNSPACED.match(after)
    return "" if unspaced or _opens(prompt) else " "


def _opens(prompt: str) -> bool:
    """Whether the prompt's last mark belongs to the word that comes next."""
    last = prompt[-1]
    run = len(prompt) - len(prompt.rstrip(last))
    before = prompt[-run - 1 : -run]
    alone = not before or before.isspace() or unicodedata.category(before) in ("Ps", "Pi")
    if last in "\"'`*":
        unpaired = prompt.count(last) // run % 2 == 1
        if last == "'":  # which is an apostrophe as well
            unpaired = not before.isalnum() and (unpaired or before not in ".,!?…)]}")
        return alone or unpaired
    if unicodedata.category(last) == "Pd" or last in "/_":
        return not alone or last == "_"
    return unicodedata.category(last) in ("Ps", "Pi") or last in _OPENING


def following(
    tokenizer: Any, prompt: str, answer: str, *, between: str | None = None, special: bool = True
) -> tuple[int, ...]:
    """Token ids of an answer as they follow a prompt in running text.

    ids(prompt + between + answer) after ids(prompt). Where the two are merged across the boundary,
    so that the joint ids do not begin with the prompt's, the model reads the prompt's own ids and the
    answer is tokenised as it stands behind some other text.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the prompt.
        answer: the answer; white space at its start is kept and then stands for `between`.
        between: what stands between them; by default that of `separator`.
        special: False for a prompt that carries its special tokens already (a chat template).

    Returns:
        The ids, empty for an answer without tokens.
    """
    text = (separator(prompt, answer) if between is None else between) + answer
    head = encode(tokenizer, prompt, special=special)
    joint = encode(tokenizer, prompt + text, special=special)
    if joint[: len(head)] == head:
        return tuple(joint[len(head) :])
    return continued(tokenizer, text)


def continued(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a text that goes on from another one, without special tokens.

    Tokenizers that put a space before every text make other ids of a text on its own.
    """
    for anchor in _ANCHORS:
        head = encode(tokenizer, anchor, special=False)
        joint = encode(tokenizer, anchor + text, special=False)
        if head and len(joint) > len(head) and joint[: len(head)] == head:
            return tuple(joint[len(head) :])
    return tuple(encode(tokenizer, text, special=False))


def lacks(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether a text holds something that the tokenizer has no token for but the unknown one."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    # Some families name their end-of-text token as the unknown one, and never use it as such.
    ends = (getattr(tokenizer, "bos_token_id", None), getattr(tokenizer, "eos_token_id", None))
    return unknown is not None and unknown not in ends and unknown in ids


def require_answer(tokenizer: Any, answer: str, ids: Sequence[int]) -> None:
    """Refuse an answer that no token says.

    Args:
        tokenizer: which made the ids.
        answer: the text.
        ids: its tokens, as they follow a prompt.

    Raises:
        ValueError: if it has no tokens, or one of them is the unknown token.
    """
    if not ids:
        raise ValueError(f"answer {answer!r} has no tokens; expected some text")
    if lacks(tokenizer, ids):
        raise ValueError(
            f"answer {answer!r} is not in the tokenizer's vocabulary: it reads "
            f"{tokenizer.decode(list(ids)).strip()!r}; give an answer that the model can say"
        )


def common_start(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The ids with which all rows begin."""
    same = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        same.append(column[0])
    return tuple(same)


def find_name(text: str, name: str) -> tuple[int, int]:
    """Half-open character range of a name in a text: its last occurrence as words of its own.

    A name inside another word, or joined to one by a hyphen, is taken only where it stands nowhere
    else. In scripts without spaces every occurrence is one.

    Raises:
        ValueError: if the text does not hold the name.
    """
    starts = [m.start() for m in re.finditer(f"(?={re.escape(name)})", text)] if name else []
    if not starts:
        raise ValueError(
            f"prompt {text!r} does not contain its subject {name!r}; "
            "the template needs {subject} and the subject some text"
        )
    joined = [
        max(_joined(text, start - 1, start), _joined(text, start + len(name), start + len(name) - 1))
        for start in starts
    ]
    last = max(start for start, how in zip(starts, joined, strict=True) if how == min(joined))
    return last, last + len(name)


def _joined(text: str, outside: int, inside: int) -> int:
    """How a name's end is joined to its neighbour: 0 not at all, 1 by a mark, 2 as one word."""
    if not 0 <= outside < len(text):
        return 0
    outer, inner = text[outside], text[inside]
    if _UNSPACED.match(outer) or _UNSPACED.match(inner):
        return 0
    if _in_word(outer):
        return 2 if _in_word(inner) else 1
    return int(outer in "-\u2010\u2011" and _in_word(inner))


def _in_word(char: str) -> bool:
    return char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")


def token_span(
    tokenizer: Any, text: str, characters: tuple[int, int], *, special: bool = True
) -> tuple[int, int]:
    """Half-open range of the tokens of `encode` that hold any of the `characters`, a half-open range.

    Tokenizers without character offsets are asked for the ids of the text's beginnings instead.

    Raises:
        ValueError: if no token holds any of them.
    """
    start, stop = characters
    ids = encode(tokenizer, text, special=special)
    if getattr(tokenizer, "is_fast", True):
        encoded = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        offsets = encoded.offset_mapping[: len(ids)]
        inside = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    else:
        before = encode(tokenizer, text[:start].rstrip(), special=special)
        until = encode(tokenizer, text[:stop], special=special)
        first, last = (len(common_start([ids, part])) for part in (before, until))
        # A token may reach from the name into what stands behind it.
        inside = list(range(first, min(last + (last < len(until)), len(ids))))
    if not inside or start >= stop:
        raise ValueError(
            f"the subject at characters {start}..{stop} of {text!r} holds no token; "
            "give the range of a word"
        )
    return inside[0], inside[-1] + 1


def user_turn(tokenizer: Any, text: str, name: str, *, system: str | None = None) -> str:
    """A user's turn in the chat template, and the beginning of the assistant's.

    Args:
        tokenizer: which has the template.
        text: what the user says.
        name: of the model, for messages.
        system: a system message before it; None leaves that to the template.

    Raises:
        ValueError: if the template refuses it, with the template's own message.
    """
    turn = [] if system is None else [{"role": "system", "content": system}]
    turn.append({"role": "user", "content": text})
    try:
        return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of its author's: it may raise anything
        message = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"the chat template of {name} cannot render a user's turn alone ({message}); "
            "ask with prompt raw, or give a tokenizer whose template takes it"
        ) from error


def token_text(tokenizer: Any, token: int) -> str:
    """One token as text; bytes that are no character by themselves as ``<E6><97>``.

    A character of several tokens would otherwise read as the same replacement mark in all of them.
    """
    text = str(tokenizer.decode([token]))
    if "\ufffd" not in text:
        return text
    piece = str(tokenizer.convert_ids_to_tokens([token])[0])
    if piece.startswith("<0x"):  # SentencePiece's fallback to bytes
        return f"<{piece[3:5]}>"
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    codes = {letter: code for code, letter in bytes_to_unicode().items()}
    if not all(letter in codes for letter in piece):
        return piece
    return "".join(
        chr(codes[letter]) if codes[letter] < 128 else f"<{codes[letter]:02X}>" for letter in piece
    )
