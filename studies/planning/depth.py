"""What the depth of a change would cost: its questions are put and not asked, its tune not trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from interp.activations import Activations
from interp.examples import Examples
from interp.facts.types import Statements
from interp.models.pair import ModelPair
from interp.models.tokens import user_turn
from interp.sites import boundaries
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from patching.engine.planning import BlockTime
from probes.beliefs.claims import statement_examples
from studies.comparison.answers import PairAnswers
from studies.comparison.depth.asking import further_wordings
from studies.comparison.depth.changed import OLD, PERMUTED, Candidates, KnownFacts, known_facts
from studies.comparison.depth.measuring import ranked_answers
from studies.comparison.depth.relearning import halves, questions_about
from studies.comparison.depth.states import FOLDS, SITES, believed, texts_read
from studies.comparison.next_tokens import BATCH
from studies.comparison.questions import FORMS, Prompt, Queries, put
from studies.planning.costs import counted
from studies.planning.plans import Cost

#: What is taken for granted of the depth.
TAUGHT = "foretold: the short tunes take all of their steps"

#: How many forwards' time a step takes: forward, and backward through states and low-rank update.
STEP = 3

#: Rows of evidence that a question leaves of either model.
MODELS = 2


def depth_cost(
    pair: ModelPair,
    answers: PairAnswers,
    outcomes: Outcomes,
    examples: Examples,
    prompt: Prompt,
    thresholds: Thresholds,
    seed: int,
) -> Cost:
    """What asking for the depth of a change would cost.

    The facts are chosen as the job does, and the tuned model really says what it puts in their place.

    Args:
        pair: base and tuned model.
        answers: what both answered.
        outcomes: the table of these answers.
        examples: prompts on which a block is timed.
        prompt: "raw" or "chat".
        thresholds: how much is asked, read and taught.
        seed: of the draws.
    """
    with counted(pair) as said:
        known = known_facts(pair, answers, outcomes, thresholds, seed)
    takes, form = BlockTime.of(pair.base, examples), FORMS.index(outcomes.estimating_form)
    ranked = ranked_answers(known, thresholds)
    deep = Deep(pair, known, ranked, form, prompt, thresholds, seed, takes)
    new = Cost(layer_tokens=said.layer_tokens, seconds=said.seconds)
    return Cost.of([new, deep.asking(), deep.reading(), deep.relearning()])


@dataclass(frozen=True, eq=False)
class Deep:
    """Facts whose depth would be asked.

    Attributes:
        pair: base and tuned model.
        known: the changed facts and others, with their answers.
        ranked: old and new answers beside wrong ones.
        form: number of the template on which effects are estimated.
        prompt: "raw" or "chat".
        thresholds: how much is asked, read and taught.
        seed: of the draws.
        takes: the time of a block.
    """

    pair: ModelPair
    known: KnownFacts
    ranked: dict[str, Candidates]
    form: int
    prompt: Prompt
    thresholds: Thresholds
    seed: int
    takes: BlockTime

    def asking(self) -> Cost:
        """Every further question, put to both models."""
        kept, _ = further_wordings(self.pair, self.known, self.ranked, self.form)
        if not kept:
            return Cost()
        queries = put(self.pair, self.known.facts, kept, prompt=self.prompt)
        shapes = _shapes(queries)
        calls = sum(-(-count // BATCH) for count in shapes.values())
        return self._forwards(MODELS * calls, MODELS * _tokens(shapes), rows=MODELS * len(kept))

    def reading(self) -> Cost:
        """Statements behind which states are read, and the question of their truth."""
        parts = []
        for kind, beside in self.ranked.items():
            if len(np.unique(beside.block)) < FOLDS:
                continue
            texts, question, _ = texts_read(self.pair.base, self.known, beside)
            told, calls = texts[0], [one.texts for one in texts]
            if len(texts) > 1:
                asked = [question.text.replace("{statement}", text) for text in texts[-1].texts]
                calls.append(tuple(map(self._turned, asked)))
            lengths = [self._read(of, told).lengths for of in calls]
            batches = sum(-(-len(of) // BATCH) for of in lengths)
            tokens = sum(int(of.sum()) for of in lengths)
            read = self._forwards(MODELS * batches, MODELS * tokens, rows=2 * MODELS * len(beside))
            fits = (MODELS + (kind == OLD)) * self._fitted(texts)
            parts += [read, Cost(seconds=fits)]
        return Cost.of(parts)

    def relearning(self) -> Cost:
        """Two short tunes, and the facts that were not taught behind each."""
        taught, held = halves(self.known, self.thresholds, self.seed)
        if min(len(taught), len(held)) < self.thresholds.min_groups:
            return Cost()

        def shapes(facts: Sequence[int], kind: str) -> dict[tuple[int, int], int]:
            return _shapes(questions_about(self.pair, self.known, self.form, self.prompt, facts, kind))

        steps, rest, parts = self.thresholds.relearning_steps, shapes(held, OLD), []
        for kind in (OLD, PERMUTED):
            lesson = shapes(taught, kind)
            calls, tokens = (steps + 1) * len(lesson) + len(rest), _tokens(lesson)
            run = self._forwards(calls, (steps + 1) * tokens + _tokens(rest), rows=len(taught))
            behind = self._forwards(steps * len(lesson), steps * tokens)
            parts += [run, Cost(seconds=(STEP - 1) * behind.seconds)]
        return Cost.of(parts)

    def _forwards(self, calls: int, tokens: int, rows: int = 0) -> Cost:
        """So many whole forwards of so many tokens in all."""
        layers = self.pair.base.n_layers
        seconds = self.takes.seconds(layers * calls, layers * tokens)
        return Cost(forwards=calls, layer_tokens=layers * tokens, rows=rows, seconds=seconds)

    def _turned(self, text: str) -> str:
        """A question as it is put."""
        raw, tuned = self.prompt == "raw", self.pair.tuned
        return text if raw else user_turn(tuned.tokenizer, text, tuned.name)

    def _read(self, texts: Sequence[str], told: Statements) -> Examples:
        """Texts about statements as the models read them."""
        return statement_examples(self.pair.base, texts, told)

    def _fitted(self, texts: Sequence[Statements]) -> float:
        """Seconds of one model's probes of truth, on noise."""
        told, generator = texts[0], torch.Generator().manual_seed(self.seed)
        examples = self._read(told.texts, told)
        every = boundaries(self.pair.base.n_layers)
        states = [
            Activations(
                every[i % len(every)],
                torch.randn(len(examples), self.pair.base.d_model, generator=generator),
                examples.groups, examples.labels, "last", "base", None, None,
            )
            for i in range(len(texts) * min(SITES, len(every)))
        ]  # fmt: skip
        begun = time.perf_counter()
        believed(states, np.array(told.labels), self.seed)
        return time.perf_counter() - begun


def _shapes(queries: Queries) -> dict[tuple[int, int], int]:
    """(tokens of a prompt, tokens of its answer) -> how many questions have these."""
    shapes: dict[tuple[int, int], int] = {}
    for length, answer in zip(queries.examples.lengths.tolist(), queries.answers, strict=True):
        shapes[length, len(answer)] = shapes.get((length, len(answer)), 0) + 1
    return shapes


def _tokens(shapes: dict[tuple[int, int], int]) -> int:
    """Tokens that go through the blocks: prompts, and answers but for their last token."""
    return sum(count * (length + answer - 1) for (length, answer), count in shapes.items())
