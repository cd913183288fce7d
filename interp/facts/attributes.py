"""Attributes of entities by name: what a probe may read at a name in a sentence that does not say it.

attributes = entity_attributes("country_continent")
attributes.prompts(0)[0], attributes.values[0]     # "Yesterday I read about Afghanistan", "Asia"
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import periodictable

from interp.facts import geonames
from interp.facts.cities import city_country, us_cities
from interp.facts.countries import (
    continents as country_continents,
    currencies as country_currencies,
    initial,
)
from interp.facts.types import Card, FactSet, check_prompt, render

FEWEST = 10  # entities of a class; smaller classes are left out

_COUNTRY = ("Yesterday I read about {subject}", "They have often travelled to {subject}")

_CITY = ("Yesterday I read about {subject}", "They have often travelled to {subject}")

_ELEMENT = ("Yesterday I read about {subject}", "This chapter of the book is about {subject}")

_SPELLING = "endings and letters of a name follow its language, and with it its region"


@dataclass(frozen=True)
class EntityAttributes:
    """One property of many entities: a class (text) or a quantity (a number).

    `templates` name the entity and say nothing of the property; read at the subject's last token.
    Every entity occurs once; `groups` are the entities.

    Raises:
        ValueError: parts of differing length, or a template without exactly one "{subject}".
    """

    name: str
    subjects: tuple[str, ...]
    values: tuple[str, ...] | tuple[float, ...]
    groups: tuple[str, ...]
    templates: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        if not len(self.subjects) == len(self.values) == len(self.groups) > 0:
            raise ValueError(
                f"{self.name} needs one value and group for each subject; got {len(self.subjects)}, "
                f"{len(self.values)} and {len(self.groups)}: give as many of each"
            )
        for template in self.templates:
            check_prompt(template)

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def quantity(self) -> bool:
        """Whether the values are numbers to regress on."""
        return not isinstance(self.values[0], str)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted; `labels` count along them. Empty for a quantity."""
        return () if self.quantity else tuple(sorted({str(value) for value in self.values}))

    @property
    def labels(self) -> tuple[float, ...]:
        """A number for each entity: the quantity, or the place of its class in `classes`."""
        if self.quantity:
            return tuple(float(value) for value in self.values)
        place = {value: float(i) for i, value in enumerate(self.classes)}
        return tuple(place[str(value)] for value in self.values)

    def prompts(self, form: int) -> tuple[str, ...]:
        """The entity in one of the sentences, first letter capitalised."""
        return tuple(render(self.templates[form], subject)[0] for subject in self.subjects)

    def subject_spans(self, form: int) -> tuple[tuple[int, int], ...]:
        """Half-open character span of the subject in each of `prompts(form)`."""
        return tuple(render(self.templates[form], subject)[1] for subject in self.subjects)


def entity_attributes(name: str) -> EntityAttributes:
    """One of the attribute sets by name (see `attribute_sets` for their cards).

    Classes of fewer than ten entities are left out.

    Raises:
        ValueError: unknown name.
    """
    if name not in _MAKERS:
        raise ValueError(f"attributes must be one of {', '.join(_MAKERS)}; got {name!r}: choose one")
    return _MAKERS[name]()


@cache
def attribute_sets() -> dict[str, Card]:
    """A card for every attribute set, by the name `entity_attributes` takes."""
    return {name: _card(entity_attributes(name)) for name in _MAKERS}


def _card(found: EntityAttributes) -> Card:
    count = Counter() if found.quantity else Counter(str(value) for value in found.values)
    return Card(
        name=found.name,
        kind="quantity" if found.quantity else "class",
        example=f"{found.prompts(0)[0]}: {found.values[0]}",
        source=found.source,
        entities=len(set(found.groups)),
        items=len(found),
        balance={value: n / len(found) for value, n in sorted(count.items())},
        confounds=_CONFOUNDS[found.name],
        from_letters=found.name in _FROM_LETTERS,
    )


def _answers(name: str, facts: FactSet, templates: tuple[str, ...]) -> EntityAttributes:
    """The answers of a fact set as classes."""
    rows = [(fact.subject, fact.answer, fact.group) for fact in facts.facts]
    return _classes(name, rows, templates, facts.source)


def _attribute(
    name: str, facts: FactSet, attribute: str, templates: tuple[str, ...]
) -> EntityAttributes:
    """An attribute of a fact set's subjects as classes."""
    values = zip(facts.facts, facts.attribute(attribute), strict=True)
    rows = [(fact.subject, value, fact.group) for fact, value in values if value is not None]
    return _classes(name, rows, templates, facts.source)


