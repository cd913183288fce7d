"""Figures on paper: exact width, fonts that can be embedded, the same bytes twice, and their data."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing

from interp import figures
from interp.figures.paper.grey import alike_in_grey
from interp.figures.paper.tables import table as printed
from interp.figures.paper.venues import VENUES


def curves(**keys: list) -> pd.DataFrame:
    """Rows of three boundaries for every combination given, with numbers that are all different."""
    table = pd.DataFrame(keys).merge(pd.DataFrame({"layer": [0, 1, 2]}), how="cross")
    value = np.linspace(0.11, 0.89, len(table))
    return table.assign(estimate=value, low=value - 0.07, high=value + 0.05, n=20)


def grid() -> pd.DataFrame:
    return pd.DataFrame(
        [
            (k, p, t, t, 0.9 - k / 2 - p / 9)
            for k in range(4)
            for p, t in enumerate(["a_$b", "·of", "κ"])
        ],
        columns=["layer", "position", "clean", "corrupted", "value"],
    )


def runs() -> pd.DataFrame:
    measures = ("share_lower", "sufficiency", "retention", "persistence")
    cells = {f"{m}{end}": 0.1 * i + j / 9 for j, m in enumerate(measures)
             for i, end in enumerate(("_floor", "_low", "", "_high", "_ceiling"))}  # fmt: skip
    return pd.DataFrame([{"run": f"tune {i} ← base", **cells} for i in range(3)])


PROBES = {"kind": ["resid_pre"] * 4, "span": ["last"] * 4, "model": ["base"] * 3 + ["tuned"],
          "condition": ["probe", "shuffled", "control_task", "probe"]}  # fmt: skip
STITCH = {"panel": ["output contrast, changed groups"] * 2 + ["fact contrast, unchanged groups"] * 2,
          "series": ["U", "V"] * 2}  # fmt: skip
HEADS = pd.DataFrame({"layer": [0, 1, 2], "head": [3, 0, 1], "estimate": [0.4, -0.6, 0.1],
                      "low": [0.3, -0.7, 0.0], "high": [0.5, -0.5, 0.2], "n": 8})  # fmt: skip

DRAWN: dict[str, Callable[[], figures.Figure]] = {
    "probes": lambda: figures.probe_curves(curves(**PROBES), attribute="truth"),
    "transfer": lambda: figures.transfer_curves(
        curves(span=["last"] * 3, condition=["frozen", "refit", "cosine"]), attribute="truth"
    ),
    "handover": lambda: figures.handover_curves(curves(span=["last", "subject"]), handover=1),
    "stitch": lambda: figures.stitch_curves(curves(**STITCH), cut=1, handover=2),
    "crossed": lambda: figures.cross_patch_curves(
        curves(model=["base", "tuned"] * 3, span=["all"] * 2 + ["last"] * 2 + ["subject"] * 2),
        handover=1,
    ),
    "shift": lambda: figures.shared_shift_curves(
        curves(condition=["sufficiency", "retention", "persistence"]),
        boundary=1,
        handover=2,
        low=0.3,
        high=0.5,
    ),  # fmt: skip
    "patch": lambda: figures.patch_heatmap(grid(), pair="a ← b"),
    "heads": lambda: figures.head_ranking(HEADS),
    "forest": lambda: figures.forest(runs()),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Every figure as PDF in one column of ICML."""
    folder = tmp_path_factory.mktemp("figs")
    for name, draw in DRAWN.items():
        draw().save(folder / f"{name}.pdf")
    return folder


def has_type_3(pdf: bytes) -> bool:
    return b"/Type3" in pdf


@pytest.mark.parametrize("name", DRAWN)
def test_a_pdf_is_as_wide_as_the_column_and_its_fonts_are_true_type(saved: Path, name: str):
    pdf = (saved / f"{name}.pdf").read_bytes()
    (box,) = re.findall(rb"/MediaBox \[ ?([\d. ]+) ?\]", pdf)
    assert abs(float(box.split()[2]) - 3.25 * 72) < 1
    assert not has_type_3(pdf) and b"/CIDFontType2" in pdf and b"CreationDate" not in pdf
    if shutil.which("pdffonts"):
        told = subprocess.run(["pdffonts", saved / f"{name}.pdf"], capture_output=True, text=True)
        rows = told.stdout.splitlines()[2:]
        assert rows and all("TrueType" in row for row in rows)


