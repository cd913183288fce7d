"""How soon a short low-rank tune has old answers said again, beside answers that were never known.

A low-rank update (LoRA) is put beside every matrix of the tuned model's blocks, trained on half of the
changed facts, and taken away again: the model's own weights are frozen and end as they began, bit for
bit. The control is the same tune on the same facts, each with the old answer of another one. What was
only covered comes back in fewer steps than what has to be learnt, and facts that were not taught come
back with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, LoraModel
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from interp.evidence import Evidence
from interp.facts.types import render
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.runs.run import series
from interp.verdict.depth.judging import RECOVERED, RELEARNED
from interp.verdict.depth.readings import METHOD
from interp.verdict.thresholds import Thresholds
from studies.comparison.depth.changed import OLD, PERMUTED, KnownFacts
from studies.comparison.questions import Prompt, Queries, Wording, put

#: The sources that determine what is relearned.
CODE = ("interp.models", "studies.comparison.depth.relearning")

#: Name of the update, and how strongly it acts beside its rank.
NAME, SCALE = "relearned", 2.0


@dataclass(frozen=True, eq=False)
class Lesson:
    """Prompts with their answers, in batches of one length.

    Attributes:
        batches: (prompts' numbers, tokens up to the answer's last but one, answer tokens).
        count: how many prompts there are.
    """

    batches: tuple[tuple[list[int], Tensor, Tensor], ...]
    count: int

    @classmethod
    def of(cls, queries: Queries) -> Lesson:
        """The lesson that some queries make."""
        examples, shapes = queries.examples, dict[tuple[int, int], list[int]]()
        for i, answer in enumerate(queries.answers):
            shapes.setdefault((int(examples.lengths[i]), len(answer)), []).append(i)
        batches = []
        for rows in shapes.values():
            prompt = torch.stack([examples.tokens[i][examples.mask[i]] for i in rows])
            answer = torch.tensor([queries.answers[i] for i in rows], device=prompt.device)
            batches.append((rows, torch.cat([prompt, answer[:, :-1]], 1), answer))
        return cls(tuple(batches), len(examples))

    def passes(self, model: Model) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batch by batch: the prompts' numbers, logits at the answers' positions, answer tokens."""
        for rows, tokens, answer in self.batches:
            logits = model.bridge(tokens, use_cache=False, logits_to_keep=answer.shape[1])
            yield rows, logits[:, -answer.shape[1] :].float(), answer

    def said(self, model: Model) -> list[bool]:
        """Whether the whole answer to each prompt is said."""
        said = [False] * self.count
        with torch.no_grad():
            for rows, logits, answer in self.passes(model):
                for i, ok in zip(rows, _whole(logits, answer), strict=True):
                    said[i] = ok
        return said


def relearn(
    pair: ModelPair,
    known: KnownFacts,
    form: int,
    *,
    prompt: Prompt = "raw",
    thresholds: Thresholds,
    seed: int = 0,
) -> tuple[Evidence, str]:
    """Teach the tuned model old answers of half of the changed facts, and exchanged ones.

    Args:
        pair: base and tuned model; the tuned one is trained beside its own weights.
        known: the facts with their answers.
        form: number of the template that is taught.
        prompt: "raw", or "chat" for the tuned model's chat template.
        thresholds: how many facts, steps, the rank and the rate.
        seed: of the halves and of the update.

    Returns:
        Conditions ``relearned`` (unit steps: updates before the answer is first said, one more than
        there are where it never is; metric old, permuted) and ``recovered`` (1 where the old answer of
        a fact that was not taught is said afterwards; metric old, or permuted behind the control); and
        why nothing was taught, or "".
    """
    taught, held = halves(known, thresholds, seed)
    if min(len(taught), len(held)) < thresholds.min_groups:
        least = 2 * thresholds.min_groups
        return Evidence.concat([]), f"{len(taught) + len(held)} changed facts, {least} are needed"
    if not _matrices(pair.tuned):
        return Evidence.concat([]), "the model's blocks hold no matrix that takes a low-rank update"
    ask = partial(questions_about, pair, known, form, prompt)
    rest, parts = ask(held, OLD), []
    with counted(2 * thresholds.relearning_steps, "relearning", "steps") as step:
        for number, kind in enumerate((OLD, PERMUTED)):
            lesson = ask(taught, kind)
            kept = series(
                "relearning", CODE, pair.tuned, lesson.examples.texts, lesson.answers,
                rest.examples.texts, rest.answers, thresholds, seed,
            )  # fmt: skip
            make = partial(
                _tuned_on, pair.tuned, Lesson.of(lesson), Lesson.of(rest), thresholds, seed, step
            )
            made = kept.unit(number, make, dealt=False)
            assert made is not None  # every shard relearns
            parts += [
                _rows(known, RELEARNED, "steps", kind, lesson, made[0]),
                _rows(known, RECOVERED, "share", kind, rest, made[1]),
            ]
    return Evidence.concat(parts), ""


