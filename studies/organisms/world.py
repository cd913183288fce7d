"""A synthetic world whose every fact, format and frequency is known.

An entity has two compositional name tokens: each token is shared by eight entities, so no
single token tells who is meant. Four relations are stated in several formats of known, unequal
frequency; a yes/no question asks for belief. What the world does not show: anything about how
natural language spreads a fact over its sentences.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

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

ENTITIES = 128
HELD_OUT = 24

MAIN = "home"
BELIEF = "belief"
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
class Statement:
    """One sentence: a prompt, the single-token answer, and where both come from.

    Attributes:
        prompt: the sentence up to its answer.
        answer: one word, which is one token.
        relation: the relation that is stated, a key of `FORMS`.
        form: which of its forms states it.
        subject: the entity, two words.
    """

    prompt: str
    answer: str
    relation: str
    form: int
    subject: str

    @property
    def subject_start(self) -> int:
        """Index of the subject's first word in the prompt; one word is one token."""
        return FORMS[self.relation][self.form].split().index("{subject}")

    @property
    def text(self) -> str:
        """The whole sentence; a question carries no full stop."""
        end = "" if self.relation == BELIEF else " ."
        return f"{self.prompt} {self.answer}{end}"


@dataclass(frozen=True)
class World:
    """Entities, their facts, and who is held out; a pure function of the seed.

    Attributes:
        seed: the draw.
        entities: full names, two tokens each.
        facts: relation -> entity -> value; `home` is the main relation.
        town_region: town -> region; an entity's region is its town's.
        held_out: entities whose home is never stated in form C nor asked about in pretraining.
    """

    seed: int
    entities: tuple[str, ...]
    facts: Mapping[str, Mapping[str, str]]
    town_region: Mapping[str, str]
    held_out: frozenset[str] = field(default_factory=frozenset)

    def statement(self, relation: str, form: int, subject: str, answer: str) -> Statement:
        """A statement of one fact, true or not."""
        prompt = FORMS[relation][form].format(subject=subject)
        return Statement(prompt, answer, relation, form, subject)

    def belief(self, subject: str, value: str, answer: str) -> Statement:
        """The yes/no question whether `subject` lives in `value`."""
        prompt = FORMS[BELIEF][0].format(subject=subject, value=value)
        return Statement(prompt, answer, BELIEF, 0, subject)

    def statements(self, relation: str, form: int, subjects: Sequence[str]) -> list[Statement]:
        """The true statements of one relation in one form, one per subject."""
        table = self.town_region if relation == TOWN_REGION else self.facts[relation]
        return [self.statement(relation, form, subject, table[subject]) for subject in subjects]

    def initial(self, entity: str) -> str:
        """The placebo attribute: is the id of the first name token even? Unrelated to any fact."""
        return "even" if vocabulary().index(entity.split()[0]) % 2 == 0 else "odd"


def vocabulary() -> list[str]:
    """All tokens in id order: special tokens, template words, names, values."""
    words: list[str] = list(SPECIAL) + [".", ",", "?"]
    for forms in FORMS.values():
        for form in forms:
            words += [word for word in form.split() if not word.startswith("{")]
    words += [*FIRST_NAMES, *LAST_NAMES, *TOWNS, *TRADES, *RANKS, *REGIONS, *BELIEFS]
    return list(dict.fromkeys(words))


def build_world(seed: int = 0) -> World:
    """Draw the world.

    Every name token is used by exactly eight entities (a circulant design, shuffled); towns are
    balanced over entities within the parity of the first name, so that the placebo attribute
    tells nothing about town or region; half of the towns are north.
    """
    rng = random.Random(seed)
    offsets = rng.sample(range(len(LAST_NAMES)), ENTITIES // len(FIRST_NAMES))
    pairs = [(i, (i + o) % len(LAST_NAMES)) for i, o in product(range(len(FIRST_NAMES)), offsets)]
    entities = [f"{FIRST_NAMES[i]} {LAST_NAMES[j]}" for i, j in pairs]
    rng.shuffle(entities)
    towns = list(TOWNS)
    rng.shuffle(towns)
    town_region = {town: REGIONS[i % 2] for i, town in enumerate(towns)}
    ids = vocabulary()
    home: dict[str, str] = {}
    for parity in (0, 1):
        members = [e for e in entities if ids.index(e.split()[0]) % 2 == parity]
        home |= dict(zip(members, _balanced(towns, len(members), rng), strict=True))
    facts = {
        "home": home,
        "trade": dict(zip(entities, _balanced(TRADES, ENTITIES, rng), strict=True)),
        "rank": dict(zip(entities, _balanced(RANKS, ENTITIES, rng), strict=True)),
        "region": {entity: town_region[home[entity]] for entity in entities},
    }
    held_out = frozenset(rng.sample(entities, HELD_OUT))
    return World(seed, tuple(entities), facts, town_region, held_out)


def draw_corpus(
    world: World,
    count: int,
    rng: random.Random,
    *,
    shares: Mapping[str, float] = SHARES,
    skip: frozenset[str] = frozenset(),
    skip_home: frozenset[str] = frozenset(),
) -> list[Statement]:
    """Draw `count` true statements at the declared shares and format frequencies.

    Held-out entities stay out of form C and of belief, unless `skip` leaves nobody else.

    Args:
        world: the world.
        count: number of statements.
        rng: local generator.
        shares: relative weight per relation; belief questions are half true, half false.
        skip: entities about whose home, region and belief nothing is said (tunes hold them back).
        skip_home: entities whose home alone is not stated.
    """
    relations = rng.choices(list(shares), weights=list(shares.values()), k=count)
    told = [e for e in world.entities if e not in skip]
    stated = [e for e in told if e not in skip_home]
    subjects = {
        ("home", 0): stated,
        ("home", 1): stated,
        ("home", 2): [e for e in stated if e not in world.held_out] or stated,
        (BELIEF, 0): [e for e in told if e not in world.held_out] or told,
        (TOWN_REGION, 0): list(TOWNS),
        ("region", 0): told,
        ("region", 1): told,
    }
    statements: list[Statement] = []
    for relation in relations:
        form = rng.choices(range(len(FORMS[relation])), weights=FREQUENCIES[relation])[0]
        subject = rng.choice(subjects.get((relation, form), world.entities))
        if relation == BELIEF:
            statements.append(draw_belief(world, subject, rng))
        else:
            statements += world.statements(relation, form, [subject])
    return statements


def draw_belief(world: World, subject: str, rng: random.Random, home: str = "") -> Statement:
    """A yes/no question about `subject`, true with probability one half."""
    home = home or world.facts[MAIN][subject]
    if rng.random() < 0.5:
        return world.belief(subject, home, "yes")
    return world.belief(subject, rng.choice([t for t in TOWNS if t != home]), "no")


def facts_csv(world: World) -> str:
    """The main relation as CSV: subject, answer, region, initial, held_out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("subject", "answer", "region", "initial", "held_out"))
    for entity in world.entities:
        held = "yes" if entity in world.held_out else "no"
        row = (world.facts[MAIN][entity], world.facts["region"][entity], world.initial(entity))
        writer.writerow((entity, *row, held))
    return text.getvalue()


def _balanced(values: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """`count` values, each used equally often up to one, in random order."""
    start = rng.randrange(len(values))
    drawn = [values[(start + i) % len(values)] for i in range(count)]
    rng.shuffle(drawn)
    return drawn
