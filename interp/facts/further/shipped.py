"""The further questions of fact sets that come with the package, none of which a verdict asks."""

from collections.abc import Callable, Mapping
from functools import cache

from interp.facts.cities import city_country
from interp.facts.countries import capitals
from interp.facts.further.questions import FurtherQuestions, TwoSteps


@cache
def of_capitals() -> FurtherQuestions:
    """Wordings of the capitals, from the capital to its country, and by another city of it."""
    taken = set(capitals().answers)
    cities: dict[str, str] = {}
    for city in city_country().facts:  # the largest first
        if city.subject not in taken:
            cities.setdefault(city.answer.removeprefix("the "), city.subject)
    return FurtherQuestions(
        wordings=(
            "{subject}'s capital is the city of",
            "{subject} is governed from its capital, the city of",
            "On every map of {subject}, the star of the capital stands beside the city of",
        ),
        reversed=(
            "{answer} is the capital of",
            "The country whose capital is the city of {answer} is",
        ),
        two_steps=(
            TwoSteps("The capital of the country in which {subject} lies is the city of", via=cities),
        ),
    )


@cache
def of_currencies() -> FurtherQuestions:
    """Wordings of the currencies, and by the capital of the country."""
    return FurtherQuestions(
        wordings=("People in {subject} pay with the", "{subject}'s currency is the"),
        two_steps=(
            TwoSteps(
                "The currency of the country whose capital is {subject} is the", via=_capital_of()
            ),
        ),
    )


@cache
def of_continents() -> FurtherQuestions:
    """Wordings of the continents, and by the capital of the country."""
    return FurtherQuestions(
        wordings=(
            "{subject}'s continent is",
            "A traveller to {subject} lands on the continent of",
        ),
        two_steps=(
            TwoSteps(
                "The country whose capital is {subject} is on the continent of", via=_capital_of()
            ),
        ),
    )


@cache
def of_element_symbols() -> FurtherQuestions:
    """Wordings of the symbols, and from the symbol to its element."""
    return FurtherQuestions(
        wordings=("Chemists write {subject} as", "{subject}'s chemical symbol is"),
        reversed=("In chemistry, {answer} is the symbol of the element",),
    )


def _capital_of() -> dict[str, str]:
    return dict(zip(capitals().groups, capitals().answers, strict=True))


#: Name of a fact set -> its further questions.
FURTHER: Mapping[str, Callable[[], FurtherQuestions]] = {
    "capitals": of_capitals,
    "currencies": of_currencies,
    "continents": of_continents,
    "element_symbols": of_element_symbols,
}
