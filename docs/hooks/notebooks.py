"""Notebooks as pages: their text, their code, and what they showed when they were run."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

#: What of an output is shown, the first that it has. Scripts are left out: a page needs no network.
SHOWN = ("image/svg+xml", "image/png", "text/html", "text/plain")


def page(file: Path) -> str:
    """Markdown of a notebook.

    Args:
        file: the .ipynb file, whose outputs are shown as they were stored.
    """
    notebook = json.loads(file.read_text("utf-8"))
    return "\n\n".join(part for cell in notebook["cells"] for part in _cell(cell)) + "\n"


def _cell(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"]).rstrip()
    if cell["cell_type"] != "code":
        return [source.replace(".ipynb)", ".md)")]  # links to other notebooks lead to their pages
    shown = [_output(output) for output in cell.get("outputs", [])]
    return [f"```python\n{source}\n```", *(text for text in shown if text)] if source else []


def _output(output: dict[str, Any]) -> str:
    """One output: a picture, a table, or text."""
    if output["output_type"] == "stream":
        return _fenced("".join(output["text"])) if output["name"] == "stdout" else ""
    data = output.get("data", {})
    kind = next((kind for kind in SHOWN if kind in data and _quiet(kind, data[kind])), None)
    if kind is None:
        return ""
    text = "".join(data[kind])
    if kind == "text/plain":
        return _fenced(text)
    if kind == "image/png":
        alt = html.escape("".join(data.get("text/plain", "figure")), quote=True)
        return f'<img alt="{alt}" src="data:image/png;base64,{"".join(text.split())}">'
    lines = (line for line in text.splitlines() if line.strip())
    return '<div class="output">\n' + "\n".join(lines) + "\n</div>"


def _quiet(kind: str, data: str | list[str]) -> bool:
    """Whether an output runs no script."""
    return kind != "text/html" or "<script" not in "".join(data)


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
