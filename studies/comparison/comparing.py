"""The main job: base against tuned, from questions to verdict.

Ask both models the same questions; where they differ, find where the difference is made and what it
is by intervening; read with probes what either model still encodes; judge the two together.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp._files import require_new
from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.prompts.files import TEXT, PromptSet, load_prompts
from interp.facts.types import FactSet
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import job, stage
from interp.runs.fingerprint import fingerprint
from interp.runs.manifest import remove_units
from interp.runs.run import require_whole, resumable
from interp.verdict.judging import depth_of, judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from studies.comparison.answers import PairAnswers, ask_both
from studies.comparison.causal import causal_evidence
from studies.comparison.depth.measuring import depth_evidence
from studies.comparison.known_questions import KnownQuestions, known_questions
from studies.comparison.outcome_table import outcomes_of, with_output_contrast
from studies.comparison.prompts.causal import Readout
from studies.comparison.prompts.comparing import compare_prompts
from studies.comparison.questions import Prompt
from studies.comparison.representational import probe_evidence
from studies.comparison.result import Comparison
from studies.comparison.stages import ASKED, CONTINUED, with_depth

#: Facts of another relation, asked to see whether the change reaches facts never tuned on.
REFERENCES = {"capitals": "continents", "currencies": "continents", "continents": "currencies"}

REFERENCE_FACTS = 80

PACKAGES = ("interp", "torch", "transformers", "transformer-lens", "scikit-learn", "numpy")


def compare(
    pair: ModelPair,
    task: FactSet | PromptSet | str | Path | pd.DataFrame | Sequence[str],
    *,
    out: str | Path | None = None,
    budget: int = MAX_BYTES,
    prompt: Prompt = "raw",
    tokens: int | None = None,
    readout: Readout = "tuned",
    null: Model | None = None,
    depth: bool = False,
    answered: Callable[[Answered], object] | None = None,
    first: Callable[[Comparison], object] | None = None,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    resume: str | Path | None = None,
) -> Comparison:
    """Did tuning change what the model knows or what it says, where, and is that a cause?

    Asks both models the same questions. Where they differ, stitching in both orders tells in which
    blocks the difference is made, the shared-shift test whether it is one push or goes fact by fact,
    and probes what either model still encodes; `interp.judge` puts the three together.

    Of prompts of any kind both continuations are read up to the first token at which they part, and the
    contrast of the two tokens there takes the answers' place: it is chosen on the prompt as given and
    read on its paraphrase, else in a neutral frame.

    Args:
        pair: base and tuned model.
        task: facts: a name, a file, a table or a `FactSet`; or prompts of any kind: a list of texts, a
            .txt file, a table with the column prompt, or what `interp.load_prompts` gives.
        out: a new folder for the report and everything behind it; None writes nothing.
        budget: bytes of memory for activations beside the models; changes no number.
        prompt: "raw", or "chat" for the tuned model's chat template, rendered once for both.
        tokens: of prompts, how many are generated; by default 32, or half of the models' context.
        readout: of prompts, whose final norm and unembedding read every stitched cell: "tuned", "base",
            or "both", where the verdict rests on the tuned model's.
        null: a null tune of the same base, whose shift is one more placebo.
        depth: of facts, whether it is also asked what became of the old ones and what the new ones
            are: by further questions, probes, and a short tune beside the tuned model's weights, which
            stay as they are.
        answered: of facts, called once both models have answered.
        first: called with the comparison as it is before its depth is asked.
        thresholds: declared cut-offs; the defaults are the ones the verdict was fixed with.
        seed: of splits, placebos and resampling.
        resume: a folder that keeps the parts as they are made: the same call goes on from there. They
            are removed when `out`, which may be the same folder, is written.

    Returns:
        Outcomes, evidence and verdict. The evidence joins the methods ``stitch`` (conditions baseline,
        stitched), ``handover`` and ``patch`` (clean, corrupted, patched), ``cross_patch`` (baseline,
        patched) and ``shift`` of `patching`, the claims of `patching.swap_and_remove`, and ``probe``,
        ``readable`` and ``transfer`` of `probes` by boundary; units are logits, nats and shares. What
        varies in each is told by the function of that name. With `depth` it joins the method ``depth``.

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
    given = task_of(task)
    if out is not None:
        require_new(out, resume)
    cuts = thresholds or Thresholds()
    refuse_depth(given, depth)
    how = Asked(prompt, tokens, readout, null, cuts, seed, depth)
    if first is None:
        first = _nothing if out is None else partial(Comparison.save_verdict, folder=Path(out))
    kept: AbstractContextManager[Any] = nullcontext()
    if resume is not None:
        kept = resumable(resume, job=job_of(pair, given, how))
    stages = with_depth(ASKED if isinstance(given, FactSet) else CONTINUED, depth)
    with job(f"comparing {pair.tuned.name} with {pair.base.name}", stages), kept:
        comparison = _compare(pair, given, how, budget, answered or _nothing, first)
        if out is not None:
            comparison.save(Path(out))
            if resume is not None:
                remove_units(Path(resume))
    return comparison


