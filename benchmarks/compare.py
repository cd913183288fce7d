"""`python -m benchmarks.compare`: the main job, counted in bare forwards of its own known prompts.

SmolLM2-135M is compared with one of its tunes: on all capitals, on 24 of them, and on the same 24 in
the tune's chat template. Each job runs in a process of its own, whose memory is read at the end. Beside
it, in the same process, run bare forwards of the prompts that the base knows, on the form that effects
are estimated on: the plain transformers model, prompts of one length together, logits of the last
position only. Both sides are told twice, in process time and in layer-tokens (tokens put through one
block each), which no load on the machine can change.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.jobs import counted, run_each, stages_of
from interp.examples import Examples
from interp.facts.loading import load_facts
from interp.facts.types import FactSet
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from studies.comparison.comparing import Comparison, compare
from studies.comparison.questions import Prompt

#: Job -> whether it asks all capitals, and how.
JOBS: dict[str, tuple[bool, Prompt]] = {
    "capitals": (True, "raw"),
    "24 raw": (False, "raw"),
    "24 in chat": (False, "chat"),
}

#: Capitals that the base gives on both forms as plain text, the first 19 of them in chat too.
FEW = (
    "Afghanistan", "Azerbaijan", "Cuba", "Denmark", "France", "Germany", "Greece", "Indonesia",
    "Ireland", "Japan", "Netherlands", "North Korea", "North Macedonia", "Norway", "Portugal", "Rwanda",
    "Somalia", "South Korea", "United Kingdom", "Austria", "Canada", "Italy", "Peru", "Sweden",
)  # fmt: skip

#: Bare forwards that are timed; their median counts.
REPEATS = 5

#: Prompts of a bare forward at most.
BATCH = 64


def main() -> None:
    """Run every job in a process of its own and print its cost; --json adds one object at the end."""
    run_each("benchmarks.compare", __doc__, JOBS, measured, as_table)


def measured(base: str, tuned: str, job: str) -> dict[str, Any]:
    """One job and the bare forwards of its known prompts: seconds, layer-tokens, memory."""
    every, prompt = JOBS[job]
    pair, facts = load_pair(base, tuned), load_facts("capitals")
    facts = facts if every else few_of(facts)
    with tempfile.TemporaryDirectory() as folder, counted(pair) as (seconds, tokens):
        comparison = compare(pair, facts, prompt=prompt, out=Path(folder) / "run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    known = known_prompts(pair, comparison, special=prompt == "raw")
    return {
        "known": len(known),
        "sentence": comparison.verdict.sentence,
        "bare seconds": bare_forward(pair, known),
        "bare layer-tokens": int(known.lengths.sum()) * pair.base.n_layers,
        "seconds": dict(seconds),
        "layer-tokens": dict(tokens),
        "peak bytes": peak,
    }


def few_of(facts: FactSet) -> FactSet:
    """The declared facts of a set."""
    return facts.subset([i for i, group in enumerate(facts.groups) if group in FEW])


def known_prompts(pair: ModelPair, comparison: Comparison, *, special: bool) -> Examples:
    """The prompts of the facts that the base knows, on the form that effects are estimated on."""
    table = comparison.outcomes.table
    chosen = table["known"] & (table["form"] == comparison.outcomes.estimating_form)
    texts = table[chosen & ~table["untuned"]]["text"].tolist()
    return Examples.from_text(pair.base, texts, add_special_tokens=special)


@torch.no_grad()
def bare_forward(pair: ModelPair, prompts: Examples) -> float:
    """Median process seconds of a forward of the plain model over the prompts."""
    batches = [
        prompts.tokens[rows].gather(1, prompts.columns(rows))
        for same in prompts.by_length()
        for rows in same.split(BATCH)
    ]
    taken = []
    for _ in range(1 + REPEATS):
        begun = time.process_time()
        for tokens in batches:
            pair.base.bridge.original_model(tokens, use_cache=False, logits_to_keep=1)
        taken.append(time.process_time() - begun)
    return statistics.median(taken[1:])


def as_table(job: str, found: dict[str, Any]) -> str:
    """A job's stages in Markdown, each in bare forwards too."""
    second, token = found["bare seconds"], found["bare layer-tokens"]
    lines = [
        f"**{job}**: {found['known']} known prompts; their bare forward takes {second:.2f} s and "
        f"{token:,} layer-tokens; {found['peak bytes'] / 2**30:.2f} GiB at most",
        "",
        "| stage | seconds | bare forwards | layer-tokens | bare forwards |",
        "|---|---|---|---|---|",
    ]
    for stage, taken, count in stages_of(found):
        lines.append(
            f"| {stage} | {taken:.1f} | {taken / second:.1f} | {count:,} | {count / token:.1f} |"
        )
    return "\n".join([*lines, "", found["sentence"], ""])


if __name__ == "__main__":
    main()
