"""`interp explain`: what a word means; of a run, what is undetermined and what would decide it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from interp.glossary.lookup import GLOSSARY, by_group, define
from interp.glossary.term import Term

WIDTH = 79


def _words(incomplete: str) -> list[str]:
    """Words that begin so, for the shell's completion."""
    return [term.word for term in GLOSSARY if term.word.startswith(incomplete)]


def explain(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORD|DIR]",
            help="A word of a verdict or a table, or the folder of a run; without it, every word.",
            autocompletion=_words,
        ),
    ] = None,
) -> None:
    """Explain a word of the verdict or of evidence, or why a run is undetermined."""
    if what is None:
        for group, terms in by_group().items():
            typer.echo(f"{group}:")
            typer.echo(_wrapped(", ".join(term.word for term in terms)))
        typer.echo("\ninterp explain WORD tells what one of them means.")
    elif os.path.isfile(Path(os.path.expanduser(what)) / "verdict.json"):
        typer.echo("\n".join(_run(what)))
    elif os.path.isdir(what):
        from interp.untrusted.verdict_file import read_verdict

        read_verdict(what)  # which says what is missing
    else:
        typer.echo("\n".join(_told(define(what))))


def _told(term: Term) -> Iterator[str]:
    yield f"{term.word} (of {term.group})"
    yield _wrapped(term.meaning)
    if term.formula:
        yield f"  = {term.formula}"
    if term.is_not:
        yield _wrapped(f"It does not mean {term.is_not}.")
    if term.also:
        yield f"  also written: {', '.join(term.also)}"
    yield f"  computed in: {term.home}"


def _run(folder: str) -> Iterator[str]:
    """What of a run is undetermined, each with why and what would decide it; else its words."""
    from interp.untrusted.reading import printable
    from interp.untrusted.verdict_file import read_verdict
    from interp.verdict.summary import open_points

    verdict = printable(read_verdict(folder))
    yield fill(verdict["sentence"], WIDTH)
    points = open_points(verdict)
    yield ""
    if not points:
        yield "Nothing of the verdict is undetermined. Its words:"
        for word in dict.fromkeys(
            verdict.get(key) for key in ("changed", "where", "where_fact", "what")
        ):
            if word is not None:
                yield ""
                yield from _told(define(word))
    for name, reasons in points:
        yield f"{name}: undetermined"
        for reason in reasons:
            why, _, decides = reason.rstrip(".").rpartition("; ")
            yield _wrapped(f"why: {why or decides}")
            if why:
                yield _wrapped(f"what would decide it: {decides}")
    claims = [c for c in verdict.get("claims") or [] if c["grade"] == "undetermined"]
    if claims:
        yield ""
        yield f"{len(claims)} of {len(verdict['claims'])} claims: undetermined"
        for claim in claims:
            yield _wrapped("- " + _claim(claim))
    yield ""
    yield "interp explain WORD tells what a word means, interp show DIR shows the numbers."


def _claim(claim: Mapping[str, Any]) -> str:
    """A claim without a grade: what is unknown of it, and what would tell."""
    pieces = claim.get("pieces") or {}
    read = "readable" if pieces.get("readable") else "not readable"
    if not pieces.get("readable") and not pieces.get("unreadable"):
        read = "neither surely readable nor surely unreadable"
    used = "used" if pieces.get("used") else "not used"
    if not pieces.get("used") and not pieces.get("unused"):
        used = "neither surely used nor surely unused"
    notes = "; ".join(claim.get("notes") or []) or "more entities narrow its intervals"
    return f"{claim['attribute']} at {claim['site']}, {claim['position']}: {read}, {used}; {notes}"


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
