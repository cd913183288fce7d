"""The main job: base against tuned, from questions to verdict.

Ask both models the same questions; where they differ, find where the difference is made and what it
is by intervening; read with probes what either model still encodes; judge the two together.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp.display.html import Shown
from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.types import FactSet
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import job, stage
from interp.report.page import Written, write_report
from interp.runs.checksums import write_checksums
from interp.runs.fingerprint import fingerprint
from interp.runs.manifest import remove_units
from interp.runs.run import require_whole, resumable
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from studies.comparison.answers import ask_both
from studies.comparison.causal import causal_evidence
from studies.comparison.known_questions import KnownQuestions, known_questions
from studies.comparison.outcome_table import outcomes_of, with_output_contrast
from studies.comparison.questions import Prompt, Queries
from studies.comparison.representational import probe_evidence
from studies.comparison.stages import ASKED

#: Facts of another relation, asked to see whether the change reaches facts never tuned on.
REFERENCES = {"capitals": "continents", "currencies": "continents", "continents": "currencies"}

REFERENCE_FACTS = 80

PACKAGES = ("interp", "torch", "transformers", "transformer-lens", "scikit-learn", "numpy")


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
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

    def _repr_html_(self) -> str:
        """The two models and the top of the report, for a notebook."""
        title = f"<p>{escape(self.tuned)} compared with {escape(self.base)}</p>"
        return title + self.verdict._repr_html_()

    def save(self, folder: Path, *, svg: bool = True, csv: bool = False) -> Written:
        """Write report.html, verdict.json, the evidence, the figures and their checksums into a folder.

        Args:
            folder: a new or empty folder.
            svg: whether figures are written as SVG too.
            csv: whether the evidence is written as CSV too; `interp export` makes it later.

        Returns:
            The report's path and the files beside it.

        Raises:
            ValueError: if the folder holds a report already, or cannot be written.
        """
        stage("writing")
        written = write_report(
            self.verdict,
            self.outcomes,
            self.evidence,
            folder,
            provenance=self.provenance,
            base=self.base,
            tuned=self.tuned,
            svg=svg,
            csv=csv,
        )
        return replace(written, files=(*written.files, write_checksums(Path(folder))))


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
    resume: str | Path | None = None,
) -> Comparison:
    """Did tuning change what the model knows or what it says, where, and is that a cause?

    Asks both models the same questions. Where they differ, stitching in both orders tells in which
    blocks the difference is made, the shared-shift test whether it is one push or goes fact by fact,
    and probes what either model still encodes; `interp.judge` puts the three together.

    Args:
        pair: base and tuned model.
        task: facts: a name, a file, a table or a `FactSet`.
        out: a new folder for the report and everything behind it; None writes nothing.
        budget: bytes of memory for activations beside the models; changes no number.
        prompt: "raw", or "chat" for the tuned model's chat template, rendered once for both.
        null: a null tune of the same base, whose shift is one more placebo.
        thresholds: declared cut-offs; the defaults are the ones the verdict was fixed with.
        seed: of splits, placebos and resampling.
        resume: a folder that keeps the parts as they are made: the same call goes on from there. They
            are removed when `out`, which may be the same folder, is written.

    Returns:
        Outcomes, evidence and verdict. The evidence joins the methods ``stitch`` (conditions baseline,
        stitched), ``handover`` and ``patch`` (clean, corrupted, patched), ``cross_patch`` (baseline,
        patched) and ``shift`` of `patching`, the claims of `patching.swap_and_remove`, and ``probe``,
        ``readable`` and ``transfer`` of `probes` by boundary; units are logits, nats and shares. What
        varies in each is told by the function of that name.

    Raises:
        ValueError: one line that tells what was found, what was expected and what to do: facts that
            the base does not know, models that do not share their tokens, a folder that is not empty,
            or that holds the parts of another comparison.

    Source:
        Stitching and cross-model patching 2402.14811; handover 2202.05262.

    Note:
        Where a change is *made* is not where a fact is *stored*, and what probes read is not thereby
        used. `undetermined` means that the evidence does not decide; the notes say what is missing.

    Example:
        >>> import interp, studies
        >>> pair = interp.load_pair("organism-base", "organism-evasive-high")
        >>> facts = interp.load_facts("world").subset(list(range(20)))
        >>> comparison = studies.compare(pair, facts)
        >>> comparison.verdict.changed, comparison.verdict.where, comparison.verdict.what
        ('changed', 'upper', 'behaviour')
        >>> len(comparison.outcomes.changed_groups)
        20
    """
    facts = task if isinstance(task, FactSet) else load_facts(task)
    cuts = thresholds or Thresholds()
    kept: AbstractContextManager[Any] = nullcontext()
    if resume is not None:
        kept = resumable(resume, job=job_of(pair, facts, prompt, null, cuts, seed))
    with job(f"comparing {pair.tuned.name} with {pair.base.name}", ASKED), kept:
        comparison = _compare(pair, facts, budget, prompt, null, cuts, seed)
        if out is not None:
            comparison.save(Path(out))
            if resume is not None:
                remove_units(Path(resume))
    return comparison


def job_of(
    pair: ModelPair,
    facts: FactSet,
    prompt: Prompt,
    null: Model | None,
    thresholds: Thresholds,
    seed: int,
) -> dict[str, Any]:
    """What a comparison is of, by which its run's folder is known again."""

    def short(value: object) -> str:
        return fingerprint(value)[:12]

    return {
        "work": "compare",
        "base": short(pair.base),
        "tuned": short(pair.tuned),
        "null": None if null is None else short(null),
        # Where they were read from decides no number.
        "facts": f"{facts.name} {short(replace(facts, source='', notes=()))}",
        "prompt": prompt,
        "thresholds": short(thresholds),
        "seed": seed,
        "device": str(pair.base.placement.kinds),
        "dtype": str(pair.base.dtype).removeprefix("torch."),
    }


