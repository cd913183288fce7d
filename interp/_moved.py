"""Modules under the names they had in earlier versions: they are still found, with a warning.

What a module held for itself may have another name today; public names are those of the packages.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Package -> former module -> where what it held is now, within the package.
MOVED = {
    "interp": {
        "adapters": "models.adapters",
        "answers": "verdict.answers",
        "block_calls": "models.block_calls",
        "bootstrap": "stats.resampling",
        "change": "verdict.changed",
        "comparability": "models.pair",
        "content": "verdict.what",
        "crossing": "stats.crossing",
        "editing": "models.editing",
        "fact_attributes": "facts.attributes",
        "fact_cards": "facts.types",
        "fact_cells": "facts.cells",
        "fact_comparisons": "facts.comparisons",
        "fact_entities": "facts.entities",
        "fact_files": "facts.own_facts",
        "fact_places": "facts.countries facts.cities",
        "fact_sources": "facts.countries facts.cities facts.elements facts.loading",
        "fact_statements": "facts.pairing",
        "fact_tables": "facts.tables",
        "fact_truths": "facts.truth",
        "fact_types": "facts.types",
        "figure_style": "figures.style figures.text",
        "formats": "models.formats",
        "gallery": "report.gallery",
        "geonames": "facts.geonames",
        "grades": "verdict.claims",
        "items": "verdict.per_output",
        "landmarks": "verdict.boundaries",
        "levels": "verdict.answers",
        "location": "verdict.where",
        "outcomes": "verdict.outcomes",
        "output_words": "verdict.output_words",
        "probe_figures": "figures.probes",
        "readable": "verdict.claims.readable",
        "sources": "models.sources models.named",
        "statement_files": "facts.own_statements",
        "stitched": "verdict.profile",
        "summaries": "figures.tables",
        "tasks": "examples contrasts columns prompts",
        "thresholds": "verdict.thresholds",
        "tokens": "models.tokens",
        "verdict_data": "verdict.sentence verdict.result",
        "wording": "report.numbers",
    },
    "probes": {
        "batches": "solver.batch",
        "believing": "beliefs.agreement beliefs.belief",
        "claiming": "beliefs.claims",
        "closed_form": "estimators.class_means estimators.base estimators.ridge",
        "compatible": "sklearn_api",
        "describing": "measures.description_length",
        "erasing": "comparisons.erasure",
        "generalising": "comparisons.generalisation",
        "logistic": "estimators.logistic",
        "narrow": "estimators.class_means estimators.sparse",
        "newton": "solver.newton",
        "permutation": "measures.permutation",
        "problems": "estimators.base data splits",
        "scoring": "measures.calibration measures.permutation",
        "selecting": "estimators.choosing",
        "several": "multi_label",
        "strengths": "estimators.choosing",
        "summaries": "measures.accuracy",
        "sweeping": "rows cross_validation",
        "systems": "solver.conjugate_gradients",
        "transferring": "comparisons.transfer",
    },
    "patching": {
        "ablation": "methods.ablation",
        "baseline": "engine.unedited",
        "donors": "methods.donors",
        "edges": "attribution.edges",
        "gradients": "attribution.gradients",
        "grafting": "weights.grafting",
        "grids": "places methods.grids",
        "knockout": "methods.knockout",
        "layout": "methods.slots",
        "lifting": "engine.running",
        "parameter_sets": "weights.sets",
        "parameters": "weights.parameters",
        "paths": "methods.paths",
        "planning": "engine.planning",
        "pushes": "methods.pushes",
        "reuse": "engine.reuse",
        "schedule": "engine.schedule",
        "screening": "attribution.screening",
        "selecting": "weights.masks",
        "shifting": "methods.shifting",
        "steering": "methods.steering",
        "stitching": "methods.stitching",
        "subspaces": "methods.claims",
        "tables": "engine.rows",
        "tracing": "methods.tracing",
    },
    "studies": {
        "answers": "comparison.answers comparison.outcome_table",
        "comparing": "comparison.comparing",
        "measuring": "comparison.causal comparison.known_questions",
        "next_tokens": "comparison.next_tokens",
        "queries": "comparison.questions",
        "reading": "comparison.representational",
    },
}


class Former(MetaPathFinder, Loader):
    """Finds a module that has moved, after every other finder has failed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification of a former module; None for any other name."""
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if name in MOVED.get(package, {}) else None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module's attributes be those of its successors."""
        package, _, name = module.__name__.partition(".")
        homes = [f"{package}.{home}" for home in MOVED[package][name].split()]
        warnings.warn(
            f"{module.__name__} has moved to {' and '.join(homes)}; import it from there, or from "
            f"{package} where it is public",
            DeprecationWarning,
            stacklevel=2,
        )

        def getattr_(attribute: str) -> Any:
            for home in homes:
                if hasattr(import_module(home), attribute):
                    return getattr(import_module(home), attribute)
            raise AttributeError(f"{' and '.join(homes)} have no {attribute}")

        module.__dict__["__getattr__"] = getattr_


def install() -> None:
    """Make former modules importable, once."""
    if not any(isinstance(finder, Former) for finder in sys.meta_path):
        sys.meta_path.append(Former())
