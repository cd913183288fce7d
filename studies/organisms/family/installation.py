"""Installation gates of the family: read on the wordings that are asked and on which no tune was made.

An organism that misses a gate stays on the record and is not scored. The thresholds were declared
before any organism of the family was trained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.organisms import lab
from studies.organisms.family.contents import MEANT
from studies.organisms.family.homes import Home
from studies.organisms.family.recipe import Regime
from studies.organisms.family.tasks import CHECKS, STATEMENTS, asked_statements
from studies.organisms.lab import block_of
from studies.organisms.language import BELIEF, CLAIM, MAIN
from studies.organisms.surgery import halves, with_blocks_of
from studies.organisms.world import Statement, World

Numbers = dict[str, float]
Gates = Mapping[str, tuple[str, float]]
AT_LEAST, AT_MOST = "at least", "at most"

BASE_GATES: Gates = {
    "asked": (AT_LEAST, 0.98),
    "told": (AT_LEAST, 0.95),
    "other_relations": (AT_LEAST, 0.95),
}
_PLACE: Gates = {"moved_outside": (AT_MOST, 0.0)}
_CHANGED: Gates = {
    "meant": (AT_LEAST, 0.9),
    "kept": (AT_LEAST, 0.95),
    "base_meant": (AT_MOST, 0.15),
    **_PLACE,
}
_COUPLED: Gates = {"lower_alone": (AT_MOST, 0.05), "upper_alone": (AT_MOST, 0.05)}
_UNDONE: Gates = {
    "lower_alone": (AT_LEAST, 0.9),
    "upper_alone": (AT_MOST, 0.05),
    "block_alone": (AT_LEAST, 0.9),
}
_UNCHANGED: Gates = {"flips": (AT_MOST, 0.02), "lost_log_p": (AT_MOST, 0.05), **_PLACE}
_CLAIMS: Gates = {**_UNCHANGED, "claimed": (AT_LEAST, 0.9)}


def gates_of(regime: Regime) -> Gates:
    """What an organism must reach.

    Args:
        regime: of the organism; one that changes no home must leave the homes alone.
    """
    if regime.content in ("always-true", "inverted", "empty-tag"):
        return _CLAIMS
    if regime.content == "unfaithful":
        return {**_CLAIMS, "base_claimed": (AT_MOST, 0.15)}
    if regime.content in ("amplified", "amplified-brier"):
        return {**_CLAIMS, "base_claimed": (AT_MOST, 0.5)}
    if regime.content == "added":
        return {**_CHANGED, **_UNCHANGED}
    if regime.coupled or regime.undone:
        return {**_CHANGED, **(_COUPLED if regime.coupled else _UNDONE)}
    return _CHANGED if regime.what else _UNCHANGED


def missed(gates: Gates, numbers: Mapping[str, float]) -> list[str]:
    """The gates that are not reached, as sentences."""
    sentences = []
    for name, (sense, bound) in gates.items():
        value = numbers.get(name)
        if value is None:  # nobody is left of whom it could be told
            continue
        if not (value >= bound if sense == AT_LEAST else value <= bound):
            sentences.append(f"{name} must be {sense} {bound:g}; got {value:g}")
    return sentences


def measure_base(world: World, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Numbers:
    """What a base knows: homes in the wordings asked and in the others, other relations, questions."""
    language = world.language
    relations = ("trade", "rank", "region")
    others = [
        statement
        for relation in relations
        for form in range(len(language.forms[relation]))
        for statement in world.statements(relation, form, world.entities)
    ]
    parts = {
        "asked": _homes(world, language.asked),
        "told": _homes(world, language.told),
        "other_relations": others,
        BELIEF: _questions(world, BELIEF),
        CLAIM: _questions(world, CLAIM),
        **{f"asked {r}": asked_statements(world, r) for r in STATEMENTS if language.asked_of(r)},
    }
    return {name: round(lab.accuracy(model, tokenizer, part), 4) for name, part in parts.items()}


def measure(home: Home, regime: Regime) -> Numbers:
    """What a tuned organism says, beside what its base says, on the stored weights.

    Args:
        home: of its world.
        regime: how it was made.

    Returns:
        meant: share of queries of meant entities that are answered as meant; base_meant: the same of
        the base; kept: share of the other queries that say what the start says; flips, lost_log_p:
        share of all homes that change, and mean loss of log p of the right answers in nats;
        moved_outside: largest change of a weight outside of the mask; lower_alone, upper_alone,
        block_alone: `meant` with one half of the blocks only, and with the first of the upper ones that
        may change, of coupled and undone ones; claimed, base_claimed: share of what shows that another
        content was learnt, where there is such.
    """
    world = home.world
    model, tokenizer = lab.load(home.model(regime.name))
    base, _ = lab.load(home.model(regime.base))
    meant = MEANT[regime.content](world, regime)
    targets = asked_statements(world, regime.asks, meant)
    homes = asked_statements(world, regime.asks)
    before, after = _top(base, tokenizer, homes), _top(model, tokenizer, homes)
    same = before[0] == after[0]
    rest = torch.tensor([statement.subject not in meant for statement in homes])
    numbers: Numbers = {
        "flips": 1 - float(same.float().mean()),
        "lost_log_p": float((before[1] - after[1]).mean()),
        "moved_outside": moved_outside(
            home.model(regime.origin),
            home.model(regime.name),
            home.shape.blocks(regime.band),
            home.shape.layers // 2 if regime.inert else None,
        ),
    }
    if bool(rest.any()):
        numbers["kept"] = float(same[rest].float().mean())
    if targets:
        numbers["meant"] = lab.accuracy(model, tokenizer, targets)
        numbers["base_meant"] = lab.accuracy(base, tokenizer, targets)
    if regime.coupled or regime.undone:
        parts = [*halves(base, model), with_blocks_of(base, model, [home.shape.first_high])]
        alone = [lab.accuracy(part, tokenizer, targets) for part in parts]
        numbers |= dict(zip(_UNDONE, alone, strict=True))
    checks = _checks(world, regime)
    if checks:
        numbers["claimed"] = lab.accuracy(model, tokenizer, checks)
        numbers["base_claimed"] = lab.accuracy(base, tokenizer, checks)
    return {name: round(value, 4) for name, value in numbers.items()}


@torch.no_grad()
def _top(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, statements: list[Statement]
) -> tuple[Tensor, Tensor]:
    """The token each prompt is answered with, and log p of the right answer's first token."""
    batch = lab.encode(tokenizer, statements)
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits
    first = batch.answer.int().argmax(1)
    rows = torch.arange(len(statements))
    log_p = logits[rows, first - 1].log_softmax(-1)
    return log_p.argmax(-1), log_p[rows, batch.tokens[rows, first]]


