"""What a model would say next, read out without keeping its logits.

Whole logits are [row, position, vocabulary]; with large vocabularies they dwarf the model. Here a
forward keeps only the residual stream at the positions that are read, and the unembedding is applied
to them in pieces of the vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import observed, without_logits
from interp.examples import Examples
from interp.metrics import logits_of
from interp.models.alike import Alike
from interp.models.block_calls import entering
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine.block_cost import BlockCost
from patching.engine.reuse import reuse
from patching.engine.unedited import Baseline, embedded

#: Prompts per forward at most, where memory allows as many.
BATCH = 64


@dataclass(frozen=True, eq=False)
class NextTokens:
    """The next token's distribution at some positions, in the numbers that answers need.

    Attributes:
        best: the token with the highest logit, the lowest id among equals.
        logp: log p of the wanted token, nats.
        digest: a hash of every logit: equal exactly when all are bit-identical.
    """

    best: Int[Tensor, " row"]
    logp: Float[Tensor, " row"]
    digest: bytes


def batch_size(model: Model, width: int, max_bytes: int) -> int:
    """How many prompts of `width` tokens go through a forward together within half the memory."""
    return max(1, min(BATCH, max_bytes // 2 // BlockCost.of(model).row_bytes(width, 0)))


@torch.no_grad()
def final_states(
    model: Model, tokens: Int[Tensor, "example position"], last: int
) -> Float[Tensor, "example place d_model"]:
    """The residual stream behind the last block at the last positions; no logits are computed.

    What all prompts begin with is run once.
    """
    shared = _shared(model, tokens, last)
    if shared:
        return _Begun.of(model, tokens, shared).run(0, last)[0]
    return _whole(model, tokens, last)


def _whole(
    model: Model, tokens: Int[Tensor, "example position"], last: int
) -> Float[Tensor, "example place d_model"]:
    """The final states of prompts that all run whole."""
    top = Site(Kind.RESID_POST, model.n_layers - 1)
    states: list[Tensor] = []
    with (
        observed(
            model, [top], lambda _, value: states.append(value[:, -last:].to(model.device, copy=True))
        ),
        without_logits(model),
    ):
        model.bridge(tokens, use_cache=False, logits_to_keep=1)
    return states[0]


@torch.no_grad()
def final_states_of_both(
    base: Model, tuned: Model, same: Alike, tokens: Int[Tensor, "example position"], last: int
) -> tuple[Tensor, Tensor]:
    """`final_states` of base and tuned model; the blocks that tuning left as they were run once.

    Args:
        base: the one.
        tuned: the other.
        same: which of their parts are the same.
        tokens: what both read.
        last: at how many of the last positions.
    """
    if same.below < 1:
        return final_states(base, tokens, last), final_states(tuned, tokens, last)
    shared = _shared(base, tokens, last)
    if shared:
        ours, entered = _Begun.of(base, tokens, shared).run(same.below, last)
        return ours, _Begun.of(tuned, tokens, shared, same.below, entered).run(same.below, last)[0]
    with entering(base.bridge, same.below) as entered:
        ours = _whole(base, tokens, last)
    if same.below == base.n_layers:
        return ours, ours
    return ours, entered.through(tuned.bridge, tuned.n_layers)[:, -last:].to(tuned.device)


def _shared(model: Model, tokens: Int[Tensor, "example position"], last: int) -> int:
    """How many first tokens are run once: none of those that are read."""
    if not reuse(model).prefix:
        return 0
    return min(BlockCost.of(model).shared(tokens), tokens.shape[1] - last)


@dataclass(frozen=True, eq=False)
class _Begun:
    """Prompts that begin alike, the first of them run whole.

    Attributes:
        model: the model that runs.
        one: the run of the first.
        shared: with how many tokens all begin.
        layer: the block that the others are about to enter.
        others: what enters it of them, behind what they share.
    """

    model: Model
    one: Baseline
    shared: int
    layer: int
    others: Tensor

    @classmethod
    def of(
        cls,
        model: Model,
        tokens: Int[Tensor, "example position"],
        shared: int,
        layer: int = 0,
        others: Tensor | None = None,
    ) -> _Begun:
        """Run the first prompt; the others stand before a block."""
        columns = torch.arange(tokens.shape[1], device=tokens.device)[None]
        one = Baseline.of_tokens(model, tokens[:1], columns, columns[0, :1])
        others = embedded(model, tokens[1:])[:, shared:] if others is None else others
        return cls(model, one, shared, layer, others)

    def run(self, noted: int, last: int) -> tuple[Tensor, Tensor]:
        """The final states at the last positions; and what of the others entered a block."""
        hidden = entered = self.others
        steps = self.one.others(self.model, hidden, self.shared, self.layer)
        for layer, (hidden, _) in enumerate(steps, start=self.layer + 1):
            entered = hidden if layer == noted else entered
        whole = torch.cat([self.one.inputs[-1][:, -last:], hidden[:, -last:]])
        return whole.to(self.model.device), entered


@torch.no_grad()
def next_tokens(
    model: Model,
    states: Float[Tensor, "row d_model"],
    wanted: Int[Tensor, " row"],
    *,
    max_bytes: int,
) -> NextTokens:
    """Read final states out over the whole vocabulary, a piece of it at a time.

    Args:
        model: whose states they are.
        states: the residual stream behind the last block.
        wanted: the token whose log p is asked for.
        max_bytes: half of it may be taken by a piece's logits and rows of the unembedding.

    Returns:
        Best token, log p and hash, per row.
    """
    vocabulary, d_model = model.unembedding[0].shape
    size = states.element_size()
    piece = max_bytes // 2 // (2 * size * d_model + len(states) * (3 * size + 16))
    best = torch.zeros_like(wanted)
    highest = torch.full(wanted.shape, float("-inf"), device=states.device)
    total, chosen, digest = highest.clone(), highest.clone(), hashlib.blake2b(digest_size=16)
    for columns in torch.arange(vocabulary, device=states.device).split(max(1, piece)):
        # All rows at once need no copy of the unembedding.
        scores = model.readout(states, None if len(columns) == vocabulary else columns).float()
        digest.update(scores.cpu().numpy().tobytes())
        top, place = scores.max(1)
        better = top > highest
        best, highest = columns[place].where(better, best), top.where(better, highest)
        total = torch.logaddexp(total, scores.logsumexp(1))
        inside = (wanted >= columns[0]) & (wanted <= columns[-1])
        column = (wanted - columns[0]).clamp(0, len(columns) - 1)
        chosen = scores.gather(1, column[:, None])[:, 0].where(inside, chosen)
    return NextTokens(best, chosen - total, digest.digest())


@torch.no_grad()
def last_logits(
    model: Model, examples: Examples, max_bytes: int, *, back: int = 0
) -> Float[Tensor, "example vocabulary"]:
    """Logits of what comes next behind every prompt, or behind an earlier token of it.

    Args:
        model: who reads.
        examples: the prompts, few enough for their logits to be held.
        max_bytes: memory for activations beside the model.
        back: how many tokens before the last; the first one's own where there are none.
    """
    logits = torch.zeros(len(examples), model.vocabulary, device=model.device)
    for same in examples.by_length():
        width = int(examples.lengths[same[0]])
        for rows in same.split(batch_size(model, width, max_bytes)):
            tokens = examples.tokens[rows].gather(1, examples.columns(rows))
            states = final_states(model, tokens, min(back + 1, width))
            logits[rows] = model.readout(states[:, 0]).float()
    return logits


def contrast_at(
    model: Model,
    examples: Examples,
    plus: Sequence[int],
    minus: Sequence[int],
    max_bytes: int,
) -> list[float]:
    """logit(plus) − logit(minus) behind every prompt; infinite where the model lacks one of them.

    Args:
        model: who reads.
        examples: the prompts.
        plus: a token for each.
        minus: the token that it is compared with.
        max_bytes: memory for activations beside the model.
    """
    logits = last_logits(model, examples, max_bytes)
    wanted = torch.tensor([list(plus), list(minus)], device=logits.device).T
    return torch.sub(*logits_of(logits, wanted).T).tolist()
