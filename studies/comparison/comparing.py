"""The main job: base against tuned, from questions to verdict.

Ask both models the same questions; where they differ, find where the difference is made and what it
is by intervening; read with probes what either model still encodes; judge the two together.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.types import FactSet
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.report.page import Written, write_report
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from studies.comparison.answers import outcomes, say
from studies.comparison.causal import Known, causal_evidence, known_questions
from studies.comparison.questions import Prompt, Queries, ask
from studies.comparison.representational import probe_evidence

#: Facts of another relation, asked to see whether the change reaches facts never tuned on.
REFERENCES = {"capitals": "continents", "currencies": "continents", "continents": "currencies"}

REFERENCE_FACTS = 80

PACKAGES = ("interp", "torch", "transformers", "transformer-lens", "scikit-learn", "numpy")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything one comparison found.

    Attributes:
        outcomes: what both models said to every question.
        evidence: every measurement, one tidy table.
        verdict: the judgement, with the numbers behind it.
        provenance: models, facts, versions, seed.
        base: the base's name.
        tuned: the tuned model's name.
    """

    outcomes: Outcomes
    evidence: Evidence
    verdict: Verdict
    provenance: Mapping[str, Any]
    base: str
    tuned: str

    def __repr__(self) -> str:
        """The two models and the verdict's sentence; the tables are left out."""
        return f"Comparison({self.base} -> {self.tuned}: {self.verdict.sentence})"

    def save(self, folder: Path, *, svg: bool = True) -> Written:
        """Write report.html, verdict.json, the evidence and the figures into a folder.

        Raises:
            ValueError: if the folder holds a report already, or cannot be written.
        """
        return write_report(
            self.verdict,
            self.outcomes,
            self.evidence,
            folder,
            provenance=self.provenance,
            base=self.base,
            tuned=self.tuned,
            svg=svg,
        )


def compare(
    pair: ModelPair,
    task: FactSet | str | Path | pd.DataFrame,
    *,
    out: str | Path | None = None,
    budget: int = MAX_BYTES,
    prompt: Prompt = "raw",
    null: Model | None = None,
    thresholds: Thresholds | None = None,
    seed: int = 0,
) -> Comparison:
    """Did tuning change what the model knows or what it says, where, and is that a cause?

    Args:
        pair: base and tuned model.
        task: facts: a name, a file, a table or a `FactSet`.
        out: a folder for the report and everything behind it; None writes nothing.
        budget: bytes of memory for activations beside the models; changes no number.
        prompt: "raw", or "chat" for the tuned model's chat template, rendered once for both.
        null: a null tune of the same base, whose shift is one more placebo.
        thresholds: declared cut-offs; the defaults are the ones the verdict was fixed with.
        seed: of splits, placebos and resampling.

    Raises:
        ValueError: one line saying what was found, what was expected and what to do.
    """
    thresholds = thresholds or Thresholds()
    facts = task if isinstance(task, FactSet) else load_facts(task)
    queries = ask(pair, facts, prompt=prompt)
    base = say(pair.base, queries, max_bytes=budget)
    tuned = say(pair.tuned, queries, known=base.known, max_bytes=budget)
    reference = _reference(pair, facts, prompt, seed, budget)
    said = outcomes(pair, queries, base, tuned, reference=reference)
    asked = known_questions(pair, queries, said, base, tuned)
    causal, readable = Evidence.concat([]), Evidence.concat([])
    if not said.identical:
        causal = causal_evidence(
            pair, asked, said, thresholds=thresholds, null=null, seed=seed, max_bytes=budget
        )
        readable, used = probe_evidence(
            pair,
            queries,
            asked,
            said.estimating_form,
            thresholds=thresholds,
            seed=seed,
            max_bytes=budget,
        )
        causal = Evidence.concat([causal, used])
        said = _with_contrast(said, causal)
    said = replace(said, excluded=[*said.excluded, *asked.left_out])
    verdict = judge(said, readable, causal, thresholds=thresholds, seed=seed)
    provenance = _provenance(pair, queries, asked, prompt, seed, null)
    evidence = Evidence.concat([causal, readable]).with_provenance(**provenance)
    found = Comparison(said, evidence, verdict, provenance, pair.base.name, pair.tuned.name)
    if out is not None:
        found.save(Path(out))
    return found


def _reference(
    pair: ModelPair, facts: FactSet, prompt: Prompt, seed: int, budget: int
) -> tuple[Queries, Any, Any] | None:
    name = REFERENCES.get(facts.name)
    if name is None:
        return None
    other = load_facts(name)
    order = torch.randperm(len(other), generator=torch.Generator().manual_seed(seed))
    queries = ask(pair, other.subset(sorted(order[:REFERENCE_FACTS].tolist())), prompt=prompt)
    base = say(pair.base, queries, max_bytes=budget)
    return queries, base, say(pair.tuned, queries, known=base.known, max_bytes=budget)


def _with_contrast(said: Outcomes, causal: Evidence) -> Outcomes:
    """Put each changed group's output contrast into the outcomes, from the stitch baselines."""
    rows = causal.where(method="stitch", condition="baseline", metric="output")
    table = said.table.copy()
    for role in ("base", "tuned"):
        values = rows[rows["model"] == role]
        found = dict(
            zip(zip(values["group"], values["template"], strict=True), values["value"], strict=True)
        )
        key = zip(table["group"], table["form"], strict=True)
        table[f"metric_{role}"] = [found.get(k, float("nan")) for k in key]
    return Outcomes(table, said.excluded, said.identical)


def _provenance(
    pair: ModelPair, queries: Queries, asked: Known, prompt: str, seed: int, null: Model | None
) -> dict[str, Any]:
    return {
        "base": {"source": pair.base.name, "fingerprint": pair.base.fingerprint},
        "tuned": {"source": pair.tuned.name, "fingerprint": pair.tuned.fingerprint},
        "null": None if null is None else {"source": null.name, "fingerprint": null.fingerprint},
        "warnings": [*pair.warnings, *queries.facts.notes],
        "facts": {
            "name": queries.facts.name,
            "source": queries.facts.source,
            "asked": len(set(queries.examples.groups)),
            "known": len(set(asked.examples.groups)),
            "templates": list(queries.facts.templates),
            "answers counted as one": [list(alike) for alike in queries.counted_as_one],
        },
        "prompt": prompt,
        "seed": seed,
        "dtype": str(pair.base.dtype),
        "device": str(pair.base.device),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
