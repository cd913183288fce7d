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
from probes.rows import Rows, provenance

_YES = (" Yes", "Yes", " yes", "yes")

_NO = (" No", "No", " no", "no")

_TRUE = (" True", "True", " true", "true")

_FALSE = (" False", "False", " false", "false")


@dataclass(frozen=True)
class Question:
    """A way to ask whether a statement is true.

    Only the first token of each word counts, as it follows the question in running text.

    Attributes:
        text: the prompt, which holds "{statement}" once.
        yes: words that say yes.
        no: words that say no.
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
    """Log-odds of yes against no words after each statement and a question, ln Σ p(yes) − ln Σ p(no).

    What is said need not be what is believed, and wordings differ: read several questions.

    Args:
        model: the model that is asked.
        statements: true and false sentences.
        questions: the wordings; by default three.
        prompt: "raw" text, or "chat" for the question in the model's chat template.
        batch_size: prompts per forward.

    Returns:
        Evidence of method ``claim``, condition "raw" or "chat", unit nats, metric the statements'
        name. Columns that vary: question (its number, from 1), example, group, label (0 or 1).

    Raises:
        ValueError: no question, one without "{statement}", yes and no words that begin with the same
            token, or "chat" without a template or with one that refuses a user's turn.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> texts, labels, groups = [], [], []
        >>> for fact, other in zip(facts.facts[:4], facts.facts[1:5]):
        ...     for answer in (fact.answer, other.answer):
        ...         texts.append(f"We know {fact.subject} lives in {answer} .")
        ...         labels.append(answer == fact.answer)
        ...         groups.append(fact.subject)
        >>> said = interp.Statements(
        ...     "homes", tuple(texts), tuple(labels), tuple(groups), tuple(texts), tuple(groups)
        ... )
        >>> question = probes.Question("{statement} We know", (facts.answers[0],), (facts.answers[2],))
        >>> asked = probes.claims(model, said, questions=[question])
        >>> len(asked), set(asked.table["unit"]), set(asked.table["question"])
        (8, {'nats'}, {'1'})
    """
    if not questions:
        raise ValueError("claims need at least one question, got none; leave out for the usual three")
    if prompt == "chat" and not getattr(model.tokenizer, "chat_template", None):
        raise ValueError(f"{model.name} has no chat template, got prompt='chat'; use 'raw'")
    rows = Rows(statements.blocks, method="claim", metric=statements.name, unit="nats")
    everyone = np.arange(len(statements))
    for number, question in enumerate(questions, start=1):
        odds = _log_odds(model, statements, question, prompt, batch_size)
        rows.add(
            odds, {"model": model.role}, prompt, examples=everyone,
            label=np.array(statements.labels), question=str(number),
        )  # fmt: skip
    notes = {"questions": [question.text for question in questions], "prompt": prompt}
    return rows.evidence(provenance(f"claim.{statements.name}", notes))


def _log_odds(
    model: Model, statements: Statements, question: Question, prompt: str, batch_size: int
) -> np.ndarray:
    """Log-odds of the question's yes words against its no words after each statement, in nats."""
    raw, top = prompt == "raw", boundary(model.n_layers, model.n_layers)
    texts = [question.text.replace("{statement}", text) for text in statements.texts]
    if not raw:
        texts = [user_turn(model.tokenizer, text, model.name) for text in texts]
    yes, no = (_tokens(model, texts[0], words, special=raw) for words in (question.yes, question.no))
    if question.text.count("{statement}") != 1 or set(yes) & set(no):
        raise ValueError(
            "a question must hold {statement} once, and its yes and no words begin with different "
            f"tokens; got {question}: change its text or words"
        )
    examples = statement_examples(model, texts, statements, special=raw)
    state = collect(model, examples, [top], batch_size=batch_size)[top].values
    logits = model.readout(state, torch.tensor(yes + no, device=state.device)).double()
    odds = logits[:, : len(yes)].logsumexp(1) - logits[:, len(yes) :].logsumexp(1)
    return odds.cpu().numpy()


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
    heads = {
        following(model.tokenizer, prompt, word, between="", special=special)[:1] for word in words
    }
    return sorted(token for head in heads for token in head)
