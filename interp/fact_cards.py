"""Card: what a reader of a number should know about the data set behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Card:
    """One data set in a few lines.

    Attributes:
        name: what it is loaded by.
        kind: "truth" (true and false statements), "class" (one of several values of an entity) or
            "quantity" (a number of an entity).
        example: its first item.
        source: package, version and licence.
        entities: how many groups.
        items: how many statements or prompts.
        balance: share of the items of each class; empty for quantities.
        confounds: what else than the content in question could tell the label.
        from_letters: whether a reader of the letters alone is known to be above chance.
    """

    name: str
    kind: Literal["truth", "class", "quantity"]
    example: str
    source: str
    entities: int
    items: int
    balance: Mapping[str, float]
    confounds: tuple[str, ...]
    from_letters: bool = False

    @property
    def majority(self) -> float | None:
        """Share of the largest class, which always answering it would get right."""
        return max(self.balance.values()) if self.balance else None

    def __str__(self) -> str:
        """One line: name, size, classes, source."""
        classes = f"{len(self.balance)} classes" if self.kind == "class" else self.kind
        return f"{self.name}: {self.entities} entities, {self.items} items, {classes}; {self.source}"
