"""How far two models part on each prompt, read from their logits along both continuations.

At every token of a continuation KL(B‖T) = Σ p_B (log p_B − log p_T) and KL(T‖B), in nats. A prompt's
score is the largest mean of the two over the tokens of both continuations: a change of one word counts
like one of many. Norms of differences rank nothing here: they rise as what can be recovered falls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from interp.models.pair import ModelPair
from studies.comparison.prompts.along import read_both
from studies.comparison.prompts.divergence import Continued, continue_both, ended, examples_of
from studies.comparison.prompts.rendering import Rendered

#: Numbers of every token that the two models share, kept for every prompt.
SUMS = ("shift", "positive", "weight")


@dataclass(frozen=True, eq=False)
class Measured:
    """Every prompt's divergence, and what it does to single tokens.

    Attributes:
        score: largest mean KL of the two directions at one token of either continuation, nats.
        kl_base: mean KL(B‖T) along the base's continuation, nats.
        kl_tuned: mean KL(T‖B) along the tuned model's continuation, nats.
        perplexity_gap: log p of the tuned continuation under the tuned model less under the base, nats
            a token of those that both models have; NaN where they share none.
        shift: mean over the tokens of both continuations of log p_T − log p_B of every token, nats.
        positive: share of these tokens at which it is above zero.
        weight: mean of p_T (log p_T − log p_B): each token's part of KL(T‖B), nats.
    """

    score: np.ndarray
    kl_base: np.ndarray
    kl_tuned: np.ndarray
    perplexity_gap: np.ndarray
    shift: np.ndarray
    positive: np.ndarray
    weight: np.ndarray

    @classmethod
    def blank(cls, n: int, vocabulary: int) -> Measured:
        """Room for so many prompts."""
        sums = {name: np.zeros((n, vocabulary), np.float32) for name in SUMS}
        return cls(**{f.name: sums[f.name] if f.name in sums else np.zeros(n) for f in fields(cls)})

    def put(self, rows: Sequence[int], part: Mapping[str, np.ndarray]) -> None:
        """Write what was measured of some prompts into their places."""
        for name, values in part.items():
            getattr(self, name)[rows] = values


def continued_and_measured(
    pair: ModelPair, rendered: Rendered, *, max_bytes: int
) -> tuple[Continued, Measured]:
    """Continue every prompt with both models, and read both continuations with both.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        What both say, and one entry of every measure for each prompt; where both say the same, the one
        continuation is read once.
    """
    sums = _Sums(len(rendered.texts), min(pair.base.vocabulary, pair.tuned.vocabulary))
    said = continue_both(pair, rendered, max_bytes=max_bytes, see=partial(sums.see, 0, None))
    other = [i for i, ids in enumerate(said.tuned) if ids != said.base[i]]
    if other:
        examples = examples_of(pair, rendered).subset(other)
        # What the base lacks it cannot read; that it is said there is measured all the same.
        theirs = [ended(said.tuned[i], _lacked(pair, said.tuned[i])) for i in other]
        read_both(pair, examples, theirs, max_bytes=max_bytes, see=partial(sums.see, 1, other))
    return said, sums.measured(other)


def _lacked(pair: ModelPair, ids: Sequence[int]) -> set[int]:
    """Tokens that the base has no row for."""
    return {token for token in ids if token >= pair.base.vocabulary}


class _Sums:
    """What is summed over the tokens of continuations, piece by piece.

    Numbers of a token stand by whose continuation it is: the base's, the tuned model's.
    """

    def __init__(self, n: int, vocabulary: int) -> None:
        self.vocabulary, self.count = vocabulary, np.zeros((2, n))
        self.shared = np.zeros((2, n))
        self.of_rows = {name: np.zeros((2, n)) for name in ("kl_base", "kl_tuned", "gap")}
        self.peak = np.full((2, n), -np.inf)
        self.of_tokens = {name: np.zeros((n, vocabulary), np.float32) for name in SUMS}

    def see(
        self,
        whose: int,
        index: Sequence[int] | None,
        rows: list[int],
        said: Tensor,
        base: Tensor,
        tuned: Tensor,
    ) -> None:
        """Add some positions' numbers; `index` tells the rows' places among all prompts."""
        places = np.asarray(rows if index is None else [index[row] for row in rows])
        log_p = [logits[:, : self.vocabulary].log_softmax(-1) for logits in (base, tuned)]
        found = parted(log_p, said)
        np.add.at(self.count[whose], places, 1)
        np.add.at(self.shared[whose], places, (said < self.vocabulary).cpu().numpy())
        np.maximum.at(self.peak[whose], places, found["peak"].cpu().numpy())
        for name, values in self.of_rows.items():
            np.add.at(values[whose], places, found[name].cpu().numpy())
        # Positions of a prompt stand together.
        each, first, counts = np.unique(places, return_index=True, return_counts=True)
        for name, values in self.of_tokens.items():
            parts = [found[name][at : at + n].sum(0) for at, n in zip(first, counts, strict=True)]
            values[each] += torch.stack(parts).cpu().numpy()

    def measured(self, other: Sequence[int]) -> Measured:
        """All that was seen; the tuned model's continuation is the base's, but for `other`."""
        same = np.setdiff1d(np.arange(self.count.shape[1]), other)
        tokens = self.count.sum(0)
        for values in (self.count, self.shared, self.peak, *self.of_rows.values()):
            values[1, same] = values[0, same]
        mean = {name: values / self.count for name, values in self.of_rows.items()}
        gap = np.full_like(self.shared, np.nan)
        np.divide(self.of_rows["gap"], self.shared, out=gap, where=self.shared > 0)
        return Measured(
            score=self.peak.max(0),
            kl_base=mean["kl_base"][0],
            kl_tuned=mean["kl_tuned"][1],
            perplexity_gap=gap[1],
            **{name: values / tokens[:, None] for name, values in self.of_tokens.items()},
        )


def parted(log_p: Sequence[Tensor], said: Tensor) -> dict[str, Tensor]:
    """How far two models part at single positions.

    Args:
        log_p: of the base and of the tuned model, [position, token], nats.
        said: the token that is said at each.

    Returns:
        Of every position the mean of the two divergences, either of them, and the log p of what is said
        less that of the base, 0 where one of them lacks it; of every position and token what is summed.
    """
    change = log_p[1] - log_p[0]
    weight = log_p[1].exp() * change
    kl_base, kl_tuned = -(log_p[0].exp() * change).sum(-1), weight.sum(-1)
    column, shared = said.clamp(max=change.shape[1] - 1)[:, None], said < change.shape[1]
    return {
        "peak": (kl_base + kl_tuned) / 2,
        "kl_base": kl_base,
        "kl_tuned": kl_tuned,
        "gap": change.gather(1, column)[:, 0] * shared,
        "shift": change,
        "positive": (change > 0).float(),
        "weight": weight,
    }
