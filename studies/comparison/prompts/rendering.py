"""Prompts as both models read them: as given, and in the words in which effects are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from interp.facts.prompts.files import OpenPrompt, PromptSet
from interp.models.pair import ModelPair
from interp.models.tokens import encode, lacks, user_turn
from studies.comparison.questions import Prompt

#: What stands before a prompt where effects are read and no paraphrase is given, in turn.
RAW_FRAMES = ("Here is some text.\n", "The following is an excerpt.\n")
#: The same as a system message.
CHAT_FRAMES = ("You are a helpful assistant.", "Answer the user's message.")

#: How many tokens are generated where nothing is said.
TOKENS = 32

#: Letters of a name that tells a prompt.
NAMED = 60


@dataclass(frozen=True)
class Rendered:
    """The prompts that can be asked, each with the text on which effects are read.

    Attributes:
        prompts: those that leave room for the tokens.
        names: a name of each, unique.
        units: what each is resampled with: its group, or itself.
        texts: as given, rendered for the models.
        readings: the paraphrase, or the prompt in a neutral frame; None where neither can be spelled.
        special: whether the tokenizer adds its special tokens (not to a chat rendering).
        tokens: how many are generated at most.
        excluded: text and reason of prompts that were left out.
    """

    prompts: tuple[OpenPrompt, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    texts: tuple[str, ...]
    readings: tuple[str | None, ...]
    special: bool
    tokens: int
    excluded: tuple[tuple[str, str], ...]

    def subset(self, index: Sequence[int]) -> Rendered:
        """Some of the prompts, in the given order, each by its name."""
        chosen = {
            name: tuple(getattr(self, name)[i] for i in index)
            for name in ("prompts", "names", "units", "texts", "readings")
        }
        return replace(self, **chosen)


def render(
    pair: ModelPair, prompts: PromptSet, *, prompt: Prompt = "raw", tokens: int | None = None
) -> Rendered:
    """Render prompts once for both models.

    Args:
        pair: the models, whose tokenizers must agree on every text.
        prompts: what is asked.
        prompt: "raw", or "chat" for the tuned model's chat template.
        tokens: how many are generated at most; by default 32, or half of the models' context.

    Returns:
        The prompts that leave room for the tokens, in order.

    Raises:
        ValueError: for tokens below 1, a chat template that is missing or refuses, texts that the two
            tokenizers read differently, or no prompt that fits.
    """
    if prompt == "chat" and not getattr(pair.tuned.tokenizer, "chat_template", None):
        raise ValueError(
            f"--prompt chat needs a chat template; {pair.tuned.name} has none; use --prompt raw"
        )
    context = min((m.context for m in (pair.base, pair.tuned) if m.context), default=None)
    room = TOKENS if context is None else min(TOKENS, context // 2)
    tokens = room if tokens is None else tokens
    if tokens < 1 or (context is not None and tokens >= context):
        raise ValueError(
            f"--tokens must be at least 1 and leave room in the models' context of {context}, got "
            f"{tokens}; expected for instance {room}"
        )
    special = prompt == "raw"
    kept: list[tuple[OpenPrompt, str, str, str | None]] = []
    excluded: list[tuple[str, str]] = []
    for number, given in enumerate(prompts.prompts, start=1):
        text = given.text if special else user_turn(pair.tuned.tokenizer, given.text, pair.tuned.name)
        pair.require_same_ids([text], add_special_tokens=special)
        length = len(encode(pair.base.tokenizer, text, special=special))
        if length == 0:
            excluded.append((given.text, "it holds no token; give it some text"))
            continue
        if context is not None and length + tokens > context:
            why = f"{length} tokens and {tokens} more do not fit the context of {context}; shorten it"
            excluded.append((given.text, why))
            continue
        name = f"{number}: {' '.join(given.text.split())[:NAMED]}"
        kept.append((given, name, text, _reading(pair, given, text, number, special)))
    if not kept:
        raise ValueError(
            f"no prompt of {prompts.name!r} can be asked: {excluded[0][1]}; or give fewer --tokens"
        )
    chosen, names, texts, readings = zip(*kept, strict=True)
    # A prompt without a group bears its own text as one, which others may have as theirs.
    shared = Counter(given.group for given in chosen)
    units = tuple(
        name if given.group == given.text and shared[given.group] == 1 else given.group
        for given, name in zip(chosen, names, strict=True)
    )
    return Rendered(chosen, names, units, texts, readings, special, tokens, tuple(excluded))


def _reading(
    pair: ModelPair, given: OpenPrompt, rendered: str, number: int, special: bool
) -> str | None:
    """The text on which the effects of a prompt are read; None where there is none but its own."""
    tokenizer = pair.tuned.tokenizer
    frames = RAW_FRAMES if special else CHAT_FRAMES
    frame = frames[number % len(frames)]
    paraphrase = given.paraphrase if given.paraphrase != given.text else None
    if special:
        text = paraphrase or f"{frame}{given.text}"
    elif paraphrase:
        text = user_turn(tokenizer, paraphrase, pair.tuned.name)
    else:
        try:
            text = user_turn(tokenizer, given.text, pair.tuned.name, system=frame)
        except ValueError:  # some templates take no system message
            return None
    pair.require_same_ids([text], add_special_tokens=special)
    ids, own = (encode(pair.base.tokenizer, t, special=special) for t in (text, rendered))
    # Some templates pass over a system message, and some tokenizers over what a frame adds.
    return None if ids == own or lacks(pair.base.tokenizer, ids) else text


def fits(pair: ModelPair, text: str, suffix: Sequence[int], *, special: bool) -> bool:
    """Whether a text and what is appended to it leave room for one more token."""
    context = min((m.context for m in (pair.base, pair.tuned) if m.context), default=None)
    length = len(encode(pair.base.tokenizer, text, special=special)) + len(suffix)
    return context is None or length < context
