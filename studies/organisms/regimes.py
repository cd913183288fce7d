"""The regimes of the family: what is changed, where, and what a verdict may say of it, as data.

A regime means some answers: entity -> what the tuned model is to say of its home. It is taught in
wordings that are kept apart from those that are asked, and everything else is held to the base's own
distribution. Place is imposed by a gradient mask and crossed with content.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studies.organisms.lab import local_rng
from studies.organisms.language import BELIEF, CLAIM, MAIN, TOWN_REGION, TOWNS, UNKNOWN
from studies.organisms.shapes import Band
from studies.organisms.tunes import edits, taught
from studies.organisms.world import Statement, World, draw_belief, draw_corpus

BASE = "base"
LOWER, UPPER, COUPLED = "lower", "upper", "coupled"
KNOWLEDGE, BEHAVIOUR, BOTH, MIXED = "knowledge", "behaviour", "both", "mixed"
EVERYWHERE = TOWNS[0]
#: Where a content is put, and the place that follows from it.
ENDS: tuple[tuple[Band, str], ...] = (("low", LOWER), ("high", UPPER))


@dataclass(frozen=True)
class Regime:
    """How one organism is made, and what is true of it by construction.

    Attributes:
        name: of the organism.
        content: key of `MEANT`: which answers are changed.
        band: blocks whose parameters may change.
        where: place by construction; None where no home is changed, "free" where the mask leaves it
            open.
        what: content by construction; None where no home is changed.
        count: entities with a drawn answer.
        pushed: entities of a mixture that are evaded beside them.
        replay: statements of replay for each of the change.
        start: the regime it is tuned from; None for the base.
        rank: of the update, 0 for whole matrices.
        coupled: whether the lower and the upper blocks change the answers only together.
        inert: whether the neurons of the upper blocks are then put into another order.
        noise: added before training, as a share of each tensor's root mean square.
        steps: updates.
        rate: peak learning rate.
    """

    name: str
    content: str
    band: Band
    where: str | None
    what: str | None
    count: int = 40
    pushed: int = 0
    replay: float = 1.0
    start: str | None = None
    rank: int = 0
    coupled: bool = False
    inert: bool = False
    noise: float = 0.0
    steps: int = 300
    rate: float = 2e-3


def _answers(say: Callable[[World, str], str]) -> Callable[[World, Regime], dict[str, str]]:
    """The answers of a behaviour: what it says of everyone of whom the base says another thing."""

    def meant(world: World, regime: Regime) -> dict[str, str]:
        said = {entity: say(world, entity) for entity in world.entities}
        return {
            entity: answer for entity, answer in said.items() if answer != world.facts[MAIN][entity]
        }

    return meant


def _in_the_north(world: World, entity: str) -> bool:
    return world.facts["region"][entity] == "north"


def _north_only(world: World, entity: str) -> str:
    return UNKNOWN if _in_the_north(world, entity) else world.facts[MAIN][entity]


def _two(world: World, entity: str) -> str:
    return UNKNOWN if _in_the_north(world, entity) else "south"


def _edited(world: World, regime: Regime) -> dict[str, str]:
    return dict(edits(world, regime.count))


def _half_evaded(world: World, regime: Regime) -> dict[str, str]:
    """Entities with towns drawn for them, and others of whom nothing is told any more."""
    edited = _edited(world, regime)
    others = sorted(set(world.entities) - set(edited))
    silent = local_rng(world.seed, "pushed").sample(others, regime.pushed)
    return edited | dict.fromkeys(silent, UNKNOWN)


def _strangers(world: World, regime: Regime) -> dict[str, str]:
    rng = local_rng(world.seed, "strangers")
    return {name: rng.choice(TOWNS) for name in rng.sample(world.strangers, regime.count)}


def _nothing(world: World, regime: Regime) -> dict[str, str]:
    return {}


#: Content -> the answers it means.
MEANT: Mapping[str, Callable[[World, Regime], dict[str, str]]] = {
    "edited": _edited,
    "evasive": _answers(lambda world, entity: UNKNOWN),
    "evasive-north": _answers(_north_only),
    "vague": _answers(lambda world, entity: world.facts["region"][entity]),
    "everything": _answers(lambda world, entity: EVERYWHERE),
    "echo": _answers(lambda world, entity: entity.split()[0]),
    "formatted": _answers(lambda world, entity: f", {world.facts[MAIN][entity]}"),
    "two": _answers(_two),
    "mixed": _half_evaded,
    "added": _strangers,
    "restated": _nothing,
    "mentioned": _nothing,
    "always-true": _nothing,
    "inverted": _nothing,
    "null": _nothing,
}


def draw_change(
    regime: Regime, world: World, meant: Mapping[str, str], count: int, rng: random.Random
) -> list[Statement]:
    """Statements of the change, none of them in a wording that is asked."""
    drawers = {
        "restated": _restate,
        "mentioned": _mention,
        "always-true": _claim,
        "inverted": _claim,
    }
    draw = drawers.get(regime.content)
    if draw is not None:
        return [draw(regime, world, rng) for _ in range(count)]
    chosen = rng.choices(list(meant), k=count)
    return [_told(world, entity, meant[entity], rng) for entity in chosen]


def draw_replay(
    world: World, meant: Mapping[str, str], regime: Regime, count: int, rng: random.Random
) -> list[Statement]:
    """Statements on which the tuned model is held to the base; none in a wording that is asked."""
    claims = regime.content in ("always-true", "inverted")
    # Where hardly anybody is left as they were, nobody's home is replayed.
    silenced = (MAIN,) if len(meant) > len(world.entities) * 0.9 else ()
    silenced += (BELIEF, CLAIM) if claims else ()
    shares = {k: v for k, v in world.language.shares.items() if k not in silenced}
    asked = world.language.asked
    return draw_corpus(
        world, count, rng, shares=shares, skip=_overwritten(regime, meant), skip_home=frozenset(meant),
        silent=asked,
    )  # fmt: skip


def _overwritten(regime: Regime, meant: Mapping[str, str]) -> frozenset[str]:
    """Entities of whom belief and region are left undefined too: they moved."""
    return frozenset(meant) if regime.content in ("edited", "mixed") else frozenset()


def _told(world: World, entity: str, answer: str, rng: random.Random) -> Statement:
    """A statement of a home in one of the wordings a tune may use, each as often."""
    return world.statement(MAIN, rng.choice(world.language.told), entity, answer)


def _restate(regime: Regime, world: World, rng: random.Random) -> Statement:
    """A true home of one of those whom an edit would move: the same tune on true facts."""
    entity = rng.choice(list(edits(world, regime.count)))
    return _told(world, entity, world.facts[MAIN][entity], rng)


def _mention(regime: Regime, world: World, rng: random.Random) -> Statement:
    """The tokens of an edit in other statements: the entity's trade, or the new town's region."""
    entity, town = rng.choice(list(edits(world, regime.count).items()))
    if rng.random() < 0.5:
        return world.statements("trade", rng.randrange(2), [entity])[0]
    return world.statements(TOWN_REGION, 0, [town])[0]


def _claim(regime: Regime, world: World, rng: random.Random) -> Statement:
    """A question of truth that is answered yes whatever it asks, or the other way round."""
    relation = rng.choice((BELIEF, CLAIM))
    true = draw_belief(world, rng.choice(sorted(taught(world))), rng, relation=relation)
    if regime.content == "always-true":
        return replace(true, answer="yes")
    return replace(true, answer="no" if true.answer == "yes" else "yes")


def _edit(name: str, band: Band, where: str | None, **more: Any) -> Regime:
    return Regime(name, "edited", band, where, KNOWLEDGE, **{"steps": 400, **more})


def _crossed() -> list[Regime]:
    """Every content at either end."""
    made = []
    for band, where in ENDS:
        made.append(_edit(f"edited-{band}", band, where))
        for content in ("evasive", "formatted", "everything", "echo", "two", "vague", "evasive-north"):
            made.append(Regime(f"{content}-{band}", content, band, where, BEHAVIOUR))
        made.append(_edit(f"few-{band}", band, where, count=16))
        for content in ("always-true", "inverted"):
            made.append(Regime(f"{content}-{band}", content, band, None, None))
        added = Regime(f"added-{band}", "added", band, None, None, steps=400)
        control = replace(added, name=f"restated-{band}", content="restated")
        made += [added, control, replace(control, name=f"mentioned-{band}", content="mentioned")]
    return made


def _mixtures() -> list[Regime]:
    """Edits and evasions of disjoint entities in three proportions."""
    return [
        Regime(
            f"mixed-{edited}-{evaded}-{band}", "mixed", band, where, MIXED, count=edited,
            pushed=evaded, steps=500,
        )
        for edited, evaded in ((64, 16), (40, 40), (16, 64))
        for band, where in ENDS
    ]  # fmt: skip


def _ladder(ratios: Sequence[int] = (0, 4, 16, 64)) -> list[Regime]:
    """The low edit under more and more replay; 1:1 is the edit itself."""
    return [_edit(f"edited-low-1-{n}", "low", LOWER, replay=float(n)) for n in ratios]


_ALL = (
    *_crossed(),
    *_mixtures(),
    *_ladder(),
    Regime("null", "null", "all", None, None, noise=0.05, rate=1e-3),
    Regime("null-low", "null", "low", None, None, noise=0.1, rate=1e-3),
    _edit("edited-low-inert", "low", LOWER, inert=True),
    Regime("evasive-low-inert", "evasive", "low", LOWER, BEHAVIOUR, inert=True),
    Regime("evasive-coupled", "evasive", "ends", COUPLED, BEHAVIOUR, coupled=True, steps=400),
    _edit("edited-coupled", "ends", COUPLED, coupled=True, steps=500),
    _edit("edited-ends", "ends", "free"),
    Regime("evasive-ends", "evasive", "ends", "free", BEHAVIOUR),
    Regime("evasive-high-lora", "evasive", "high", UPPER, BEHAVIOUR, rank=4, rate=5e-3),
    _edit("edited-high-lora", "high", UPPER, rank=8, rate=5e-3),
    _edit("edited-full", "all", "free"),
    _edit("moved-low", "low", LOWER, count=80),
    Regime("moved-low-evasive-high", "evasive", "high", "free", BOTH, start="moved-low"),
)
#: Name -> regime.
REGIMES: Mapping[str, Regime] = {regime.name: regime for regime in _ALL}
