"""Metrics of answers: differences of logits, log-probabilities, and shares that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from interp._aliases import alias, formerly
from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics.base import Metric, defined, logit_in, logits_of

if TYPE_CHECKING:
    from interp.models.model import Model

#: A token id for each example.
TokenIds: TypeAlias = Int[Tensor, " example"] | Sequence[int]


def logit_difference(contrast: Contrast) -> Metric:
    """Read logit(answer) − logit(foil) at the last position of each pair (unit: logits).

    Args:
        contrast: the pairs; their clean prompts are the examples.

    Returns:
        A metric of the pairs, NaN where the model that is read lacks one of the two tokens.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts)
        >>> answers = [interp.first_token(model, a, prompt=p)
        ...            for a, p in zip(facts.answers, examples.texts)]
        >>> pairs = interp.Contrast.pairs(examples, answers).subset(range(4))
        >>> difference = interp.logit_difference(pairs)
        >>> difference.unit, len(difference.positions)
        ('logits', 4)
    """
    return _difference(contrast.clean, contrast.answers, contrast.foils, "logit_difference")


def token_contrast(
    examples: Examples,
    plus: TokenIds,
    minus: TokenIds,
) -> Metric:
    """Read logit(plus) − logit(minus) at the last position of each example (unit: logits).

    Args:
        examples: the prompts.
        plus: a token id for each.
        minus: the token id that it is compared with.

    Returns:
        A metric, NaN where the model that is read lacks one of the two: it never says it, and the
        difference has no size. Such examples have no row in the evidence; `ModelPair.sayable` tells
        which they are.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> contrast = interp.token_contrast(examples, [5, 6], [7, 7])
        >>> contrast.tokens.tolist(), contrast.unit
        ([5, 6, 7], 'logits')
    """
    return _difference(examples, plus, minus, "token_contrast")


def _difference(
    examples: Examples,
    plus: TokenIds,
    minus: TokenIds,
    measure: str,
) -> Metric:
    """The difference of two tokens' logits, and what it measures."""
    plus, minus = _ids(examples, plus), _ids(examples, minus)
    tokens, column = torch.unique(torch.stack([plus, minus]), return_inverse=True)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return defined(logit_in(logits, column[0, example]) - logit_in(logits, column[1, example]))

    return Metric(read, "logits", examples.position("last"), tokens, measure=measure)


def _ids(examples: Examples, ids: TokenIds) -> Int[Tensor, " example"]:
    """Token ids as a tensor where the examples are.

    Raises:
        ValueError: unless there is one for each example.
    """
    tensor = torch.as_tensor(ids, device=examples.tokens.device).long()
    if tensor.shape != (len(examples),):
        raise ValueError(
            f"a metric of {len(examples)} examples needs a token id for each, got shape "
            f"{tuple(tensor.shape)}; give {len(examples)}, such as interp.first_token of each answer"
        )
    return tensor


def fact_contrast(examples: Examples, answers: TokenIds) -> Metric:
    """Read logit(answer) − mean logit of the other answers in the set, at the last position (logits).

    The set is the distinct tokens of all the answers: a contrast that an evasion which lowers every
    answer alike does not move.

    Args:
        examples: the prompts.
        answers: the token id of each one's answer.

    Returns:
        A metric. Answers that the model that is read lacks are not in its set; NaN where its own is
        one.

    Raises:
        ValueError: if there is only one distinct answer.

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> contrast = interp.fact_contrast(examples, [5, 6])
        >>> logits = torch.tensor([[3.0, 1.0], [3.0, 1.0]])
        >>> contrast(logits, torch.tensor([0, 1])).tolist()
        [2.0, -2.0]
    """
    tokens, column = torch.unique(_ids(examples, answers), return_inverse=True)
    if len(tokens) < 2:
        raise ValueError("a fact contrast needs two different answers, got one; give more facts")

    def read(logits: Tensor, example: Tensor) -> Tensor:
        answer = logit_in(logits, column[example])
        sayable = logits.isfinite()
        others = (logits.where(sayable, 0.0).sum(1) - answer) / (sayable.sum(1) - 1)
        return defined(answer - others)

    return Metric(read, "logits", examples.position("last"), tokens, measure="fact_contrast")