def test_the_font_check_control_sees_fonts_that_a_venue_refuses(tmp_path: Path):
    drawing = Drawing()
    drawing.text(0.5, 0.5, "text")
    drawing.savefig(tmp_path / "usual.pdf", metadata={"CreationDate": None})
    assert has_type_3((tmp_path / "usual.pdf").read_bytes())


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_two_saves_give_the_same_bytes(tmp_path: Path, ending: str):
    files = [
        DRAWN["handover"]().save(tmp_path / str(i) / f"f.{ending}", venue="neurips") for i in range(2)
    ]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]
    assert {f.suffix for f in files[0]} == {f".{ending}", ".csv", ".json", ".txt"}


def test_a_figure_is_drawn_anew_from_its_data_and_description(saved: Path, tmp_path: Path):
    for name in DRAWN:
        about = json.loads((saved / f"{name}.json").read_text())
        table = pd.read_csv(saved / f"{name}.csv")
        again = getattr(figures, about["function"])(table, **about["arguments"])
        (image, *_) = again.save(tmp_path / f"{name}.pdf")
        assert image.read_bytes() == (saved / f"{name}.pdf").read_bytes(), name
    changed = table.assign(sufficiency=0.77)
    (image, *_) = figures.forest(changed).save(tmp_path / "changed.pdf")
    assert image.read_bytes() != (saved / "forest.pdf").read_bytes(), (
        "the control: a number was changed"
    )


