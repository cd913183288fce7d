"""True and false comparisons: of numbers, of countries by population, of elements by mass.

Numbers: X once with a smaller and once with a larger Y, equally far. Countries and elements: two
entities A and B in four sentences, "A is larger than B", "A is smaller than B" and both the other way
round, so that neither the words of a sentence, nor their order without the comparing word, tell its
truth.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import periodictable

from interp.facts import geonames
from interp.facts.pairing import Row, as_statements, check_decks, checked, deck_of, negate
from interp.facts.types import Statements, capitalised, render_statement

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


@dataclass(frozen=True)
class Drawing:
    """How statements are drawn.

    Attributes:
        rng: chooses and orders what is compared.
        n: how many entities; None for all that there are.
        negated: whether "not" is inserted and labels are reversed.
        decks: into how many decks entities are dealt; None for blocks of their own.
        seed: with which an entity's deck is found.
    """

    rng: np.random.Generator
    n: int | None
    negated: bool
    decks: int | None
    seed: int

    def template(self, text: str) -> str:
        """The sentence, negated or not."""
        return negate(text) if self.negated else text

    def deck(self, entity: str) -> str:
        """The name of an entity's deck; "" without decks."""
        return "" if self.decks is None else f"deck {deck_of(entity, self.decks, self.seed):02d}"


class Comparison(ABC):
    """True and false sentences that compare two things."""

    @abstractmethod
    def statements(self, name: str, drawing: Drawing) -> Statements:
        """Draw the statements, under the name of their set."""


@dataclass(frozen=True)
class NumberComparison(Comparison):
    """Comparison of number words: the distributions of X and |X − Y| match, that of Y cannot.

    Attributes:
        word: "larger" or "smaller".
    """

    word: str

    def statements(self, name: str, drawing: Drawing) -> Statements:
        """Each X once with a smaller and once with a larger Y, equally far."""
        check_decks(drawing.decks)
        low, high = _RANGE
        cells = [
            (x, gap)
            for x in range(low, high + 1)
            for gap in range(1, _MAX_GAP + 1)
            if x - gap >= 0 and x + gap <= high
        ]
        count = checked(drawing.n, len(cells), len(cells))
        template = drawing.template(f"{{subject}} is {self.word} than {{answer}}.")
        sign = 1 if self.word == "larger" else -1
        rows: list[Row] = []
        for i in drawing.rng.permutation(len(cells))[:count]:
            x, gap = cells[i]
            subject = number_word(x)
            block = drawing.deck(subject) or subject
            for y, truth in ((x - sign * gap, True), (x + sign * gap, False)):
                text = capitalised(render_statement(template, subject, number_word(y)))
                rows.append((text, truth != drawing.negated, subject, number_word(y), block))
        return as_statements(name, rows, drawing.negated)


@dataclass(frozen=True)
class EntityComparison(Comparison):
    """Comparison of entities two by two: four sentences a pair, two about each entity.

    Attributes:
        template: the sentence, with "{word}", "{{subject}}" and "{{answer}}".
        words: what says that the first is larger, and that it is smaller.
        sizes: the size of each entity.
        shown: an entity as it stands inside a sentence.
        ratio: how many times the smaller size the larger one is at least.
    """

    template: str
    words: tuple[str, str]
    sizes: Callable[[], dict[str, float]]
    shown: Callable[[str], str]
    ratio: float

    def statements(self, name: str, drawing: Drawing) -> Statements:
        """Each pair in both orders, with both words."""
        check_decks(drawing.decks)
        size = self.sizes()
        pairs = self._pairs(size, drawing)
        count = checked(drawing.n, 2 * len(pairs), 2 * len(pairs))
        if count % 2:
            raise ValueError(
                f"n must be even, since {name} compares two by two; got {drawing.n}: add or drop one"
            )
        template = drawing.template(self.template)
        rows: list[Row] = []
        for a, b, deck in pairs[: count // 2]:
            for first, second in ((a, b), (b, a)):
                for word, larger in zip(self.words, (True, False), strict=True):
                    truth = (size[first] > size[second]) == larger
                    sentence = template.format(word=word)
                    text = render_statement(sentence, self.shown(first), self.shown(second))
                    rows.append((text, truth != drawing.negated, first, second, deck or f"{a} / {b}"))
        return as_statements(name, rows, drawing.negated)

    def _pairs(self, size: dict[str, float], drawing: Drawing) -> list[tuple[str, str, str]]:
        """Disjoint pairs far enough apart, in random order, with their deck."""
        names = sorted(size)
        waiting = [names[i] for i in drawing.rng.permutation(len(names))]
        pairs = []
        while waiting:
            a = waiting.pop()
            deck = drawing.deck(a)
            partner = next(
                (
                    b
                    for b in waiting
                    if max(size[a], size[b]) >= self.ratio * min(size[a], size[b])
                    and drawing.deck(b) == deck
                ),
                None,
            )
            if partner is not None:
                waiting.remove(partner)
                pairs.append((a, partner, deck))
        return pairs


def _populations() -> dict[str, float]:
    sizes = {name: float(record["population"]) for _, name, record in geonames.countries()}
    return {name: size for name, size in sizes.items() if size >= _SMALLEST_COUNTRY}


def _masses() -> dict[str, float]:
    return {e.name: float(e.mass) for e in periodictable.elements if e.number > 0}


COMPARISONS: dict[str, Comparison] = {
    "larger_than": NumberComparison("larger"),
    "smaller_than": NumberComparison("smaller"),
    "more_people": EntityComparison(
        "The population of {{subject}} is {word} than the population of {{answer}}.",
        ("larger", "smaller"),
        _populations,
        geonames.with_article,
        _POPULATION_RATIO,
    ),
    "heavier_atoms": EntityComparison(
        "The atom of {{subject}} is {word} than the atom of {{answer}}.",
        ("heavier", "lighter"),
        _masses,
        str,
        _MASS_RATIO,
    ),
}
