"""The notebooks are stored with their outputs, run from top to bottom, and print what they should."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))

#: Those that need no download; the others run a real model.
ORGANISMS = ["01_organism", "06_own_pair"]

#: Kinds of output that every viewer shows without a script.
STATIC = {"image/svg+xml", "image/png"}

_spec = importlib.util.spec_from_file_location("refresh", NOTEBOOKS / "refresh.py")
assert _spec is not None and _spec.loader is not None
refresh = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(refresh)


def read(name: str) -> NotebookNode:
    """A notebook as it is stored."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def printed(name: str) -> str:
    """Everything a notebook prints or shows as text when it is run."""
    return text_of(refresh.execute(read(name)))


def text_of(notebook: NotebookNode) -> str:
    """Everything in the outputs of a notebook that is text."""
    return "\n".join(
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs(notebook)
    )


def outputs(notebook: NotebookNode) -> list[dict[str, Any]]:
    """All outputs of a notebook, in order."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with a stored notebook."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = outputs(notebook)
    kinds = [set(output.get("data", {})) for output in shown]
    pictured = [
        data for data in kinds if any(kind.startswith(("image/", "application/")) for kind in data)
    ]
    text = json.dumps(shown)
    wrong = {
        "not run": not shown,
        "an error or a warning in its outputs": any(
            o["output_type"] == "error" or o.get("name") == "stderr" for o in shown
        ),
        "no figure": not pictured,
        "a figure without a static picture": any(not data & STATIC for data in pictured),
        "a script in its outputs": "<script" in text,
        "a path of the machine it ran on": re.search(r"/(tmp|home|root|Users)/", text) is not None,
        "nothing asserted": not any(re.search(r"^assert ", cell.source, re.M) for cell in code),
        "counts of a session": any(cell.execution_count is not None for cell in code),
        "no heading first": not notebook.cells[0].source.startswith("# "),
    }
    return [fault for fault, found in wrong.items() if found]


def of_one_cell(output: NotebookNode) -> NotebookNode:
    """A notebook with one cell that gave this output."""
    cell = nbformat.v4.new_code_cell("assert True", outputs=[output])
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_notebook_is_small_and_shows_its_outputs_everywhere(name):
    assert faults(read(name)) == []
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size <= 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_notebook_holds_nothing_that_changes_from_run_to_run(name):
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert nbformat.writes(refresh.stored(read(name))) + "\n" == text


def test_a_notebook_with_an_error_or_a_figure_that_needs_a_script_is_refused():
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])
    assert "an error or a warning in its outputs" in faults(of_one_cell(error))
    alive = nbformat.v4.new_output("display_data", data={"application/vnd.plotly.v1+json": {}})
    assert faults(of_one_cell(alive)) == ["a figure without a static picture"]
    still = nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": ""})
    assert faults(of_one_cell(still)) == []


def test_a_drawing_is_named_by_what_it_shows_and_not_by_chance():
    drawing = (
        '<svg><defs id="defs-{0}"/><g class="trace{1}" clip-path="url(#clip{0}xy)">{2}</g>'
        '<text class="hycb{1}title"/><path class="ycb{1}tick ticks"/></svg>'
    )
    first = refresh.named_by_content(drawing.format("a1b2c3", "123abc", "one"))
    again = refresh.named_by_content(drawing.format("0f9e8d", "d4e5f6", "one"))
    other = refresh.named_by_content(drawing.format("a1b2c3", "123abc", "two"))
    assert first == again and "a1b2c3" not in first and "123abc" not in first
    assert first != other.replace("two", "one"), "two drawings in one page share no names"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ORGANISMS])
@pytest.mark.real
def test_a_notebook_on_a_real_model_runs_and_its_assertions_hold(name):
    assert printed(name)


@pytest.mark.slow
def test_the_organism_notebook_finds_what_was_built():
    text = printed("01_organism")
    assert "upper - blocks [4, 5]" in text and "behaviour" in text
    assert "unchanged" in text


@pytest.mark.slow
def test_the_notebook_on_two_folders_finds_what_was_built():
    text = printed("06_own_pair")
    assert "lower - blocks [0, 1]" in text and "knowledge" in text
    assert "from the table: 1.000   in verdict.json: 1.000" in text
