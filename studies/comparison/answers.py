"""What the models answer: greedy tokens and log p per prompt, of one model or of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from interp.facts.types import FactSet
from interp.models.alike import Alike, alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import common_start
from interp.progress import tracked
from interp.runs.run import series
from patching.engine.schedule import MAX_BYTES
from studies.comparison.next_tokens import (
    batch_size,
    final_states,
    final_states_of_both,
    next_tokens,
)
from studies.comparison.questions import Prompt, Queries, ask

#: The sources that determine what a model answers.
CODE = ("interp.models", "studies.comparison.answers", "studies.comparison.next_tokens")


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model answers, one entry per prompt.

    Attributes:
        tokens: greedy tokens behind the lead over the answer's own length; where they were not
            continued, up to the first that leaves the answer.
        logp: log p of the whole answer, nats, lead included.
        known: groups of which this model gives the whole answer on every form.
        leads: greedy tokens in place of the lead, up to the first that leaves it.
        best: the answer token with the highest logit where answers are told apart, among the first
            tokens of all answers; answers that share it count as one.
        digest: a hash of every logit that was read: equal exactly when all are bit-identical.
    """

    tokens: tuple[tuple[int, ...], ...]
    logp: tuple[float, ...]
    known: frozenset[str]
    leads: tuple[tuple[int, ...], ...]
    best: tuple[int, ...]
    digest: str


@dataclass(frozen=True, eq=False)
class PairAnswers:
    """The same questions put to base and tuned model, with what both answer.

    Attributes:
        queries: what was asked.
        base: the base's answers.
        tuned: the tuned model's answers, continued wherever the base knows the fact.
        reference: the same for facts of another relation; None where there are none.
    """

    queries: Queries
    base: Answers
    tuned: Answers
    reference: PairAnswers | None = None


def ask_both(
    pair: ModelPair,
    facts: FactSet,
    reference: FactSet | None = None,
    *,
    prompt: Prompt = "raw",
    max_bytes: int = MAX_BYTES,
) -> PairAnswers:
    """Ask both models the same questions, each model once.

    Args:
        pair: base and tuned model.
        facts: what is asked.
        reference: facts of another relation, asked the same way.
        prompt: "raw", or "chat" for the tuned model's chat template.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        The questions and both models' answers.

    Raises:
        ValueError: as `ask`.
    """
    queries = ask(pair, facts, prompt=prompt)
    base, tuned = answer_both(pair, queries, max_bytes=max_bytes)
    other = None
    if reference is not None:
        other = ask_both(pair, reference, prompt=prompt, max_bytes=max_bytes)
    return PairAnswers(queries, base, tuned, other)