@dataclass(frozen=True)
class Asked:
    """How a comparison asks: the settings that decide its numbers.

    Attributes:
        prompt: "raw" or "chat".
        tokens: of prompts, how many are generated; None for the usual number.
        readout: of prompts, who reads the stitched cells.
        null: a null tune of the same base.
        thresholds: the declared cut-offs.
        seed: of splits, placebos and resampling.
        depth: whether the depth of the change is asked.
    """

    prompt: Prompt
    tokens: int | None
    readout: Readout
    null: Model | None
    thresholds: Thresholds
    seed: int
    depth: bool = False


@dataclass(frozen=True, eq=False)
class Answered:
    """What both models answered, before anything is intervened on.

    Attributes:
        answers: to every question.
        outcomes: the table of these answers.
        questions: those about facts that the base knows.
    """

    answers: PairAnswers
    outcomes: Outcomes
    questions: KnownQuestions


def _nothing(_: object) -> None:
    """What is done on the way, where nothing is to be done."""


def task_of(
    task: FactSet | PromptSet | str | Path | pd.DataFrame | Sequence[str],
) -> FactSet | PromptSet:
    """What is asked: facts by name, file or table; prompts as a list, a text file or a table of them.

    Args:
        task: as `compare` takes it.

    Raises:
        ValueError: as `interp.load_facts` and `interp.load_prompts`.
    """
    if isinstance(task, FactSet | PromptSet):
        return task
    listed = isinstance(task, list | tuple)
    text = isinstance(task, str | Path) and Path(task).suffix.lower() == TEXT
    table = isinstance(task, pd.DataFrame) and any(
        str(name).strip().casefold() == "prompt" for name in (*task.columns, task.index.name)
    )
    return load_prompts(task) if listed or text or table else load_facts(task)  # pyright: ignore[reportArgumentType]


def refuse_depth(task: FactSet | PromptSet, depth: bool) -> None:
    """Refuse to ask for the depth of a change of which no right answer is known.

    Args:
        task: what is asked.
        depth: whether the depth is to be asked.

    Raises:
        ValueError: for prompts.
    """
    if depth and isinstance(task, PromptSet):
        raise ValueError(
            "the depth of a change is told of facts, of which the right answer is known; got prompts: "
            "leave depth out, or give facts"
        )


def job_of(pair: ModelPair, task: FactSet | PromptSet, how: Asked) -> dict[str, Any]:
    """What a comparison is of, by which its run's folder is known again."""

    def short(value: object) -> str:
        return fingerprint(value)[:12]

    facts = isinstance(task, FactSet)
    about: dict[str, Any] = {
        "work": "compare",
        "base": short(pair.base),
        "tuned": short(pair.tuned),
        "null": None if how.null is None else short(how.null),
        # Where they were read from decides no number.
        "facts" if facts else "prompts": f"{task.name} {short(replace(task, source='', notes=()))}",
        "prompt": how.prompt,
        "thresholds": short(how.thresholds),
        "seed": how.seed,
        "device": str(pair.base.placement.kinds),
        "dtype": str(pair.base.dtype).removeprefix("torch."),
    }
    if how.depth:
        about["depth"] = True
    return about if facts else {**about, "tokens": how.tokens, "readout": how.readout}


