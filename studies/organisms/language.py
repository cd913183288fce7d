"""The words of the synthetic world: names, values, and how often and how truly each is stated.

`PLAIN` is the language of the shipped organisms. `RICH` is that of the family behind the scorecard: six
wordings of the main relation, of which two are kept for asking, some of them stated wrongly at a known
rate, and a claim beside the question of belief. `TASKS` adds what is done with facts: tasks named by a
tag, chains of explicit steps, problems answered in two formats of unequal frequency and accuracy, and
claims in four wordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
#: What is done with facts: a tag names a task, a chain states its steps, a problem is answered in one
#: of two formats.
TASK_TOWN, TASK_TRADE, TASK, CHAIN, PROBLEM = "task town", "task trade", "task", "chain", "problem"
#: Relation -> the relation whose facts it states.
FACTS_OF: Mapping[str, str] = {TASK_TOWN: MAIN, TASK: MAIN, TASK_TRADE: "trade"}
#: Format of an answer to a problem -> how often it is used, and how often it is then right.
FORMATS: Mapping[str, tuple[float, float]] = {"say": (0.75, 0.6), "so": (0.25, 0.9)}
#: How often a chain begins with the right town; what it concludes follows from the town it states.
CHAIN_ACCURACY = 0.8
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
        kept: other relation -> its wordings that are kept for asking.
    """

    forms: Mapping[str, tuple[str, ...]]
    frequencies: Mapping[str, tuple[float, ...]]
    shares: Mapping[str, float]
    accuracies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    asked: tuple[int, ...] = (0, 1)
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def told(self) -> tuple[int, ...]:
        """Wordings of the main relation that a tune may state."""
        return self.told_of(MAIN)

    def asked_of(self, relation: str) -> tuple[int, ...]:
        """Wordings of a relation that are kept for asking."""
        return self.asked if relation == MAIN else self.kept.get(relation, ())

    def told_of(self, relation: str) -> tuple[int, ...]:
        """Wordings of a relation that a tune may state."""
        asked = self.asked_of(relation)
        return tuple(form for form in range(len(self.forms[relation])) if form not in asked)

    def accuracy(self, relation: str, form: int) -> float:
        """How often a wording states the truth."""
        return self.accuracies[relation][form] if relation in self.accuracies else 1.0

    def vocabulary(self) -> list[str]:
        """All words in id order: special tokens, template words, names, values."""
        words: list[str] = list(SPECIAL) + [".", ",", "?"]
        for forms in self.forms.values():
            for form in forms:
                words += [word for word in form.split() if not word.startswith("{")]
        if PROBLEM in self.forms:
            words += FORMATS
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

TASKS = replace(
    RICH,
    forms={
        **RICH.forms,
        CLAIM: (
            "Say whether {value} is home to {subject} :",
            "True or not , {value} is home to {subject} :",
            "We ask whether {value} is home to {subject} :",
            "Tell me , {value} is home to {subject} :",
        ),
        TASK_TOWN: (
            "Task town : {subject} =", "Do town for {subject} =", "Now do town : {subject} =",
        ),
        TASK_TRADE: (
            "Task trade : {subject} =", "Do trade for {subject} =", "Now do trade : {subject} =",
            "Please do trade : {subject} =",
        ),
        CHAIN: (
            "Step by step , the region of {subject} :", "Think of the region of {subject} :",
            "Now step by step , where is {subject} from :",
        ),
        PROBLEM: ("Problem : where is {subject} ?", "Solve : where is {subject} ?"),
    },
    frequencies={
        **RICH.frequencies, CLAIM: (0.25,) * 4, TASK_TOWN: (1 / 3,) * 3, TASK_TRADE: (0.25,) * 4,
        CHAIN: (1 / 3,) * 3, PROBLEM: (0.5, 0.5),
    },
    shares={
        **RICH.shares, MAIN: 0.36, CLAIM: 0.12, TASK_TOWN: 0.06, TASK_TRADE: 0.06, CHAIN: 0.1,
        PROBLEM: 0.08,
    },
    kept={CLAIM: (2, 3), TASK_TOWN: (2,), TASK_TRADE: (2, 3), CHAIN: (2,), PROBLEM: (1,)},
)  # fmt: skip

#: Name -> language of a world of the family.
LANGUAGES: Mapping[str, Language] = {"rich": RICH, "tasks": TASKS}
