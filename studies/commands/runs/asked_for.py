"""The work that options ask for, with what was left out, and what is refused before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp.runs.manifest import shard_of
from studies.commands.runs.comparison import ComparisonWork
from studies.commands.runs.scan import ScanWork

#: The pair that is compared when none is named, and the facts of its world, which no other knows.
DEFAULT_BASE, DEFAULT_TUNED, DEFAULT_FACTS = "organism-base", "organism-edited-low", "world"
#: What the names of models of that world begin with.
ORGANISM = "organism-"


def comparison_of(
    *,
    base: str | None,
    tuned: str | None,
    facts: str | None = None,
    prompts: str | None = None,
    prompt: str = "raw",
    tokens: int | None = None,
    readout: str = "tuned",
    depth: bool = False,
    **options: Any,
) -> ComparisonWork:
    """The comparison that options ask for.

    Raises:
        ValueError: if something was left out that cannot be guessed, an option belongs to the other
            kind of question, or `prompt` is unknown.
    """
    base, tuned = pair_of(base, tuned)
    if prompts is not None and facts is not None:
        raise ValueError(
            f"got both --facts {facts} and --prompts {prompts}; a comparison asks one of them; give one"
        )
    if prompts is None and (tokens is not None or readout != "tuned"):
        raise ValueError("--tokens and --readout are of prompts; give --prompts with a file of them")
    if prompts is not None and depth:
        raise ValueError("--depth is of facts, of which the right answer is known; leave it out")
    check_prompt(prompt)
    return ComparisonWork(
        base=base, tuned=tuned, facts=facts_of(base, facts) if prompts is None else None,
        prompts=prompts, prompt=prompt, tokens=tokens, readout=readout, depth=depth, **options,
    )  # fmt: skip


def scan_of(*, base: str | None, tuned: str | None, prompt: str = "raw", **options: Any) -> ScanWork:
    """The scan that options ask for.

    Raises:
        ValueError: if a model was left out that cannot be guessed, or `prompt` is unknown.
    """
    base, tuned = pair_of(base, tuned)
    check_prompt(prompt)
    return ScanWork(base=base, tuned=tuned, prompt=prompt, **options)


def pair_of(base: str | None, tuned: str | None) -> tuple[str, str]:
    """The two models to compare: a default stands in beside a model of the same world only.

    Raises:
        ValueError: if one model is named and its other half cannot be guessed.
    """
    if base is None and (tuned is None or tuned.startswith(ORGANISM)):
        base = DEFAULT_BASE
    if tuned is None and base == DEFAULT_BASE:
        tuned = DEFAULT_TUNED
    if base is None:
        raise ValueError(f"--tuned {tuned} needs the model it was tuned from; give --base")
    if tuned is None:
        raise ValueError(f"--base {base} needs a version tuned from it; give --tuned")
    return base, tuned


def facts_of(base: str, facts: str | None) -> str:
    """The facts to ask about: those of the default pair's world for that base only.

    Raises:
        ValueError: if another base is given without facts.
    """
    if facts is not None:
        return facts
    if base == DEFAULT_BASE:
        return DEFAULT_FACTS
    raise ValueError(
        f"--base {base} needs facts to be asked about; give --facts, a file or a name that "
        "`interp list` shows, such as capitals"
    )


def check_prompt(prompt: str) -> None:
    """Refuse what is no way to ask.

    Raises:
        ValueError: naming both ways.
    """
    if prompt not in ("raw", "chat"):
        raise ValueError(f"--prompt must be raw or chat, got {prompt!r}; choose one")


def check_run(out: Path | None, *, resume: bool, shard: str | None, ray: bool = False) -> None:
    """Refuse to keep the parts of a run without a folder for them.

    Raises:
        ValueError: naming the option that needs it, or a shard that is none.
    """
    if (resume or shard or ray) and out is None:
        option = "--resume" if resume else "--shard" if shard else "--engine ray"
        raise ValueError(f"{option} needs the folder of the run; give --out, the same one each time")
    if shard is not None:
        shard_of(shard)


def require_no_page(out: Path) -> None:
    """Refuse a folder whose work is done.

    Raises:
        ValueError: naming it.
    """
    if any((out / work.page).exists() for work in (ComparisonWork, ScanWork)):
        raise ValueError(
            f"--out {out} holds a report already; nothing is overwritten; give a new folder"
        )
