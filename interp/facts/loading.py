"""Facts by name, from a file or from a table.

Further names are found through the entry-point group `interp.facts`: every entry point loads to a
function without arguments that returns a FactSet.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pandas as pd

from interp.facts.cities import city_country, us_cities
from interp.facts.countries import (
    calling_codes,
    capitals,
    continents,
    currencies,
    domains,
)
from interp.facts.elements import atomic_numbers, element_symbols
from interp.facts.further.shipped import FURTHER
from interp.facts.own_facts import facts_from_table
from interp.facts.tables import SUFFIXES
from interp.facts.types import FactSet

ENTRY_POINTS = "interp.facts"


def fact_names() -> list[str]:
    """List the names that `load_facts` knows: the shipped sources, then those of installed packages.

    Returns:
        Names such as "capitals" and "world".

    Example:
        >>> import interp
        >>> {"capitals", "world"} <= set(interp.fact_names())
        True
    """
    return [*SOURCES, *sorted(name for name in _registered() if name not in SOURCES)]


def load_facts(
    source: str | Path | pd.DataFrame, *, templates: Sequence[str] | str | None = None
) -> FactSet:
    """Load facts by name, from a file (.csv, .tsv, .jsonl, .parquet) or from a DataFrame.

    Files and frames have the columns subject and answer, optionally group (another name of the
    subject, by which its entity is counted; default: the subject) and untuned (1 or 0, true or false,
    yes or no: facts that are declared never tuned on, by which a comparison sees how far a change
    reaches); further columns become attributes. Templates, in which "{subject}" stands for the subject,
    are given by `templates`, by the file, or by a column template. Rows that cannot be read are left
    out and counted in `FactSet.notes`.

    Args:
        source: a name, a file or a table.
        templates: sentences that replace those of the source.

    Returns:
        The facts with the sentences that ask for them; `FactSet.notes` say what was left out.

    Raises:
        ValueError: unknown name, missing file, missing column, no templates, several answers for one
            subject, several subjects in one group, a value of untuned that is neither yes nor no, or
            more than a quarter of the rows malformed (named in one line).

    Example:
        >>> import interp, pandas as pd
        >>> rows = {"subject": ["France", "Spain"], "answer": ["Paris", "Madrid"]}
        >>> facts = interp.load_facts(pd.DataFrame(rows), templates="The capital of {subject} is")
        >>> facts.prompts(0), facts.answers
        (('The capital of France is', 'The capital of Spain is'), ('Paris', 'Madrid'))
        >>> len(interp.load_facts("world").templates) >= 2
        True
    """
    if isinstance(source, pd.DataFrame):
        return facts_from_table(source, templates)
    if not isinstance(source, (str, Path)):
        raise ValueError(
            f"facts must be a name, a path or a pandas.DataFrame; got {type(source).__name__}: "
            "pass a table as pandas.DataFrame(...)"
        )
    maker = _maker(source) if isinstance(source, str) else None
    if maker is not None:
        facts = maker()
        if templates is None:
            return facts
        chosen = (templates,) if isinstance(templates, str) else tuple(templates)
        return replace(facts, templates=chosen)
    path = Path(source)
    if isinstance(source, Path) or path.suffix.lower() in SUFFIXES or os.path.exists(path):
        return facts_from_table(path, templates)
    raise ValueError(
        f"facts must be one of {', '.join(fact_names())}, or a file ending in "
        f"{', '.join(SUFFIXES)}; got {source!r}: choose a name or give a path"
    )


def _maker(name: str) -> Callable[[], FactSet] | None:
    if name in SOURCES:
        return partial(_with_further, name)
    point = _registered().get(name)
    return None if point is None else point.load()


def _with_further(name: str) -> FactSet:
    """A shipped set with its further questions."""
    facts = SOURCES[name]()
    return replace(facts, further=FURTHER[name]()) if name in FURTHER else facts


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


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
