"""What the models answer: greedy tokens and log p per prompt, and the outcomes table."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import common_start
from interp.progress import tracked
from interp.verdict.outcomes import Outcomes
from patching.engine.schedule import MAX_BYTES
from studies.comparison.next_tokens import batch_size, final_states, next_tokens
from studies.comparison.questions import FORMS, Queries


@dataclass(frozen=True, eq=False)
class Said:
    """What one model answers, per prompt.

    Attributes:
        tokens: greedy tokens behind the lead over the answer's own length; where not grown, up to the
            first that leaves the answer.
        logp: log p of the whole answer, nats, lead included.
        known: groups of which this model says the whole answer on every form.
        leads: greedy tokens in place of the lead, up to the first that leaves it.
        best: the answer token with the highest logit where answers are told apart, among the first
            tokens of all answers; answers that share it count as one.
        digest: of every logit that was read: equal exactly when all are bit-identical.
    """

    tokens: tuple[tuple[int, ...], ...]
    logp: tuple[float, ...]
    known: frozenset[str]
    leads: tuple[tuple[int, ...], ...]
    best: tuple[int, ...]
    digest: str


@torch.no_grad()
def say(
    model: Model,
    queries: Queries,
    *,
    known: frozenset[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Said:
    """Greedy answers over the answer's own length, and log p of the whole answer.

    One pass over prompt and answer gives log p and every greedy token up to the first that leaves the
    answer. Further tokens are grown for the groups in `known` only. With `known` None they are the
    groups this model itself answers right on every form, which is how the base says which facts it
    knows.

    Args:
        model: who is asked.
        queries: what is asked.
        known: groups whose answers are grown to their whole length.
        max_bytes: memory for activations and logits beside the model.

    Returns:
        What it says to every prompt.
    """
    n = len(queries.examples)
    logp, best, digest = [0.0] * n, [0] * n, hashlib.blake2b(digest_size=16)
    leads: list[tuple[int, ...]] = [()] * n
    said = list(leads)
    closed = queries.first.unique()
    for members, prompt, answer in _batches(model, queries, range(n), "asking", max_bytes):
        led = len(queries.leads[members[0]])
        targets = torch.cat([prompt[:, prompt.shape[1] - led :], answer], 1)
        fed = torch.cat([prompt, answer[:, :-1]], 1)
        states = final_states(model, fed, targets.shape[1])
        read = next_tokens(model, states.flatten(0, 1), targets.flatten(), max_bytes=max_bytes)
        digest.update(read.digest)
        among = closed[model.readout(states[:, led], closed).argmax(1)].tolist()
        whole = read.logp.view_as(targets).sum(1).tolist()
        rows = zip(members, read.best.view_as(targets).tolist(), targets.tolist(), strict=True)
        for row, (i, greedy, right) in enumerate(rows):
            logp[i], best[i] = whole[row], among[row]
            leads[i] = _until_wrong(greedy[:led], right[:led])
            said[i] = _until_wrong(greedy[led:], right[led:])
    right = answered(queries, said, leads)
    grow = right if known is None else known
    wanted = [
        i
        for i, group in enumerate(queries.examples.groups)
        if group in grow and len(said[i]) < len(queries.answers[i])
    ]
    for members, prompt, answer in _batches(model, queries, wanted, "continuing", max_bytes):
        grown = torch.tensor([said[i][:1] for i in members], device=prompt.device)
        while grown.shape[1] < answer.shape[1]:
            states = final_states(model, torch.cat([prompt, grown], 1), 1)[:, 0]
            read = next_tokens(model, states, grown[:, 0], max_bytes=max_bytes)
            grown = torch.cat([grown, read.best[:, None]], 1)
        for i, tokens in zip(members, grown.tolist(), strict=True):
            said[i] = tuple(tokens)
    return Said(tuple(said), tuple(logp), right, tuple(leads), tuple(best), digest.hexdigest())


def _until_wrong(greedy: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    """Greedy tokens up to the first that is not the right one: behind it they are not its own."""
    same = len(common_start([greedy, right]))
    return tuple(greedy[: same + 1])


def answered(
    queries: Queries,
    said: Sequence[tuple[int, ...]],
    leads: Sequence[tuple[int, ...]] | None = None,
) -> frozenset[str]:
    """Groups whose whole answer is said on every form, with its lead where `leads` are given."""
    groups = queries.examples.groups
    right = _right(queries, said, queries.leads if leads is None else leads)
    return frozenset(groups) - {g for g, ok in zip(groups, right, strict=True) if not ok}


def _right(
    queries: Queries, said: Sequence[tuple[int, ...]], leads: Sequence[tuple[int, ...]]
) -> list[bool]:
    """Whether each prompt gets its whole answer."""
    found = zip(leads, said, queries.leads, queries.answers, strict=True)
    return [lead == wanted and tokens == answer for lead, tokens, wanted, answer in found]


def _batches(
    model: Model, queries: Queries, wanted: Sequence[int], what: str, max_bytes: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Prompts whose lengths, leads and answers have equal lengths: (indices, prompts, answers)."""
    examples = queries.examples
    lengths = examples.lengths.tolist()
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for i in wanted:
        key = (lengths[i], len(queries.leads[i]), len(queries.answers[i]))
        shapes.setdefault(key, []).append(i)
    parts = []
    for (width, _, length), members in shapes.items():
        size = batch_size(model, width + length, max_bytes)
        parts += [members[at : at + size] for at in range(0, len(members), size)]
    for members in tracked(parts, f"{what} {model.role}"):
        prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in members])
        answer = torch.tensor([queries.answers[i] for i in members], device=prompt.device)
        yield members, prompt, answer


