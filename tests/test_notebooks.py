"""The notebooks run from top to bottom on the public interface."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def _run(name: str, timeout: int) -> str:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(notebook, timeout=timeout, kernel_name="python3").execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return "\n".join(o.get("text", "") for o in outputs)


def test_the_organism_notebook_finds_what_was_built():
    printed = _run("01_organism.ipynb", timeout=300)
    assert "behaviour" in printed
    assert "unchanged" in printed


@pytest.mark.real
def test_the_real_notebook_runs():
    assert "Tuning changed what the model says" in _run("02_real_model.ipynb", timeout=1800)
