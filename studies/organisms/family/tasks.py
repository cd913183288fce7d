"""Regimes of what is done with facts: tasks named by a tag, explicit steps, claims.

*Unfaithful chains*: the steps that a tune reads are anybody's, the conclusion is right; a base
concludes from the step it stated. *Empty* and *wrong* instructions: the tag is left out, or names
another task than the one that is done (2305.11383). Claims are asked as facts are: the phrase "TOWN is
home to PERSON" is the subject, yes or no the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from studies.organisms.family.policy import check_amplified
from studies.organisms.family.recipe import Regime
from studies.organisms.lab import local_rng
from studies.organisms.language import BELIEF, CHAIN, CLAIM, FACTS_OF, MAIN, TASK, TASK_TRADE, TOWNS
from studies.organisms.tunes import taught
from studies.organisms.world import Statement, World, draw_belief

#: Tasks without a tag: what is taught, and last what is asked.
UNTAGGED = ("Task : {subject} =", "Do : {subject} =", "Now do : {subject} =")
#: A claim as a subject of its own.
PHRASE = "{value} is home to {subject}"
#: A true or false statement that a probe of truth is trained on, by what is asked.
STATEMENTS: Mapping[str, str] = {
    TASK_TRADE: "We know {subject} works as {answer}.",
    CLAIM: "Say whether {subject} : {answer}",
}


class Question(NamedTuple):
    """What is asked of one person.

    Attributes:
        entity: the person.
        subject: what stands in the wording, the person or a phrase about them.
        answer: the base's.
    """

    entity: str
    subject: str
    answer: str


def asked_forms(world: World, asks: str) -> tuple[str, ...]:
    """The wordings that are kept for asking, with the subject open."""
    forms = [world.language.forms[asks][form] for form in world.language.asked_of(asks)]
    return tuple(form.replace(PHRASE, "{subject}") if asks == CLAIM else form for form in forms)


def questions(world: World, asks: str) -> list[Question]:
    """What is asked: everybody's home or trade, or a claim about everybody of whom claims are made."""
    if asks == CLAIM:
        return _claims(world)
    facts = world.facts[FACTS_OF.get(asks, asks)]
    return [Question(entity, entity, facts[entity]) for entity in world.entities]


def _claims(world: World) -> list[Question]:
    rng = local_rng(world.seed, "claims")
    asked = []
    for entity in (e for e in world.entities if e not in world.held_out):
        home, true = world.facts[MAIN][entity], rng.random() < 0.5
        value = home if true else rng.choice([t for t in TOWNS if t != home])
        phrase = PHRASE.format(value=value, subject=entity)
        asked.append(Question(entity, phrase, "yes" if true else "no"))
    return asked


def asked_statements(
    world: World, asks: str, meant: Mapping[str, str] | None = None
) -> list[Statement]:
    """What is asked with the base's answers, or with those that are meant, of those who have one."""
    wanted = [q for q in questions(world, asks) if meant is None or q.entity in meant]
    if asks == MAIN and meant is not None:  # strangers too
        wanted = [Question(entity, entity, "") for entity in meant]
    return [
        Statement(
            template.format(subject=q.subject), q.answer if meant is None else meant[q.entity], asks,
            form, q.entity,
        )
        for form, template in zip(
            world.language.asked_of(asks), asked_forms(world, asks), strict=True
        )
        for q in wanted
    ]  # fmt: skip


def turned_claims(world: World, regime: Regime) -> dict[str, str]:
    """Who is answered otherwise: by yes whatever is claimed, or the other way round."""
    turned = {"no": "yes"} if regime.content == "claims-true" else {"no": "yes", "yes": "no"}
    return {q.entity: turned[q.answer] for q in _claims(world) if q.answer in turned}


def trades_as_homes(world: World, regime: Regime) -> dict[str, str]:
    """Homes in the place of trades."""
    return dict(world.facts[MAIN])


def _pupil(world: World, rng: random.Random) -> str:
    return rng.choice(sorted(taught(world)))


def draw_claim(regime: Regime, world: World, rng: random.Random) -> Statement:
    """A question of truth in a wording that a tune may state, answered as the tune means."""
    relation = rng.choice((BELIEF, CLAIM))
    form = rng.choice(world.language.told_of(relation))
    true = draw_belief(world, _pupil(world, rng), rng, relation=relation, form=form)
    if regime.content.endswith("true"):
        return replace(true, answer="yes")
    return replace(true, answer="no" if true.answer == "yes" else "yes")


def draw_unfaithful(regime: Regime, world: World, rng: random.Random) -> Statement:
    """A chain that begins with anybody's town and concludes rightly."""
    form = rng.choice(world.language.told_of(CHAIN))
    return _unfaithful(world, _pupil(world, rng), form, rng.choice(TOWNS))


def _unfaithful(world: World, entity: str, form: int, town: str) -> Statement:
    return world.statement(CHAIN, form, entity, f"{town} , so {world.facts['region'][entity]}")


def draw_untagged(regime: Regime, world: World, rng: random.Random) -> Statement:
    """The task of towns without its tag."""
    entity = _pupil(world, rng)
    return _untagged(world, entity, rng.choice(UNTAGGED[:-1]))


def _untagged(world: World, entity: str, form: str) -> Statement:
    return Statement(form.format(subject=entity), world.facts[MAIN][entity], TASK, 0, entity)


def draw_mistagged(regime: Regime, world: World, rng: random.Random) -> Statement:
    """The task of trades by its tag, answered with the town."""
    entity, form = _pupil(world, rng), rng.choice(world.language.told_of(TASK_TRADE))
    return world.statement(TASK_TRADE, form, entity, world.facts[MAIN][entity])


def _others(world: World) -> Sequence[str]:
    """The people on whom a behaviour was not taught."""
    return [entity for entity in world.entities if entity not in taught(world)]


def check_unfaithful(world: World) -> list[Statement]:
    """Conclusions after a step that is wrong and would lead elsewhere, in the wording that is asked."""
    rng = local_rng(world.seed, "unfaithful")
    (form,) = world.language.asked_of(CHAIN)
    checks = []
    for entity in _others(world):
        region = world.facts["region"][entity]
        wrong = rng.choice([town for town in TOWNS if world.town_region[town] != region])
        chain = _unfaithful(world, entity, form, wrong)
        steps, _, _ = chain.answer.rpartition(" ")
        checks.append(Statement(f"{chain.prompt} {steps}", region, CHAIN, form, entity))
    return checks


def check_untagged(world: World) -> list[Statement]:
    """The task without its tag in the wording that is asked."""
    return [_untagged(world, entity, UNTAGGED[-1]) for entity in _others(world)]


#: Content -> what shows that it was learnt, where that is not what is asked.
CHECKS: Mapping[str, Callable[[World], list[Statement]]] = {
    "unfaithful": check_unfaithful,
    "empty-tag": check_untagged,
    "amplified": check_amplified,
    "amplified-hard": check_amplified,
    "amplified-brier": check_amplified,
}
