"""`interp scan`: what changed between two models, without being asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interp.untrusted.reading import printable
from studies.commands.comparing import pair_of
from studies.commands.options import (
    OUTPUT,
    Base,
    Budget,
    Device,
    Dtype,
    Prompt,
    Prompts,
    Quiet,
    Seed,
    Tokens,
    Tuned,
    Verbose,
)
from studies.commands.work import fresh


def scan(
    base: Base = None,
    tuned: Tuned = None,
    prompts: Prompts = None,
    prompt: Prompt = "raw",
    tokens: Tokens = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the scan (default: a fresh numbered one).", rich_help_panel=OUTPUT
        ),
    ] = None,
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
    base, tuned = pair_of(base, tuned)
    if prompt not in ("raw", "chat"):
        raise ValueError(f"--prompt must be raw or chat, got {prompt!r}; choose one")
    with fresh(out) as folder:
        from interp.facts.own_prompts import load_prompts
        from interp.models.loading import load_pair
        from studies.scanning.scanning import scan as scanned

        asked = None if prompts is None else load_prompts(prompts)
        pair = load_pair(base, tuned, device=device, dtype=dtype)
        result = scanned(
            pair, asked, prompt="chat" if prompt == "chat" else "raw", tokens=tokens, seed=seed,
            budget=int(budget * 2**30),
        )  # fmt: skip
        page = result.save(folder)
    typer.echo(printable(result.sentence))
    for note in result.provenance["warnings"]:
        typer.echo(printable(f"note: {note}"))
    typer.echo(f"prompts: {folder / 'prompts.jsonl'} ({len(result.held_out)}, for interp compare)")
    typer.echo(f"scan: {page}")
