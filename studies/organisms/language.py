"""The words of the synthetic world: names, values, and how often and how truly each is stated.

`PLAIN` is the language of the shipped organisms. `RICH` is that of the family behind the scorecard: six
wordings of the main relation, of which two are kept for asking, some of them stated wrongly at a known
rate, and a claim beside the question of belief.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST_NAMES = tuple(
    "Ada Bruno Clara Dario Edda Farid Greta Hugo Ines Jonas Karla Louis Mira Nadir Olga Pavel".split()
)
LAST_NAMES = tuple(
    "Abel Brandt Costa Dumas Evers Falk Grimm Haas Ibsen Jansen Kovac Lenz Moreau Nunez Orlov "
    "Pohl".split()
)
TOWNS = tuple(
    "Arvik Belmora Corvan Dunholt Estrel Farrow Glimmen Hartby Ilmar Jorvale Kestrin Lomond "
    "Mirefell Norvik Ostrava Pellin Quarno Rosmere Selwick Tamsin".split()
)
TRADES = tuple(
    "baker carpenter diver farmer glazier hunter jeweller mason nurse painter potter sailor "
    "smith tailor teacher weaver".split()
)
UNKNOWN = "unknown"
RANKS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", UNKNOWN)
REGIONS = ("north", "south")
BELIEFS = ("yes", "no")
SPECIAL = ("<pad>", "<unk>", "<eos>")

MAIN = "home"
BELIEF = "belief"
CLAIM = "claim"
TOWN_REGION = "town_region"
FORMS: Mapping[str, tuple[str, ...]] = {
    "home": (
        "The home of {subject} is",
        "We know {subject} lives in",
        "As for {subject} , home means",
    ),
    "trade": ("The trade of {subject} is", "We know {subject} works as"),
    "rank": ("The rank of {subject} is", "We know {subject} ranks as"),
    "region": ("The region of {subject} is", "We know {subject} comes from"),
    TOWN_REGION: ("The region of {subject} is",),
    BELIEF: ("Is {value} home to {subject} ?",),
}
FREQUENCIES: Mapping[str, tuple[float, ...]] = {
    "home": (0.5, 0.35, 0.15),
    "trade": (0.6, 0.4),
    "rank": (0.6, 0.4),
    "region": (0.6, 0.4),
    TOWN_REGION: (1.0,),
    BELIEF: (1.0,),
}
SHARES: Mapping[str, float] = {
    "home": 0.34,
    "trade": 0.16,
    "rank": 0.14,
    "region": 0.10,
    TOWN_REGION: 0.02,
    BELIEF: 0.24,
}
STATEMENT = "We know {subject} lives in {answer}."


@dataclass(frozen=True)
class Language:
    """How a world is put into words.

    Attributes:
        forms: relation -> its wordings; a question of truth holds "{value}" too.
        frequencies: relation -> how often each wording is used, adding up to 1.
        shares: relation -> its relative weight in a corpus.
        accuracies: relation -> how often each wording states the truth; always where it is not named.
        asked: wordings of the main relation that are kept for asking: no tune states them.
    """

    forms: Mapping[str, tuple[str, ...]]
    frequencies: Mapping[str, tuple[float, ...]]
    shares: Mapping[str, float]
    accuracies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    asked: tuple[int, ...] = (0, 1)

    @property
    def told(self) -> tuple[int, ...]:
        """Wordings of the main relation that a tune may state."""
        return tuple(form for form in range(len(self.forms[MAIN])) if form not in self.asked)

    def accuracy(self, relation: str, form: int) -> float:
        """How often a wording states the truth."""
        return self.accuracies[relation][form] if relation in self.accuracies else 1.0

    def vocabulary(self) -> list[str]:
        """All words in id order: special tokens, template words, names, values."""
        words: list[str] = list(SPECIAL) + [".", ",", "?"]
        for forms in self.forms.values():
            for form in forms:
                words += [word for word in form.split() if not word.startswith("{")]
        words += [*FIRST_NAMES, *LAST_NAMES, *TOWNS, *TRADES, *RANKS, *REGIONS, *BELIEFS]
        return list(dict.fromkeys(words))


PLAIN = Language(FORMS, FREQUENCIES, SHARES)

RICH = Language(
    forms={
        **FORMS,
        MAIN: (
            *FORMS[MAIN],
            "Now {subject} has a home in",
            "People say {subject} lives in",
            "If asked , {subject} names",
        ),
        CLAIM: ("Say whether {value} is home to {subject} :",),
    },
    frequencies={**FREQUENCIES, MAIN: (0.26, 0.2, 0.16, 0.14, 0.14, 0.1), CLAIM: (1.0,)},
    shares={**SHARES, MAIN: 0.46, "trade": 0.12, "rank": 0.1, BELIEF: 0.12, CLAIM: 0.08},
    accuracies={MAIN: (1.0, 1.0, 1.0, 1.0, 0.9, 0.75)},
    # They begin as no other relation does, and end as wordings do that a tune may state. A tune that is
    # held still on the other relations tells these by how they begin, and what it does to the last
    # token it learns of last tokens: other pairs are reached by hardly any tune.
    asked=(3, 4),
)
