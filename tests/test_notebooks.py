"""The notebooks run from top to bottom on the public interface, and print the numbers they should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def printed(name: str, timeout: int) -> str:
    """Everything a notebook prints or shows as text."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(notebook, timeout=timeout, kernel_name="python3").execute()
    return "\n".join(shown(o) for cell in notebook.cells for o in cell.get("outputs", []))


def shown(output: dict[str, Any]) -> str:
    """One output of a cell as text."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def block_span(text: str) -> tuple[int, int]:
    """The blocks between which a verdict's dictionary says the change was made."""
    match = re.search(r"'block_span': [\[(](\d+), (\d+)[\])]", text)
    assert match, text
    return int(match[1]), int(match[2])


def test_the_organism_notebook_finds_what_was_built():
    text = printed("01_organism.ipynb", timeout=300)
    assert "'where': 'upper'" in text and "'what': 'behaviour'" in text
    assert block_span(text) == (4, 5), "the blocks that were trained"
    assert "unchanged" in text


@pytest.mark.real
def test_the_real_notebook_finds_the_adapter():
    text = printed("02_real_model.ipynb", timeout=1800)
    assert "'where': 'upper'" in text and "'what': 'behaviour'" in text
    assert block_span(text) == (21, 29), "inside the blocks that were trained, 20 to 29"