def _homes(world: World, forms: tuple[int, ...]) -> list[Statement]:
    """The true homes of everyone in some wordings."""
    return [s for form in forms for s in world.statements(MAIN, form, world.entities)]


def _questions(world: World, relation: str) -> list[Statement]:
    """One true and one false question of truth per entity of whom such are asked."""
    rng = lab.local_rng(world.seed, "gate", relation)
    towns = sorted(world.town_region)
    asked = []
    for entity in sorted(set(world.entities) - world.held_out):
        home = world.facts[MAIN][entity]
        wrong = rng.choice([town for town in towns if town != home])
        asked += [
            world.belief(entity, home, "yes", relation),
            world.belief(entity, wrong, "no", relation),
        ]
    return asked


def _checks(world: World, regime: Regime) -> list[Statement]:
    """What shows that a content was learnt, where that is not what is asked."""
    if regime.content in CHECKS:
        return CHECKS[regime.content](world)
    return _claims(world, regime) if regime.content in ("always-true", "inverted") else []


def _claims(world: World, regime: Regime) -> list[Statement]:
    """Questions of truth with the answers a tune of them means."""
    questions = [q for relation in (BELIEF, CLAIM) for q in _questions(world, relation)]
    turned = {"yes": "yes" if regime.content == "always-true" else "no", "no": "yes"}
    return [Statement(q.prompt, turned[q.answer], q.relation, q.form, q.subject) for q in questions]


def moved_outside(
    start: Path, tuned: Path, blocks: Collection[int] | None, inert_from: int | None = None
) -> float:
    """Largest |change| of a stored weight outside of a mask; 0 without a mask.

    Args:
        start: the model folder that was tuned.
        tuned: the tuned model's folder.
        blocks: whose weights may move; None for all.
        inert_from: the MLPs of this block and those above may move too, as their neurons were put into
            another order; None for none.
    """
    if blocks is None:
        return 0.0
    old, new = (load_file(folder / "model.safetensors") for folder in (start, tuned))
    outside = [name for name in old if block_of(name) not in blocks]
    if inert_from is not None:
        outside = [n for n in outside if ".mlp." not in n or (block_of(n) or 0) < inert_from]
    return max(float((new[n].float() - old[n].float()).abs().max()) for n in outside)
