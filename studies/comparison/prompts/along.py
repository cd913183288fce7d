"""What two models make of continuations that they are given, read by both in one pass.

The blocks that tuning left as they were run once for both, and one readout of either tells all that is
asked of a position: the tuned model's own first choice, how far the two differ on it, log p, and, to
whoever wants to see them, both whole distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.examples import Examples
from interp.metrics import logits_of
from interp.models.alike import Alike, alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import tracked
from interp.runs.run import series
from studies.comparison.next_tokens import batch_size, final_states_of_both

#: Tensors [position, vocabulary] that are alive at once.
ALIVE = 6

#: Positions that are read out together at most: a matrix product gains nothing by more.
POSITIONS = 256

#: Positions whose logits are compared together: so many stay in a processor's cache.
CACHED = 32

#: The sources that determine what is read.
CODE = ("interp.models", "studies.comparison.next_tokens", "studies.comparison.prompts.along")

#: Is shown pieces of what is read: the prompt of each position, what is said there, and the logits of
#: base and tuned model, [position, token].
See = Callable[[list[int], Tensor, Tensor, Tensor], None]


@dataclass(frozen=True, eq=False)
class Along:
    """What both models make of continuations, one entry a prompt.

    Attributes:
        best: the tuned model's own first choice at every token.
        gaps: how far the models differ at every token on the contrast of what is said with that
            choice, m(B) − m(T), logits; infinite where one of them lacks a token.
        logp_base: log p of the continuation under the base, nats.
        logp_tuned: the same under the tuned model.
        identical: whether all logits of the two are equal bit by bit.
    """

    best: tuple[tuple[int, ...], ...]
    gaps: tuple[tuple[float, ...], ...]
    logp_base: tuple[float, ...]
    logp_tuned: tuple[float, ...]
    identical: bool


@torch.no_grad()
def read_both(
    pair: ModelPair,
    examples: Examples,
    said: Sequence[tuple[int, ...]],
    *,
    max_bytes: int,
    see: See | None = None,
) -> Along:
    """Read continuations with both models, one forward of each a batch.

    Args:
        pair: who reads.
        examples: the prompts.
        said: the continuation of each, one token at least.
        max_bytes: memory for activations and logits beside the models.
        see: is shown the logits of every batch that is read, and not of one that a run has kept.

    Returns:
        First choices, gaps and log p, token by token or in all.
    """
    same, n = alike(pair.base, pair.tuned), len(said)
    batches = list(_batches(pair.base, examples, said, max_bytes))
    kept = series("reading along", CODE, pair.base, pair.tuned, batches, max_bytes)
    best: list[tuple[int, ...]] = [()] * n
    gaps: list[tuple[float, ...]] = [()] * n
    logp, identical = [[0.0] * n, [0.0] * n], True
    for number, batch in enumerate(tracked(batches, "reading both")):

        def make(batch: _Batch = batch) -> _Read:
            return _read(pair, same, batch, max_bytes, see)

        made = kept.unit(number, make, dealt=False)
        assert made is not None  # every shard reads
        *columns, equal = made
        identical &= equal
        for i, chosen, gap, ours, theirs in zip(batch[0], *columns, strict=True):
            best[i], gaps[i] = tuple(chosen), tuple(gap)
            logp[0][i], logp[1][i] = ours, theirs
    return Along(tuple(best), tuple(gaps), tuple(logp[0]), tuple(logp[1]), identical)


#: Indices of prompts of equal lengths with continuations of equal lengths, prompts, continuations.
_Batch = tuple[list[int], Tensor, Tensor]

#: Of every row of a batch: first choices, gaps, log p under base and tuned; and whether all are equal.
_Read = tuple[list[list[int]], list[list[float]], list[float], list[float], bool]


def _read(pair: ModelPair, same: Alike, batch: _Batch, max_bytes: int, see: See | None) -> _Read:
    """Read one batch."""
    members, prompt, said = batch
    tokens, length = torch.cat([prompt, said[:, :-1]], 1), said.shape[1]
    states = final_states_of_both(pair.base, pair.tuned, same, tokens, length)
    flat, wanted = [state.flatten(0, 1) for state in states], said.flatten()
    row = [i for i in members for _ in range(length)]
    most = max(pair.base.vocabulary, pair.tuned.vocabulary)
    size = max(1, min(POSITIONS, max_bytes // 2 // (ALIVE * 4 * most)))
    best, gaps, logp, equal = [], [], [], True
    for start in range(0, len(wanted), size):
        logits = [
            model.readout(state[start : start + size]).float().to(wanted.device)
            for model, state in zip((pair.base, pair.tuned), flat, strict=True)
        ]
        for first in range(0, len(logits[0]), CACHED):
            part = slice(start + first, min(start + size, start + first + CACHED))
            base, tuned = (whole[first : first + CACHED] for whole in logits)
            best.append(tuned.argmax(1))
            pairs = torch.stack([wanted[part], best[-1]], 1)
            of_base, of_tuned = logits_of(base, pairs), logits_of(tuned, pairs)
            gaps.append(torch.sub(*of_base.T) - torch.sub(*of_tuned.T))
            of_said = ((of_base, base), (of_tuned, tuned))
            logp.append(torch.stack([of[:, 0] - whole.logsumexp(1) for of, whole in of_said]))
            equal = equal and torch.equal(base, tuned)
            if see is not None:
                see(row[part], wanted[part], base, tuned)
    ours, theirs = torch.cat(logp, 1).view(2, *said.shape).sum(2).tolist()
    chosen, apart = (torch.cat(values).view(said.shape).tolist() for values in (best, gaps))
    return chosen, apart, ours, theirs, equal


def _batches(
    model: Model, examples: Examples, said: Sequence[tuple[int, ...]], max_bytes: int
) -> Iterator[_Batch]:
    """Prompts and continuations that go through the models together."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for i, (length, ids) in enumerate(zip(examples.lengths.tolist(), said, strict=True)):
        shapes.setdefault((length, len(ids)), []).append(i)
    for (width, length), every in shapes.items():
        size = batch_size(model, width + length, max_bytes)
        for members in (every[start : start + size] for start in range(0, len(every), size)):
            prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in members])
            yield members, prompt, torch.tensor([said[i] for i in members]).to(prompt.device)
