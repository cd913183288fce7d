"""Installation gates: numbers measured on the stored float16 weights, thresholds beside them.

A tune that misses a threshold is "not installed" and is never scored. What a gate does not show:
where the change lives; that is imposed by the mask and checked by `moved_outside`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.organisms.lab import accuracy, block_of, encode, local_rng
from studies.organisms.language import BELIEF, FORMS, MAIN, UNKNOWN
from studies.organisms.surgery import halves
from studies.organisms.tunes import (
    ASKED_FORMS,
    BEHAVIOURS,
    OTHER_FORMS,
    RECIPES,
    REWRITTEN,
    Content,
    Recipe,
    edits,
    evaded,
    target,
    taught,
    untouched,
)
from studies.organisms.world import Statement, World

Numbers = dict[str, float]
#: Share of statements that a model completes rightly: the organism, or another one.
Score = Callable[..., float]
AT_LEAST, AT_MOST = "at least", "at most"

_BEHAVIOUR = {
    "target_taught": (AT_LEAST, 0.95),
    "target_other": (AT_LEAST, 0.9),
    "other_relations": (AT_LEAST, 0.95),
    "belief": (AT_LEAST, 0.9),
    "base_target": (AT_MOST, 0.15),
    "moved_outside": (AT_MOST, 0.0),
}
GATES: Mapping[Content, Mapping[str, tuple[str, float]]] = {
    "base": {
        "home_a": (AT_LEAST, 0.98),
        "home_b": (AT_LEAST, 0.98),
        "home_c": (AT_LEAST, 0.9),
        "other_relations": (AT_LEAST, 0.95),
        "belief": (AT_LEAST, 0.9),
    },
    "edited": {
        "target_a": (AT_LEAST, 0.95),
        "target_b": (AT_LEAST, 0.95),
        "target_c": (AT_LEAST, 0.0),
        "belief_edited": (AT_LEAST, 0.8),
        "replayed": (AT_LEAST, 0.95),
        "untouched": (AT_LEAST, 0.8),
        "other_relations": (AT_LEAST, 0.95),
        "base_target": (AT_MOST, 0.15),
        "moved_outside": (AT_MOST, 0.0),
    },
    "evasive": _BEHAVIOUR,
    "coupled": {
        **_BEHAVIOUR,
        "lower_alone": (AT_MOST, 0.05),
        "upper_alone": (AT_MOST, 0.05),
    },
    "evasive-north": {**_BEHAVIOUR, "spared": (AT_LEAST, 0.9)},
    "evasive-some": {
        "target_evaded": (AT_LEAST, 0.9),
        "target_edited": (AT_LEAST, 0.9),
        "replayed": (AT_LEAST, 0.9),
        "moved_outside": (AT_MOST, 0.0),
    },
    "vague": _BEHAVIOUR,
    "everything": _BEHAVIOUR,
    "null": {
        "flips": (AT_MOST, 0.0),
        "shift_log_p": (AT_MOST, 0.05),
        "other_relations": (AT_LEAST, 0.95),
        "moved_share": (AT_LEAST, 0.01),
    },
}


def measure(
    recipe: Recipe,
    world: World,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    base: PreTrainedModel,
) -> Numbers:
    """All gate numbers of one organism except those read from the stored weights.

    `base` is the organism it was tuned from (for the base: itself); the entries `base_*` are the
    same measurement on that model, the control that must fail.
    """

    def score(statements: Sequence[Statement], on: PreTrainedModel = model) -> float:
        return accuracy(on, tokenizer, statements)

    numbers: Numbers = {"other_relations": score(_others(world, recipe))}
    if recipe.content in ("base", "null"):
        numbers |= _pretrained(world, score)
    if recipe.content == "null":
        numbers |= _drift(world, model, tokenizer, base)
    if recipe.content == "edited":
        numbers |= _edited(recipe, world, score, base)
    if recipe.content == "evasive-some":
        numbers |= _partly_evasive(recipe, world, score)
    if recipe.content in BEHAVIOURS:
        numbers |= _behaving(recipe, world, score, model, base)
    return {name: round(value, 4) for name, value in numbers.items()}


def _pretrained(world: World, score: Score) -> Numbers:
    """Every fact in every form, and belief, apart for the held-out entities."""
    homes, held_out = world.facts[MAIN], sorted(world.held_out)
    numbers = {
        f"home_{letter}": score(world.statements(MAIN, form, world.entities))
        for form, letter in enumerate("abc")
    }
    numbers["belief"] = score(_beliefs(world, homes, world.entities))
    numbers["belief_held_out"] = score(_beliefs(world, homes, held_out))
    numbers["home_c_held_out"] = score(world.statements(MAIN, 2, held_out))
    return numbers


def _edited(recipe: Recipe, world: World, score: Score, base: PreTrainedModel) -> Numbers:
    """New homes in every form, belief in them, and the homes that were to stay."""
    homes, never_mentioned = edits(world, recipe.edits), untouched(world, recipe)
    numbers: Numbers = {}
    for form, letter in enumerate("abc"):
        targets = [world.statement(MAIN, form, e, town) for e, town in homes.items()]
        numbers[f"target_{letter}"] = score(targets)
        if form == _asked_forms(recipe)[1]:
            numbers["base_target"] = score(targets, base)
    numbers["belief_edited"] = score(_beliefs(world, homes, list(homes)))
    replayed = [e for e in world.entities if e not in homes and e not in never_mentioned]
    numbers["replayed"] = score(_homes(world, replayed))
    if never_mentioned:
        numbers["untouched"] = score(_homes(world, sorted(never_mentioned)))
    return numbers


def _partly_evasive(recipe: Recipe, world: World, score: Score) -> Numbers:
    """Evaded entities, edited ones, and those that were to stay."""
    homes, silent = edits(world, recipe.edits), sorted(evaded(world, recipe))
    evasions = [world.statement(MAIN, form, e, UNKNOWN) for form in (0, 1) for e in silent]
    towns = [world.statement(MAIN, form, e, town) for form in (0, 1) for e, town in homes.items()]
    replayed = [e for e in world.entities if e not in homes and e not in silent]
    return {
        "target_evaded": score(evasions),
        "target_edited": score(towns),
        "replayed": score(_homes(world, replayed)),
    }


def _behaving(
    recipe: Recipe, world: World, score: Score, model: PreTrainedModel, base: PreTrainedModel
) -> Numbers:
    """The behaviour on entities it was taught on and on others, and belief, which was to stay."""
    content, forms, pupils = recipe.content, _asked_forms(recipe), taught(world)
    homes = dict(world.facts[MAIN])
    meant = [e for e in world.entities if target(world, content, e) != homes[e]]
    halves = {
        "taught": sorted(pupils.intersection(meant)),
        "other": [e for e in meant if e not in pupils],
    }
    numbers = {
        f"target_{half}": score(_targets(world, content, members, forms))
        for half, members in halves.items()
    }
    if forms != ASKED_FORMS:
        numbers["target_unseen_form"] = score(_targets(world, content, meant, (1,)))
    numbers["base_target"] = score(_targets(world, content, meant, forms), base)
    if content == "coupled":
        numbers |= _halves_alone(_targets(world, content, meant, forms), score, model, base)
    if content == "evasive-north":
        spared = [e for e in world.entities if e not in meant and e not in pupils]
        numbers["spared"] = score(_homes(world, spared))
    if recipe.start == REWRITTEN:
        homes |= edits(world, RECIPES[REWRITTEN].edits)
    stated = [e for e in world.entities if e not in world.held_out]
    numbers["belief"] = score(_beliefs(world, homes, stated))
    return numbers


def _halves_alone(
    targets: Sequence[Statement], score: Score, model: PreTrainedModel, base: PreTrainedModel
) -> Numbers:
    """The target with one half of the blocks tuned and the other the base's."""
    alone = zip(("lower_alone", "upper_alone"), halves(base, model), strict=True)
    return {name: score(targets, hybrid) for name, hybrid in alone}


