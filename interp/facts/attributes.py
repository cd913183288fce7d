"""Attributes of entities by name: what a probe may read at a name in a sentence that does not say it.

attributes = entity_attributes("country_continent")
attributes.prompts(0)[0], attributes.values[0]     # "Yesterday I read about Afghanistan", "Asia"
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version

import periodictable

from interp._doors import held
from interp.display.html import Shown
from interp.facts import geonames
from interp.facts.cities import city_country, us_cities
from interp.facts.countries import (
    continents as country_continents,
    currencies as country_currencies,
    initial,
)
from interp.facts.types import Card, FactSet, check_prompt, render

FEWEST = 10  # entities of a class; smaller classes are left out

_PLACE = ("Yesterday I read about {subject}", "They have often travelled to {subject}")

_ELEMENT = ("Yesterday I read about {subject}", "This chapter of the book is about {subject}")

_SPELLING = "endings and letters of a name follow its language, and with it its region"

_BY_COUNTRY = "follows the country: hold countries out for a stricter test"

#: An entity as it stands in a sentence, its value, and its group.
Row = tuple[str, str | float, str]


@held
@dataclass(frozen=True, repr=False)
class EntityAttributes(Shown):
    """One property of many entities: a class (text) or a quantity (a number).

    Every entity occurs once; it is read at the last token of its name.

    Attributes:
        name: what the property is called.
        subjects: the entities as they stand in a sentence.
        values: the property of each: all texts, or all numbers.
        groups: the entities by name, never split between train and test.
        templates: sentences that name the entity, "{subject}", and say nothing of the property.
        source: package, version and licence of the data.

    Raises:
        ValueError: parts of another kind or of differing length, or a template without exactly one
            "{subject}".
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
        """Number of entities."""
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
        """A number for each entity: the quantity, or the index of its class in `classes`."""
        if self.quantity:
            return tuple(float(value) for value in self.values)
        number = {value: float(i) for i, value in enumerate(self.classes)}
        return tuple(number[str(value)] for value in self.values)

    def prompts(self, form: int) -> tuple[str, ...]:
        """The entity in one of the sentences, first letter capitalised."""
        return tuple(render(self.templates[form], subject)[0] for subject in self.subjects)

    def subject_spans(self, form: int) -> tuple[tuple[int, int], ...]:
        """Half-open character span of the subject in each of `prompts(form)`."""
        return tuple(render(self.templates[form], subject)[1] for subject in self.subjects)


@dataclass(frozen=True)
class AttributeSet:
    """One shipped attribute: how its rows are made, and what else could tell its values.

    Attributes:
        rows: makes (subject, value, group) of every entity.
        templates: sentences that name the entity.
        source: package, version and licence of the data.
        confounds: what else than the attribute could tell the value.
        from_letters: whether a logistic regression on up to three letters beats chance on held-out
            entities.
    """

    rows: Callable[[], list[Row]]
    templates: tuple[str, ...]
    source: Callable[[], str]
    confounds: tuple[str, ...]
    from_letters: bool = False


def entity_attributes(name: str) -> EntityAttributes:
    """Load one of the attribute sets by name (see `attribute_sets` for their cards).

    Args:
        name: such as "country_continent", "element_period" or "country_population".

    Returns:
        The entities with their values and sentences that name them; classes of fewer than ten
        entities are left out.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> import interp
        >>> periods = interp.entity_attributes("element_period")
        >>> periods.prompts(0)[0], periods.values[0] in periods.classes, periods.quantity
        ('Yesterday I read about potassium', True, False)
    """
    if name not in _SETS:
        raise ValueError(f"attributes must be one of {', '.join(_SETS)}; got {name!r}: choose one")
    return _made(name)


@cache
def _made(name: str) -> EntityAttributes:
    """An attribute set, made once."""
    made = _SETS[name]
    rows = made.rows()
    count = Counter(value for _, value, _ in rows)
    if isinstance(rows[0][1], str):
        rows = [row for row in rows if count[row[1]] >= FEWEST]
    subjects, values, groups = zip(*rows, strict=True)
    return EntityAttributes(name, subjects, values, groups, made.templates, made.source())


@cache
def attribute_sets() -> dict[str, Card]:
    """A card for every attribute set, by the name `entity_attributes` takes.

    Returns:
        Name, kind, size, balance and confounds of each.

    Example:
        >>> import interp
        >>> interp.attribute_sets()["element_initial"].confounds
        ('a placebo: the first letter, and nothing the element is',)
    """
    return {name: _card(entity_attributes(name)) for name in _SETS}


