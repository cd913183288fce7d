"""What an edge out of a circuit carries instead of its source's output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.contrasts import Contrast
from interp.examples import Examples
from patching.attribution.gradients import Batch
from patching.circuits.running.parts import Nodes, Parts

#: - counterfactual: what the source writes in the pair's corrupted prompt;
#: - mean: its mean over the tokens of the reference prompts;
#: - mean_per_position: its mean at this position over the reference prompts of this length;
#: - zero: nothing;
#: - resample: what it writes in another of the reference prompts, of this length, drawn once.
Ablation = Literal["counterfactual", "mean", "mean_per_position", "zero", "resample"]

#: For one batch of pairs and its clean run, what every source's ablated output is.
Source = Callable[[Batch, Nodes], Float[Tensor, "source row position d"]]

#: Prompts of a reference that run together.
_TOGETHER = 16


def ablated_outputs(
    parts: Parts, contrast: Contrast, ablation: Ablation, reference: Examples | None, seed: int
) -> Source:
    """How to make the ablated outputs of batches.

    Args:
        parts: the model.
        contrast: the pairs.
        ablation: see `Ablation`.
        reference: prompts behind means and resampling; the clean ones by default.
        seed: of resampling.

    Raises:
        ValueError: for a word that is not offered, or without other prompts of some length.
    """
    if ablation not in get_args(Ablation):
        raise ValueError(f"ablation got {ablation!r}; expected one of {', '.join(get_args(Ablation))}")
    others = contrast.clean if reference is None else reference
    if ablation == "counterfactual":
        return lambda batch, run: parts.record(batch.corrupted).outputs
    if ablation == "zero":
        return lambda batch, run: torch.zeros_like(run.outputs)
    if ablation == "resample":
        drawn = _drawn(contrast.clean, others, seed, same=reference is None)
        return lambda batch, run: parts.record(_tokens(others, drawn[batch.rows])).outputs
    if ablation == "mean":
        mean = _mean(parts, others)
        return lambda batch, run: mean.expand_as(run.outputs)
    by_length = _position_means(parts, others, contrast.clean, same=reference is None)
    return lambda batch, run: by_length[run.outputs.shape[2]].expand_as(run.outputs)


def _tokens(examples: Examples, rows: Tensor) -> Tensor:
    """Ids of some prompts of one length, without padding."""
    return examples.tokens[rows].gather(1, examples.columns(rows))


def _drawn(examples: Examples, others: Examples, seed: int, *, same: bool) -> Tensor:
    """For each prompt another of its length; `same` where both are one set, and none may be itself.

    Raises:
        ValueError: for a prompt without another.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.zeros(len(examples), dtype=torch.long, device=examples.device)
    for i, length in enumerate(examples.lengths.tolist()):
        choice = (others.lengths == length).nonzero()[:, 0].tolist()
        choice = [j for j in choice if not (same and j == i)]
        if not choice:
            raise ValueError(
                f"prompt {i} of {length} tokens has no other of this length to be resampled from; give "
                "reference= with more prompts"
            )
        drawn[i] = choice[int(torch.randint(len(choice), (1,), generator=generator))]
    return drawn


def _mean(parts: Parts, others: Examples) -> Float[Tensor, "source 1 1 d"]:
    """Every source's mean over all tokens."""
    total, count = torch.zeros(()), 0
    for rows in (part for same in others.by_length() for part in same.split(_TOGETHER)):
        outputs = parts.record(_tokens(others, rows)).outputs
        total = total.to(outputs) + outputs.sum((1, 2))
        count += outputs.shape[1] * outputs.shape[2]
    return (total / count)[:, None, None]


def _position_means(
    parts: Parts, others: Examples, examples: Examples, *, same: bool
) -> dict[int, Float[Tensor, "source 1 position d"]]:
    """By length, every source's mean at each position over the reference prompts of that length.

    `same` where both are one set, and the mean of a prompt alone would be its own output.

    Raises:
        ValueError: for a length that the reference lacks, or that one prompt alone has.
    """
    means = {}
    for length in examples.lengths.unique().tolist():
        rows_of_length = (others.lengths == length).nonzero()[:, 0]
        if same and len(rows_of_length) == 1:
            raise ValueError(
                f"prompt {int(rows_of_length)} is the only one of {length} tokens, whose mean per "
                "position would be its own output; give reference= with more prompts, or "
                "ablation='mean'"
            )
        if not len(rows_of_length):
            raise ValueError(
                f"reference has no prompt of {length} tokens to take means per position of; give some, "
                "or ablation='mean'"
            )
        total = torch.zeros(())
        for rows in rows_of_length.split(_TOGETHER):
            outputs = parts.record(_tokens(others, rows)).outputs
            total = total.to(outputs) + outputs.sum(1, keepdim=True)
        means[length] = total / len(rows_of_length)
    return means
