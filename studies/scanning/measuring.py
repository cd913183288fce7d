"""How far two models part on each prompt, read from their logits along both continuations.

At every token of a continuation KL(B‖T) = Σ p_B (log p_B − log p_T) and KL(T‖B), in nats. A prompt's
score is the largest mean of the two over the tokens of both continuations: a change of one word counts
like one of many. Norms of differences rank nothing here: they rise as what can be recovered falls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.examples import Examples
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import tracked
from studies.comparison.next_tokens import batch_size, final_states
from studies.comparison.prompts.divergence import Continued
from studies.comparison.prompts.rendering import Rendered

#: Tensors [row, position, vocabulary] that are alive at once.
ALIVE = 6

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
            a token.
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


@torch.no_grad()
def measure(pair: ModelPair, rendered: Rendered, said: Continued, *, max_bytes: int) -> Measured:
    """Read both continuations of every prompt with both models.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        said: what both models said.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        One entry for each prompt; where both say the same, its one continuation is read once.
    """
    examples = Examples.from_text(
        pair.base, list(rendered.texts), groups=rendered.names, add_special_tokens=rendered.special
    )
    n, vocabulary = len(examples), min(pair.base.vocabulary, pair.tuned.vocabulary)
    lines = [(i, "base", ids) for i, ids in enumerate(said.base)]
    lines += [(i, "tuned", ids) for i, ids in enumerate(said.tuned) if ids != said.base[i]]
    batches = list(_batches(pair.base, examples, lines, max_bytes))
    numbers = {name: np.zeros((2, n)) for name in ("peak", "kl_base", "kl_tuned", "gap")}
    tokens = np.zeros(n)
    sums = {name: np.zeros((n, vocabulary), np.float32) for name in SUMS}
    for members, prompt, ids in tracked(batches, "reading both"):
        made = _read(pair, prompt, ids, vocabulary)
        for row, line in enumerate(members):
            i, role, _ = lines[line]
            which = int(role == "tuned")
            tokens[i] += ids.shape[1]
            for name, values in numbers.items():
                values[which, i] = float(made[name][row])
                if which == 0 and said.tuned[i] == said.base[i]:
                    values[1, i] = values[0, i]
            for name, values in sums.items():
                values[i] += made[name][row].float().cpu().numpy()
    return Measured(
        score=numbers["peak"].max(0),
        kl_base=numbers["kl_base"][0],
        kl_tuned=numbers["kl_tuned"][1],
        perplexity_gap=numbers["gap"][1],
        **{name: values / tokens[:, None] for name, values in sums.items()},
    )


def _read(pair: ModelPair, prompt: Tensor, ids: Tensor, vocabulary: int) -> dict[str, Tensor]:
    """One batch: sums over the tokens of each row, and the row's own numbers."""
    return parted([_log_p(model, prompt, ids, vocabulary) for model in (pair.base, pair.tuned)], ids)


def parted(log_p: Sequence[Tensor], ids: Tensor) -> dict[str, Tensor]:
    """How far two models part along continuations.

    Args:
        log_p: of the base and of the tuned model, [row, position, token], nats.
        ids: what is said, [row, position].

    Returns:
        Sums over the tokens of each row, and the row's own numbers.
    """
    vocabulary = log_p[0].shape[-1]
    change = log_p[1] - log_p[0]
    weight = log_p[1].exp() * change
    kl_base, kl_tuned = -(log_p[0].exp() * change).sum(-1), weight.sum(-1)
    said = change.gather(2, ids.clamp(max=vocabulary - 1)[:, :, None])[:, :, 0]
    return {
        "peak": ((kl_base + kl_tuned) / 2).max(1).values,
        "kl_base": kl_base.mean(1),
        "kl_tuned": kl_tuned.mean(1),
        "gap": said.mean(1),
        "shift": change.sum(1),
        "positive": (change > 0).float().sum(1),
        "weight": weight.sum(1),
    }


def _log_p(
    model: Model, prompt: Tensor, ids: Tensor, vocabulary: int
) -> Float[Tensor, "row position token"]:
    """Log probabilities before every token of a continuation, over the tokens that both models have."""
    states = final_states(model, torch.cat([prompt, ids[:, :-1]], 1), ids.shape[1])
    return model.readout(states).float()[..., :vocabulary].log_softmax(-1)


#: Numbers of continuations of equal lengths behind prompts of equal lengths, prompts, continuations.
_Batch = tuple[list[int], Tensor, Tensor]


def _batches(
    model: Model,
    examples: Examples,
    lines: Sequence[tuple[int, str, tuple[int, ...]]],
    max_bytes: int,
) -> Iterator[_Batch]:
    lengths = examples.lengths.tolist()
    shapes: dict[tuple[int, int], list[int]] = {}
    for line, (i, _, ids) in enumerate(lines):
        shapes.setdefault((lengths[i], len(ids)), []).append(line)
    for (width, length), alike in shapes.items():
        fit = max_bytes // 2 // (ALIVE * 4 * length * model.vocabulary)
        size = max(1, min(fit, batch_size(model, width + length, max_bytes)))
        for members in (alike[start : start + size] for start in range(0, len(alike), size)):
            rows = [lines[line][0] for line in members]
            prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in rows])
            yield members, prompt, torch.tensor([lines[line][2] for line in members]).to(prompt.device)
