"""The site of change: the first position at which two models' greedy continuations part.

The base continues each prompt; the tuned model reads prompt and continuation in one forward. Up to the
first token at which its own first choice is another, its greedy continuation is the base's, so that
this is the first divergence exactly: c = prompt + common prefix, b the base's token there, t the
tuned model's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from interp.examples import Examples
from interp.generation import generate
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import tracked
from interp.runs.run import series
from patching.engine.schedule import MAX_BYTES
from studies.comparison.next_tokens import (
    BATCH,
    batch_size,
    contrast_at,
    final_states,
    next_tokens,
)
from studies.comparison.prompts.rendering import Rendered

#: The sources that determine what is said.
CODE = (
    "interp.models",
    "interp.generation",
    "studies.comparison.next_tokens",
    "studies.comparison.prompts.divergence",
)


@dataclass(frozen=True)
class Site:
    """Where the continuations of one prompt part.

    Attributes:
        prefix: the tokens that both say before they part.
        base: the base's token there.
        tuned: the tuned model's.
        gap: how far the two models differ on the contrast of these tokens there, m(B) − m(T), logits.
    """

    prefix: tuple[int, ...]
    base: int
    tuned: int
    gap: float


@dataclass(frozen=True, eq=False)
class Continued:
    """What both models say to every prompt, one entry a prompt.

    Attributes:
        base: the base's greedy tokens.
        tuned: the tuned model's; where the two never part, the same.
        sites: where they part; None where they do not.
        logp_base: log p of the base's continuation under the base, nats.
        logp_tuned: the same under the tuned model.
        identical: whether the two models' logits are equal bit by bit along all continuations.
    """

    base: tuple[tuple[int, ...], ...]
    tuned: tuple[tuple[int, ...], ...]
    sites: tuple[Site | None, ...]
    logp_base: tuple[float, ...]
    logp_tuned: tuple[float, ...]
    identical: bool


def continue_both(pair: ModelPair, rendered: Rendered, *, max_bytes: int = MAX_BYTES) -> Continued:
    """Continue every prompt greedily with both models, and find where they part.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        What both say, and every site of change.
    """
    examples = _examples(pair, rendered, range(len(rendered.texts)), None)
    base = continuations(pair.base, examples, rendered.tokens)
    read = [read_along(model, examples, base, max_bytes) for model in (pair.base, pair.tuned)]
    places = [_first_other(said, best) for said, best in zip(base, read[1].best, strict=True)]
    changed = [i for i, place in enumerate(places) if place is not None]
    tuned, sites = list(base), [None] * len(base)
    if changed:
        said = continuations(pair.tuned, examples.subset(changed), rendered.tokens)
        for i, ids in zip(changed, said, strict=True):
            tuned[i] = ids
        sites = _sites(pair, rendered, base, read[1].best, places, max_bytes)
    return Continued(
        tuple(base),
        tuple(tuned),
        tuple(sites),
        read[0].logp,
        read[1].logp,
        read[0].digest == read[1].digest,
    )


def continuations(model: Model, examples: Examples, tokens: int) -> list[tuple[int, ...]]:
    """Greedy tokens of every prompt, with the token that ends a text where one came.

    Args:
        model: who continues.
        examples: the prompts.
        tokens: how many at most.
    """
    batches = [part for same in examples.by_length() for part in same.split(BATCH)]
    kept = series("continuations", CODE, model, examples.tokens, examples.mask, tokens)
    said: list[tuple[int, ...]] = [()] * len(examples)
    for number, rows in enumerate(tracked(batches, f"continuing with {model.role}")):

        def make(rows: Tensor = rows) -> list[list[int]]:
            return [list(ids) for ids in generate(model, examples.subset(rows), tokens=tokens).ids]

        for i, ids in zip(rows.tolist(), kept.unit(number, make, dealt=False) or (), strict=True):
            said[i] = tuple(ids)
    return said


@dataclass(frozen=True, eq=False)
class Along:
    """What a model makes of continuations that it is given, one entry a prompt.

    Attributes:
        best: its own first choice at every token.
        logp: log p of the continuation, nats.
        digest: hash of every logit that was read.
    """

    best: tuple[tuple[int, ...], ...]
    logp: tuple[float, ...]
    digest: str


@torch.no_grad()
def read_along(
    model: Model, examples: Examples, said: Sequence[tuple[int, ...]], max_bytes: int
) -> Along:
    """Read continuations with a model, one forward a batch.

    Args:
        model: who reads.
        examples: the prompts.
        said: the continuation of each, one token at least.
        max_bytes: memory for activations and logits beside the model.

    Returns:
        Its first choice at every token, and log p of each continuation.
    """
    batches = list(_batches(model, examples, said, max_bytes))
    kept = series("reading along", CODE, model, batches, max_bytes)
    best: list[tuple[int, ...]] = [()] * len(said)
    logp, digest = [0.0] * len(said), hashlib.blake2b(digest_size=16)
    for number, batch in enumerate(tracked(batches, f"reading with {model.role}")):
        made = kept.unit(number, partial(_read, model, batch, max_bytes), dealt=False)
        assert made is not None  # every shard reads
        choices, totals, hashed = made
        digest.update(bytes.fromhex(hashed))
        for i, row, total in zip(batch[0], choices, totals, strict=True):
            best[i], logp[i] = tuple(row), total
    return Along(tuple(best), tuple(logp), digest.hexdigest())


#: Indices of prompts of equal lengths with continuations of equal lengths, prompts, continuations.
_Batch = tuple[list[int], Tensor, Tensor]


def _read(model: Model, batch: _Batch, max_bytes: int) -> tuple[list[list[int]], list[float], str]:
    _, prompt, said = batch
    states = final_states(model, torch.cat([prompt, said[:, :-1]], 1), said.shape[1])
    read = next_tokens(model, states.flatten(0, 1), said.flatten(), max_bytes=max_bytes)
    totals = read.logp.view_as(said).sum(1).tolist()
    return read.best.view_as(said).tolist(), totals, read.digest.hex()


def _batches(
    model: Model, examples: Examples, said: Sequence[tuple[int, ...]], max_bytes: int
) -> Iterator[_Batch]:
    shapes: dict[tuple[int, int], list[int]] = {}
    for i, (length, ids) in enumerate(zip(examples.lengths.tolist(), said, strict=True)):
        shapes.setdefault((length, len(ids)), []).append(i)
    for (width, length), alike in shapes.items():
        size = batch_size(model, width + length, max_bytes)
        for members in (alike[start : start + size] for start in range(0, len(alike), size)):
            prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in members])
            yield members, prompt, torch.tensor([said[i] for i in members]).to(prompt.device)


def _first_other(said: Sequence[int], best: Sequence[int]) -> int | None:
    """The first place at which a model's own choice is another; None where there is none."""
    return next((j for j, (a, b) in enumerate(zip(said, best, strict=True)) if a != b), None)


