"""Code blocks of the pages: found, run in order, and held to the output that they show.

A block of python is followed by a block of text with what it prints, its last line shown as a
notebook would show it. A block of console holds commands behind `$`, each with its output. A comment
above a block says that it is run beside a real model only, `<!-- real -->`, or why it is not run,
`<!-- not run: a reason -->`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from studies import cli

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?ms)^(?:<!-- (?P<mark>real|not run: [^\n]+) -->\n)?"
    r"```(?P<kind>python|console)\n(?P<code>.*?)^```\n(?:\n?```text\n(?P<shown>.*?)^```\n)?"
)
NUMBER = re.compile(r"[-−+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?%?")
#: Numbers on a page are read, not copied: they may differ by rounding.
RELATIVE, ABSOLUTE = 2e-2, 2e-2


@dataclass(frozen=True)
class Block:
    """One piece of code on a page.

    Attributes:
        kind: python or console.
        mark: "", "real", or why it is not run.
        code: its lines.
        shown: the output that the page shows.
    """

    kind: str
    mark: str
    code: str
    shown: str


def pages() -> dict[str, Path]:
    """README and every page under docs, by their addresses."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {str(file.relative_to(ROOT)): file for file in files}


def blocks(text: str) -> list[Block]:
    """Code blocks of a page, in order."""
    found = FENCE.finditer(text)
    return [Block(b["kind"], b["mark"] or "", b["code"], b["shown"] or "") for b in found]


def output(block: Block, names: dict[str, Any]) -> str:
    """What a block prints when it is run among these names; of a command's errors the one line."""
    printed, beside = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(beside):
        if block.kind == "python":
            _run(block.code, names)
        else:
            for line in re.findall(r"(?m)^\$ (interp .*)$", block.code):
                printed.write(f"$ {line}\n")
                with mock.patch.object(sys, "argv", shlex.split(line)), contextlib.suppress(SystemExit):
                    cli.main()
                errors = [
                    line for line in beside.getvalue().splitlines() if line.startswith("interp: ")
                ]
                printed.write("\n".join([*errors, ""]))
                beside.truncate(0)
    return printed.getvalue()


def _run(code: str, names: dict[str, Any]) -> None:
    """Run code as a notebook's cell: its last expression is shown."""
    body = ast.parse(code).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else ast.Expr(ast.Constant(None))
    exec(compile(ast.Module(body, []), "<page>", "exec"), names)
    assert isinstance(last, ast.Expr)
    value = eval(
        compile(ast.fix_missing_locations(ast.Expression(last.value)), "<page>", "eval"), names
    )
    if value is not None:
        sys.stdout.write(f"{value}\n")


def expected(block: Block) -> str:
    """What a page says that a block prints."""
    return block.code if block.kind == "console" else block.shown


def differs(shown: str, printed: str) -> str:
    """Where what is shown and what was printed part; nothing if they agree.

    A line of `…` stands for any lines, and `…` at a line's end for its rest. Numbers agree within a
    tolerance, spaces count as one.

    Args:
        shown: the text of the page.
        printed: the output of the run.
    """
    want, got = (_lines(text) for text in (shown, printed))
    while want:
        line = want.pop(0)
        if line == "…":
            if not want:
                return ""
            while got and not _alike(want[0], got[0]):
                got.pop(0)
            continue
        if not got or not _alike(line, got[0]):
            return f"shown:   {line}\nprinted: {got[0] if got else '(nothing)'}"
        got.pop(0)
    return f"printed and not shown: {got[0]}" if got else ""


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _alike(shown: str, printed: str) -> bool:
    """Whether two lines agree: their words exactly, their numbers nearly."""
    if shown.endswith("…"):
        shown = shown[:-1].rstrip()
        printed = " ".join(printed.split()[: len(shown.split())])
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(_near(_value(a), _value(b)) for a, b in pairs)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= ABSOLUTE + RELATIVE * max(abs(a), abs(b))


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-").rstrip("%"))
