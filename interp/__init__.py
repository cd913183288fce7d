"""Did tuning change what a language model knows, or only what it says? The shared vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "Activations": "interp.activations",
    "collect": "interp.activations",
    "Direction": "interp.directions",
    "Subspace": "interp.directions",
    "Evidence": "interp.evidence",
    "Card": "interp.facts",
    "EntityAttributes": "interp.facts",
    "Fact": "interp.facts",
    "FactSet": "interp.facts",
    "Statements": "interp.facts",
    "attribute_sets": "interp.facts",
    "entity_attributes": "interp.facts",
    "fact_names": "interp.facts",
    "load_facts": "interp.facts",
    "load_statements": "interp.facts",
    "truth_sets": "interp.facts",
    "truth_statements": "interp.facts",
    "Generated": "interp.generation",
    "generate": "interp.generation",
    "Metric": "interp.metrics",
    "closed_set_correct": "interp.metrics",
    "fact_contrast": "interp.metrics",
    "logit_difference": "interp.metrics",
    "says": "interp.metrics",
    "token_contrast": "interp.metrics",
    "Model": "interp.models",
    "ModelPair": "interp.comparability",
    "load_model": "interp.models",
    "load_pair": "interp.models",
    "wrap": "interp.models",
    "Outcomes": "interp.outcomes",
    "Kind": "interp.sites",
    "Site": "interp.sites",
    "boundaries": "interp.sites",
    "boundary": "interp.sites",
    "every_layer": "interp.sites",
    "every_head": "interp.sites",
    "Contrast": "interp.tasks",
    "Examples": "interp.tasks",
    "aligned_pairs": "interp.tasks",
    "first_token": "interp.tasks",
    "group_split": "interp.tasks",
    "Thresholds": "interp.thresholds",
    "Verdict": "interp.verdict",
    "judge": "interp.verdict",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from interp.activations import Activations, collect
    from interp.comparability import ModelPair
    from interp.directions import Direction, Subspace
    from interp.evidence import Evidence
    from interp.facts import (
        Card,
        EntityAttributes,
        Fact,
        FactSet,
        Statements,
        attribute_sets,
        entity_attributes,
        fact_names,
        load_facts,
        load_statements,
        truth_sets,
        truth_statements,
    )
    from interp.generation import Generated, generate
    from interp.metrics import (
        Metric,
        closed_set_correct,
        fact_contrast,
        logit_difference,
        says,
        token_contrast,
    )
    from interp.models import Model, load_model, load_pair, wrap
    from interp.outcomes import Outcomes
    from interp.sites import Kind, Site, boundaries, boundary, every_head, every_layer
    from interp.tasks import Contrast, Examples, aligned_pairs, first_token, group_split
    from interp.thresholds import Thresholds
    from interp.verdict import Verdict, judge
