"""`studies.plan_scan`: what a scan would cost, told from a few prompts that are really asked.

The calls that follow are those of the scan, told and not run; what they take is measured in a few
seconds. Beside the plan stands the most that the prompts can cost: all of them changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from interp import stats
from interp.examples import Examples
from interp.facts.prompts.files import PromptSet
from interp.models.pair import ModelPair
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from patching.weights.parameters import Parameters
from studies.comparison.questions import Prompt
from studies.comparison.stages import SCANNED
from studies.planning.open.heard import Asked, Heard
from studies.planning.open.talk import Talk
from studies.planning.open.work import sampling, scanning
from studies.planning.plans import Cost, JobPlan
from studies.scanning.context import spectrum_of, unrelated_texts
from studies.scanning.findings import Halves, find, words_of
from studies.scanning.measuring import SUMS
from studies.scanning.samples import SCALES
from studies.scanning.scanning import prompts_of
from studies.scanning.token_groups import SHOWN, groups_of

#: Bytes of a scan's page and of its tables that do not grow with the prompts; of each prompt beside its
#: text and its continuations; of each token of these.
PAGE_BYTES, ROW_BYTES, TOKEN_BYTES = 70_000, 150, 6


def plan_scan(
    pair: ModelPair,
    prompts: PromptSet | str | Path | pd.DataFrame | Sequence[str] | None = None,
    *,
    prompt: Prompt = "raw",
    tokens: int | None = None,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    budget: int = MAX_BYTES,
) -> JobPlan:
    """What `studies.scan` with the same arguments would cost, stage by stage.

    Args:
        pair: base and tuned model.
        prompts: what would be asked, as `studies.scan` takes it; by default the shipped prompts.
        prompt: "raw", or "chat" for the tuned model's chat template.
        tokens: how many would be generated; by default 32, or half of the models' context.
        thresholds: the declared cut-offs: what is a near tie.
        seed: of what is drawn.
        budget: bytes of memory for activations beside the models.

    Returns:
        A `JobPlan`; printed, it is a table. A few prompts are asked and foretell what all come to;
        where there are no more, the tokens of the asking are the job's own. `most` is what the prompts
        cost if all of them change. Seconds are of this machine as it is now.

    Raises:
        ValueError: as `studies.scan`, which would end in the same line.

    Example:
        >>> import interp, studies
        >>> pair = interp.load_pair("organism-base", "organism-evasive-high")
        >>> facts = interp.load_facts("world")
        >>> cost = studies.plan_scan(pair, facts.prompts(0)[:16], tokens=2)
        >>> cost.counts, [stage.name for stage in cost.stages]
        ({'prompts': 16, 'changed': 16}, ['asking', 'findings', 'samples', 'context', 'writing'])
        >>> cost.most.layer_tokens >= cost.layer_tokens > 0
        True
    """
    asked = Asked.of(
        pair, prompts_of(prompts), prompt=prompt, tokens=tokens, thresholds=thresholds or Thresholds(),
        seed=seed, budget=budget,
    )  # fmt: skip
    return scan_plan(asked)


def scan_ahead(pair: ModelPair, prompts: PromptSet, **how: Any) -> JobPlan:
    """What a scan would cost if half of the prompts changed; none is asked."""
    return scan_plan(Asked.of(pair, prompts, thresholds=Thresholds(), ask=False, **how))


def scan_plan(asked: Asked) -> JobPlan:
    """What a scan of prompts of which a few were asked would cost."""
    beside = _beside(asked)
    costs, most = ({**_scan(asked, heard), **beside} for heard in (asked.foretold, asked.most))
    # The numbers of every token and prompt are held from the first stage on.
    held = len(SUMS) * 4 * asked.rates.vocabulary * len(asked.rendered.texts)
    for stages in (costs, most):
        stages |= {name: replace(c, peak_bytes=c.peak_bytes + held) for name, c in stages.items()}
    return asked.plan(list(SCANNED), costs, most)


def _scan(asked: Asked, heard: Sequence[Heard]) -> dict[str, Cost]:
    """The stages of a scan in which the models run."""
    (widths, _), rates, rendered = asked.widths, asked.rates, asked.rendered
    texts = [prompt.text for prompt in rendered.prompts[: len(widths)]]
    halves = Halves.of(rendered.units[: len(widths)], texts, asked.seed)
    sampled = sampling(widths, heard, halves.second.tolist(), rendered.tokens, rates).cost(rates)
    swept = any(one.changed and held for one, held in zip(heard, halves.second, strict=True))
    scaled = len(SCALES) * _scaled(asked.pair) if swept else 0.0
    return {
        "asking": scanning(widths, heard, rates).cost(rates),
        "samples": replace(sampled, seconds=sampled.seconds + scaled),
    }


def _scaled(pair: ModelPair) -> float:
    """Seconds in which a share of the change of the weights is written, and taken back."""
    begun = time.perf_counter()
    with Parameters(pair).scaled(0.5):
        pass
    return time.perf_counter() - begun


def _beside(asked: Asked) -> dict[str, Cost]:
    """The stages of a scan that hang on nothing that is said: findings, context, writing."""
    pair, n = asked.pair, len(asked.rendered.texts)
    context = _lens(pair).cost(asked.rates)
    letters = sum(len(text.encode()) for text in asked.rendered.texts)
    disk = PAGE_BYTES + letters + n * (ROW_BYTES + 2 * TOKEN_BYTES * asked.rendered.tokens)
    return {
        "findings": Cost(seconds=_findings(asked)),
        "context": replace(context, seconds=context.seconds + _weights(pair)),
        "writing": Cost(disk_bytes=disk),
    }


def _findings(asked: Asked) -> float:
    """Seconds of tests, intervals and groups of tokens, on what is foretold."""
    rendered, heard = asked.rendered, asked.foretold
    units = list(rendered.units[: len(heard)])
    said = [(0, 1) if one.changed else None for one in heard]
    noise = np.random.default_rng(asked.seed).random((len(heard), 2 * SHOWN))
    begun = time.perf_counter()
    words = [words_of(p.text, p.label) for p in rendered.prompts]
    halves = Halves.of(units, [p.text for p in rendered.prompts[: len(heard)]], asked.seed)
    find(words, said, units, halves, asked.thresholds)
    for column in noise.T:
        stats.mean_interval(column, units)
    groups_of(noise, asked.seed)
    return time.perf_counter() - begun


def _lens(pair: ModelPair) -> Talk:
    """Both models on unrelated text."""
    talk, texts = Talk(), unrelated_texts(pair)
    lengths = Examples.from_text(pair.base, texts).lengths.tolist() if texts else []
    for _ in ("base", "tuned"):
        talk.forwards += [(lengths.count(width), width) for width in sorted(set(lengths))]
    return talk


def _weights(pair: ModelPair) -> float:
    """Seconds of the spectra of all matrices that differ: one of each shape is timed."""
    seconds: dict[tuple[int, ...], float] = {}
    whole = 0.0
    for slot in Parameters(pair).slots:
        before, after = slot.value("base"), slot.value("tuned")
        if not slot.live or slot.layer is None or before.ndim != 2 or torch.equal(before, after):
            continue
        shape = tuple(before.shape)
        if shape not in seconds:
            begun = time.perf_counter()
            spectrum_of(slot)
            seconds[shape] = time.perf_counter() - begun
        whole += seconds[shape]
    return whole
