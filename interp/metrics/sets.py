"""Metrics of several answers at once: the probability of any of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.examples import Examples
from interp.metrics.base import Metric, logits_of


def probability_difference(
    examples: Examples, answers: Sequence[Sequence[int]], foils: Sequence[Sequence[int]]
) -> Metric:
    """Read Σ p(answers) − Σ p(foils) at the last position of each example (unit: share).

    p is the softmax over the whole vocabulary, taken in single precision at least. Of answers that
    exclude each other, such as the years after a year, it is the chance of a right next token less
    that of a wrong one.

    Args:
        examples: the prompts.
        answers: token ids of each one's answers.
        foils: token ids of what they are compared with, likewise.

    Returns:
        A metric; tokens that the model that is read lacks have no probability.

    Raises:
        ValueError: if there is not a list for each example, or a token is answer and foil.

    Source: Hanna et al., 2305.00586 (years that come later).

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1])
        >>> difference = interp.probability_difference(examples, [[0, 1], [2]], [[2], [0, 1]])
        >>> difference(torch.zeros(2, 4), torch.tensor([0, 1])).tolist()
        [0.25, -0.25]
        >>> difference.unit
        'share'
    """
    for name, rows in (("answers", answers), ("foils", foils)):
        if len(rows) != len(examples) or not all(len(row) for row in rows):
            raise ValueError(
                f"{name} of {len(examples)} examples got {len(rows)} lists, "
                f"{sum(not len(row) for row in rows)} of them empty; expected token ids for each"
            )
    for i, (right, wrong) in enumerate(zip(answers, foils, strict=True)):
        if set(right) & set(wrong):
            raise ValueError(
                f"token {sorted(set(right) & set(wrong))[0]} is answer and foil of example {i}; "
                "expected tokens that differ"
            )
    device = examples.device
    (plus, plus_real), (minus, minus_real) = _padded(answers, device), _padded(foils, device)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        log_p = wide.log_softmax(-1)
        right = logits_of(log_p, plus[example]).exp() * plus_real[example]
        wrong = logits_of(log_p, minus[example]).exp() * minus_real[example]
        return right.sum(1) - wrong.sum(1)

    return Metric(read, "share", examples.position("last"), measure="probability_difference")


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of ids in a rectangle, and where it holds one."""
    ids = [torch.tensor(list(row), device=device) for row in rows]
    real = [torch.ones(len(row), device=device) for row in ids]
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True), pad(real, batch_first=True)
