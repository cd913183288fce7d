"""True and false sentences about the same entities, so that only their truth differs."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from interp.fact_sources import capitals, city_country, element_symbols
from interp.fact_types import FactSet, Statements, render_statement

STATEMENT_NAMES = ("cities", "capitals", "larger_than", "element_symbols")
_RANGE = (11, 99)  # numbers X of "X is larger than Y"
_MAX_GAP = 10
_BIG_CITIES = 150  # about two million people and more; small models know few smaller ones

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def truth_statements(
    name: str, *, negated: bool = False, n: int | None = None, seed: int = 0
) -> Statements:
    """Sentences in matched pairs: each entity once with its value and once with a wrong one.

    `n` is the number of entities (default: all there are; of the cities the 150 largest, at most
    20 in a country), so there are 2n sentences, half of them true. Two entities exchange their
    values for the false sentences, so every value is claimed as often truly as falsely, and
    neither the entity nor the value alone tells the truth. Splitting by `blocks` (the entities
    that exchanged) keeps this so within every fold; splitting by entity does not, and pushes a
    probe that reads only values below chance. Exception: for "larger_than" (group = X) the
    distribution of X and of |X - Y| matches, that of Y cannot: a large Y makes the sentence false
    by its meaning. `negated` inserts "not" and turns the labels round.

    Source: 2310.06824 (cities, larger_than, negations). Does not show belief: a sentence may be
    frequent rather than believed true.

    Raises:
        ValueError: unknown name, or n outside 2..what the source holds.
    """
    if name not in STATEMENT_NAMES:
        raise ValueError(
            f"statements must be one of {', '.join(STATEMENT_NAMES)}; got {name!r}: choose one"
        )
    rng = np.random.default_rng(seed)
    if name == "larger_than":
        return _larger_than(rng, n, negated)
    if name == "cities":
        facts = city_country(1_000_000, 20)
        count = _checked(n, len(facts), _BIG_CITIES)
        facts = facts.subset(list(range(count)))  # the largest
    else:
        facts = capitals() if name == "capitals" else element_symbols()
        count = _checked(n, len(facts), len(facts))
        facts = facts.subset(sorted(rng.choice(len(facts), count, replace=False).tolist()))
    return _from_facts(name, facts, rng, negated)


def exchange_blocks(values: Sequence[str], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Random pairs of places with different values (one triple where their number is odd).

    Passing the values round within each block is a derangement that leaves every block, and so
    every set of blocks, with each value as often right as wrong.

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
    rank = {kind: int(place) for kind, place in zip(kinds, rng.permutation(len(kinds)), strict=True)}
    places: list[int] = rng.permutation(len(values)).tolist()
    order = sorted(places, key=lambda i: rank[values[i]])
    left, right = order[:half], order[half : 2 * half]  # half a turn apart never meets itself
    for _ in range(5 * len(values)):
        i, j = rng.integers(half, size=2).tolist()
        if values[left[i]] != values[right[j]] and values[left[j]] != values[right[i]]:
            right[i], right[j] = right[j], right[i]
    blocks: list[tuple[int, ...]] = list(zip(left, right, strict=True))
    for last in order[2 * half :]:
        fit = [k for k, block in enumerate(blocks) if values[last] not in _at(values, block)]
        if not fit:
            raise ValueError(
                f"an odd number of entities needs three different values; got {len(values)} "
                f"entities of {len(rank)} values: ask for an even number"
            )
        blocks[fit[0]] = (*blocks[fit[0]], last)
    return blocks


def number_word(number: int) -> str:
    """English name of 0..99 ("twenty-six")."""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def statements_of(
    facts: FactSet, *, negated: bool = False, most: int | None = None, seed: int = 0
) -> Statements:
    """True and false sentences about any fact set, by its own `statement` (see `truth_statements`).

    `most` keeps that many facts, drawn with the seed.

    Raises:
        ValueError: if one answer belongs to more than half of the facts.
    """
    rng = np.random.default_rng(seed)
    if most is not None and len(facts) > most:
        facts = facts.subset(sorted(rng.choice(len(facts), most, replace=False).tolist()))
    return _from_facts(facts.name, facts, rng, negated)


def _from_facts(name: str, facts: FactSet, rng: np.random.Generator, negated: bool) -> Statements:
    template = _negate(facts.statement) if negated else facts.statement
    rows = []
    for block in exchange_blocks(facts.answers, rng):
        label = " / ".join(facts.facts[i].group for i in block)
        for i, other in zip(block, (*block[1:], block[0]), strict=True):
            fact = facts.facts[i]
            for value, truth in ((fact.answer, True), (facts.facts[other].answer, False)):
                text = render_statement(template, fact.subject, value)
                rows.append((text, truth != negated, fact.group, value, label))
    return _statements(name, rows, negated)


def _larger_than(rng: np.random.Generator, n: int | None, negated: bool) -> Statements:
    low, high = _RANGE
    cells = [
        (x, gap)
        for x in range(low, high + 1)
        for gap in range(1, _MAX_GAP + 1)
        if x - gap >= 0 and x + gap <= high
    ]
    count = _checked(n, len(cells), len(cells))
    template = "{subject} is larger than {answer}."
    template = _negate(template) if negated else template
    rows = []
    for i in rng.permutation(len(cells))[:count]:
        x, gap = cells[i]
        for y, truth in ((x - gap, True), (x + gap, False)):
            text = render_statement(template, number_word(x), number_word(y))
            rows.append((text, truth != negated, number_word(x), number_word(y), number_word(x)))
    return _statements("larger_than", rows, negated)


def _statements(name: str, rows: list[tuple[str, bool, str, str, str]], negated: bool) -> Statements:
    return Statements(
        name,
        texts=tuple(row[0] for row in rows),
        labels=tuple(row[1] for row in rows),
        groups=tuple(row[2] for row in rows),
        values=tuple(row[3] for row in rows),
        blocks=tuple(row[4] for row in rows),
        negated=negated,
    )


def _at(values: Sequence[str], places: Sequence[int]) -> set[str]:
    return {values[i] for i in places}


def _negate(statement: str) -> str:
    return statement.replace(" is ", " is not ", 1)


def _checked(n: int | None, most: int, default: int) -> int:
    count = min(default, most) if n is None else n
    if not 2 <= count <= most:
        raise ValueError(f"n must be in 2..{most}; got {count}: ask for a number within")
    return count