def _compare(
    pair: ModelPair,
    task: FactSet | PromptSet,
    how: Asked,
    budget: int,
    answered: Callable[[Answered], object],
    first: Callable[[Comparison], object],
) -> Comparison:
    """The comparison, stage by stage; nothing is written but by `first`."""
    answers = None
    if isinstance(task, PromptSet):
        outcomes, causal, readable, about = compare_prompts(
            pair, task, prompt=how.prompt, tokens=how.tokens, readout=how.readout, null=how.null,
            thresholds=how.thresholds, seed=how.seed, max_bytes=budget,
        )  # fmt: skip
    else:
        outcomes, causal, readable, about, answers = _compare_facts(pair, task, how, budget, answered)
    stage("judging")
    verdict = judge(outcomes, readable, causal, thresholds=how.thresholds, seed=how.seed)
    provenance = {**_provenance(pair, task, how), **about}
    evidence = Evidence.concat([causal, readable]).with_provenance(**provenance)
    found = Comparison(outcomes, evidence, verdict, provenance, pair.base.name, pair.tuned.name)
    if answers is None or not how.depth or verdict.changed != "changed":
        return found
    first(found)
    rows = depth_evidence(
        pair, answers, outcomes, prompt=how.prompt, thresholds=how.thresholds, seed=how.seed,
        max_bytes=budget,
    )  # fmt: skip
    deep = depth_of(rows, verdict.content, how.thresholds, how.seed)
    return replace(
        found, verdict=replace(verdict, depth=deep), evidence=Evidence.concat([evidence, rows])
    )


def _compare_facts(
    pair: ModelPair,
    facts: FactSet,
    how: Asked,
    budget: int,
    answered: Callable[[Answered], object],
) -> tuple[Outcomes, Evidence, Evidence, dict[str, Any], PairAnswers]:
    """What is asked and measured of facts: outcomes, causal evidence, what probes read, and of what."""
    thresholds, seed = how.thresholds, how.seed
    stage("asking", parts=4)
    reference = reference_facts(facts, seed)
    answers = ask_both(pair, facts, reference, prompt=how.prompt, max_bytes=budget)
    outcomes = outcomes_of(pair, answers)
    questions = known_questions(pair, answers, outcomes)
    answered(Answered(answers, outcomes, questions))
    causal, readable = Evidence.concat([]), Evidence.concat([])
    if not outcomes.identical:
        form = outcomes.estimating_form
        causal = causal_evidence(
            pair, questions, form, thresholds=thresholds, null=how.null, seed=seed, max_bytes=budget
        )
        stage("probing", parts=5)
        readable, used = probe_evidence(
            pair, answers.queries, questions, form, thresholds=thresholds, seed=seed, max_bytes=budget
        )
        causal = Evidence.concat([causal, used])
        outcomes = with_output_contrast(outcomes, causal)
    require_whole()  # a verdict is of all units: a shard ends here
    outcomes = replace(outcomes, excluded=[*outcomes.excluded, *questions.left_out])
    queries = answers.queries
    about = {
        "facts": {
            "name": facts.name,
            "source": facts.source,
            "asked": len(set(queries.examples.groups)),
            "known": len(set(questions.examples.groups)),
            "templates": list(facts.templates),
            "answers counted as one": [list(alike) for alike in queries.counted_as_one],
        }
    }
    return outcomes, causal, readable, about, answers


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


def _provenance(pair: ModelPair, task: FactSet | PromptSet, how: Asked) -> dict[str, Any]:
    """Where the numbers come from: models, settings and versions."""
    null = how.null
    return {
        "base": {"source": pair.base.name, "fingerprint": pair.base.fingerprint},
        "tuned": {"source": pair.tuned.name, "fingerprint": pair.tuned.fingerprint},
        "null": None if null is None else {"source": null.name, "fingerprint": null.fingerprint},
        "warnings": [*pair.warnings, *task.notes],
        "prompt": how.prompt,
        "depth": how.depth,
        "seed": how.seed,
        "dtype": str(pair.base.dtype),
        "device": str(pair.base.placement),
        "exactness": {m.role: asdict(m.exactness) for m in (pair.base, pair.tuned) if m.exactness},
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
