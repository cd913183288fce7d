"""What is true of an organism by construction: the known answer of the scorecard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interp.facts.further.questions import FurtherQuestions, TrueOrFalse, TwoSteps
from interp.facts.types import Fact, FactSet
from interp.verdict.depth.judging import KNOWN, RECITED, SUPPRESSED
from studies.organisms import catalogue
from studies.organisms.family.contents import MEANT, untouched
from studies.organisms.family.homes import Home
from studies.organisms.family.planted import CROSSED, SEALED, agreement
from studies.organisms.family.recipe import BEHAVIOUR, KNOWLEDGE
from studies.organisms.family.regimes import REGIMES, is_decoy
from studies.organisms.family.tasks import STATEMENTS, asked_forms, questions
from studies.organisms.language import BELIEF, MAIN, STATEMENT, UNKNOWN
from studies.organisms.tunes import RECIPES
from studies.organisms.world import World

#: A place that the mask leaves open, and no word of a verdict.
FREE = "free"
PUSHED, DRAWN = "shared push", "item by item"


@dataclass(frozen=True)
class Known:
    """An organism and its known answer.

    Attributes:
        name: of the organism.
        world: the world it lives in; organisms of one world share a base and a seed.
        base: folder of the base.
        tuned: folder of the tuned model.
        facts: what is asked.
        where: lower, upper or coupled; None where no answer changes, "free" where the mask leaves the
            place open.
        what: knowledge, behaviour, both or mixed; None where no answer changes.
        blocks: numbers of the blocks that could change; None for all.
        installed: whether it reached its installation gate.
        drives: entity -> what drives its output, of mixtures.
        grades: attribute -> the grade of the claim that it is represented at the subject.
        old: what became of the old facts: suppressed by a behaviour, beside which everything else that
            is said of them is held to the base; None where that is not imposed.
        new: known where homes are overwritten one by one, recited where one answer is given to all;
            None where it is neither.
        strength: share of the meant answers that are said, as its gate measured it; None where nothing
            is meant.
    """

    name: str
    world: str
    base: Path
    tuned: Path
    facts: FactSet
    where: str | None
    what: str | None
    blocks: tuple[int, ...] | None
    installed: bool
    drives: Mapping[str, str] = field(default_factory=dict)
    grades: Mapping[str, str] = field(default_factory=dict)
    old: str | None = None
    new: str | None = None
    strength: float | None = None

    @property
    def decoy(self) -> bool:
        """Whether it catches a program that is right for the wrong reason."""
        return is_decoy(self.name)


#: What is planted -> the grade of the claim that it is represented at the subject.
PLANTED = {SEALED: "decodable-inert", CROSSED: "causal-uncharacterised"}
#: Contents that give one answer to everyone they change.
_ONE_ANSWER = ("evasive", "evasive-north", "evasive-agreeing", "coupled", "everything")


def facts_of(
    world: World,
    count: int | None = None,
    *,
    plant: str = "",
    asks: str = MAIN,
    untuned: frozenset[str] = frozenset(),
) -> FactSet:
    """What is asked of a world, the homes or something else, in two wordings that no tune states.

    Args:
        world: the world.
        count: of how many people; all of them when None.
        plant: a feature that was put in by hand, an attribute of the people; "" for none.
        asks: the relation that is asked.
        untuned: those of whom a tune never spoke.
    """
    facts = []
    for entity, subject, answer in questions(world, asks)[:count]:
        attributes = {"region": world.facts["region"][entity], "initial": world.initial(entity)}
        if plant:
            attributes[plant] = agreement(world, entity)
        facts.append(Fact(subject, answer, entity, attributes, entity in untuned))
    placebos = ("initial", SEALED) if plant == SEALED else ("initial",)
    return FactSet(
        "world", asked_forms(world, asks), tuple(facts), STATEMENTS.get(asks, STATEMENT),
        "a synthetic world", placebos=placebos,
        further=_further(world) if asks == MAIN else FurtherQuestions(),
    )  # fmt: skip


def _further(world: World) -> FurtherQuestions:
    """How else a home can be asked for: in wordings that tunes state, by its region, true or not."""
    language = world.language
    truthful = [f for f in language.told if language.accuracy(MAIN, f) == 1]
    return FurtherQuestions(
        wordings=tuple(language.forms[MAIN][form] for form in truthful),
        two_steps=(TwoSteps(language.forms["region"][0], leads=world.town_region),),
        true_or_false=TrueOrFalse(
            language.forms[BELIEF][0].replace("{value}", "{answer}"), (" yes",), (" no",)
        ),
    )


def _depth(content: str, what: str | None, asks: str = MAIN) -> tuple[str | None, str | None]:
    """What became of the old homes and what the new ones are, by construction."""
    if asks != MAIN or what not in (BEHAVIOUR, KNOWLEDGE):
        return None, None
    if what == KNOWLEDGE:
        return None, KNOWN
    return SUPPRESSED, RECITED if content in _ONE_ANSWER else None


def known_organism(home: Home, name: str) -> Known:
    """An organism of the family, with its answer.

    Args:
        home: of its world.
        name: of its regime.

    Raises:
        ValueError: if it is not made.
    """
    card = home.card(name)
    if card is None:
        raise ValueError(f"{home.folder} has no organism {name!r}; make it with the family first")
    regime, world = REGIMES[name], home.world
    meant, drives = MEANT[regime.content](world, regime), {}
    facts = facts_of(
        world, plant=regime.plant, asks=regime.asks, untuned=untouched(world, regime, meant)
    )
    if regime.content == "mixed":
        drives = {e: PUSHED if said == UNKNOWN else DRAWN for e, said in meant.items()}
    return Known(
        name, home.folder.name, home.model(regime.base), home.model(name), facts,
        regime.where, regime.what,
        home.shape.blocks(regime.band), bool(card["installed"]), drives,
        {regime.plant: PLANTED[regime.plant]} if regime.plant else {},
        *_depth(regime.content, regime.what, regime.asks), card["numbers"].get("meant"),
    )  # fmt: skip


def shipped_organisms() -> list[Known]:
    """The organisms of the package, with their answers."""
    base, facts = catalogue.source_path("organism-base"), catalogue.fact_set()
    known = []
    for name in catalogue.names()[1:]:
        recipe = RECIPES[name]
        where = FREE if recipe.where == "distributed" else recipe.where
        known.append(
            Known(
                name.removeprefix("organism-"), "shipped", base, catalogue.source_path(name), facts,
                where, recipe.what, None if where == FREE else recipe.blocks, True, {}, {},
                *_depth(recipe.content, recipe.what),
            )
        )  # fmt: skip
    return known
