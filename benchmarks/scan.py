"""`python -m benchmarks.scan`: a scan of 400 prompts and a comparison of 100 divergences.

SmolLM2-135M is scanned against one of its tunes with 400 of the shipped prompts and 32 tokens behind
each, and compared with it on a hundred capitals, which a tune that evades them all answers otherwise.
Each job runs in a process of its own, whose memory is read at the end. Seconds are those of the
process, to which another load on the machine adds only by what the two share; those on the clock stand
beside.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import counted, run_each, stages_of
from interp.facts.loading import load_facts
from interp.facts.prompts.files import OpenPrompt, PromptSet
from interp.facts.prompts.shipped import default_prompts
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from studies.comparison.comparing import compare
from studies.scanning.scanning import scan

#: Prompts of the scan and tokens behind each; prompts of the comparison and tokens behind each.
SCANNED, TOKENS, COMPARED, SAID = 400, 32, 100, 4

JOBS = ("scan", "compare")


def main() -> None:
    """Run either job in a process of its own and print what it took; --json adds one object."""
    run_each("benchmarks.scan", __doc__, JOBS, measured, as_table)


def measured(base: str, tuned: str, job: str) -> dict[str, Any]:
    """One job: what it found, seconds by stage, layer-tokens, memory."""
    pair, begun = load_pair(base, tuned), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, counted(pair) as (seconds, tokens):
        found = scanned(pair, Path(folder)) if job == "scan" else compared(pair, Path(folder))
    return {
        "found": found,
        "seconds": dict(seconds),
        "layer-tokens": dict(tokens),
        "on the clock": time.perf_counter() - begun,
        "peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def scanned(pair: ModelPair, folder: Path) -> str:
    """Scan with the shipped prompts, every kind of them."""
    every = default_prompts().prompts
    chosen = [every[i * len(every) // SCANNED] for i in range(SCANNED)]
    return scan(pair, PromptSet("shipped", tuple(chosen)), tokens=TOKENS, out=folder / "run").sentence


def compared(pair: ModelPair, folder: Path) -> str:
    """Compare on capitals, asked for as text that goes on."""
    texts = load_facts("capitals").prompts(0)[:COMPARED]
    prompts = PromptSet("capitals", tuple(OpenPrompt(text, text) for text in texts))
    return compare(pair, prompts, tokens=SAID, out=folder / "run").verdict.sentence


def as_table(job: str, found: dict[str, Any]) -> str:
    """A job's stages in Markdown."""
    lines = [
        f"**{job}**: {found['on the clock']:.0f} s on the clock; "
        f"{found['peak bytes'] / 2**30:.2f} GiB at most",
        "",
        "| stage | seconds | layer-tokens |",
        "|---|---|---|",
    ]
    for stage, taken, count in stages_of(found):
        lines.append(f"| {stage} | {taken:.1f} | {count:,} |")
    return "\n".join([*lines, "", found["found"], ""])


if __name__ == "__main__":
    main()
