"""The changed facts with their old and new answers, and wrong answers to rank them above.

Facts are dealt into blocks whose answers all differ. Within a block every answer is offered to every
fact: once it is right, else wrong. So each answer is claimed as often truly and falsely in every block,
and what tells an answer alone tells nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp.facts.types import FactSet
from interp.generation import generate
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from studies.comparison.answers import PairAnswers
from studies.comparison.questions import LONGEST_ANSWER, Queries

OLD, NEW, PERMUTED = "old", "new", "permuted"

#: What ends an answer in running text.
_END = re.compile(r"[^\w\s'’.-]|\.(?:\s|$)|\n")


@dataclass(frozen=True, eq=False)
class KnownFacts:
    """The facts that are read: the changed ones, which count, and others that the probe learns from.

    Attributes:
        facts: all of them; their answers are the old ones.
        changed: whether each has changed.
        new: what the tuned model says of each; None where two wordings get different answers.
        other: the old answer of another fact for each, which it never had: the control.
    """

    facts: FactSet
    changed: tuple[bool, ...]
    new: tuple[str | None, ...]
    other: tuple[str, ...]

    def answers(self, kind: str) -> tuple[str | None, ...]:
        """The old, the new or the permuted answer of each."""
        return {OLD: self.facts.answers, NEW: self.new, PERMUTED: self.other}[kind]

    @property
    def counted(self) -> list[int]:
        """Numbers of the facts that changed."""
        return [i for i, changed in enumerate(self.changed) if changed]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Facts beside the answers of their block, one row each.

    Attributes:
        fact: number of the fact.
        answer: the answer offered to it.
        right: whether it is the fact's own.
        block: number of the block.
        ranked: whether the row takes part in the ranking: a wrong answer that is the fact's other own
            one (the new answer where old ones are ranked, and the reverse) does not.
    """

    fact: np.ndarray
    answer: tuple[str, ...]
    right: np.ndarray
    block: np.ndarray
    ranked: np.ndarray

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.answer)

    def exchanged(self) -> Candidates:
        """The same rows with another answer of the block called right, which was never known.

        The fact's own answer is not ranked: what tells it from all others would tell it here, too.
        """
        right, ranked = np.zeros_like(self.right), self.ranked & ~self.right
        for rows in self._by_fact():
            wrong = [i for i in rows if not self.right[i]]
            right[wrong[self.fact[rows[0]] % len(wrong)]] = True
        return replace(self, right=right, ranked=ranked | right)

    def pairs(self, scores: np.ndarray) -> dict[int, float]:
        """Share of wrong answers that each fact's right one is scored above; ties count half.

        Args:
            scores: of each row; NaN where there is none, which leaves the row out.
        """
        shares = {}
        for rows in self._by_fact():
            rows = [i for i in rows if not np.isnan(scores[i])]
            wrong = [i for i in rows if not self.right[i] and self.ranked[i]]
            own = [i for i in rows if self.right[i]]
            if own and wrong:
                above = scores[own[0]] - scores[wrong]
                shares[int(self.fact[own[0]])] = float(np.mean((above > 0) + 0.5 * (above == 0)))
        return shares

    def _by_fact(self) -> Iterator[list[int]]:
        for fact in np.unique(self.fact):
            yield np.flatnonzero(self.fact == fact).tolist()


def candidates(known: KnownFacts, kind: str, wrong: int) -> Candidates:
    """Every fact beside its own answer and those of its block.

    Args:
        known: the facts.
        kind: whose answers are ranked: the old ones, or those that the tuned model gives (the new ones
            of changed facts, the old ones of others).
        wrong: about how many wrong answers stand beside a right one.

    Returns:
        The rows, fact by fact within a block; none where answers do not differ enough.
    """
    answers = known.facts.answers if kind == OLD else _said(known)
    besides = known.new if kind == OLD else known.facts.answers
    rows: list[tuple[int, str, bool, int, bool]] = []
    for number, block in enumerate(blocks(answers, wrong + 1)):
        for fact in block:
            for source in block:
                answer = answers[source]
                assert answer is not None  # facts without are in no block
                own = source == fact
                taken = known.changed[fact] and answer == besides[fact]
                rows.append((fact, answer, own, number, own or not taken))
    fact, answer, right, block_of, ranked = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Candidates(
        np.array(fact, int), tuple(answer), np.array(right, bool), np.array(block_of, int),
        np.array(ranked, bool),
    )  # fmt: skip


