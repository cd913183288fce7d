"""True and false sentences about the same entities, so that only their truth differs."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from interp.facts.types import Fact, FactSet, Statements, render_statement

#: A sentence, whether it is true, its entity, the value claimed, and its block.
Row = tuple[str, bool, str, str, str]


def exchange_blocks(values: Sequence[str], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Random pairs of places with different values (one triple where their number is odd).

    Passing the values round within each block is a derangement that leaves every block, and so
    every set of blocks, with each value as often right as wrong.

    Args:
        values: the value of each place.
        rng: draws the blocks.

    Raises:
        ValueError: one value takes up more than half of the places, so that no such pairs exist.
    """
    value, most = Counter(values).most_common(1)[0]
    half = len(values) // 2
    if most > half:
        raise ValueError(
            f"a wrong value for everyone needs no value on more than half of {len(values)} "
            f"entities; got {value!r} on {most}: add entities with other values"
        )
    kinds = sorted(set(values))
    rank = {kind: int(i) for kind, i in zip(kinds, rng.permutation(len(kinds)), strict=True)}
    shuffled: list[int] = rng.permutation(len(values)).tolist()
    order = sorted(shuffled, key=lambda i: rank[values[i]])
    left, right = order[:half], order[half : 2 * half]  # half a turn apart never meets itself
    for _ in range(5 * len(values)):
        i, j = rng.integers(half, size=2).tolist()
        if values[left[i]] != values[right[j]] and values[left[j]] != values[right[i]]:
            right[i], right[j] = right[j], right[i]
    blocks: list[tuple[int, ...]] = list(zip(left, right, strict=True))
    for last in order[2 * half :]:
        fit = [k for k, block in enumerate(blocks) if values[last] not in _values_of(values, block)]
        if not fit:
            raise ValueError(
                f"an odd number of entities needs three different values; got {len(values)} "
                f"entities of {len(rank)} values: ask for an even number"
            )
        blocks[fit[0]] = (*blocks[fit[0]], last)
    return blocks


def deck_of(entity: str, decks: int, seed: int) -> int:
    """The deck 0..decks − 1 of an entity: the same in whichever set it occurs."""
    digest = blake2b(f"{seed}:{entity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % decks


def statements_of(
    facts: FactSet,
    *,
    negated: bool = False,
    most: int | None = None,
    decks: int | None = None,
    seed: int = 0,
) -> Statements:
    """Make true and false sentences about any fact set, by its own `statement`.

    Args:
        facts: each is told once with its answer and once with another's.
        negated: insert "not" and reverse the labels.
        most: keep that many facts, drawn with the seed; None for all.
        decks: as `truth_statements` takes it.
        seed: of the drawing and the exchange.

    Returns:
        Statements in matched pairs, as those of `truth_statements`.

    Raises:
        ValueError: if one answer belongs to more than half of the facts, or decks is below 1.
    """
    rng = np.random.default_rng(seed)
    if most is not None and len(facts) > most:
        facts = facts.subset(sorted(rng.choice(len(facts), most, replace=False).tolist()))
    return from_facts(facts.name, facts, rng, negated, decks=decks, seed=seed)


def from_facts(
    name: str,
    facts: FactSet,
    rng: np.random.Generator,
    negated: bool,
    *,
    decks: int | None = None,
    seed: int = 0,
    home: Callable[[Fact], str] = lambda fact: fact.group,
) -> Statements:
    """Each fact once with its answer and once with that of another fact of its block.

    Blocks are exchanging pairs or, with `decks`, decks of the facts' homes.
    """
    template = negate(facts.statement) if negated else facts.statement
    rows: list[Row] = []
    for part, deck in _dealt(facts, rng, decks, seed, home):
        answers = [facts.facts[i].answer for i in part]
        for indices in exchange_blocks(answers, rng):
            block = [part[i] for i in indices]
            label = deck or " / ".join(facts.facts[i].group for i in block)
            for i, other in zip(block, (*block[1:], block[0]), strict=True):
                fact = facts.facts[i]
                for value, truth in ((fact.answer, True), (facts.facts[other].answer, False)):
                    text = render_statement(template, fact.subject, value)
                    rows.append((text, truth != negated, fact.group, value, label))
    return as_statements(name, rows, negated)


def as_statements(name: str, rows: Sequence[Row], negated: bool) -> Statements:
    """Rows as columns."""
    texts, labels, groups, values, blocks = zip(*rows, strict=True)
    return Statements(name, texts, labels, groups, values, blocks, negated)


def negate(statement: str) -> str:
    """Insert "not" after the first "is"."""
    return statement.replace(" is ", " is not ", 1)


def checked(n: int | None, most: int, default: int) -> int:
    """How many entities to take.

    Raises:
        ValueError: outside 2..most.
    """
    count = min(default, most) if n is None else n
    if not 2 <= count <= most:
        raise ValueError(f"n must be in 2..{most}; got {count}: ask for a number within")
    return count


def check_decks(decks: int | None) -> None:
    """Refuse a number of decks below 1.

    Raises:
        ValueError: naming the number.
    """
    if decks is not None and decks < 1:
        raise ValueError(f"decks must be 1 or more; got {decks}: 24 is a good number")


def _dealt(
    facts: FactSet,
    rng: np.random.Generator,
    decks: int | None,
    seed: int,
    home: Callable[[Fact], str],
) -> list[tuple[list[int], str]]:
    """Places of the facts that exchange among themselves, and the name of their deck."""
    check_decks(decks)
    if decks is None:
        return [(list(range(len(facts))), "")]
    hands: list[list[int]] = [[] for _ in range(decks)]
    for i, fact in enumerate(facts.facts):
        hands[deck_of(home(fact), decks, seed)].append(i)
    dealt = []
    for deck, hand in enumerate(hands):
        part = _that_exchange(hand, facts.answers, rng)
        if part:
            dealt.append((part, f"deck {deck:02d}"))
    return dealt


def _that_exchange(hand: list[int], values: Sequence[str], rng: np.random.Generator) -> list[int]:
    """The hand without the surplus of an answer on more than half of it; even in number."""
    part = list(hand)
    while part:
        value, most = Counter(values[i] for i in part).most_common(1)[0]
        surplus = 2 * most > len(part)
        if not surplus and len(part) % 2 == 0:
            break
        drop = [i for i in part if not surplus or values[i] == value]
        part.remove(drop[int(rng.integers(len(drop)))])
    return part


def _values_of(values: Sequence[str], block: Sequence[int]) -> set[str]:
    return {values[i] for i in block}