def outcomes(
    pair: ModelPair,
    queries: Queries,
    base: Said,
    tuned: Said,
    *,
    reference: tuple[Queries, Said, Said] | None = None,
) -> Outcomes:
    """The table of what was said; `reference` adds known facts of another relation, never tuned.

    Facts that the base answers on some forms only, or begins to answer, are listed with what it says.

    Args:
        pair: the models, whose tokenizers write out what each said.
        queries: what was asked.
        base: what the base said.
        tuned: what the tuned model said.
        reference: queries of another relation with both models' answers.

    Returns:
        One row per fact and form.

    Raises:
        ValueError: if the tuned model leaves known answers within what all answers begin with, where
            no contrast between answers can be read.
    """
    _require_leads(pair, queries, base, tuned)
    tables = [_table(pair, queries, base, tuned)]
    if reference is not None:
        other = _table(pair, *reference)
        other["untuned"] = True
        other["group"] = [f"{g} ({reference[0].facts.name})" for g in other["group"]]
        tables[0]["untuned"] = False
        tables.append(other)
    excluded = [*queries.excluded, *_half_known(pair.base, queries, base)]
    identical = base.digest == tuned.digest and base.logp == tuned.logp
    return Outcomes(pd.concat(tables, ignore_index=True), excluded, identical)


def _require_leads(pair: ModelPair, queries: Queries, base: Said, tuned: Said) -> None:
    """Refuse known facts whose lead the tuned model leaves."""
    known = [i for i, g in enumerate(queries.examples.groups) if g in base.known]
    left = [i for i in known if tuned.leads[i] != queries.leads[i]]
    if left:
        i = left[0]
        groups = {queries.examples.groups[j] for j in left}
        lead = pair.base.tokenizer.decode(list(queries.leads[i]))
        raise ValueError(
            f"{pair.tuned.name} leaves {len(groups)} of the {len(base.known)} known answers of "
            f"{queries.facts.name!r} within {lead!r}, with which every answer begins (it says "
            f"“{_text(pair.tuned, queries, tuned, i)}”), so that no contrast between answers can be "
            "read there; give answers that differ from their first token on, such as words"
        )