def halves(known: KnownFacts, thresholds: Thresholds, seed: int) -> tuple[list[int], list[int]]:
    """Changed facts that are taught, and as many that are not.

    Args:
        known: the facts.
        thresholds: how many at most.
        seed: of the draw.
    """
    counted_facts = known.counted
    order = np.random.default_rng(seed).permutation(len(counted_facts))
    chosen = [counted_facts[i] for i in order[: thresholds.relearned_facts]]
    half = len(chosen) // 2
    return sorted(chosen[:half]), sorted(chosen[half:])


def questions_about(
    pair: ModelPair, known: KnownFacts, form: int, prompt: Prompt, facts: Sequence[int], kind: str
) -> Queries:
    """The verdict's question of some facts, with one kind of answer.

    Args:
        pair: whose tokenizer spells them.
        known: the facts.
        form: number of the template.
        prompt: "raw" or "chat".
        facts: numbers of those that are asked.
        kind: old, new or permuted.
    """
    wordings = []
    for i in facts:
        text, span = render(known.facts.templates[form], known.facts.subjects[i])
        answer = known.answers(kind)[i]
        assert answer is not None  # old answers and exchanged ones are there for every fact
        wordings.append(Wording(i, kind, text, span, answer, known.facts.between(form)))
    return put(pair, known.facts, wordings, prompt=prompt)


def _tuned_on(
    model: Model, lesson: Lesson, rest: Lesson, thresholds: Thresholds, seed: int, step: Any
) -> tuple[list[int], list[bool]]:
    """Updates before each answer is first said, and whether those of other facts are said then."""
    steps = thresholds.relearning_steps
    first, number = [steps + 1] * lesson.count, 0
    with _beside(model, thresholds.relearning_rank, seed) as trained, torch.enable_grad():
        optimizer = torch.optim.AdamW(trained, lr=thresholds.relearning_rate, weight_decay=0.0)
        for number in range(steps + 1):
            tokens = sum(answer.numel() for _, _, answer in lesson.batches)
            for rows, logits, answer in lesson.passes(model):
                for i, ok in zip(rows, _whole(logits, answer), strict=True):
                    first[i] = min(first[i], number) if ok else first[i]
                loss = functional.cross_entropy(logits.flatten(0, 1), answer.flatten(), reduction="sum")
                if number < steps:
                    (loss / tokens).backward()
            if number == steps or max(first) <= number:
                break
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step(1)
        step(steps - number)
        return first, rest.said(model)


@contextmanager
def _beside(model: Model, rank: int, seed: int) -> Iterator[list[nn.Parameter]]:
    """A trainable low-rank update beside every matrix of the blocks, gone again afterwards."""
    whole: Any = model.bridge.original_model
    names = _matrices(model)
    own = {name: whole.get_submodule(name) for name in names}
    config = LoraConfig(
        r=rank, lora_alpha=SCALE * rank, target_modules=names, lora_dropout=0.0,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            LoraModel(whole, config, NAME)
        yield [p for p in whole.parameters() if p.requires_grad]
    finally:
        # Not by `unload`, which takes the hooks around a matrix for a part of the update.
        for name, module in own.items():
            whole.set_submodule(name, module)
        if hasattr(whole, "peft_config"):
            del whole.peft_config


def _matrices(model: Model) -> list[str]:
    """Full names of the matrices in the blocks."""
    inside = {id(part) for block in model.bridge.blocks for part in block.modules()}
    return [
        name
        for name, part in model.bridge.original_model.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and id(part) in inside
    ]


def _whole(logits: Tensor, answer: Tensor) -> list[bool]:
    """Whether every token of each answer is the likeliest."""
    return (logits.argmax(-1) == answer).all(1).tolist()


def _rows(
    known: KnownFacts, condition: str, unit: str, metric: str, queries: Queries, values: Sequence[Any]
) -> Evidence:
    return Evidence.build(
        [float(value) for value in values], method=METHOD, condition=condition, metric=metric,
        model="tuned", unit=unit, group=[known.facts.groups[i] for i in queries.fact],
    )  # fmt: skip
