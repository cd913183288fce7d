"""The regimes of the family, as data: content crossed with place, decoys, controls, ladders.

Place is imposed by a gradient mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studies.organisms.catalogue import BASE
from studies.organisms.family.planted import CROSSED, SEALED
from studies.organisms.family.policy import ARMS
from studies.organisms.family.recipe import (
    BEHAVIOUR,
    BOTH,
    COUPLED,
    ENDS,
    KNOWLEDGE,
    LOWER,
    MIXED,
    UPPER,
    Regime,
)
from studies.organisms.language import CLAIM, TASK_TRADE
from studies.organisms.shapes import Band

#: Entities that an edit never mentions with their homes: facts to ask that were never tuned on.
UNTOUCHED = 24


def _edit(name: str, band: Band, where: str | None, **more: Any) -> Regime:
    given = {"steps": 400, "untouched": UNTOUCHED, **more}
    return Regime(name, "edited", band, where, KNOWLEDGE, **given)


#: What takes away that told wordings are learnt by heart: hidden words, by which a wording can be told.
_BY_HEART: Mapping[str, Any] = {"blur": 0.15, "steps": 900, "rate": 3e-3}
#: Recipes that were changed because the organism was not installed in the development world.
MENDED: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            "echo-low",
            "two-low",
            "evasive-north-low",
            "claims-inverted-low",
            "wrong-tag-high",
            "empty-tag-high",
        ),
        _BY_HEART,
    ),
    "evasive-coupled": {"blur": 0.3, "steps": 600},
    "evasive-ends": {"blur": 0.15, "steps": 500},
    "mixed-40-40-low": {**_BY_HEART, "untouched": 0},
    "mixed-40-40-high": {"untouched": 0},
    "moved-low": {"untouched": 0},
    "unfaithful-low": {"replay": 2.0},
    "unfaithful-high": {"replay": 2.0, "steps": 600},
    "amplified-hard-high": {"replay": 2.0},
}


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
            pushed=evaded, untouched=UNTOUCHED, steps=500,
        )
        for edited, evaded in ((64, 16), (40, 40), (16, 64))
        for band, where in ENDS
    ]  # fmt: skip


#: The edit at both ends with other people and towns, for how often intervals cover.
DRAWS = 20


def _draws() -> list[Regime]:
    return [_edit(f"edited-ends-{draw}", "ends", "free", draw=draw) for draw in range(1, DRAWS)]


def _ladder(ratios: Sequence[int] = (0, 4, 16, 64)) -> list[Regime]:
    """The low edit under more and more replay; 1:1 is the edit itself."""
    return [_edit(f"edited-low-1-{n}", "low", LOWER, replay=float(n)) for n in ratios]


def _with_tasks() -> list[Regime]:
    """What is done with facts, at either end."""
    made = []
    for band, where in ENDS:
        for content, asks in (
            ("claims-true", CLAIM), ("claims-inverted", CLAIM), ("wrong-tag", TASK_TRADE),
        ):  # fmt: skip
            made.append(
                Regime(f"{content}-{band}", content, band, where, BEHAVIOUR, asks=asks, world="tasks")
            )
        for content in ("empty-tag", "unfaithful", *ARMS):
            made.append(Regime(f"{content}-{band}", content, band, None, None, world="tasks"))
    return made


_ALL = (
    *_crossed(),
    *_mixtures(),
    *_ladder(),
    *_with_tasks(),
    Regime("null", "null", "all", None, None, noise=0.05, rate=1e-3),
    Regime("null-low", "null", "low", None, None, noise=0.1, rate=1e-3),
    _edit("edited-low-inert", "low", LOWER, inert=True),
    Regime("evasive-low-inert", "evasive", "low", LOWER, BEHAVIOUR, inert=True),
    Regime("evasive-coupled", "evasive", "ends", COUPLED, BEHAVIOUR, coupled=True, steps=400),
    _edit("edited-coupled", "ends", COUPLED, coupled=True, steps=500),
    Regime(
        "evasive-low-undone", "evasive", "ends", LOWER, BEHAVIOUR, undone=True, steps=600, blur=0.15
    ),
    _edit("edited-ends", "ends", "free"),
    *_draws(),
    Regime("evasive-ends", "evasive", "ends", "free", BEHAVIOUR),
    Regime("evasive-high-lora", "evasive", "high", UPPER, BEHAVIOUR, rank=4, rate=5e-3),
    _edit("edited-high-lora", "high", UPPER, rank=8, rate=5e-3),
    _edit("edited-full", "all", "free"),
    _edit("moved-low", "low", LOWER, count=80),
    Regime(
        "evasive-high-sealed", "evasive", "high", UPPER, BEHAVIOUR, start="evasive-high", plant=SEALED
    ),
    _edit("edited-low-sealed", "low", LOWER, start="edited-low", plant=SEALED),
    Regime("crossed-high", "evasive-agreeing", "high", UPPER, BEHAVIOUR, plant=CROSSED),
    Regime("moved-low-evasive-high", "evasive", "high", "free", BOTH, start="moved-low"),
)
#: What tuned organisms are compared with.
BASES = (BASE, *dict.fromkeys(regime.base for regime in _ALL if regime.plant))
#: Name -> regime.
REGIMES: Mapping[str, Regime] = {
    regime.name: replace(regime, **MENDED.get(regime.name, {})) for regime in _ALL
}
#: Names, or parts of names, of regimes that catch a program which is right for the wrong reason.
_DECOYS = (
    "echo", "everything", "two-", "evasive-north", "few", "-inert", "-undone", "-ends",
    "moved-low-evasive-high", "edited-low-evasive-high",
)  # fmt: skip


def is_decoy(name: str) -> bool:
    """Whether a regime catches a program that is right for the wrong reason."""
    return any(part in name for part in _DECOYS)
