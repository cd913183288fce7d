"""Further facts about countries and cities, and what every fact about a place carries."""

from functools import cache

from interp import geonames
from interp.fact_types import Fact, FactSet, shares_words

PLACEBO = "initial"
_BIG_IN_THE_STATES = 120_000
_BOROUGHS = frozenset({"Brooklyn", "Queens", "Manhattan", "The Bronx", "Bronx", "Staten Island"})


def initial(name: str) -> str:
    """Placebo attribute: which half of the alphabet the name begins in."""
    return "A-M" if name[:1].upper() < "N" else "N-Z"


def country_fact(name: str, answer: str, **attributes: str) -> Fact:
    """A fact about a country by its bare name, which is its group."""
    return Fact(geonames.with_article(name), answer, name, {**attributes, PLACEBO: initial(name)})


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


@cache
def calling_codes() -> FactSet:
    """Country or territory -> international calling code ("+33"); shared and split codes left out."""
    found = {
        name: (record["phone"], geonames.continent(record))
        for _, name, record in geonames.countries()
        if record["phone"].isdigit()
    }
    codes = [code for code, _ in found.values()]
    facts = [
        country_fact(name, f"+{code}", continent=continent)
        for name, (code, continent) in found.items()
        if codes.count(code) == 1
    ]
    return FactSet(
        "calling_codes",
        (
            "The international calling code of {subject} is",
            "To phone someone in {subject}, first dial",
            "Telephone numbers in {subject} begin with",
        ),
        tuple(facts),
        "The international calling code of {subject} is {answer}.",
        geonames.source(),
        (PLACEBO,),
    )


@cache
def domains() -> FactSet:
    """Country or territory -> internet domain (".fr"); most begin like the name, so copying helps."""
    facts = [
        country_fact(name, record["tld"].strip(), continent=geonames.continent(record))
        for _, name, record in geonames.countries()
        if record["tld"].strip()
    ]
    return FactSet(
        "domains",
        (
            "The internet domain of {subject} is",
            "Web addresses in {subject} end in",
            "On the internet, the country code of {subject} is",
        ),
        tuple(facts),
        "The internet domain of {subject} is {answer}.",
        geonames.source(),
        (PLACEBO,),
    )