def _compare(
    pair: ModelPair,
    facts: FactSet,
    budget: int,
    prompt: Prompt,
    null: Model | None,
    thresholds: Thresholds,
    seed: int,
) -> Comparison:
    """The comparison, stage by stage; nothing is written."""
    stage("asking", parts=4)
    reference = reference_facts(facts, seed)
    answers = ask_both(pair, facts, reference, prompt=prompt, max_bytes=budget)
    outcomes = outcomes_of(pair, answers)
    questions = known_questions(pair, answers, outcomes)
    causal, readable = Evidence.concat([]), Evidence.concat([])
    if not outcomes.identical:
        form = outcomes.estimating_form
        causal = causal_evidence(
            pair, questions, form, thresholds=thresholds, null=null, seed=seed, max_bytes=budget
        )
        stage("probing", parts=5)
        readable, used = probe_evidence(
            pair, answers.queries, questions, form, thresholds=thresholds, seed=seed, max_bytes=budget
        )
        causal = Evidence.concat([causal, used])
        outcomes = with_output_contrast(outcomes, causal)
    require_whole()  # a verdict is of all units: a shard ends here
    outcomes = replace(outcomes, excluded=[*outcomes.excluded, *questions.left_out])
    stage("judging")
    verdict = judge(outcomes, readable, causal, thresholds=thresholds, seed=seed)
    provenance = _provenance(pair, answers.queries, questions, prompt, seed, null)
    evidence = Evidence.concat([causal, readable]).with_provenance(**provenance)
    return Comparison(outcomes, evidence, verdict, provenance, pair.base.name, pair.tuned.name)


def reference_facts(facts: FactSet, seed: int) -> FactSet | None:
    """Facts of another relation that were never tuned on, at most `REFERENCE_FACTS` of them.

    Args:
        facts: the facts that are compared; their name decides the other relation.
        seed: of the draw.

    Returns:
        The facts, in their own order; None where no other relation is declared.
    """
    name = REFERENCES.get(facts.name)
    if name is None:
        return None
    other = load_facts(name)
    order = torch.randperm(len(other), generator=torch.Generator().manual_seed(seed))
    return other.subset(sorted(order[:REFERENCE_FACTS].tolist()))


def _provenance(
    pair: ModelPair,
    queries: Queries,
    questions: KnownQuestions,
    prompt: str,
    seed: int,
    null: Model | None,
) -> dict[str, Any]:
    """Where the numbers come from: models, facts, settings and versions."""
    return {
        "base": {"source": pair.base.name, "fingerprint": pair.base.fingerprint},
        "tuned": {"source": pair.tuned.name, "fingerprint": pair.tuned.fingerprint},
        "null": None if null is None else {"source": null.name, "fingerprint": null.fingerprint},
        "warnings": [*pair.warnings, *queries.facts.notes],
        "facts": {
            "name": queries.facts.name,
            "source": queries.facts.source,
            "asked": len(set(queries.examples.groups)),
            "known": len(set(questions.examples.groups)),
            "templates": list(queries.facts.templates),
            "answers counted as one": [list(alike) for alike in queries.counted_as_one],
        },
        "prompt": prompt,
        "seed": seed,
        "dtype": str(pair.base.dtype),
        "device": str(pair.base.placement),
        "exactness": {m.role: asdict(m.exactness) for m in (pair.base, pair.tuned) if m.exactness},
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