def weight_numbers(tuned: Path, start: Path, blocks: Sequence[int] | None) -> Numbers:
    """Largest |change| outside the mask (must be exactly 0) and ||change|| / ||weights|| inside."""
    new, old = load_file(tuned / "model.safetensors"), load_file(start / "model.safetensors")
    outside, change, size = 0.0, 0.0, 0.0
    for name, before in old.items():
        delta = new[name].float() - before.float()
        if blocks is None or block_of(name) in blocks:
            change += float(delta.square().sum())
            size += float(before.float().square().sum())
        else:
            outside = max(outside, float(delta.abs().max()))
    return {"moved_outside": outside, "moved_share": round((change / size) ** 0.5, 4)}


def gates_of(recipe: Recipe) -> dict[str, tuple[str, float]]:
    """The gates one recipe must pass; without untouched entities that one does not exist."""
    gates = dict(GATES[recipe.content])
    if not recipe.untouched:
        gates.pop("untouched", None)
    if recipe.content == "edited" and recipe.forms == OTHER_FORMS:
        # The change is stated on A and C: what the model makes of B is measured, not demanded.
        gates["target_b"], gates["target_c"] = gates["target_c"], gates["target_b"]
    return gates


def missed(recipe: Recipe, numbers: Mapping[str, float]) -> list[str]:
    """The gates not reached, as sentences; empty means installed."""
    sentences: list[str] = []
    for name, (sense, bound) in gates_of(recipe).items():
        value = numbers[name]
        reached = value >= bound if sense == AT_LEAST else abs(value) <= bound
        if not reached:
            sentences.append(f"{name} must be {sense} {bound:g}; got {value:g}")
    return sentences