def _classes(
    name: str, rows: list[tuple[str, str, str]], templates: tuple[str, ...], source: str
) -> EntityAttributes:
    count = Counter(value for _, value, _ in rows)
    kept = [row for row in rows if count[row[1]] >= FEWEST]
    subjects, values, groups = zip(*kept, strict=True)
    return EntityAttributes(name, subjects, values, groups, templates, source)


def _quantity(
    name: str, rows: list[tuple[str, float, str]], templates: tuple[str, ...], source: str
) -> EntityAttributes:
    subjects, values, groups = zip(*rows, strict=True)
    return EntityAttributes(name, subjects, values, groups, templates, source)


@cache
def _country_continent() -> EntityAttributes:
    return _answers("country_continent", country_continents(), _COUNTRY)


@cache
def _country_currency() -> EntityAttributes:
    return _answers("country_currency", country_currencies(), _COUNTRY)


@cache
def _country_language() -> EntityAttributes:
    """First language of each country in GeoNames, by its ISO 639 code."""
    rows = [
        (geonames.with_article(name), record["languages"].split(",")[0].split("-")[0], name)
        for _, name, record in geonames.countries()
        if record["languages"].strip()
    ]
    return _classes("country_language", rows, _COUNTRY, geonames.source())


@cache
def _country_population() -> EntityAttributes:
    """Decimal logarithm of the population."""
    rows = [
        (geonames.with_article(name), math.log10(record["population"]), name)
        for _, name, record in geonames.countries()
        if record["population"] > 0
    ]
    return _quantity("country_population", rows, _COUNTRY, geonames.source())


@cache
def _city_country() -> EntityAttributes:
    return _answers("city_country", city_country(500_000, 30), _CITY)


@cache
def _city_continent() -> EntityAttributes:
    return _attribute("city_continent", city_country(500_000, 30), "continent", _CITY)


@cache
def _city_hemisphere() -> EntityAttributes:
    return _attribute("city_hemisphere", city_country(500_000, 30), "hemisphere", _CITY)


@cache
def _us_city_state() -> EntityAttributes:
    return _answers("us_city_state", us_cities(), _CITY)


@cache
def _element_period() -> EntityAttributes:
    """Row of the periodic table."""
    ends = (2, 10, 18, 36, 54, 86, 118)
    rows = [
        (one.name, f"period {1 + sum(one.number > end for end in ends)}", one.name)
        for one in periodictable.elements
        if one.number > 0
    ]
    return _classes("element_period", rows, _ELEMENT, _elements())


@cache
def _element_number() -> EntityAttributes:
    rows = [(one.name, float(one.number), one.name) for one in periodictable.elements if one.number > 0]
    return _quantity("element_number", rows, _ELEMENT, _elements())


@cache
def _element_initial() -> EntityAttributes:
    """A placebo: half of the alphabet, readable from the tokens and from nothing else."""
    rows = [(one.name, initial(one.name), one.name) for one in periodictable.elements if one.number > 0]
    return _classes("element_initial", rows, _ELEMENT, _elements())


def _elements() -> str:
    return f"periodictable {version('periodictable')}"


_MAKERS: dict[str, Callable[[], EntityAttributes]] = {
    "country_continent": _country_continent,
    "country_currency": _country_currency,
    "country_language": _country_language,
    "country_population": _country_population,
    "city_country": _city_country,
    "city_continent": _city_continent,
    "city_hemisphere": _city_hemisphere,
    "us_city_state": _us_city_state,
    "element_period": _element_period,
    "element_number": _element_number,
    "element_initial": _element_initial,
}

#: Where a logistic regression on up to three letters beats chance on held-out entities.
_FROM_LETTERS = frozenset(
    {
        "country_continent",
        "country_language",
        "country_population",
        "city_country",
        "city_continent",
        "city_hemisphere",
        "element_initial",
    }
)

_CONFOUNDS = {
    "country_continent": (_SPELLING, "islands and territories of one ocean share words"),
    "country_currency": ("follows the continent: euro, franc", _SPELLING),
    "country_language": ("follows the continent", _SPELLING, "first language listed by GeoNames"),
    "country_population": ("how often a country is written about", "words such as Islands"),
    "city_country": (_SPELLING, "how often a city is written about"),
    "city_continent": (_SPELLING, "follows the country: hold countries out for a stricter test"),
    "city_hemisphere": (_SPELLING, "follows the country: hold countries out for a stricter test"),
    "us_city_state": ("Spanish names in the south-west", "few classes have ten cities"),
    "element_period": ("-ium and -on endings", "late elements are rare in text"),
    "element_number": ("-ium endings", "late elements are rare in text"),
    "element_initial": ("a placebo: the first letter, and nothing the element is",),
}
