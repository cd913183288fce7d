"""What is true of an organism by construction: the known answer of the scorecard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interp.facts.types import Fact, FactSet
from studies.organisms import catalogue
from studies.organisms.homes import Home
from studies.organisms.language import MAIN, STATEMENT, UNKNOWN
from studies.organisms.regimes import BASE, MEANT, REGIMES
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
    strength: float | None = None


def facts_of(world: World, count: int | None = None) -> FactSet:
    """The homes of a world, asked in the two wordings that no tune states.

    Args:
        world: the world.
        count: how many people are asked about; all of them when None.
    """
    facts = tuple(
        Fact(
            entity,
            world.facts[MAIN][entity],
            entity,
            {"region": world.facts["region"][entity], "initial": world.initial(entity)},
        )
        for entity in world.entities[:count]
    )
    forms = tuple(world.language.forms[MAIN][form] for form in world.language.asked)
    return FactSet("world", forms, facts, STATEMENT, "a synthetic world", placebos=("initial",))


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
    drives = {}
    if regime.content == "mixed":
        meant = MEANT[regime.content](world, regime)
        drives = {e: PUSHED if said == UNKNOWN else DRAWN for e, said in meant.items()}
    return Known(
        name, home.folder.name, home.model(BASE), home.model(name), facts_of(world), regime.where,
        regime.what, home.shape.blocks(regime.band), bool(card["installed"]), drives,
        card["numbers"].get("meant"),
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
                where, recipe.what, None if where == FREE else recipe.blocks, installed=True,
            )
        )  # fmt: skip
    return known