def test_no_browser_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr("choreographer.Browser.__init__", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    DRAWN["stitch"]().save(tmp_path / "f.svg")
    DRAWN["stitch"]().save(tmp_path / "g.html")
    assert "cdn.plot.ly" not in (tmp_path / "g.html").read_text().split("Plotly.newPlot")[1]


@pytest.mark.parametrize("name", DRAWN)
def test_series_are_told_apart_without_colour(name: str):
    assert alike_in_grey(DRAWN[name]().matplotlib()) == []


def test_the_grey_check_control_sees_lines_that_differ_in_hue_alone():
    drawing = Drawing()
    ax = drawing.subplots()
    ax.plot([0, 1], label="one", color="#D55E00")
    ax.plot([1, 0], label="other", color="#0072B2")
    assert alike_in_grey(drawing) == [("one", "other")]


def texts_that_meet(drawing: Drawing) -> list[tuple[str, str]]:
    """Titles of panels and names of marked places that stand over each other."""
    drawing.draw_without_rendering()
    shown = [t for ax in drawing.axes for t in (ax._left_title, *ax.texts) if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in shown]
    return [
        (a, b) for i, (a, left) in enumerate(boxes) for b, right in boxes[:i] if left.overlaps(right)
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_no_title_stands_over_another_in_the_narrowest_column(name: str):
    drawing = DRAWN[name]().matplotlib(venue="acl")
    assert texts_that_meet(drawing) == []


def test_the_overlap_check_control_sees_titles_that_meet():
    drawing = Drawing(figsize=(2, 1))
    for ax in drawing.subplots(1, 2):
        ax.set_title("a long title of a panel", loc="left")
    assert texts_that_meet(drawing)


def test_panels_are_lettered_and_can_be_chosen():
    figure = DRAWN["stitch"]()
    titles = [ax.get_title(loc="left") for ax in figure.matplotlib().axes]
    assert [t[:12] for t in titles] == [r"$\mathbf{a}$", r"$\mathbf{b}$"]
    (only,) = figure.matplotlib(panels=["b"]).axes
    assert only.get_title(loc="left").replace("\n", " ") == "fact contrast, unchanged groups"
    with pytest.raises(ValueError, match="panels got 'c'; expected letters or titles of: a 'output"):
        figure.matplotlib(panels=["c"])


def test_widths_are_the_venues_and_others_are_refused():
    figure = DRAWN["handover"]()
    for name, venue in VENUES.items():
        for columns, width in enumerate(venue.widths, start=1):
            drawing = figure.matplotlib(venue=name, columns=columns)
            assert 72 * drawing.get_figwidth() == pytest.approx(width)
    assert figure.matplotlib(venue="NeurIPS").get_figwidth() == 5.5, "as its name is written"
    with pytest.raises(ValueError, match="venue got 'nature'; expected one of icml, neurips"):
        figure.matplotlib(venue="nature")
    with pytest.raises(
        ValueError, match="columns got 2; expected 1, since a page of iclr has one column"
    ):
        figure.matplotlib(venue="iclr", columns=2)


def test_what_belongs_to_others_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "f.csv").write_text("mine")
    with pytest.raises(ValueError, match="f.csv exists and was not written beside a figure"):
        DRAWN["handover"]().save(tmp_path / "f.pdf")
    assert [p.name for p in tmp_path.iterdir()] == ["f.csv"]
    assert (tmp_path / "f.csv").read_text() == "mine"
    files = DRAWN["handover"]().save(tmp_path / "g.pdf")
    before = [f.read_bytes() for f in files]
    monkeypatch.setattr("interp.figures.paper.files.caption_of", lambda figure: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        DRAWN["stitch"]().save(tmp_path / "g.pdf")
    assert [f.read_bytes() for f in files] == before, "a failed save leaves what was there"


def test_the_figure_is_a_plotly_figure_and_what_is_changed_in_it_is_changed_on_paper():
    figure = DRAWN["handover"]()
    figure.update_xaxes(title_text="depth")
    assert figure.matplotlib().axes[0].get_xlabel() == "depth" == figure.plotly.layout.xaxis.title.text
    assert copy.deepcopy(figure).source is not None


def test_heads_are_ranked_by_size_and_keep_their_signs():
    figure = figures.head_ranking(HEADS, most=2)
    assert list(figure.layout.yaxis.ticktext) == ["layer 0, head 3", "layer 1, head 0"]
    assert [list(t.x) for t in figure.data] == [[0.4], [-0.6]]
    with pytest.raises(ValueError, match="a ranking needs the columns layer, head and estimate"):
        figures.head_ranking(grid())


def marks_at(line) -> list[float]:
    """Where a line bears its markers."""
    start, step = line.get_markevery() or (0, 1)
    return [float(x) for x in line.get_xdata()[start::step]]


def test_every_head_of_a_long_ranking_has_its_dot_on_paper_while_curves_thin_their_markers():
    table = pd.DataFrame({"layer": range(20), "head": 0, "estimate": np.linspace(0.1, 0.9, 20)})
    (ax,) = figures.head_ranking(table, most=20).matplotlib().axes
    dots = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    np.testing.assert_allclose(sorted(marks_at(dots[0])), table["estimate"])
    long = pd.DataFrame({"span": "last", "layer": range(20), "estimate": 0.5, "low": 0.4, "high": 0.6})
    both = pd.concat([long, long.assign(span="other"), long.assign(span="another")])
    (ax,) = figures.handover_curves(both, handover=None).matplotlib().axes
    curve = next(line for line in ax.lines if line.get_label() == "other")
    assert len(marks_at(curve)) < 10 < len(curve.get_xdata()), "the control: markers can be left out"


def test_a_table_has_its_intervals_and_nothing_that_latex_would_read():
    rows = pd.DataFrame({"set": ["a_1 & b", "50%"], "estimate": [0.526, -0.001], "low": [0.4, -0.1],
                         "high": [0.66, np.nan], "n": [12, 30]})  # fmt: skip
    made = printed(rows, caption="All of it")
    assert r"a\_1 \& b & 0.53 [0.40, 0.66] & 12 \\" in made.latex
    assert r"50\% & 0.00 & 30 \\" in made.latex, "without bounds there is no bracket"
    assert made.latex.index("toprule") < made.latex.index("midrule") < made.latex.index("bottomrule")
    assert "| a_1 & b | 0.53 [0.40, 0.66] | 12 |" in made.markdown
    with pytest.raises(ValueError, match="no column 'x'; it has set, estimate"):
        printed(rows, columns=["x"])


def test_letters_that_no_font_has_are_told_of_in_one_line(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("interp.figures.paper.drawing.further_fonts", lambda: ())
    table = grid().assign(clean="漢字", corrupted="漢")
    with pytest.warns(UserWarning) as told:
        figures.patch_heatmap(table, pair="a ← b").save(tmp_path / "f.pdf")
    (line,) = [str(warning.message) for warning in told]
    assert "the letters 漢字, which are drawn as boxes" in line or "the letters 字漢" in line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.patch_heatmap(grid(), pair="a ← b").save(tmp_path / "g.pdf")
