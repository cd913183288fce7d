"""What the states of either model and its own judgement say of old and new answers.

Statements offer every answer of a block to every fact of it. A probe of truth is fitted on the states
behind them and behind the question whether they are true, and read on blocks that it has not seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.facts.types import Statements, render_statement
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import encode, lacks
from interp.runs.run import series
from interp.sites import boundaries
from interp.verdict.depth.readings import BELIEF, CLAIM, METHOD, PROBE, VERIFIED
from probes.beliefs.belief import posterior
from probes.beliefs.claims import QUESTIONS, Question, claims, statement_examples
from probes.splits import SmallSample
from studies.comparison.depth.asking import FurtherAnswers, pair_rows
from studies.comparison.depth.changed import OLD, PERMUTED, Candidates, KnownFacts
from studies.comparison.questions import Prompt

#: The sources that determine what is read.
CODE = ("interp.models", "interp.activations", "probes", "studies.comparison.depth.states")

#: Boundaries of the residual stream that a probe may choose among, at most.
SITES = 10

#: Folds of blocks, and so the fewest blocks.
FOLDS = 5

#: The question about a statement where a fact set has none of its own.
_USUAL = QUESTIONS[0]


def read_states(
    pair: ModelPair,
    known: KnownFacts,
    ranked: dict[str, Candidates],
    *,
    prompt: Prompt = "raw",
    seed: int = 0,
) -> FurtherAnswers:
    """Rank old and new answers by a held-out probe and by the model's own "true".

    Args:
        pair: base and tuned model.
        known: the facts with their answers.
        ranked: old and new answers beside wrong ones.
        prompt: "raw", or "chat" for the question of truth in the chat template.
        seed: of the folds.

    Returns:
        Conditions ``probe`` and ``verified`` (share of wrong answers ranked below), ``belief`` and
        ``claim`` (1 where the right answer's statement is read as true, called true); metric old, new
        or permuted; by model and fact.
    """
    parts: list[Evidence] = []
    missing: dict[str, str] = {}
    for kind, beside in ranked.items():
        if len(np.unique(beside.block)) < FOLDS:
            continue
        texts, question, foreign = texts_read(pair.base, known, beside)
        if foreign:
            missing |= dict.fromkeys((VERIFIED, CLAIM), foreign)
        for model in (pair.base, pair.tuned):
            control = beside.exchanged() if kind == OLD and model is pair.tuned else None
            kept = series("truth of statements", CODE, model, texts, question, control, prompt, seed)
            make = partial(_scores, model, texts, question, control, prompt, seed)
            scores = kept.unit(0, make, dealt=False)
            assert scores is not None  # every shard reads
            for names, threshold in (((PROBE, BELIEF), 0.5), ((VERIFIED, CLAIM), 0.0)):
                if names[0] in scores:
                    own = np.array(scores[names[0]])
                    parts += _rows(known, model.role, names, kind, beside, own, threshold)
                if control is not None and _control(names[0]) in scores:
                    read = control.pairs(np.array(scores[_control(names[0])]))
                    parts.append(pair_rows(known, model.role, names[0], PERMUTED, read, ""))
    if not parts:
        reason = f"fewer than {FOLDS} blocks of different answers"
        missing |= dict.fromkeys((PROBE, VERIFIED, BELIEF, CLAIM), reason)
    return FurtherAnswers(Evidence.concat(parts), missing)


def texts_read(
    model: Model, known: KnownFacts, beside: Candidates
) -> tuple[tuple[Statements, ...], Question, str]:
    """The statements behind which states are read, the question of truth, and why it is not asked.

    Args:
        model: whose tokenizer must spell the question.
        known: the facts with their answers.
        beside: the candidates, of each of which a statement is made.
    """
    told = _statements(known, beside)
    asked, question = _truth_question(known, beside, told)
    foreign = _foreign(model, asked, question)
    return ((told,) if foreign else (told, asked)), question, foreign


def _scores(
    model: Model,
    texts: Sequence[Statements],
    question: Question,
    control: Candidates | None,
    prompt: Prompt,
    seed: int,
) -> dict[str, list[float]]:
    """Held-out probability and log-odds of truth of every statement, by reading, and the controls."""
    states = [site for told in texts for site in _states(model, told)]
    right = np.array(texts[0].labels)
    scores = {PROBE: believed(states, right, seed).tolist()}
    if len(texts) > 1:
        rows = claims(model, texts[1], questions=[question], prompt=prompt).table
        scores[VERIFIED] = rows["value"].to_numpy(float).tolist()
    if control is not None:
        # A probe of exchanged answers; what the model calls true is what it is.
        scores |= {_control(name): values for name, values in scores.items()}
        scores[_control(PROBE)] = believed(states, control.right, seed).tolist()
    return scores


def _control(reading: str) -> str:
    return f"{reading} {PERMUTED}"


def _statements(known: KnownFacts, beside: Candidates) -> Statements:
    """A statement of every candidate, labelled by whether it is the fact's own answer."""
    facts, template = known.facts, known.facts.statement
    texts = [
        render_statement(template, facts.subjects[i], answer)
        for i, answer in zip(beside.fact.tolist(), beside.answer, strict=True)
    ]
    return Statements(
        facts.name, tuple(texts), tuple(beside.right.tolist()),
        tuple(facts.groups[i] for i in beside.fact.tolist()), beside.answer,
        tuple(f"block {number:03d}" for number in beside.block.tolist()),
    )  # fmt: skip


def _truth_question(
    known: KnownFacts, beside: Candidates, told: Statements
) -> tuple[Statements, Question]:
    """What is asked about every candidate, and with which words it is answered."""
    own = known.facts.further.true_or_false
    if own is None:
        texts = tuple(_USUAL.text.replace("{statement}", text) for text in told.texts)
        return replace(told, texts=texts), Question("{statement}", _USUAL.yes, _USUAL.no)
    rows = zip(beside.fact.tolist(), beside.answer, strict=True)
    texts = tuple(render_statement(own.template, known.facts.subjects[i], a) for i, a in rows)
    return replace(told, texts=texts), Question("{statement}", own.yes, own.no)


def _foreign(model: Model, asked: Statements, question: Question) -> str:
    """Why the truth of a statement cannot be asked; nothing if it can."""
    words = [f"{asked.texts[0]}{word}" for word in (question.yes[0], question.no[0])]
    if any(lacks(model.tokenizer, encode(model.tokenizer, text, special=False)) for text in words):
        return "its words are not in the models' vocabulary"
    return ""


def _states(model: Model, told: Statements) -> Sequence[Activations]:
    """The states at the last token of every text, at some boundaries of the residual stream."""
    every = boundaries(model.n_layers)
    chosen = np.unique(np.linspace(0, len(every) - 1, SITES).round().astype(int))
    examples = statement_examples(model, told.texts, told)
    states = collect(model, examples, [every[i] for i in chosen])
    return list(states.values())


def believed(states: Sequence[Activations], right: np.ndarray, seed: int) -> np.ndarray:
    """Held-out probability that each candidate is the fact's own answer.

    Args:
        states: at the boundaries that are read.
        right: whether each is.
        seed: of the folds.
    """
    labelled = [replace(one, labels=torch.from_numpy(right.astype(float))) for one in states]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSample)  # one right answer among several is meant
        rows = posterior(labelled, folds=FOLDS, seed=seed).table.sort_values("example")
    return rows["value"].to_numpy(float)


def _rows(
    known: KnownFacts,
    role: str,
    conditions: tuple[str, str],
    kind: str,
    beside: Candidates,
    scores: np.ndarray,
    threshold: float,
) -> list[Evidence]:
    """A reading that ranks, and the one that tells whether right answers are taken for true."""
    counted = np.array([known.changed[i] for i in beside.fact.tolist()]) & beside.right
    groups = [known.facts.groups[i] for i in beside.fact[counted].tolist()]
    taken = Evidence.build(
        (scores[counted] > threshold).astype(float), method=METHOD, condition=conditions[1],
        metric=kind, model=role, group=groups, unit="share",
    )  # fmt: skip
    return [pair_rows(known, role, conditions[0], kind, beside.pairs(scores), ""), taken]