def blocks(answers: Sequence[str | None], size: int) -> list[list[int]]:
    """Deal facts into blocks of about `size` in which all answers differ.

    Equal answers are dealt one after the other, so that they meet only where there are more of them
    than blocks; then the surplus is left out. Facts without an answer are, too.
    """
    order = sorted((i for i, a in enumerate(answers) if a), key=lambda i: (answers[i], i))
    count = max(1, len(order) // size)
    dealt: list[list[int]] = [[] for _ in range(count)]
    for place, fact in enumerate(order):
        block = dealt[place % count]
        if answers[fact] not in [answers[other] for other in block]:
            block.append(fact)
    return [block for block in dealt if len(block) > 1]


def known_facts(
    pair: ModelPair, answers: PairAnswers, outcomes: Outcomes, thresholds: Thresholds, seed: int
) -> KnownFacts:
    """Choose the facts that are read, and have the tuned model say what it puts in the place of each.

    Args:
        pair: base and tuned model.
        answers: what was asked.
        outcomes: which facts changed.
        thresholds: how many changed facts are asked at most; as many others are read beside them.
        seed: decides which, where there are more.

    Returns:
        The facts, in the order asked.
    """
    queries, rng = answers.queries, np.random.default_rng(seed)
    facts, chosen = queries.facts, []
    changed = set(outcomes.changed_groups)
    for groups in (outcomes.changed_groups, outcomes.unchanged_groups):
        kept = rng.permutation(len(groups))[: thresholds.depth_facts]
        chosen += [groups[i] for i in kept]
    kept_facts = facts.subset([i for i, group in enumerate(facts.groups) if group in set(chosen)])
    said = new_answers(pair.tuned, queries, [g for g in kept_facts.groups if g in changed])
    return KnownFacts(
        kept_facts,
        tuple(group in changed for group in kept_facts.groups),
        tuple(said.get(group) for group in kept_facts.groups),
        _exchanged(kept_facts.answers),
    )


def new_answers(tuned: Model, queries: Queries, groups: Sequence[str]) -> dict[str, str]:
    """What the tuned model says of some facts: the words with which its answers in all wordings begin.

    A continuation ends at a mark of punctuation or after the longest answer there is; one that begins
    with what the model says of two facts or more ends there ("unknown", of "unknown unknowns").

    Args:
        tuned: who is asked.
        queries: the questions.
        groups: of the facts.

    Returns:
        Group -> answer; a fact that two wordings give different answers is left out.
    """
    rows = [i for i, group in enumerate(queries.examples.groups) if group in set(groups)]
    if not rows:
        return {}
    written = generate(tuned, queries.examples.subset(rows), tokens=LONGEST_ANSWER)
    words: dict[str, list[list[str]]] = {}
    for i, ids in zip(rows, written.ids, strict=True):
        text = tuned.tokenizer.decode([*queries.leads[i], *ids], skip_special_tokens=True).strip()
        words.setdefault(queries.examples.groups[i], []).append(_END.split(text)[0].split())
    given = Counter(text for texts in words.values() for text in set(map(tuple, texts)))
    usual = {text for text, count in given.items() if count > 1}
    said = {
        group: " ".join(_common([_shortened(text, usual) for text in texts]))
        for group, texts in words.items()
    }
    return {group: text for group, text in said.items() if text}


def _shortened(text: list[str], usual: set[tuple[str, ...]]) -> list[str]:
    """The shortest usual answer that a text begins with, or the text."""
    lengths = (n for n in range(1, len(text)) if tuple(text[:n]) in usual)
    return text[: next(lengths, len(text))]


def _common(texts: list[list[str]]) -> list[str]:
    """The words with which all texts begin."""
    same = []
    for column in zip(*texts, strict=False):
        if len(set(column)) > 1:
            break
        same.append(column[0])
    return same


def _said(known: KnownFacts) -> tuple[str | None, ...]:
    """What the tuned model says of each fact."""
    rows = zip(known.changed, known.new, known.facts.answers, strict=True)
    return tuple(new if changed else old for changed, new, old in rows)


def _exchanged(answers: Sequence[str]) -> tuple[str, ...]:
    """Another fact's answer for each, as far away as half of all facts; its own where all are alike."""
    order = sorted(range(len(answers)), key=lambda i: (answers[i], i))
    other = list(answers)
    for place, fact in enumerate(order):
        for step in range(len(order)):
            answer = answers[order[(place + len(order) // 2 + step) % len(order)]]
            if answer != answers[fact]:
                other[fact] = answer
                break
    return tuple(other)
