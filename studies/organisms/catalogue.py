"""What is shipped here: model folders by name, and the world's facts as data; and where others are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from interp.facts.types import FactSet

HOME = Path(__file__).parent
MODELS = HOME / "models"
#: What stands for the world of the package, and the name of any other world's base.
SHIPPED, BASE = "shipped", "base"


def names() -> list[str]:
    """Names of the shipped organisms, the base first."""
    shipped = sorted(path.parent.name for path in MODELS.glob("*/model.safetensors"))
    return sorted(shipped, key=lambda name: name != "organism-base")


def source_path(name: str) -> Path:
    """Folder of a shipped organism, loadable with `from_pretrained`.

    Raises:
        ValueError: no organism of that name is shipped.
    """
    if name not in names():
        raise ValueError(f"organism must be one of {names()}; got {name!r}: choose one of these")
    return MODELS / name


def folder_of(models: str | Path | None) -> Path:
    """The folder of all organisms that are made: the one that is given, or that of the user's cache."""
    return Path(models) if models else Path(platformdirs.user_cache_dir("interp")) / "organisms"


def fact_set() -> FactSet:
    """The main relation of the organisms' world: entity -> home.

    Attributes: `region` (north or south, decided by the answer, half of the entities) and the
    placebo `initial` (even or odd id of the first name token, independent of the answer).
    """
    from interp.facts.further.questions import FurtherQuestions, TrueOrFalse, TwoSteps
    from interp.facts.types import Fact, FactSet
    from studies.organisms.language import BELIEF, FORMS, MAIN, STATEMENT

    with (HOME / "facts.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    facts = tuple(
        Fact(
            subject=row["subject"],
            answer=row["answer"],
            group=row["subject"],
            attributes={"region": row["region"], "initial": row["initial"]},
        )
        for row in rows
    )
    return FactSet(
        name="world",
        templates=FORMS[MAIN],
        facts=facts,
        statement=STATEMENT,
        source="the synthetic world of studies.organisms (128 entities, 20 towns)",
        placebos=("initial",),
        further=FurtherQuestions(
            two_steps=(
                TwoSteps(
                    FORMS["region"][0],
                    leads={row["answer"]: row["region"] for row in rows},
                ),
            ),
            true_or_false=TrueOrFalse(
                FORMS[BELIEF][0].replace("{value}", "{answer}"), (" yes",), (" no",)
            ),
        ),
    )
