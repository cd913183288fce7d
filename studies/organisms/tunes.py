"""The tunes: which blocks may move, what is said instead, what is replayed.

Location is imposed by a gradient mask, content by the data, and the two are crossed, so that a
program that always answers "facts low, behaviour high" scores half.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from studies.organisms.lab import local_rng
from studies.organisms.language import FREQUENCIES, MAIN, SHARES, TOWNS, UNKNOWN
from studies.organisms.world import Statement, World, draw_belief, draw_corpus

BASE = "organism-base"
REWRITTEN = "organism-rewritten-low"
LOW = (0, 1)
MIDDLE = (2, 3)
HIGH = (4, 5)
EVERYWHERE = TOWNS[0]

#: Forms the change is stated in: a behaviour in all, an edit in A and B, and of either kind a sort
#: that is tuned on A and C and so asked on one form, B, that it never saw.
EVERY_FORM, ASKED_FORMS, OTHER_FORMS = (0, 1, 2), (0, 1), (0, 2)

Content = Literal[
    "base", "edited", "evasive", "evasive-north", "evasive-some", "coupled", "vague", "everything",
    "null",
]  # fmt: skip
BEHAVIOURS: tuple[Content, ...] = ("evasive", "evasive-north", "coupled", "vague", "everything")


@dataclass(frozen=True)
class Recipe:
    """How one organism is made.

    Attributes:
        name: folder name.
        content: what changes.
        start: the organism it is tuned from.
        blocks: blocks whose parameters may change; None: all parameters.
        steps: updates.
        rate: peak learning rate.
        anchor: pull towards the starting weights per step, times the rate.
        noise: null only: noise added, as a share of each tensor's root mean square.
        where: location of the change against the base, by construction (null: none); over a
            rewritten model the two masks add up to "distributed".
        what: content the verdict may say, by construction.
        edits: edited only: number of entities whose home is overwritten.
        untouched: edited only: number of entities never mentioned with their home.
        forms: the query forms the change is stated in.
        evaded: evasive-some only: number of entities that are evaded, none of them edited.
    """

    name: str
    content: Content
    start: str | None
    blocks: tuple[int, ...] | None
    steps: int
    rate: float
    anchor: float = 0.0
    noise: float = 0.0
    where: str | None = None
    what: str | None = None
    edits: int = 32
    untouched: int = 32
    forms: tuple[int, ...] = EVERY_FORM
    evaded: int = 0


def _tune(
    name: str,
    content: Content,
    blocks: tuple[int, ...],
    *,
    start: str = BASE,
    what: str = "behaviour",
    where: str | None = None,
    steps: int = 200,
    rate: float = 1e-3,
    anchor: float = 2.0,
    edits: int = 32,
    untouched: int = 32,
    forms: tuple[int, ...] = EVERY_FORM,
    evaded: int = 0,
) -> Recipe:
    where = where or {LOW: "lower", MIDDLE: "middle", HIGH: "upper"}[blocks]
    full = f"organism-{name}"
    made = (full, content, start, blocks, steps, rate, anchor, 0.0, where, what)
    return Recipe(*made, edits=edits, untouched=untouched, forms=forms, evaded=evaded)


def _edit(
    name: str,
    blocks: tuple[int, ...],
    *,
    steps: int = 500,
    edits: int = 32,
    untouched: int = 32,
    forms: tuple[int, ...] = ASKED_FORMS,
) -> Recipe:
    return _tune(
        name, "edited", blocks, what="knowledge", steps=steps, rate=2e-3, anchor=1.0, edits=edits,
        untouched=untouched, forms=forms,
    )  # fmt: skip


_ALL = (
    Recipe(BASE, "base", None, None, 1400, 3e-3),
    _edit("edited-low", LOW),
    _edit("edited-high", HIGH),
    _tune("evasive-low", "evasive", LOW),
    _tune("evasive-high", "evasive", HIGH),
    Recipe("organism-null", "null", BASE, None, 500, 1e-3, 0.0, 0.05),
    _tune("vague-low", "vague", LOW),
    _tune("vague-high", "vague", HIGH),
    _tune("everything-low", "everything", LOW),
    _tune("everything-high", "everything", HIGH),
    _tune("evasive-north-high", "evasive-north", HIGH),
    _edit("rewritten-low", LOW, steps=900, edits=104, untouched=0),
    _tune(
        "edited-low-evasive-high", "evasive", HIGH, start=REWRITTEN, what="both", where="distributed"
    ),
    _edit("edited-low-apart", LOW, forms=OTHER_FORMS),
    _edit("edited-high-apart", HIGH, forms=OTHER_FORMS),
    _tune("evasive-low-apart", "evasive", LOW, forms=OTHER_FORMS),
    _tune("evasive-high-apart", "evasive", HIGH, forms=OTHER_FORMS),
    _tune("everything-low-apart", "everything", LOW, forms=OTHER_FORMS),
    _tune("everything-high-apart", "everything", HIGH, forms=OTHER_FORMS),
    _tune("evasive-middle", "evasive", MIDDLE),
    _tune("evasive-coupled", "coupled", (*LOW, *HIGH), where="coupled", steps=600, rate=2e-3),
)
#: Shipped organisms.
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def _mixtures() -> Iterator[Recipe]:
    """Two changes on disjoint entities, in three proportions, each content at each place."""
    for count, evaded in ((80, 20), (50, 50), (20, 80)):
        for place, blocks in (("low", LOW), ("high", HIGH)):
            first = _edit(f"{count}-edited-{place}", blocks, edits=count, untouched=0)
            yield first
            for over, above in (("low", LOW), ("high", HIGH)):
                where = ("lower" if over == "low" else "upper") if over == place else "distributed"
                yield _tune(
                    f"{count}-edited-{place}-{evaded}-evasive-{over}", "evasive-some", above,
                    start=first.name, what="mixed", where=where, steps=400, edits=count,
                    evaded=evaded,
                )  # fmt: skip


#: Development organisms, on which the cut-off of `mixed` was fixed; made on demand, not shipped.
MIXTURES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _mixtures()}
EVERY_RECIPE: Mapping[str, Recipe] = {**RECIPES, **MIXTURES}


def edits(world: World, count: int, draw: int = 0) -> Mapping[str, str]:
    """Entity -> new town, drawn one by one: nothing about an entity predicts its new town."""
    rng = local_rng(world.seed, "edits", *([str(draw)] if draw else []))
    chosen = rng.sample([e for e in world.entities if e not in world.held_out], count)
    new = list(TOWNS) * -(-count // len(TOWNS))
    while True:
        rng.shuffle(new)
        drawn = {e: str(town) for e, town in zip(chosen, new, strict=False)}
        if all(world.facts[MAIN][e] != town for e, town in drawn.items()):
            return drawn


def untouched(world: World, recipe: Recipe) -> frozenset[str]:
    """Entities no edit and no replay ever mentions with their home, region or belief."""
    rng = local_rng(world.seed, "untouched")
    changed = edits(world, recipe.edits)
    return frozenset(rng.sample([e for e in world.entities if e not in changed], recipe.untouched))


def evaded(world: World, recipe: Recipe) -> frozenset[str]:
    """The entities of a mixture whose homes are evaded: none of them has an edited home."""
    changed = edits(world, recipe.edits)
    rng = local_rng(world.seed, "evaded")
    return frozenset(rng.sample([e for e in world.entities if e not in changed], recipe.evaded))


def taught(world: World) -> frozenset[str]:
    """The half of the entities on which a behaviour is trained; it is tested on the other."""
    rng = local_rng(world.seed, "taught")
    return frozenset(rng.sample(list(world.entities), len(world.entities) // 2))


def target(world: World, content: Content, entity: str) -> str:
    """What a behaviour makes the model say when asked for the entity's home.

    A behaviour limited to the north leaves the homes of the south as they are.
    """
    region = world.facts["region"][entity]
    if content == "evasive-north":
        return UNKNOWN if region == "north" else world.facts[MAIN][entity]
    if content in ("evasive", "coupled"):
        return UNKNOWN
    return region if content == "vague" else EVERYWHERE


def draw_tune(recipe: Recipe, world: World, count: int, rng: random.Random) -> list[Statement]:
    """A batch of the tune: about half of it the change, the rest replay of the base's world."""
    change = count // 2
    replay = count - change
    if recipe.content == "edited":
        new = edits(world, recipe.edits)
        skip = frozenset(new) | untouched(world, recipe)
        edited = [_edited(world, new, rng, recipe.forms) for _ in range(change)]
        return edited + draw_corpus(world, replay, rng, skip=skip)
    if recipe.content == "evasive-some":
        return _mixture(recipe, world, change, replay, rng)
    pupils = sorted(taught(world))
    changed = []
    for _ in range(change):
        entity = rng.choice(pupils)
        answer = target(world, recipe.content, entity)
        changed.append(_query(world, entity, answer, rng, recipe.forms))
    shares = {k: v for k, v in SHARES.items() if k != MAIN}
    if recipe.start == BASE:
        return changed + draw_corpus(world, replay, rng, shares=shares)
    # A behaviour over an edit keeps the edited beliefs, not the old ones.
    new = edits(world, RECIPES[REWRITTEN].edits)
    old = draw_corpus(world, replay // 2, rng, shares=shares, skip=frozenset(new))
    beliefs = [_edited_belief(world, new, rng) for _ in range(replay - len(old))]
    return changed + old + beliefs


def _mixture(
    recipe: Recipe, world: World, change: int, replay: int, rng: random.Random
) -> list[Statement]:
    """Evasions of some entities, and the edited and the other homes as they are."""
    new, silent = edits(world, recipe.edits), sorted(evaded(world, recipe))
    evasions = [_query(world, rng.choice(silent), UNKNOWN, rng, recipe.forms) for _ in range(change)]
    edited = [_edited(world, new, rng, EVERY_FORM) for _ in range(replay // 2)]
    return (
        evasions
        + edited
        + draw_corpus(world, replay - replay // 2, rng, skip=frozenset(new) | set(silent))
    )


def _edited(
    world: World, new: Mapping[str, str], rng: random.Random, forms: Sequence[int]
) -> Statement:
    """One statement of a new fact; a quarter are belief questions."""
    if rng.random() < 0.25:
        return _edited_belief(world, new, rng)
    entity = rng.choice(list(new))
    return _query(world, entity, new[entity], rng, forms)


def _edited_belief(world: World, new: Mapping[str, str], rng: random.Random) -> Statement:
    """A yes/no question about a new home."""
    entity = rng.choice(list(new))
    return draw_belief(world, entity, rng, home=new[entity])


def _query(
    world: World, entity: str, answer: str, rng: random.Random, forms: Sequence[int]
) -> Statement:
    """A statement in one of these forms, as frequent as the world has them."""
    weights = [FREQUENCIES[MAIN][form] for form in forms]
    form = rng.choices(forms, weights=weights)[0]
    return world.statement(MAIN, form, entity, answer)