def answer_log_prob(examples: Examples, answers: TokenIds) -> Metric:
    """Read log p(answer) at the last position of each example (unit: nats).

    p is the softmax over the whole vocabulary, taken in single precision at least. An evasion that
    lowers every answer alike moves it, unlike `fact_contrast`.

    Args:
        examples: the prompts.
        answers: the token id of each one's answer.

    Returns:
        A metric, NaN where the model that is read lacks the token.

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> log_prob = interp.answer_log_prob(examples, [1, 0])
        >>> log_prob(torch.zeros(2, 4), torch.tensor([0, 1])).exp().tolist()
        [0.25, 0.25]
        >>> log_prob.unit
        'nats'
    """
    answers = _ids(examples, answers)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return defined(logits_of(wide.log_softmax(-1), answers[example][:, None])[:, 0])

    return Metric(read, "nats", examples.position("last"), measure="answer_log_prob")


def closed_set_correct(
    examples: Examples,
    answers: TokenIds,
    closed_set: Int[Tensor, " token"] | Sequence[int] | None = None,
) -> Metric:
    """Read 1 where the answer has the highest logit in a closed set of tokens, else 0 (share).

    Args:
        examples: the prompts.
        answers: the token id of each one's answer.
        closed_set: token ids of the set; by default those of all the answers.

    Returns:
        A metric; 0 where the model that is read lacks the answer's token.

    Raises:
        ValueError: if the set does not hold every answer.

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> correct = interp.closed_set_correct(examples, [5, 6])
        >>> logits = torch.tensor([[3.0, 1.0], [3.0, 1.0]])
        >>> correct(logits, torch.tensor([0, 1])).tolist()
        [1.0, 0.0]
    """
    answers = _ids(examples, answers)
    tokens = torch.unique(torch.as_tensor(answers if closed_set is None else closed_set).to(answers))
    if not bool(torch.isin(answers, tokens).all()):
        raise ValueError(
            f"the closed set must hold every answer; {int((~torch.isin(answers, tokens)).sum())} "
            "answers are not in it; add their tokens"
        )
    column = torch.searchsorted(tokens, answers)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        sayable = logit_in(logits, column[example]).isfinite()
        return ((logits.argmax(1) == column[example]) & sayable).to(logits.dtype)

    return Metric(read, "share", examples.position("last"), tokens, measure="closed_set_correct")


@formerly(said="tokens")
def top1_is(examples: Examples, tokens: TokenIds) -> Metric:
    """Read 1 where a given token is the model's first choice over its whole vocabulary, else 0.

    Args:
        examples: the prompts.
        tokens: a token id for each.

    Returns:
        A metric in shares, read at the last position of each example.

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> first = interp.top1_is(examples, [0, 2])
        >>> first(torch.tensor([[3.0, 1.0, 0.0]] * 2), torch.tensor([0, 1])).tolist()
        [1.0, 0.0]
    """
    tokens = _ids(examples, tokens)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return (logits.argmax(1) == tokens[example]).to(logits.dtype)

    return Metric(read, "share", examples.position("last"), measure="top1_is")


says = alias(top1_is, "says")


def token_logit(examples: Examples, tokens: TokenIds) -> Metric:
    """Read the logit of one token per example, less the mean over the vocabulary (unit: logits).

    NaN where the model that is read lacks the token.

    Args:
        examples: the prompts.
        tokens: a token id for each.
    """
    tokens = _ids(examples, tokens)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        logit = logits_of(logits, tokens[example][:, None])[:, 0]
        return defined(logit - logits.mean(1))

    return Metric(read, "logits", examples.position("last"), measure="token_logit")


@torch.no_grad()
def divergence(model: Model, examples: Examples) -> Metric:
    """Read KL(p₀ ‖ p) of the next token, p₀ the unedited model's distribution (unit: nats).

    The reference is read once, here; 0 where nothing changed.

    Args:
        model: the unedited model.
        examples: the prompts.
    """
    rows = range(len(examples))
    logits = torch.cat([model.logits(examples.tokens[i][examples.mask[i]][None])[:, -1] for i in rows])
    reference = logits.float().log_softmax(-1)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return torch.nn.functional.kl_div(
            logits.float().log_softmax(-1), reference[example], reduction="none", log_target=True
        ).sum(-1)

    return Metric(read, "nats", examples.position("last"), measure="divergence")
