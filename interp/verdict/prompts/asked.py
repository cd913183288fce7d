"""What was asked: facts, of which the right answer is known, or prompts of any kind."""

from __future__ import annotations

import re

FACTS, PROMPTS = "facts", "prompts"

#: Words of facts -> words of prompts. What holds of both is written once, of facts.
_OF_PROMPTS = (
    (r"\bknown facts\b", "prompts"),
    (r"\bknown fact\b", "prompt"),
    (r"\bfacts\b", "prompts"),
    (r"\bfact\b", "prompt"),
    (r"\bFacts\b", "Prompts"),
    (r"right answers?", "base's token"),
    (r"second wording", "reading form"),
    (r"first wording", "prompt as given"),
    (r"in two wordings", "with a paraphrase, or in frames that its tokenizer can spell"),
)


def asked(open_prompts: bool) -> str:
    """What verdict.json calls that which was asked."""
    return PROMPTS if open_prompts else FACTS


def told_of(text: str, what: object) -> str:
    """A sentence written of facts, told of what was asked.

    Args:
        text: the sentence.
        what: `FACTS` or `PROMPTS`, as verdict.json names it; older ones name nothing.
    """
    if what != PROMPTS:
        return text
    for of_facts, of_prompts in _OF_PROMPTS:
        text = re.sub(of_facts, of_prompts, text)
    return text