def _card(attributes: EntityAttributes) -> Card:
    count = Counter() if attributes.quantity else Counter(str(value) for value in attributes.values)
    return Card(
        name=attributes.name,
        kind="quantity" if attributes.quantity else "class",
        example=f"{attributes.prompts(0)[0]}: {attributes.values[0]}",
        source=attributes.source,
        entities=len(set(attributes.groups)),
        items=len(attributes),
        balance={value: n / len(attributes) for value, n in sorted(count.items())},
        confounds=_SETS[attributes.name].confounds,
        from_letters=_SETS[attributes.name].from_letters,
    )


def _answers(facts: Callable[[], FactSet]) -> list[Row]:
    """The answers of a fact set as values."""
    return [(fact.subject, fact.answer, fact.group) for fact in facts().facts]


def _attribute(facts: Callable[[], FactSet], attribute: str) -> list[Row]:
    """An attribute of a fact set's subjects as values."""
    made = facts()
    values = zip(made.facts, made.attribute(attribute), strict=True)
    return [(fact.subject, value, fact.group) for fact, value in values if value is not None]


def _big_cities() -> FactSet:
    return city_country(500_000, 30)


def _languages() -> list[Row]:
    """First language of each country in GeoNames, by its ISO 639 code."""
    return [
        (geonames.with_article(name), record["languages"].split(",")[0].split("-")[0], name)
        for _, name, record in geonames.countries()
        if record["languages"].strip()
    ]


def _populations() -> list[Row]:
    """Decimal logarithm of each country's population."""
    return [
        (geonames.with_article(name), math.log10(record["population"]), name)
        for _, name, record in geonames.countries()
        if record["population"] > 0
    ]


def _elements(value: Callable[..., str | float]) -> list[Row]:
    """A property of every chemical element."""
    return [
        (element.name, value(element), element.name)
        for element in periodictable.elements
        if element.number > 0  # 0 is the neutron
    ]


def _period(element: periodictable.core.Element) -> str:
    """Row of the periodic table."""
    ends = (2, 10, 18, 36, 54, 86, 118)
    return f"period {1 + sum(element.number > end for end in ends)}"


def _number(element: periodictable.core.Element) -> float:
    return float(element.number)


def _initial(element: periodictable.core.Element) -> str:
    """A placebo: half of the alphabet, readable from the tokens and from nothing else."""
    return initial(element.name)


def _of_elements() -> str:
    return f"periodictable {version('periodictable')}"


_SETS = {
    "country_continent": AttributeSet(
        partial(_answers, country_continents), _PLACE, geonames.source,
        (_SPELLING, "islands and territories of one ocean share words"), from_letters=True,
    ),
    "country_currency": AttributeSet(
        partial(_answers, country_currencies), _PLACE, geonames.source,
        ("follows the continent: euro, franc", _SPELLING),
    ),
    "country_language": AttributeSet(
        _languages, _PLACE, geonames.source,
        ("follows the continent", _SPELLING, "first language listed by GeoNames"), from_letters=True,
    ),
    "country_population": AttributeSet(
        _populations, _PLACE, geonames.source,
        ("how often a country is written about", "words such as Islands"), from_letters=True,
    ),
    "city_country": AttributeSet(
        partial(_answers, _big_cities), _PLACE, geonames.source,
        (_SPELLING, "how often a city is written about"), from_letters=True,
    ),
    "city_continent": AttributeSet(
        partial(_attribute, _big_cities, "continent"), _PLACE, geonames.source,
        (_SPELLING, _BY_COUNTRY), from_letters=True,
    ),
    "city_hemisphere": AttributeSet(
        partial(_attribute, _big_cities, "hemisphere"), _PLACE, geonames.source,
        (_SPELLING, _BY_COUNTRY), from_letters=True,
    ),
    "us_city_state": AttributeSet(
        partial(_answers, us_cities), _PLACE, geonames.source,
        ("Spanish names in the south-west", "few classes have ten cities"),
    ),
    "element_period": AttributeSet(
        partial(_elements, _period), _ELEMENT, _of_elements,
        ("-ium and -on endings", "late elements are rare in text"),
    ),
    "element_number": AttributeSet(
        partial(_elements, _number), _ELEMENT, _of_elements,
        ("-ium endings", "late elements are rare in text"),
    ),
    "element_initial": AttributeSet(
        partial(_elements, _initial), _ELEMENT, _of_elements,
        ("a placebo: the first letter, and nothing the element is",), from_letters=True,
    ),
}  # fmt: skip