def _text(model: Model, queries: Queries, said: Said, i: int) -> str:
    """What a model said to one prompt, lead included, in its own tokenizer's letters."""
    led = said.leads[i] == queries.leads[i]
    tokens = (*said.leads[i], *said.tokens[i]) if led else said.leads[i]
    return model.tokenizer.decode(list(tokens)).strip()


def _table(pair: ModelPair, queries: Queries, base: Said, tuned: Said) -> pd.DataFrame:
    groups, first = queries.examples.groups, queries.first.tolist()
    rows = []
    for i, (ours, theirs) in enumerate(zip(base.tokens, tuned.tokens, strict=True)):
        # Of facts that are not grown the shorter answer ends where it leaves the other.
        same = len(common_start([ours, theirs]))
        apart = same < len(ours) or base.leads[i] != tuned.leads[i]
        at = min(same, len(ours) - 1) if apart else 0
        rows.append(
            {
                "text": queries.examples.texts[i],
                "group": groups[i],
                "form": queries.examples.templates[i],
                "answer": queries.facts.facts[queries.fact[i]].answer,
                "said_base": _text(pair.base, queries, base, i),
                "said_tuned": _text(pair.tuned, queries, tuned, i),
                "known": groups[i] in base.known,
                "differs": apart,
                "answer_token": first[i],
                "base_token": ours[at],
                "tuned_token": theirs[at],
                "logp_base": base.logp[i],
                "logp_tuned": tuned.logp[i],
                "metric_base": float("nan"),
                "metric_tuned": float("nan"),
                "closed_base": base.best[i] == first[i],
                "closed_tuned": tuned.best[i] == first[i],
            }
        )
    return pd.DataFrame(rows)


def _half_known(model: Model, queries: Queries, said: Said) -> list[tuple[str, str]]:
    """(text, reason) of facts answered on some forms only, or begun on all and not ended."""
    right = _right(queries, said.tokens, said.leads)
    rows: dict[str, list[int]] = {}
    for i, group in enumerate(queries.examples.groups):
        rows.setdefault(group, []).append(i)
    found = []
    for mine in rows.values():
        good = [queries.examples.templates[i] for i in mine if right[i]]
        wrong = [i for i in mine if not right[i]]
        begun = all(said.tokens[i][0] == queries.answers[i][0] for i in wrong)
        if wrong and (good or begun):
            text, answer = queries.examples.texts[wrong[0]], _text(model, queries, said, wrong[0])
            how = f"right on form {' and '.join(good)} only" if good else "begun right only"
            found.append((text, f"{how}: here the base says “{answer}”, so it is not known"))
    return found


def few_known(model: Model, queries: Queries, said: Said, least: int) -> str:
    """One line for a base that knows too few facts: how many per template, and what it says instead.

    Args:
        model: the base.
        queries: what was asked.
        said: what it said.
        least: how many known facts are needed.

    Returns:
        The message of an error.
    """
    right, parts = _right(queries, said.tokens, said.leads), []
    for form in sorted(set(queries.examples.templates)):
        mine = [i for i, t in enumerate(queries.examples.templates) if t == form]
        wrong = [i for i in mine if not right[i]]
        words = Counter(_text(model, queries, said, i) for i in wrong).most_common(3)
        instead = ", ".join(f"“{word}” ({count})" for word, count in words)
        template = queries.facts.templates[FORMS.index(form)]
        parts.append(
            f"{template!r} gets {len(mine) - len(wrong)} of {len(mine)}"
            + (f", and otherwise mostly {instead}" if wrong else "")
        )
    return (
        f"the base gives the right answer first for {len(said.known)} of the facts of "
        f"{queries.facts.name!r} on every form; at least {least} are needed (12 for a verdict): "
        f"{'; '.join(parts)}; give templates right behind which the answer comes, or facts it knows"
    )
