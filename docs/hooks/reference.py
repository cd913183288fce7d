"""Pages of reference, made from the code when the site is built."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from interp.glossary.lookup import by_group
from interp.glossary.term import Term
from interp.verdict.thresholds import Thresholds
from studies.cli import app

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "interp": "models, facts, sites, activations, metrics, the verdict and the figures",
    "probes": "what can be read from activations, beside its controls",
    "patching": "interventions: what a model uses",
    "studies": "whole questions, from facts to a report",
}
#: Public modules that hold public names of their own.
INNER = ("interp.figures", "patching.circuits")


def public_names() -> dict[str, str]:
    """Public name -> the module that is its home, read from the stubs."""
    found = {}
    for package in (*PACKAGES, *INNER):
        stub = (ROOT / package.replace(".", "/") / "__init__.pyi").read_text("utf-8")
        for node in ast.parse(stub).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                home = f"{package}.{node.module}"
                found |= {f"{package}.{alias.name}": home for alias in node.names}
    return found


def undocumented() -> Iterator[str]:
    """What a public function's docstring lacks, one line each; nothing when all is told."""
    for name in public_names():
        package, _, short = name.rpartition(".")
        value = getattr(import_module(package), short)
        text = inspect.getdoc(value) or ""
        if not text:
            yield f"{name} has no docstring"
        if not inspect.isfunction(value) or text.startswith("Alias of"):
            continue
        needed = {"Returns": r"(Returns|Yields)", "Example": "Example"}
        if inspect.signature(value).parameters:
            needed["Args"] = "Args"
        for section, pattern in needed.items():
            if not re.search(rf"(?m)^{pattern}:", text):
                yield f"{name} has no section {section}"


def api_pages() -> dict[str, str]:
    """Address -> text of the pages of names: one page for each room of each package."""
    rooms: dict[tuple[str, str], list[str]] = {}
    for name, home in public_names().items():
        package, room = home.split(".")[:2]
        rooms.setdefault((package, room), []).append(name)
    pages = {}
    for (package, room), names in rooms.items():
        directives = "\n\n".join(f"::: {name}" for name in names)
        doc = (inspect.getdoc(import_module(f"{package}.{room}")) or "").split("\n\n")[0]
        pages[f"reference/{package}/{room}.md"] = f"# {package}: {room}\n\n{doc}\n\n{directives}\n"
    return pages


def api_index() -> str:
    """The list of all public names, each with its page and its first line."""
    parts = [
        "# Public names\n\nEvery name of the four packages, generated from their stubs. What is not "
        "listed here may change without notice.\n"
    ]
    for package, about in PACKAGES.items():
        parts.append(f"\n## {package}\n\n{about[0].upper()}{about[1:]}.\n\n| name | |\n|---|---|")
        for name in public_names():
            if name.split(".")[0] == package:
                parts.append(f"| [`{name}`][{name}] | {_first_line(name)} |")
    return "\n".join(parts) + "\n"


def _first_line(name: str) -> str:
    package, _, short = name.rpartition(".")
    value = getattr(import_module(package), short)
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return "A table of values."
    return (inspect.getdoc(value) or "").split("\n")[0].replace("|", "\\|").replace("_", "\\_")


def cli_page() -> str:
    """Every command with its help and options."""
    command = typer.main.get_command(app)
    head = (
        "# The command `interp`\n\nGenerated from the command itself. `interp COMMAND --help` prints "
        "the same. What the commands end with stands under [exit codes](exit-codes.md).\n"
    )
    return "\n".join([head, *_commands(command, "interp", 2)]) + "\n"


def _commands(command: Any, name: str, level: int) -> Iterator[str]:
    """Help and options of a command, then of the commands inside it."""
    yield f"{'#' * level} `{name}`\n\n{inspect.cleandoc(command.help or '')}\n"
    yield "| option | default | |\n|---|---|---|"
    for option in command.params:
        names = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
        default = "" if option.default is None or callable(option.default) else f"`{option.default}`"
        told = (getattr(option, "help", "") or "").replace("|", "\\|")
        yield f"| {names} | {default} | {told} |"
    yield ""
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    for word, inside in inner.items():
        yield from _commands(inside, f"{name} {word}", min(level + 1, 3))


def thresholds_page() -> str:
    """Every declared cut-off with its default, from the one class that holds them."""
    text = inspect.getdoc(Thresholds) or ""
    told = dict(re.findall(r"(?m)^    (\w+): ((?:.|\n {8})+)", text))
    rows = []
    for field in fields(Thresholds):
        meaning = " ".join(told[field.name].split()).replace("|", "\\|")
        rows.append(f"| `{field.name}` | {field.default:,} | {meaning[0].upper()}{meaning[1:]} |")
    return (
        "# Thresholds\n\nEvery cut-off that a verdict rests on, generated from `interp.Thresholds`. "
        "They were declared, not tuned: fixed on development organisms before any scored pair was "
        "looked at, and written into every `verdict.json`. "
        "`studies.compare(…, thresholds=interp.Thresholds(cut=0.4))` takes others; the words then mean "
        "something else.\n\n"
        f"{Thresholds().needs}\n\n| name | default | meaning |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def glossary_page() -> str:
    """Every word of the house with what it means, its formula and its home."""
    parts = [
        "# Glossary\n\nThe words of the verdict, of evidence and of the methods, as "
        "`interp explain WORD` tells them. Words of the verdict have "
        "[a page with pictures](explanation/words.md).\n"
    ]
    for group, terms in by_group().items():
        parts.append(
            f"## {group[0].upper()}{group[1:]}\n\n| word | means | computed in |\n|---|---|---|"
        )
        parts += [_term_row(term) for term in terms]
        parts.append("")
    return "\n".join(parts)


def _term_row(term: Term) -> str:
    also = f" ({', '.join(term.also)})" if term.also else ""
    formula = f" `{term.formula}`" if term.formula else ""
    not_so = f" *Not:* {term.is_not}" if term.is_not else ""
    cells = [f"**{term.word}**{also}", f"{term.meaning}{formula}{not_so}", f"`{term.home}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
