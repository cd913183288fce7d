"""Run the notebooks and store them with their outputs, so that two runs give the same bytes.

`make notebooks` refreshes all of them; names as arguments choose some:
`python notebooks/refresh.py 01_organism 06_own_pair`. Figures are stored as SVG, which every viewer
shows; whoever runs a notebook by hand gets them as plotly draws them.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from interp._files import write_text

HERE = Path(__file__).parent

#: What a kernel is started with: one order of summation, no progress bars, static figures.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",
    "PLOTLY_RENDERER": "svg",
}

#: The random names that plotly gives to the parts of one drawing, and to each of its curves.
_DRAWING = re.compile(r'id="(?:top)?defs-([0-9a-f]{6})"')

_CURVE = re.compile(r"\b([a-z]*?(?:trace|cb|hm))[0-9a-f]{6}(?![0-9a-f])")


def execute(notebook: NotebookNode, *, timeout: int = 1800) -> NotebookNode:
    """Run a notebook from top to bottom in a fresh kernel, beside this file.

    Args:
        notebook: its cells; their outputs are replaced.
        timeout: seconds that one cell may take.

    Returns:
        The same notebook.
    """
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(HERE)}},
    )
    return client.execute()


def stored(notebook: NotebookNode) -> NotebookNode:
    """Take out of a notebook what changes from run to run: counts, metadata, ids and names in drawings.

    Args:
        notebook: with the outputs of a run; it is changed.

    Returns:
        The same notebook.
    """
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                _tidy(output)
    return notebook


def _tidy(output: NotebookNode) -> None:
    """Take counts, metadata and random names out of one output."""
    if "execution_count" in output:
        output.execution_count = None
    if "data" in output:
        output.metadata = {}
        if "image/svg+xml" in output.data:
            output.data["image/svg+xml"] = named_by_content(output.data["image/svg+xml"])


def named_by_content(svg: str) -> str:
    """Name the parts of a drawing after what it shows, so that equal drawings are equal text.

    Several drawings stand in one page; names from their content keep them apart as well.

    Args:
        svg: a drawing, as plotly writes it.

    Returns:
        The drawing under its new names.
    """
    svg = _CURVE.sub(r"\1", svg)
    match = _DRAWING.search(svg)
    if match is None:
        return svg
    nameless = svg.replace(match[1], "")
    return svg.replace(match[1], hashlib.sha256(nameless.encode()).hexdigest()[:6])


def refresh(path: Path) -> None:
    """Run one notebook and write it back; a failed run changes nothing.

    Args:
        path: the notebook.
    """
    notebook = stored(execute(nbformat.read(path, as_version=4)))
    write_text(path, nbformat.writes(notebook) + "\n")


def main(names: list[str]) -> None:
    """Refresh the notebooks of these names, or all of them.

    Args:
        names: such as "01_organism".
    """
    os.environ.update(SETTINGS)
    for path in sorted(HERE.glob("*.ipynb")):
        if not names or path.stem in names:
            print(path.name, flush=True)
            refresh(path)


if __name__ == "__main__":
    main(sys.argv[1:])
