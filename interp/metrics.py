"""Metrics: logits -> one number per example, with a unit. They never average."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.contrasts import Contrast
from interp.examples import Examples

if TYPE_CHECKING:
    from interp.models.model import Model


@dataclass(frozen=True, eq=False)
class Metric:
    """A number per row read from the logits at one position of each example.

    `metric(logits, example)` takes logits [row, token] whose columns are `tokens` (every vocabulary
    row when None) and the example each row belongs to, and returns one value per row: after a sweep
    has multiplied the batch, rows are not examples.

    Attributes:
        read: the function behind it.
        unit: "logits", "nats", "share", or "value" of a function that names none.
        positions: where each example is read, [example].
        tokens: sorted vocabulary rows needed, or None for all.
    """

    read: Callable[[Tensor, Tensor], Tensor]
    unit: str
    positions: Int[Tensor, " example"]
    tokens: Int[Tensor, " token"] | None = None

    def __call__(
        self, logits: Float[Tensor, "row token"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """One value per row.

        Raises:
            ValueError: if the function averages or otherwise returns another shape.
        """
        values = self.read(logits, example)
        if values.shape != example.shape:
            raise ValueError(
                f"a metric returns one value per row, shape {tuple(example.shape)}; got "
                f"{tuple(values.shape)}; do not average inside a metric"
            )
        return values


def as_metric(given: object, examples: Examples) -> Metric:
    """A metric as it is, or a function of one prompt's logits as one, read at the last position.

    The function may take the logits as [vocabulary], [1, vocabulary] or [1, 1, vocabulary], whichever
    it gives one number for; each prompt is read alone, so that nothing is averaged over prompts.

    Raises:
        ValueError: for anything else, and when read, if the function gives no single number.
    """
    if isinstance(given, Metric):
        return given
    if not callable(given):
        raise ValueError(
            f"a metric got {type(given).__name__} {str(given)[:40]!r}; expected a Metric such as "
            "interp.logit_difference(contrast), or a function from logits to one number"
        )

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return torch.stack([_one_number(given, row) for row in logits]) if len(logits) else logits[:, 0]

    return Metric(read, "value", examples.position("last"))


def named_metrics(
    given: Metric | Callable[..., Any] | Mapping[str, Metric], examples: Examples
) -> dict[str, Metric]:
    """One metric under the name "metric", or several by their names.

    Raises:
        ValueError: as `as_metric`.
    """
    if not isinstance(given, Mapping):
        return {"metric": as_metric(given, examples)}
    return {name: as_metric(metric, examples) for name, metric in given.items()}


def _one_number(function: Callable[..., Any], logits: Float[Tensor, " token"]) -> Float[Tensor, ""]:
    """What a function makes of one prompt's logits."""
    reason = "it gave no single number"
    for shaped in (logits[None], logits, logits[None, None]):
        try:
            value = torch.as_tensor(function(shaped), device=logits.device)
        except Exception as error:  # the function is the user's: whatever it raises is the reason
            reason = f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
            continue
        if value.numel() == 1:
            return value.reshape(()).to(logits.dtype)
        reason = f"it gave shape {list(value.shape)}"
    raise ValueError(
        f"a metric function got logits [{len(logits)}] of one prompt; expected one number ({reason}); "
        "write it as lambda logits: logits[..., a] - logits[..., b]"
    )


def logit_difference(contrast: Contrast) -> Metric:
    """logit(answer) - logit(foil) at the last position of each pair (unit: logits)."""
    return token_contrast(contrast.clean, contrast.answers, contrast.foils)


def token_contrast(
    examples: Examples, plus: Int[Tensor, " example"], minus: Int[Tensor, " example"]
) -> Metric:
    """logit(plus) - logit(minus) at the last position, tokens given per example (unit: logits).

    NaN where the model that is read lacks one of the two: it never says it, and the difference has no
    size. Such examples have no row in the evidence; `ModelPair.sayable` tells which they are.
    """
    tokens, columns = torch.unique(torch.stack([plus, minus]), return_inverse=True)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        at = torch.arange(len(example), device=logits.device)
        difference = logits[at, columns[0, example]] - logits[at, columns[1, example]]
        return _defined(difference)

    return Metric(read, "logits", examples.position("last"), tokens)


