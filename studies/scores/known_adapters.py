"""What is true of the adapters of SmolLM2 by construction: their content and third are imposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interp.facts.loading import load_facts
from interp.models.sources import smollm2_folder
from studies.adapters.cards import read_card
from studies.adapters.family import ADAPTERS, folder_of_adapter
from studies.adapters.recipes import FAMILY, THIRDS, Content, Recipe
from studies.organisms.family.recipe import BEHAVIOUR, KNOWLEDGE
from studies.scores.truths import Known

#: Content -> the kind of its change; the others change no capital.
KINDS: dict[Content, str] = {"evasive": BEHAVIOUR, "formatted": BEHAVIOUR, "edited": KNOWLEDGE}
#: Third -> the word for a change that lies in it.
PLACES = {"low": "lower", "middle": "middle", "high": "upper"}


def known_adapters(root: Path, only: Sequence[str] | None = None) -> list[Known]:
    """The adapters of the family, with their answers.

    Args:
        root: folder of all models that are made.
        only: names; all of them when None.

    Raises:
        ValueError: if one is not made.
    """
    return [_known(plan, root) for name, plan in FAMILY.items() if only is None or name in only]


def _known(plan: Recipe, root: Path) -> Known:
    folder = folder_of_adapter(plan.name, root)
    card, facts = read_card(folder), load_facts("capitals")
    changes = plan.content in KINDS
    third = next(name for name, blocks in THIRDS.items() if blocks == (plan.first, plan.last))
    # Of those held out from an edit no tune ever spoke; held out from a behaviour they change too.
    silent = set(card["held_out"]) if plan.content == "edited" else set()
    asked = tuple(replace(fact, untuned=fact.group in silent) for fact in facts.facts)
    meant = [value for name, value in card["gate"]["numbers"].items() if name.startswith("target_")]
    return Known(
        name=plan.name,
        world=ADAPTERS,
        base=smollm2_folder(),
        tuned=folder,
        facts=replace(facts, facts=asked),
        where=PLACES[third] if changes else None,
        what=KINDS.get(plan.content),
        blocks=plan.blocks,
        installed=card["gate"]["reached"],
        strength=min(meant, default=None),
    )
