"""One word and what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One word of the house.

    Attributes:
        word: as the verdict, a table or a text writes it.
        group: what it is a word of: the verdict, an output, a claim, measures, methods, models, data.
        meaning: one to three sentences.
        home: the module where it is computed or declared.
        formula: how it is computed, where that is a formula.
        also: other ways of writing it.
        is_not: what it does not mean, where it is often misread.
    """

    word: str
    group: str
    meaning: str
    home: str
    formula: str = ""
    also: tuple[str, ...] = ()
    is_not: str = ""