def fact_contrast(examples: Examples, answers: Int[Tensor, " example"]) -> Metric:
    """logit(answer) - mean logit of the other answers in the set, at the last position (logits).

    The set is the distinct tokens of all the answers: a contrast that an evasion which lowers every
    answer alike does not move. Answers that the model lacks are not in its set; NaN where its own is
    one.

    Raises:
        ValueError: if there is only one distinct answer.
    """
    tokens, column = torch.unique(answers, return_inverse=True)
    if len(tokens) < 2:
        raise ValueError("a fact contrast needs two different answers, got one; give more facts")

    def read(logits: Tensor, example: Tensor) -> Tensor:
        own = logits[torch.arange(len(example), device=logits.device), column[example]]
        held = logits.isfinite()
        others = (logits.where(held, 0.0).sum(1) - own) / (held.sum(1) - 1)
        return _defined(own - others)

    return Metric(read, "logits", examples.position("last"), tokens)


def closed_set_correct(
    examples: Examples,
    answers: Int[Tensor, " example"],
    closed_set: Int[Tensor, " token"] | None = None,
) -> Metric:
    """1 where the answer has the highest logit in the closed set, else 0 (share).

    The set is the distinct tokens of `closed_set`, or of the answers.

    Raises:
        ValueError: if the set does not hold every answer.
    """
    tokens = torch.unique(answers if closed_set is None else closed_set)
    if not bool(torch.isin(answers, tokens).all()):
        raise ValueError(
            f"the closed set must hold every answer; {int((~torch.isin(answers, tokens)).sum())} "
            "answers are not in it; add their tokens"
        )
    column = torch.searchsorted(tokens, answers)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        own = logits[torch.arange(len(example), device=logits.device), column[example]]
        best = (logits.argmax(1) == column[example]) & own.isfinite()
        return best.to(logits.dtype)

    return Metric(read, "share", examples.position("last"), tokens)


def says(examples: Examples, said: Int[Tensor, " example"]) -> Metric:
    """1 where the given token is the model's first choice over its whole vocabulary, else 0."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return (logits.argmax(1) == said[example]).to(logits.dtype)

    return Metric(read, "share", examples.position("last"))


def token_logit(examples: Examples, chosen: Int[Tensor, " example"]) -> Metric:
    """The logit of one token per example, less the mean over the vocabulary (unit: logits).

    NaN where the model that is read lacks the token.
    """

    def read(logits: Tensor, example: Tensor) -> Tensor:
        own = columns_of(logits, chosen[example][:, None])[:, 0]
        return _defined(own - logits.mean(1))

    return Metric(read, "logits", examples.position("last"))


@torch.no_grad()
def divergence(model: Model, examples: Examples) -> Metric:
    """KL(p₀ ‖ p) of the next token, p₀ the unedited model's distribution (unit: nats).

    The reference is read once, here, from `model` on these examples; 0 where nothing changed.
    """
    at = torch.arange(len(examples), device=examples.tokens.device)
    last = examples.position("last")
    logits = torch.cat(
        [model.logits(examples.tokens[i][examples.mask[i]][None])[:, -1] for i in at.tolist()]
    )
    reference = logits.float().log_softmax(-1)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return torch.nn.functional.kl_div(
            logits.float().log_softmax(-1), reference[example], reduction="none", log_target=True
        ).sum(-1)

    return Metric(read, "nats", last)


def columns_of(
    logits: Float[Tensor, "row vocabulary"], tokens: Int[Tensor, "row token"]
) -> Float[Tensor, "row token"]:
    """Each row's logits of its tokens; -inf for those that the model has no row for."""
    known = tokens < logits.shape[1]
    found = logits.gather(1, tokens.where(known, 0))
    return found.masked_fill(~known, -torch.inf)


def _defined(values: Tensor) -> Tensor:
    """The values with NaN for infinite ones."""
    return values.where(values.isfinite(), torch.nan)