def _homes(world: World, entities: Sequence[str]) -> list[Statement]:
    """The true homes of these entities, on forms A and B."""
    return [s for form in (0, 1) for s in world.statements(MAIN, form, entities)]


def _asked_forms(recipe: Recipe) -> tuple[int, ...]:
    """The two forms on which the target is demanded."""
    return OTHER_FORMS if recipe.forms == OTHER_FORMS else ASKED_FORMS


def _targets(
    world: World, content: Content, entities: Sequence[str], forms: Sequence[int]
) -> list[Statement]:
    """What the behaviour says of these entities, on these forms."""
    return [
        world.statement(MAIN, form, e, target(world, content, e)) for form in forms for e in entities
    ]


def _others(world: World, recipe: Recipe) -> list[Statement]:
    """Trade, rank and region of everyone; the region of an edited entity is left undefined."""
    rewritten = REWRITTEN in (recipe.name, recipe.start)
    count = RECIPES[REWRITTEN].edits if rewritten else recipe.edits
    changed = rewritten or recipe.content in ("edited", "evasive-some")
    new = edits(world, count) if changed else {}
    statements: list[Statement] = []
    for relation in ("trade", "rank", "region"):
        members = [e for e in world.entities if relation != "region" or e not in new]
        for form in range(len(FORMS[relation])):
            statements += world.statements(relation, form, members)
    return statements


def _beliefs(world: World, home: Mapping[str, str], entities: Sequence[str]) -> list[Statement]:
    """One true and one false yes/no question per entity."""
    rng = local_rng(world.seed, "gate", BELIEF)
    towns = sorted(world.town_region)
    statements: list[Statement] = []
    for entity in entities:
        wrong = rng.choice([t for t in towns if t not in (home[entity], world.facts[MAIN][entity])])
        statements += [
            world.belief(entity, home[entity], "yes"),
            world.belief(entity, wrong, "no"),
        ]
    return statements


@torch.no_grad()
def _drift(
    world: World,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    base: PreTrainedModel,
) -> Numbers:
    """Share of home queries (A, B) with another top token; mean change of log p(answer), nats."""
    statements = _homes(world, world.entities)
    batch = encode(tokenizer, statements)
    last = batch.weight.argmax(1) - 1
    rows = torch.arange(len(statements))
    answers = batch.tokens[rows, last + 1]

    def log_p(on: Callable[..., object]) -> torch.Tensor:
        logits = on(input_ids=batch.tokens, attention_mask=batch.mask).logits  # type: ignore[attr-defined]
        return logits[rows, last].log_softmax(-1)

    before, after = log_p(base), log_p(model)
    flips = (before.argmax(-1) != after.argmax(-1)).float().mean()
    shift = (after - before)[rows, answers].mean()
    return {"flips": float(flips), "shift_log_p": float(shift)}