def _sites(
    pair: ModelPair,
    rendered: Rendered,
    base: Sequence[tuple[int, ...]],
    best: Sequence[tuple[int, ...]],
    places: Sequence[int | None],
    max_bytes: int,
) -> list[Site | None]:
    """The site of every prompt whose continuations part."""
    rows = [(i, place) for i, place in enumerate(places) if place is not None]
    prefixes = [base[i][:place] for i, place in rows]
    examples = _examples(pair, rendered, [i for i, _ in rows], prefixes)
    plus, minus = [base[i][place] for i, place in rows], [best[i][place] for i, place in rows]
    of_base, of_tuned = (
        contrast_at(model, examples, plus, minus, max_bytes) for model in (pair.base, pair.tuned)
    )
    sites: list[Site | None] = [None] * len(places)
    columns = zip(rows, prefixes, plus, minus, of_base, of_tuned, strict=True)
    for (i, _), prefix, b, t, m_base, m_tuned in columns:
        sites[i] = Site(tuple(prefix), b, t, m_base - m_tuned)
    return sites


def _examples(
    pair: ModelPair,
    rendered: Rendered,
    index: Sequence[int],
    suffixes: Sequence[Sequence[int]] | None,
) -> Examples:
    """Some of the prompts as given, continued by token ids."""
    return Examples.from_text(
        pair.base,
        [rendered.texts[i] for i in index],
        groups=[rendered.names[i] for i in index],
        suffixes=suffixes,
        add_special_tokens=rendered.special,
    )
