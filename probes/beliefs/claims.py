"""What a model says of a statement when it is asked whether it is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.types import Statements
from interp.models.model import Model
from interp.models.tokens import following, user_turn
from interp.sites import boundary

_YES = (" Yes", "Yes", " yes", "yes")

_NO = (" No", "No", " no", "no")

_TRUE = (" True", "True", " true", "true")

_FALSE = (" False", "False", " false", "false")


@dataclass(frozen=True)
class Question:
    """A way to ask: `text` holds "{statement}" once; the words that say yes, and those that say no.

    Only the first token of each word counts, as it follows the question in running text.
    """

    text: str
    yes: tuple[str, ...]
    no: tuple[str, ...]


QUESTIONS = (
    Question("{statement} True or false? Answer:", _TRUE, _FALSE),
    Question("Statement: {statement}\nIs the statement true? Answer yes or no.\nAnswer:", _YES, _NO),
    Question("Consider this sentence: {statement} The sentence is", _TRUE, _FALSE),
)


def claims(
    model: Model,
    statements: Statements,
    *,
    questions: Sequence[Question] = QUESTIONS,
    prompt: Literal["raw", "chat"] = "raw",
    batch_size: int = 64,
) -> Evidence:
    """What the model says of each statement: log-odds of yes against no words, one row per question.

    Method ``claim``, condition "raw" or "chat", unit nats; strength the label 0 or 1; template the
    number of the question. "chat" puts the question into the model's chat template.

    Raises:
        ValueError: no question, one without "{statement}", yes and no words that begin with the same
            token, or "chat" without a template or with one that refuses a user's turn.
    """
    if not questions:
        raise ValueError("claims need at least one question, got none; leave out for the usual three")
    if prompt == "chat" and not getattr(model.tokenizer, "chat_template", None):
        raise ValueError(f"{model.name} has no chat template, got prompt='chat'; use 'raw'")
    top, parts = boundary(model.n_layers, model.n_layers), []
    for number, question in enumerate(questions, start=1):
        texts = [question.text.replace("{statement}", text) for text in statements.texts]
        if prompt == "chat":
            texts = [user_turn(model.tokenizer, text, model.name) for text in texts]
        yes, no = (
            _tokens(model, texts[0], words, special=prompt == "raw")
            for words in (question.yes, question.no)
        )
        if question.text.count("{statement}") != 1 or set(yes) & set(no):
            raise ValueError(
                "a question must hold {statement} once, and its yes and no words begin with different "
                f"tokens; got {question}: change its text or words"
            )
        examples = statement_examples(model, texts, statements, special=prompt == "raw")
        state = collect(model, examples, [top], batch_size=batch_size)[top].values
        logits = model.readout(state, torch.tensor(yes + no, device=state.device)).double()
        odds = logits[:, : len(yes)].logsumexp(1) - logits[:, len(yes) :].logsumexp(1)
        parts.append(
            Evidence.build(
                odds.cpu().numpy(), method="claim", condition=prompt, metric=statements.name,
                unit="nats", model=model.role, template=str(number), group=list(statements.blocks),
                example=np.arange(len(texts)), strength=np.array(statements.labels, dtype=float),
            )
        )  # fmt: skip
    notes = {"questions": [question.text for question in questions], "prompt": prompt}
    return Evidence.concat(parts).with_provenance(**{f"claim.{statements.name}": notes})


def statement_examples(
    model: Model, texts: Sequence[str], statements: Statements, *, special: bool = True
) -> Examples:
    """Texts about the statements, with their labels and with their blocks as groups."""
    labels = [float(label) for label in statements.labels]
    return Examples.from_text(
        model, texts, groups=statements.blocks, labels=labels, add_special_tokens=special
    )


def _tokens(model: Model, prompt: str, words: Sequence[str], *, special: bool) -> list[int]:
    """First tokens of the words behind a question; they bring their own space or none."""
    first = {
        following(model.tokenizer, prompt, word, between="", special=special)[:1] for word in words
    }
    return sorted(token for ids in first for token in ids)
