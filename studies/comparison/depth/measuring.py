"""The battery: what became of the old answers of changed facts, and what the new ones are."""

from __future__ import annotations

from collections import Counter

from interp.evidence import Evidence
from interp.models.pair import ModelPair
from interp.progress import stage
from interp.verdict.depth.judging import ONE_ANSWER
from interp.verdict.depth.readings import METHOD
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from studies.comparison.answers import PairAnswers
from studies.comparison.depth.asking import ask_further
from studies.comparison.depth.changed import (
    NEW,
    OLD,
    Candidates,
    KnownFacts,
    candidates,
    known_facts,
)
from studies.comparison.depth.relearning import relearn
from studies.comparison.depth.states import read_states
from studies.comparison.questions import FORMS, Prompt


def depth_evidence(
    pair: ModelPair,
    answers: PairAnswers,
    outcomes: Outcomes,
    *,
    prompt: Prompt = "raw",
    thresholds: Thresholds,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Ask, read and relearn the changed facts.

    Args:
        pair: base and tuned model; neither is changed.
        answers: what both models answered to the verdict's own questions.
        outcomes: the table of these answers, which tells the changed facts.
        prompt: "raw", or "chat" for the tuned model's chat template.
        thresholds: how many facts are read and how long they are relearned.
        seed: of the choice of facts, the folds and the tunes.
        max_bytes: memory for activations beside the models.

    Returns:
        Method ``depth``: the conditions of `ask_further`, `read_states` and `relearn`, and
        ``one_answer`` (1 for the facts that get the commonest new answer); its provenance lists under
        "depth_not_asked" why a reading is missing, and under "depth_commonest" how far one answer
        would be right. Nothing where no fact changed.

    Source: internal and external knowledge 2503.15299.
    """
    if not outcomes.changed_groups:
        return Evidence.concat([])
    stage("depth", parts=3)
    known = known_facts(pair, answers, outcomes, thresholds, seed)
    ranked = ranked_answers(known, thresholds)
    form = FORMS.index(outcomes.estimating_form)
    asked = ask_further(pair, known, ranked, form, prompt=prompt, max_bytes=max_bytes)
    read = read_states(pair, known, ranked, prompt=prompt, seed=seed)
    taught, why = relearn(pair, known, form, prompt=prompt, thresholds=thresholds, seed=seed)
    missing = {**asked.not_asked, **read.not_asked, **({"relearned": why} if why else {})}
    rows = Evidence.concat([asked.rows, read.rows, taught, _one_answer(known)])
    return rows.with_provenance(depth_not_asked=missing, depth_commonest=asked.commonest)


def ranked_answers(known: KnownFacts, thresholds: Thresholds) -> dict[str, Candidates]:
    """Old and new answers beside wrong ones, where enough changed facts have such.

    Args:
        known: the facts with their answers.
        thresholds: how many wrong ones, and how many facts are enough.
    """
    ranked = {kind: candidates(known, kind, thresholds.depth_wrong) for kind in (OLD, NEW)}
    return {kind: beside for kind, beside in ranked.items() if _enough(known, beside, thresholds)}


def _enough(known: KnownFacts, beside: Candidates, thresholds: Thresholds) -> bool:
    """Whether enough changed facts stand beside wrong answers."""
    counted = {fact for fact in beside.fact.tolist() if known.changed[fact]}
    return len(counted) >= thresholds.min_groups


def _one_answer(known: KnownFacts) -> Evidence:
    """Whether each changed fact gets the commonest new answer."""
    new = [known.new[i] for i in known.counted]
    said = Counter(answer for answer in new if answer)
    common = said.most_common(1)[0][0] if said else None
    return Evidence.build(
        [float(answer is not None and answer == common) for answer in new], method=METHOD,
        condition=ONE_ANSWER, metric=NEW, model="tuned", unit="share",
        group=[known.facts.groups[i] for i in known.counted],
    )  # fmt: skip
