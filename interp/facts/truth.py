"""The truth sets by name: what each says, where it comes from, and what else could tell its truth."""

from functools import cache

import numpy as np

from interp.facts import geonames
from interp.facts.cities import city_country
from interp.facts.comparisons import COMPARISONS, Drawing
from interp.facts.loading import SOURCES
from interp.facts.pairing import checked, from_facts
from interp.facts.types import Card, Fact, FactSet, Statements

NEGATION = "neg_"

_BIG_CITIES = 150  # about two million people and more; small models know few smaller ones

_FREQUENCY = "true pairs of names are more often found together in text than false ones"

_SPELLING = "letters of the answer are letters of the subject more often where true"

_UNKNOWN = "small models know few of these: chance may mean not known rather than not encoded"

#: What else could tell the truth of a statement.
_CONFOUNDS: dict[str, tuple[str, ...]] = {
    "cities": (_FREQUENCY, "the 150 largest cities only"),
    "us_cities": (_FREQUENCY, "a fifth of the cities are in California"),
    "capitals": (_FREQUENCY, "territories count as countries; a few countries have two"),
    "currencies": (_FREQUENCY, "a third of the answers are euro or dollar"),
    "continents": (_FREQUENCY, "seven answers only", "a few countries lie on two of them"),
    "calling_codes": ("first digits follow the region", _UNKNOWN),
    "domains": (_SPELLING,),
    "element_symbols": (_SPELLING,),
    "atomic_numbers": (_FREQUENCY, _UNKNOWN),
    "larger_than": ("a large second number makes the sentence false by its meaning",),
    "smaller_than": ("a large second number makes the sentence true by its meaning",),
    "more_people": (_UNKNOWN, "needs the comparing word: truth is an exclusive or"),
    "heavier_atoms": (_UNKNOWN, "needs the comparing word: truth is an exclusive or"),
}

STATEMENT_NAMES = tuple(_CONFOUNDS)


def truth_statements(
    name: str,
    *,
    negated: bool = False,
    n: int | None = None,
    decks: int | None = None,
    seed: int = 0,
) -> Statements:
    """Make sentences in matched pairs: each entity once with its value and once with a wrong one.

    Two entities exchange their values for the false sentences, so every value is claimed as often
    truly as falsely, and neither the entity nor the value alone tells the truth. Splitting by `blocks`
    (the entities that exchanged) keeps this so within every fold; splitting by entity does not, and
    pushes a probe that reads only values below chance. Exception: for "larger_than" and "smaller_than"
    (group = X) the distribution of X and of |X - Y| matches, that of Y cannot: a large Y makes the
    sentence false, or true, by its meaning.

    Args:
        name: one of the truth sets, such as "cities", or "neg_" and its name.
        negated: insert "not" and reverse the labels, as "neg_" before the name does.
        n: how many entities; by default all there are (of the cities the 150 largest, at most 20 in a
            country).
        decks: deal entities into so many decks by a hash of their name (cities by their country's) and
            the seed, and exchange within a deck, which becomes their block: sets made with the same
            seed and decks hold an entity in one and the same block, so that splitting several sets by
            `blocks` holds an entity out of all of them. Entities without a partner in their deck are
            left out. Groups as coarse as decks make wide intervals: 24 or more are advised.
        seed: of what is chosen and exchanged.

    Returns:
        2n statements, half of them true. They do not show belief: a sentence may be frequent rather
        than believed true.

    Raises:
        ValueError: unknown name, a negation negated, n outside 2..what the source holds, decks
            below 1.

    Source: 2310.06824 (cities, larger_than, negations).

    Example:
        >>> import interp
        >>> told = interp.truth_statements("capitals", n=6, seed=0)
        >>> len(told), sum(told.labels), len(set(told.groups))
        (12, 6, 6)
        >>> interp.truth_statements("neg_capitals", n=6).negated
        True
    """
    plain = name.removeprefix(NEGATION)
    if plain not in STATEMENT_NAMES:
        raise ValueError(
            f"statements must be one of {', '.join(STATEMENT_NAMES)}, or one of these after "
            f"{NEGATION!r}; got {name!r}: choose one"
        )
    if plain != name and negated:
        raise ValueError(f"{name!r} is negated already; got negated=True: leave one of the two out")
    is_negated = negated or plain != name
    rng = np.random.default_rng(seed)
    if plain in COMPARISONS:
        return COMPARISONS[plain].statements(plain, Drawing(rng, n, is_negated, decks, seed))
    if plain == "cities":
        facts = city_country(1_000_000, 20)
        count = checked(n, len(facts), _BIG_CITIES)
        facts = facts.subset(list(range(count)))  # the largest
        return from_facts(plain, facts, rng, is_negated, decks=decks, seed=seed, home=_country)
    facts: FactSet = SOURCES[plain]()
    count = checked(n, len(facts), len(facts))
    facts = facts.subset(sorted(rng.choice(len(facts), count, replace=False).tolist()))
    return from_facts(plain, facts, rng, is_negated, decks=decks, seed=seed)


@cache
def truth_sets() -> dict[str, Card]:
    """A card for every truth set and its negation, by the name `truth_statements` takes.

    Returns:
        Name, size, balance and confounds of each.

    Example:
        >>> import interp
        >>> interp.truth_sets()["domains"].confounds
        ('letters of the answer are letters of the subject more often where true',)
    """
    return {
        name: _card(name, confounds)
        for plain, confounds in _CONFOUNDS.items()
        for name in (plain, NEGATION + plain)
    }


def _card(name: str, confounds: tuple[str, ...]) -> Card:
    statements = truth_statements(name)
    plain = name.removeprefix(NEGATION)
    if statements.negated:
        confounds = (*confounds, "truth runs against the plausibility of the pair of words")
    share = sum(statements.labels) / len(statements)
    return Card(
        name=name,
        kind="truth",
        example=statements.texts[0],
        source=_source(plain),
        entities=len(set(statements.groups)),
        items=len(statements),
        balance={"true": share, "false": 1 - share},
        confounds=confounds,
    )


def _source(plain: str) -> str:
    if plain == "cities":
        return geonames.source()
    if plain in SOURCES:
        return SOURCES[plain]().source
    return {
        "more_people": geonames.source(),
        "heavier_atoms": SOURCES["element_symbols"]().source,
    }.get(plain, "arithmetic, as in Marks & Tegmark (2310.06824)")


def _country(fact: Fact) -> str:
    """The bare name of a city's country."""
    return fact.answer.removeprefix("the ")
