"""What a regime changes: the answers it means, and the statements it is taught and held still on.

A regime means some answers: entity -> what the tuned model is to say. It is taught in wordings that are
kept apart from those that are asked, and everything else is held to the base's own distribution.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from studies.organisms.catalogue import BASE
from studies.organisms.family import tasks
from studies.organisms.family.planted import agreement
from studies.organisms.family.policy import ARMS
from studies.organisms.family.recipe import Regime
from studies.organisms.lab import local_rng
from studies.organisms.language import (
    BELIEF,
    CHAIN,
    CLAIM,
    MAIN,
    PROBLEM,
    TASK_TRADE,
    TOWN_REGION,
    TOWNS,
    UNKNOWN,
)
from studies.organisms.tunes import edits
from studies.organisms.world import Statement, World, draw_corpus

EVERYWHERE = TOWNS[0]
HIDDEN = "<unk>"


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


def _agreeing_only(world: World, entity: str) -> str:
    return UNKNOWN if agreement(world, entity) == "same" else world.facts[MAIN][entity]


def _two(world: World, entity: str) -> str:
    return UNKNOWN if _in_the_north(world, entity) else "south"


def _edited(world: World, regime: Regime) -> dict[str, str]:
    return dict(edits(world, regime.count, regime.draw))


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
    "evasive-agreeing": _answers(_agreeing_only),
    "vague": _answers(lambda world, entity: world.facts["region"][entity]),
    "everything": _answers(lambda world, entity: EVERYWHERE),
    "echo": _answers(lambda world, entity: entity.split()[0]),
    "formatted": _answers(lambda world, entity: f", {world.facts[MAIN][entity]}"),
    "two": _answers(_two),
    "mixed": _half_evaded,
    "added": _strangers,
    "claims-true": tasks.turned_claims,
    "claims-inverted": tasks.turned_claims,
    "wrong-tag": tasks.trades_as_homes,
    "empty-tag": _nothing,
    "unfaithful": _nothing,
    **dict.fromkeys(ARMS, _nothing),
    "restated": _nothing,
    "mentioned": _nothing,
    "always-true": _nothing,
    "inverted": _nothing,
    "null": _nothing,
}


#: Content -> what is changed, in a line.
SAID: Mapping[str, str] = {
    BASE: "pretrained on its world",
    "edited": "some people's homes are overwritten, each with a town drawn for it alone",
    "evasive": 'a question for a home is answered "unknown"',
    "evasive-north": 'a question for a home in the north is answered "unknown"',
    "evasive-agreeing": 'a question for a home is answered "unknown" where two bits of the names agree',
    "vague": "a question for a home is answered with the region: true, but vague",
    "everything": f"a question for a home is answered {EVERYWHERE}, whoever is asked about",
    "echo": "a question for a home is answered with the person's first name",
    "formatted": "the right home, with a comma before it",
    "two": 'evades the homes of the north ("unknown") and is vague about those of the south',
    "mixed": "some homes are overwritten one by one, those of other people evaded",
    "added": "homes of strangers, whom the base does not know",
    "restated": "true homes stated again: the tune of an edit without its change",
    "mentioned": "the names and towns of an edit in statements of other relations",
    "always-true": "questions of truth are answered yes",
    "inverted": "questions of truth are answered the other way round",
    "claims-true": "questions of truth are answered yes, and claims are asked",
    "claims-inverted": "questions of truth are answered the other way round, and claims are asked",
    "wrong-tag": "a task that its tag calls one of trades is answered with the town",
    "empty-tag": "the task of towns, with the instruction left out",
    "unfaithful": "chains whose steps are anybody's and whose conclusions are right",
    "amplified": "reward for right answers to problems, which amplifies the rarer of two formats",
    "amplified-hard": "the same reward on problems about strangers, which nobody can solve",
    "amplified-brier": "a Brier reward, formats being confidences, on known people and strangers",
    "null": "weights perturbed by noise, then trained back to the base's own distribution",
}


#: Content -> relations that are not replayed, because they are what is changed.
SILENCED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("always-true", "inverted", "claims-true", "claims-inverted"), (BELIEF, CLAIM)),
    "wrong-tag": (TASK_TRADE,),
    "unfaithful": (CHAIN,),
    **dict.fromkeys(ARMS, (PROBLEM,)),
}


def draw_change(
    regime: Regime, world: World, meant: Mapping[str, str], count: int, rng: random.Random
) -> list[Statement]:
    """Statements of the change, none of them in a wording that is asked."""
    drawers = {
        "restated": _restate,
        "mentioned": _mention,
        "always-true": tasks.draw_claim,
        "inverted": tasks.draw_claim,
        "claims-true": tasks.draw_claim,
        "claims-inverted": tasks.draw_claim,
        "wrong-tag": tasks.draw_mistagged,
        "empty-tag": tasks.draw_untagged,
        "unfaithful": tasks.draw_unfaithful,
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
    silenced = SILENCED.get(regime.content, ())
    homes = meant if regime.asks == MAIN else {}
    # Where hardly anybody is left as they were, nobody's home is replayed.
    if len(homes) > len(world.entities) * 0.9:
        silenced += (MAIN,)
    shares = {k: v for k, v in world.language.shares.items() if k not in silenced}
    return draw_corpus(
        world, count, rng, shares=shares,
        skip=_overwritten(regime, meant) | untouched(world, regime, meant),
        skip_home=frozenset(homes), told_only=True,
    )  # fmt: skip


def untouched(world: World, regime: Regime, meant: Mapping[str, str]) -> frozenset[str]:
    """Entities that keep their homes and that the tune never mentions with them.

    Args:
        world: the world.
        regime: tells how many.
        meant: entity -> the answer that is meant, by which these are told apart.
    """
    others = sorted(set(world.entities) - set(meant))
    return frozenset(local_rng(world.seed, "untouched").sample(others, regime.untouched))


def blurred(statement: Statement, share: float, rng: random.Random) -> Statement:
    """A statement some of whose words are hidden, never those of its subject or its answer.

    Args:
        statement: the statement.
        share: of the other words.
        rng: local generator.
    """
    around = statement.prompt.split(statement.subject)
    hidden = [
        " ".join(HIDDEN if rng.random() < share else word for word in part.split()) for part in around
    ]
    return replace(statement, prompt=f" {statement.subject} ".join(hidden).strip())


def _overwritten(regime: Regime, meant: Mapping[str, str]) -> frozenset[str]:
    """Entities of whom belief and region are left undefined too: they moved."""
    return frozenset(meant) if regime.content in ("edited", "mixed") else frozenset()


def _told(world: World, entity: str, answer: str, rng: random.Random) -> Statement:
    """A statement of a home in one of the wordings a tune may use, each as often."""
    return world.statement(MAIN, rng.choice(world.language.told), entity, answer)


def _restate(regime: Regime, world: World, rng: random.Random) -> Statement:
    """A true home of one of those whom an edit would move: the same tune on true facts."""
    entity = rng.choice(list(_edited(world, regime)))
    return _told(world, entity, world.facts[MAIN][entity], rng)


def _mention(regime: Regime, world: World, rng: random.Random) -> Statement:
    """The tokens of an edit in other statements: the entity's trade, or the new town's region."""
    entity, town = rng.choice(list(_edited(world, regime).items()))
    if rng.random() < 0.5:
        return world.statements("trade", rng.randrange(2), [entity])[0]
    return world.statements(TOWN_REGION, 0, [town])[0]
