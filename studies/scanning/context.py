"""Context of a scan, never evidence: activations on unrelated text, and the weights."""

from __future__ import annotations

from functools import partial

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.examples import Examples
from interp.models.pair import ModelPair
from interp.models.tokens import encode, lacks, token_text
from interp.progress import tracked
from interp.runs.run import series
from interp.sites import boundaries
from patching.weights.parameters import Parameters, Slot

#: What is told of the change of a matrix.
SPECTRUM = ("relative", "effective_rank", "top")

#: The sources that determine how weights changed.
CODE = ("patching.weights", "studies.scanning.context")

#: Text that has to do with no tune in particular; its first tokens are read.
UNRELATED = (
    "The committee met on Tuesday to discuss the budget for the coming year.",
    "A light wind moved the branches of the trees along the road.",
    "She put the keys on the table and went into the kitchen.",
    "In most cases the results were the same as in the first study.",
    "The train left the station a few minutes late.",
    "He wrote down the number and closed the book.",
    "There are several ways to reach the village on foot.",
    "The machine was repaired and put back into use.",
)

#: Tokens of each text that are read, tokens shown, and random differences beside the real one.
FIRST, SHOWN, RANDOM = 5, 12, 20


@torch.no_grad()
def difference_lens(pair: ModelPair, *, seed: int = 0) -> pd.DataFrame:
    """Mean h_T − h_B on the first tokens of unrelated text, read through the tuned unembedding.

    It is read at the middle boundary and behind the last block. Beside each logit stands the largest
    that random differences of the same norm give any token: what does not exceed it says nothing.

    Args:
        pair: base and tuned.
        seed: of the random differences.

    Returns:
        Columns boundary, token, logit, random (the mean over draws of the largest logit); the
        likeliest first. Boundaries at which the two states are equal have no row.

    Source:
        2510.13900.
    """
    columns = ["boundary", "token", "logit", "random"]
    texts = unrelated_texts(pair)
    if not texts:
        return pd.DataFrame(columns=columns)
    examples = Examples.from_text(pair.base, texts)
    every = boundaries(pair.base.n_layers)
    read = {k: every[k] for k in (pair.base.n_layers // 2, pair.base.n_layers)}
    states = [
        collect(model, examples, list(read.values()), positions="all")
        for model in (pair.base, pair.tuned)
    ]
    rows: list[tuple[int, str, float, float]] = []
    for k, site in read.items():
        base, tuned = (values[site].values[:, :FIRST].float() for values in states)
        difference = (tuned - base).nan_to_num(0.0).mean((0, 1))
        if bool(difference.any()):
            rows += [(k, *row) for row in _read_out(pair, difference, seed)]
    return pd.DataFrame(rows, columns=columns)


def unrelated_texts(pair: ModelPair) -> list[str]:
    """The unrelated texts that the tokenizer spells, as many words of each as make the first tokens."""
    tokenizer = pair.base.tokenizer
    found = []
    for text in UNRELATED:
        words = text.split(" ")
        parts = (" ".join(words[:count]) for count in range(1, len(words) + 1))
        first = next((part for part in parts if len(encode(tokenizer, part)) >= FIRST), text)
        if not lacks(tokenizer, encode(tokenizer, first)):
            found.append(first)
    return found


def _read_out(
    pair: ModelPair, difference: Float[Tensor, " d"], seed: int
) -> list[tuple[str, float, float]]:
    """The likeliest tokens of one difference, beside random ones of its norm."""
    noise = torch.randn(RANDOM, len(difference), generator=torch.Generator().manual_seed(seed))
    noise = noise.to(difference) * difference.norm() / noise.norm(dim=1, keepdim=True).to(difference)
    dtype = pair.tuned.dtype
    logits = pair.tuned.readout(difference.to(dtype)).float()
    largest = float(pair.tuned.readout(noise.to(dtype)).float().max(1).values.mean())
    best = logits.topk(min(SHOWN, len(logits)))
    shown = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(token_text(pair.tuned.tokenizer, token), logit, largest) for token, logit in shown]


@torch.no_grad()
def weight_changes(pair: ModelPair) -> pd.DataFrame:
    """Size and spectrum of the change of every matrix in the blocks.

    Effective rank is exp(−Σ q log q), q = σ² / Σ σ² of the change's singular values.

    Args:
        pair: base and tuned.

    Returns:
        Columns layer, matrix, relative (‖ΔW‖ / ‖W‖), effective_rank and top (share of the largest
        singular value in Σ σ²), for the matrices that differ.

    Source:
        2508.00161.
    """
    live = [slot for slot in Parameters(pair).slots if slot.live and slot.layer is not None]
    kept = series("changes of the weights", CODE, pair.base, pair.tuned)
    rows = [
        (slot.layer, matrix_of(slot), *spectrum)
        for number, slot in enumerate(tracked(live, "weights"))
        if (spectrum := kept.unit(number, partial(spectrum_of, slot), dealt=False))
    ]
    return pd.DataFrame(rows, columns=["layer", "matrix", *SPECTRUM])


def matrix_of(slot: Slot) -> str:
    """What a matrix is called within its block."""
    return slot.name.split(".")[-2]


@torch.no_grad()
def spectrum_of(slot: Slot) -> list[float]:
    """Relative size, effective rank and top share of one matrix's change; nothing for no change.

    Args:
        slot: where a parameter stands in both models.
    """
    before, after = slot.value("base").float(), slot.value("tuned").float()
    if before.ndim != 2 or torch.equal(before, after):
        return []
    change = after - before
    small = change @ change.T if change.shape[0] <= change.shape[1] else change.T @ change
    energy = torch.linalg.eigvalsh(small.double()).clamp(min=0)
    share = energy / energy.sum()
    entropy = -(share * share.clamp(min=1e-300).log()).sum()
    return [float(change.norm() / before.norm()), float(entropy.exp()), float(share.max())]