@torch.no_grad()
def answer_all(
    model: Model,
    queries: Queries,
    *,
    known: frozenset[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Answers:
    """Greedy answers over the answer's own length, and log p of the whole answer.

    One pass over prompt and answer gives log p and every greedy token up to the first that leaves the
    answer. Answers are continued beyond that token for the groups in `known` only. With `known` None
    these are the groups this model itself answers right on every form, which is how the base tells
    which facts it knows.

    Args:
        model: who is asked.
        queries: what is asked.
        known: groups whose answers are continued to their whole length.
        max_bytes: memory for activations and logits beside the model.

    Returns:
        Its answer to every prompt.
    """
    batches = list(_batches(queries, range(len(queries.examples)), model, max_bytes))
    candidates = queries.first.unique()
    kept = series("answers", CODE, model, batches, queries.leads, candidates, max_bytes)
    read = []
    for number, batch in enumerate(tracked(batches, f"asking {model.role}")):
        make = partial(_read, [model], None, queries, batch, candidates, max_bytes)
        read.append(kept.unit(number, make, dealt=False))
    return _answers(model, queries, batches, [rows for (rows,) in read], known, max_bytes)


@torch.no_grad()
def answer_both(
    pair: ModelPair, queries: Queries, *, max_bytes: int = MAX_BYTES
) -> tuple[Answers, Answers]:
    """`answer_all` of base and tuned model, the tuned one's continued wherever the base knows the fact.

    The blocks that tuning left as they were run once for both.

    Args:
        pair: base and tuned model.
        queries: what is asked.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        The base's answers and the tuned model's.
    """
    models, same = [pair.base, pair.tuned], alike(pair.base, pair.tuned)
    batches = list(_batches(queries, range(len(queries.examples)), pair.base, max_bytes))
    candidates = queries.first.unique()
    kept = series("answers", CODE, models, batches, queries.leads, candidates, max_bytes)
    read = []
    for number, batch in enumerate(tracked(batches, "asking both")):
        make = partial(_read, models, same, queries, batch, candidates, max_bytes)
        read.append(kept.unit(number, make, dealt=False))
    ours, theirs = zip(*read, strict=True)
    base = _answers(pair.base, queries, batches, ours, None, max_bytes)
    return base, _answers(pair.tuned, queries, batches, theirs, base.known, max_bytes)


#: Indices of prompts whose lengths, leads and answers have equal lengths, prompts, and answers.
_Batch = tuple[list[int], Tensor, Tensor]


#: What a batch is answered: greedy tokens, right ones, log p, best candidate of each, and a hash.
_Rows = tuple[list[list[int]], list[list[int]], list[float], list[int], str]


def _read(
    models: Sequence[Model],
    same: Alike | None,
    queries: Queries,
    batch: _Batch,
    candidates: Tensor,
    max_bytes: int,
) -> list[_Rows]:
    """What a batch is answered by one model, or by both of a pair whose common parts are given."""
    members, prompt, answer = batch
    lead_length = len(queries.leads[members[0]])
    targets = torch.cat([prompt[:, prompt.shape[1] - lead_length :], answer], 1)
    tokens, last = torch.cat([prompt, answer[:, :-1]], 1), targets.shape[1]
    if same is None:
        states = tuple(final_states(model, tokens, last) for model in models)
    else:
        states = final_states_of_both(models[0], models[1], same, tokens, last)
    rows = []
    for model, state in zip(models, states, strict=True):
        read = next_tokens(model, state.flatten(0, 1), targets.flatten(), max_bytes=max_bytes)
        scores = model.readout(state[:, lead_length], candidates)
        rows.append(
            (
                read.best.view_as(targets).tolist(),
                targets.tolist(),
                read.logp.view_as(targets).sum(1).tolist(),
                candidates[scores.argmax(1)].tolist(),
                read.digest.hex(),
            )
        )
    return rows


def _answers(
    model: Model,
    queries: Queries,
    batches: Sequence[_Batch],
    read: Sequence[_Rows],
    known: frozenset[str] | None,
    max_bytes: int,
) -> Answers:
    """A model's answers from what every batch was answered, continued where the fact is known."""
    n = len(queries.examples)
    logp, best, digest = [0.0] * n, [0] * n, hashlib.blake2b(digest_size=16)
    leads: list[tuple[int, ...]] = [()] * n
    tokens = list(leads)
    for (members, _, _), (greedy, targets, totals, chosen, hashed) in zip(batches, read, strict=True):
        digest.update(bytes.fromhex(hashed))
        for row, i in enumerate(members):
            lead_length = len(queries.leads[i])
            logp[i], best[i] = totals[row], chosen[row]
            leads[i] = _until_wrong(greedy[row][:lead_length], targets[row][:lead_length])
            tokens[i] = _until_wrong(greedy[row][lead_length:], targets[row][lead_length:])
    right_here = right_groups(queries, tokens, leads)
    _continue(model, queries, tokens, right_here if known is None else known, max_bytes)
    return Answers(
        tuple(tokens), tuple(logp), right_here, tuple(leads), tuple(best), digest.hexdigest()
    )


def _continue(
    model: Model,
    queries: Queries,
    tokens: list[tuple[int, ...]],
    groups: frozenset[str],
    max_bytes: int,
) -> None:
    """Replace the answers of these groups that left the right one by whole greedy answers."""
    short = [
        i
        for i, group in enumerate(queries.examples.groups)
        if group in groups and len(tokens[i]) < len(queries.answers[i])
    ]
    batches = list(_batches(queries, short, model, max_bytes))
    begun = [[tokens[i][0] for i in members] for members, _, _ in batches]
    kept = series("continued answers", CODE, model, batches, begun, max_bytes)
    for number, batch in enumerate(tracked(batches, f"continuing {model.role}")):
        rows = kept.unit(number, partial(_greedy, model, batch, begun[number], max_bytes), dealt=False)
        for i, row in zip(batch[0], rows or (), strict=True):
            tokens[i] = tuple(row)


def _greedy(model: Model, batch: _Batch, begun: list[int], max_bytes: int) -> list[list[int]]:
    """Greedy answers to a batch, over the length of the right ones, from their first tokens."""
    _, prompt, answer = batch
    greedy = torch.tensor(begun, device=prompt.device)[:, None]
    while greedy.shape[1] < answer.shape[1]:
        states = final_states(model, torch.cat([prompt, greedy], 1), 1)[:, 0]
        read = next_tokens(model, states, greedy[:, 0], max_bytes=max_bytes)
        greedy = torch.cat([greedy, read.best[:, None]], 1)
    return greedy.tolist()


def _until_wrong(greedy: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    """Greedy tokens up to the first that is not the right one: behind it they are not its own."""
    same = len(common_start([greedy, right]))
    return tuple(greedy[: same + 1])


def right_groups(
    queries: Queries,
    tokens: Sequence[tuple[int, ...]],
    leads: Sequence[tuple[int, ...]] | None = None,
) -> frozenset[str]:
    """Groups whose whole answer is given on every form, with its lead where `leads` are given."""
    groups = queries.examples.groups
    right = right_prompts(queries, tokens, queries.leads if leads is None else leads)
    return frozenset(groups) - {g for g, ok in zip(groups, right, strict=True) if not ok}


def right_prompts(
    queries: Queries, tokens: Sequence[tuple[int, ...]], leads: Sequence[tuple[int, ...]]
) -> list[bool]:
    """Whether each prompt gets its whole answer."""
    rows = zip(leads, tokens, queries.leads, queries.answers, strict=True)
    return [lead == right_lead and greedy == answer for lead, greedy, right_lead, answer in rows]


def _batches(
    queries: Queries, prompts: Sequence[int], model: Model, max_bytes: int
) -> Iterator[_Batch]:
    """The batches of some prompts, no larger than the memory holds."""
    examples = queries.examples
    lengths = examples.lengths.tolist()
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for i in prompts:
        key = (lengths[i], len(queries.leads[i]), len(queries.answers[i]))
        shapes.setdefault(key, []).append(i)
    for (width, _, length), every in shapes.items():
        size = batch_size(model, width + length, max_bytes)
        for members in (every[start : start + size] for start in range(0, len(every), size)):
            prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in members])
            yield members, prompt, torch.tensor([queries.answers[i] for i in members]).to(prompt.device)
