"""What a figure leaves on disk: the figure, its data, how it was made, and its caption, all or none."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import plotly.graph_objects as go

from interp._files import csv_into
from interp.figures.captions import caption_of, sample_of
from interp.figures.paper.drawing import draw, style
from interp.figures.paper.panels import chosen, panels_of
from interp.figures.paper.text import missing_letters_told
from interp.figures.paper.venues import width_and_size
from interp.figures.source import Source
from interp.figures.text import text_of
from interp.untrusted.reading import read_json

#: Endings of the files that stand beside a figure.
BESIDE = (".csv", ".json", ".txt")

#: What is written into a file's own description: nothing that differs from run to run.
_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {"Software": None},
}

#: Points per inch of a .png.
RESOLUTION = 300

#: Points of a CSS pixel (96 to the inch), and of the font of a figure that goes with a page.
POINTS_PER_PIXEL, SCREEN_SIZE = 0.75, 8.0


def save(
    figure: go.Figure,
    path: Path,
    venue: str,
    columns: int,
    *,
    panels: Sequence[str] | None = None,
    caption: str | None = None,
) -> list[Path]:
    """Write a figure and what stands beside it; see `interp.figures.Figure.save`.

    Args:
        figure: made by a function of `interp.figures`, or of the same vocabulary.
        path: where the figure goes; its ending says the format.
        venue: sets width and font size.
        columns: how many columns of the page it spans.
        panels: letters or titles of the panels that are drawn; None draws all.
        caption: the caption's text; None writes what the figure is known to show.

    Returns:
        The figure, its data, its description and its caption.

    Raises:
        ValueError: for an unknown ending, venue, number of columns or panel, or where the files that
            stand beside the figure would replace others.
    """
    ending = path.suffix.lower()
    if ending not in (*_METADATA, ".html"):
        raise ValueError(f"{path} must end in .pdf, .svg, .png or .html; got {ending or 'no ending'!r}")
    _refuse_others(path)
    width, size = width_and_size(venue, columns)
    image = _page(figure) if ending == ".html" else _image(figure, ending, width, size, panels)
    table = numbers_of(figure)
    cells = io.StringIO()
    csv_into(cells, table)
    data = cells.getvalue().encode()
    text = caption_of(figure) if caption is None else caption
    about = {
        "figure": path.name,
        "sha256": hashlib.sha256(image).hexdigest(),
        "data": path.with_suffix(".csv").name,
        "data_sha256": hashlib.sha256(data).hexdigest(),
        **_drawn_by(getattr(figure, "source", None)),
        **_sample(getattr(figure, "source", None)),
        "venue": venue.lower(),
        "columns": columns,
        "width_points": width,
        "font_points": size,
        "panels": [panel.title for panel in chosen(panels_of(figure), panels)],
        "caption": text,
        "versions": {name: version(name) for name in ("interp", "matplotlib", "plotly")},
    }
    described = json.dumps(about, indent=1, ensure_ascii=False, default=str)
    contents = (image, data, f"{described}\n".encode(), f"{text}\n".encode())
    paths = [path, *(path.with_suffix(end) for end in BESIDE)]
    return _write_all(dict(zip(paths, contents, strict=True)))


def svg_of(figure: go.Figure) -> bytes:
    """The figure as SVG in its own width on the screen, drawn by matplotlib: no browser is needed."""
    return _image(figure, ".svg", POINTS_PER_PIXEL * float(figure.layout.width), SCREEN_SIZE, None)  # type: ignore[attr-defined]


def numbers_of(figure: go.Figure) -> pd.DataFrame:
    """Every number that a figure draws: the table it was drawn from, or what its traces hold."""
    source: Source | None = getattr(figure, "source", None)
    if source is not None:
        return source.table
    rows = []
    for panel in panels_of(figure):
        for trace in panel.traces:
            series = {"panel": panel.title, "series": text_of(trace.get("name"))}
            if trace["type"] == "heatmap":
                rows += [
                    {**series, "x": column, "y": row, "value": value}
                    for row, values in enumerate(trace["z"])
                    for column, value in enumerate(values)
                ]
            else:
                rows += [
                    {**series, "x": x, "y": y} for x, y in zip(trace["x"], trace["y"], strict=True)
                ]
    return pd.DataFrame(rows)


def _image(
    figure: go.Figure, ending: str, width: float, size: float, panels: Sequence[str] | None
) -> bytes:
    """The figure by matplotlib, in exactly the width that was asked for."""
    kept = io.BytesIO()
    with missing_letters_told(), matplotlib.rc_context(style(size)):
        drawing = draw(figure, width, size, panels=panels)
        drawing.savefig(kept, format=ending[1:], metadata=_METADATA[ending], dpi=RESOLUTION)
    return kept.getvalue()


def _page(figure: go.Figure) -> bytes:
    """The figure by plotly, in a page that carries all it needs."""
    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="figure")
    return str(page).encode()


def _drawn_by(source: Source | None) -> dict[str, Any]:
    if source is None:
        return {"function": None, "arguments": {}, "about": {}}
    given = {"arguments": dict(source.arguments), "about": dict(source.about)}
    return {"function": source.function, **given}


def _sample(source: Source | None) -> dict[str, Any]:
    """n, the kind of interval, and the seed of the resampling, as far as they are known."""
    if source is None:
        return {"n": None, "intervals": None, "seed": None}
    sample = sample_of(source)
    n = None if sample.n is None else dict(zip(("smallest", "largest"), sample.n, strict=True))
    return {"n": n, "intervals": sample.intervals, "seed": sample.seed}


def _refuse_others(path: Path) -> None:
    """Stop where a file beside the figure is there that no figure of this name left.

    Raises:
        ValueError: naming the file.
    """
    described = path.with_suffix(".json")
    try:
        ours = Path(str(read_json(described).get("figure"))).stem == path.stem
    except ValueError:
        ours = False
    others = [end for end in BESIDE if path.with_suffix(end).exists()]
    if others and not ours:
        raise ValueError(
            f"{path.with_suffix(others[0])} exists and was not written beside a figure; it would be "
            f"replaced by the data of {path.name}; give the figure another name"
        )


def _write_all(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files under temporary names, then rename them all; a failure leaves what was there."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path].write_bytes(content)
        for path, written in temporary.items():
            os.replace(written, path)
    except OSError as error:
        raise ValueError(
            f"{next(iter(contents))} cannot be written ({error.strerror}); give another folder"
        ) from error
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)
    return list(contents)
