"""Facts about chemical elements, from the package periodictable."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import periodictable

from interp.facts.countries import PLACEBO, initial
from interp.facts.types import Fact, FactSet


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
