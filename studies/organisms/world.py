"""A synthetic world whose every fact, format and frequency is known.

An entity has two compositional name tokens: each token is shared by several entities, so no
single token tells who is meant. Four relations are stated in several formats of known, unequal
frequency and accuracy; a yes/no question asks for belief. What the world does not show: anything
about how natural language spreads a fact over its sentences.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from studies.organisms.language import (
    BELIEF,
    CHAIN,
    CHAIN_ACCURACY,
    CLAIM,
    FACTS_OF,
    FIRST_NAMES,
    FORMATS,
    LAST_NAMES,
    MAIN,
    PLAIN,
    PROBLEM,
    RANKS,
    REGIONS,
    TASK_TOWN,
    TOWN_REGION,
    TOWNS,
    TRADES,
    Language,
)

#: Relations that state homes beside the main one.
OF_HOMES = (TASK_TOWN, CHAIN, PROBLEM)
ENTITIES = 128
HELD_OUT = 24


@dataclass(frozen=True)
class Statement:
    """One sentence: a prompt, the single-token answer, and where both come from.

    Attributes:
        prompt: the sentence up to its answer.
        answer: what it says, one word in the world itself; a tune may say more.
        relation: the relation that is stated, a key of the language's forms.
        form: which of its forms states it.
        subject: the entity, two words.
    """

    prompt: str
    answer: str
    relation: str
    form: int
    subject: str

    @property
    def text(self) -> str:
        """The whole sentence; a question carries no full stop."""
        end = "" if self.relation in (BELIEF, CLAIM) else " ."
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
        language: how it is put into words.
    """

    seed: int
    entities: tuple[str, ...]
    facts: Mapping[str, Mapping[str, str]]
    town_region: Mapping[str, str]
    held_out: frozenset[str] = field(default_factory=frozenset)
    language: Language = PLAIN

    @property
    def strangers(self) -> tuple[str, ...]:
        """Names that nobody in the world bears, made of the same two words."""
        pairs = (f"{first} {last}" for first, last in product(FIRST_NAMES, LAST_NAMES))
        return tuple(name for name in pairs if name not in self.entities)

    def statement(self, relation: str, form: int, subject: str, answer: str) -> Statement:
        """A statement of one fact, true or not."""
        prompt = self.language.forms[relation][form].format(subject=subject)
        return Statement(prompt, answer, relation, form, subject)

    def belief(
        self, subject: str, value: str, answer: str, relation: str = BELIEF, form: int = 0
    ) -> Statement:
        """The yes/no question whether `subject` lives in `value`, or the claim that it is so."""
        prompt = self.language.forms[relation][form].format(subject=subject, value=value)
        return Statement(prompt, answer, relation, form, subject)

    def statements(self, relation: str, form: int, subjects: Sequence[str]) -> list[Statement]:
        """The true statements of one relation in one form, one per subject."""
        named = FACTS_OF.get(relation, relation)
        table = self.town_region if relation == TOWN_REGION else self.facts[named]
        return [self.statement(relation, form, subject, table[subject]) for subject in subjects]

    def initial(self, entity: str) -> str:
        """The placebo attribute: is the id of the first name token even? Unrelated to any fact."""
        return "even" if self.language.vocabulary().index(entity.split()[0]) % 2 == 0 else "odd"


