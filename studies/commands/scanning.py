"""`interp scan`: two models without a question."""

from __future__ import annotations

from studies.commands.options import (
    Base,
    Budget,
    Device,
    Dtype,
    Out,
    Prompt,
    Prompts,
    Quiet,
    Resume,
    Seed,
    Shard,
    Tokens,
    Tuned,
    Verbose,
)
from studies.commands.runs.asked_for import check_run, scan_of


def scan(
    base: Base = None,
    tuned: Tuned = None,
    prompts: Prompts = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    out: Out = None,
    resume: Resume = False,
    shard: Shard = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    budget: Budget = 2.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find what changed between two models, and write scan.html and prompts.jsonl.

    Without --prompts over four hundred short prompts of nine kinds are asked. What is found goes into
    `interp compare --prompts DIR/prompts.jsonl`.
    """
    work = scan_of(
        base=base, tuned=tuned, prompts=prompts, prompt=prompt, tokens=tokens, device=device,
        dtype=dtype, budget=budget, seed=seed,
    )  # fmt: skip
    check_run(out, resume=resume, shard=shard)
    work.begin(out, shard, resume=resume)
