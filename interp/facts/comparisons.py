"""True and false comparisons: of numbers, of countries by population, of elements by mass.

Numbers: X once with a smaller and once with a larger Y, equally far. Countries and elements: two
entities A and B in four sentences, "A is larger than B", "A is smaller than B" and both the other way
round, so that neither the words of a sentence, nor their order without the comparing word, tell its
truth.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import periodictable

from interp.facts import geonames
from interp.facts.pairing import Row, as_statements, check_decks, checked, deck_of, negate
from interp.facts.types import Statements, capitalised, render_statement

#: (rng, n, negated, decks, seed) -> statements.
Maker = Callable[[np.random.Generator, int | None, bool, int | None, int], Statements]

_RANGE = (11, 99)  # numbers X of "X is larger than Y"

_MAX_GAP = 10

_SMALLEST_COUNTRY = 100_000

_POPULATION_RATIO, _MASS_RATIO = 3.0, 1.5

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()

_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()


def number_word(number: int) -> str:
    """English name of 0..99 ("twenty-six")."""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def _numbers(
    word: str,
    rng: np.random.Generator,
    n: int | None,
    negated: bool,
    decks: int | None,
    seed: int,
) -> Statements:
    """Number words: the distributions of X and |X − Y| match, that of Y cannot."""
    check_decks(decks)
    low, high = _RANGE
    cells = [
        (x, gap)
        for x in range(low, high + 1)
        for gap in range(1, _MAX_GAP + 1)
        if x - gap >= 0 and x + gap <= high
    ]
    count = checked(n, len(cells), len(cells))
    template = f"{{subject}} is {word} than {{answer}}."
    template = negate(template) if negated else template
    sign = 1 if word == "larger" else -1
    rows: list[Row] = []
    for i in rng.permutation(len(cells))[:count]:
        x, gap = cells[i]
        name = number_word(x)
        block = name if decks is None else f"deck {deck_of(name, decks, seed):02d}"
        for y, truth in ((x - sign * gap, True), (x + sign * gap, False)):
            text = capitalised(render_statement(template, name, number_word(y)))
            rows.append((text, truth != negated, name, number_word(y), block))
    return as_statements(f"{word}_than", rows, negated)


def _pairs(
    name: str,
    template: str,
    words: tuple[str, str],
    sizes: Callable[[], dict[str, float]],
    shown: Callable[[str], str],
    ratio: float,
    rng: np.random.Generator,
    n: int | None,
    negated: bool,
    decks: int | None,
    seed: int,
) -> Statements:
    """Entities two by two, at least `ratio` apart: four sentences a pair, two about each entity."""
    check_decks(decks)
    size = sizes()
    matched = _matched(size, ratio, rng, decks, seed)
    count = checked(n, 2 * len(matched), 2 * len(matched))
    if count % 2:
        raise ValueError(f"n must be even, since {name} compares two by two; got {n}: add or drop one")
    template = negate(template) if negated else template
    rows: list[Row] = []
    for a, b, deck in matched[: count // 2]:
        for first, second in ((a, b), (b, a)):
            for word, larger in zip(words, (True, False), strict=True):
                truth = (size[first] > size[second]) == larger
                text = render_statement(template.format(word=word), shown(first), shown(second))
                rows.append((text, truth != negated, first, second, deck or f"{a} / {b}"))
    return as_statements(name, rows, negated)


def _matched(
    size: dict[str, float], ratio: float, rng: np.random.Generator, decks: int | None, seed: int
) -> list[tuple[str, str, str]]:
    """Disjoint pairs far enough apart, in random order, with their deck."""
    names = sorted(size)
    waiting = [names[i] for i in rng.permutation(len(names))]
    out = []
    while waiting:
        a = waiting.pop()
        deck = None if decks is None else deck_of(a, decks, seed)
        fit = [
            b
            for b in waiting
            if max(size[a], size[b]) >= ratio * min(size[a], size[b])
            and (decks is None or deck_of(b, decks, seed) == deck)
        ]
        if fit:
            waiting.remove(fit[0])
            out.append((a, fit[0], "" if deck is None else f"deck {deck:02d}"))
    return out


def _populations() -> dict[str, float]:
    found = {name: float(record["population"]) for _, name, record in geonames.countries()}
    return {name: size for name, size in found.items() if size >= _SMALLEST_COUNTRY}


def _masses() -> dict[str, float]:
    return {one.name: float(one.mass) for one in periodictable.elements if one.number > 0}


COMPARISONS: dict[str, Maker] = {
    "larger_than": partial(_numbers, "larger"),
    "smaller_than": partial(_numbers, "smaller"),
    "more_people": partial(
        _pairs,
        "more_people",
        "The population of {{subject}} is {word} than the population of {{answer}}.",
        ("larger", "smaller"),
        _populations,
        geonames.with_article,
        _POPULATION_RATIO,
    ),
    "heavier_atoms": partial(
        _pairs,
        "heavier_atoms",
        "The atom of {{subject}} is {word} than the atom of {{answer}}.",
        ("heavier", "lighter"),
        _masses,
        str,
        _MASS_RATIO,
    ),
}