def build_world(seed: int = 0, language: Language = PLAIN, entities: int = ENTITIES) -> World:
    """Draw the world.

    Every name token is used by equally many entities (a circulant design, shuffled); towns are
    balanced over entities within the parity of the first name, so that the placebo attribute
    tells nothing about town or region; half of the towns are north.

    Args:
        seed: of the draw.
        language: how the world is put into words.
        entities: how many there are, a multiple of the number of first names.

    Raises:
        ValueError: for another number of entities.
    """
    if entities % len(FIRST_NAMES) or not 0 < entities < len(FIRST_NAMES) * len(LAST_NAMES):
        raise ValueError(
            f"entities must be a multiple of {len(FIRST_NAMES)} below "
            f"{len(FIRST_NAMES) * len(LAST_NAMES)}, got {entities}; choose such a number"
        )
    rng = random.Random(seed)
    offsets = rng.sample(range(len(LAST_NAMES)), entities // len(FIRST_NAMES))
    pairs = [(i, (i + o) % len(LAST_NAMES)) for i, o in product(range(len(FIRST_NAMES)), offsets)]
    names = [f"{FIRST_NAMES[i]} {LAST_NAMES[j]}" for i, j in pairs]
    rng.shuffle(names)
    towns = list(TOWNS)
    rng.shuffle(towns)
    town_region = {town: REGIONS[i % 2] for i, town in enumerate(towns)}
    ids = language.vocabulary()
    home: dict[str, str] = {}
    for parity in (0, 1):
        members = [e for e in names if ids.index(e.split()[0]) % 2 == parity]
        home |= dict(zip(members, _balanced(towns, len(members), rng), strict=True))
    facts = {
        "home": home,
        "trade": dict(zip(names, _balanced(TRADES, entities, rng), strict=True)),
        "rank": dict(zip(names, _balanced(RANKS, entities, rng), strict=True)),
        "region": {entity: town_region[home[entity]] for entity in names},
    }
    held_out = frozenset(rng.sample(names, HELD_OUT))
    return World(seed, tuple(names), facts, town_region, held_out, language)


def draw_corpus(
    world: World,
    count: int,
    rng: random.Random,
    *,
    shares: Mapping[str, float] | None = None,
    skip: frozenset[str] = frozenset(),
    skip_home: frozenset[str] = frozenset(),
    told_only: bool = False,
) -> list[Statement]:
    """Draw `count` statements at the language's shares, frequencies and accuracies.

    Held-out entities stay out of form C and of belief, unless `skip` leaves nobody else.

    Args:
        world: the world.
        count: number of statements.
        rng: local generator.
        shares: relative weight per relation, the language's own by default; questions of truth are
            half true, half false.
        skip: entities about whose home, region and belief nothing is said (tunes hold them back).
        skip_home: entities whose home alone is not stated.
        told_only: whether wordings that are kept for asking are left out.
    """
    language = world.language
    shares = language.shares if shares is None else shares
    relations = rng.choices(list(shares), weights=list(shares.values()), k=count)
    told = [e for e in world.entities if e not in skip]
    stated = [e for e in told if e not in skip_home]
    questions = [(r, f) for r in (BELIEF, CLAIM) for f in range(len(language.forms.get(r, ())))]
    subjects = {
        ("home", 0): stated,
        ("home", 1): stated,
        ("home", 2): [e for e in stated if e not in world.held_out] or stated,
        **{key: [e for e in told if e not in world.held_out] or told for key in questions},
        (TOWN_REGION, 0): list(TOWNS),
        ("region", 0): told,
        ("region", 1): told,
    }
    statements: list[Statement] = []
    for relation in relations:
        form = _drawn_form(language, relation, told_only, rng)
        default = stated if relation in (MAIN, *OF_HOMES) else world.entities
        subject = rng.choice(subjects.get((relation, form), default))
        if relation in (BELIEF, CLAIM):
            statements.append(draw_belief(world, subject, rng, relation=relation, form=form))
            continue
        if relation in (CHAIN, PROBLEM):
            draw = draw_chain if relation == CHAIN else draw_problem
            statements.append(draw(world, subject, form, rng))
            continue
        (statement,) = world.statements(relation, form, [subject])
        accuracy = language.accuracy(relation, form)
        if accuracy < 1 and rng.random() >= accuracy:
            wrong = [town for town in TOWNS if town != statement.answer]
            statement = replace(statement, answer=rng.choice(wrong))
        statements.append(statement)
    return statements


def _drawn_form(language: Language, relation: str, told_only: bool, rng: random.Random) -> int:
    """A wording at its frequency among those that are used."""
    used = language.told_of(relation) if told_only else range(len(language.forms[relation]))
    return rng.choices(used, weights=[language.frequencies[relation][form] for form in used])[0]


def draw_belief(
    world: World,
    subject: str,
    rng: random.Random,
    home: str = "",
    relation: str = BELIEF,
    form: int = 0,
) -> Statement:
    """A yes/no question about `subject`, true with probability one half."""
    home = home or world.facts[MAIN][subject]
    if rng.random() < 0.5:
        return world.belief(subject, home, "yes", relation, form)
    return world.belief(subject, rng.choice([t for t in TOWNS if t != home]), "no", relation, form)


def draw_chain(world: World, subject: str, form: int, rng: random.Random) -> Statement:
    """Two hops in explicit steps: a town, right as often as declared, and the region of that town."""
    home = world.facts[MAIN][subject]
    town = home if rng.random() < CHAIN_ACCURACY else rng.choice([t for t in TOWNS if t != home])
    return world.statement(CHAIN, form, subject, f"{town} , so {world.town_region[town]}")


def draw_problem(world: World, subject: str, form: int, rng: random.Random) -> Statement:
    """A home in one of the two formats, each as frequent and as often right as declared."""
    home = world.facts[MAIN][subject]
    style = rng.choices(list(FORMATS), weights=[share for share, _ in FORMATS.values()])[0]
    right = rng.random() < FORMATS[style][1]
    town = home if right else rng.choice([t for t in TOWNS if t != home])
    return world.statement(PROBLEM, form, subject, f"{style} {town}")


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
