"""The report stands alone, escapes what models wrote, and finishes with or without a browser."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from report_pages import ATTRIBUTE, HOSTILE, Page
from verdict_cases import fake_case

from interp.evidence import Evidence
from interp.report.gallery import gallery
from interp.report.numbers import headline_numbers, interval, number
from interp.report.page import Written, render, write_report
from interp.verdict.judging import judge


def test_report_loads_nothing_from_anywhere(page: Page):
    assert page.loads == []
    assert "default-src 'none'" in page.text, "and the browser is told to load nothing"


def test_report_says_the_verdict_first(case, page: Page):
    text = page.told
    verdict = case[0].to_dict()
    first = text.index(verdict["sentence"])
    headings = [
        "Three outputs side by side",
        "All outputs",
        "Where the change is made",
        "What kind of change it is",
        "Controls",
        "Limits",
        "Methods and citation",
        "Glossary",
    ]
    listed = text.index("Glossary", first)  # the table of contents ends with it
    places = [text.index(headings[0], first), *(text.index(h, listed + 1) for h in headings[1:])]
    assert places == sorted(places)


def test_hostile_text_is_shown_and_never_run(page: Page):
    assert any(HOSTILE in t for t in page.shown), "shown as text"
    assert ATTRIBUTE in page.shown and page.handlers == []
    assert not [s for s in page.scripts if "alert(1)" in s]
    assert "alert(1)" in json.dumps(page.figures), "the token is a label of a figure"


def test_control_markup_left_alone_would_be_run():
    assert Page(f"<p>{HOSTILE}</p>").scripts == ["alert(1)"]
    assert Page(f'<p title="{ATTRIBUTE}">').handlers == ["onmouseover"]


def test_figures_in_the_page_equal_those_on_disk(written: Written, page: Page):
    inside = list(page.figures.values())
    files = sorted(p for p in written.files if p.parent.name == "figures" and p.suffix == ".html")
    assert len(inside) == len(files) > 8
    beside = [s for p in files for s in Page(p.read_text()).scripts if s.startswith('{"data"')]
    assert sorted(json.dumps(f) for f in inside) == sorted(json.dumps(json.loads(s)) for s in beside)
    for path in files:
        loads = Page(path.read_text()).loads
        assert loads == ["plotly.min.js"] and (path.parent / loads[0]).exists()
        assert len(pd.read_csv(path.with_suffix(".csv")))


def test_no_figure_offers_to_upload_itself(written: Written):
    for path in written.files:
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            assert 'modeBarButtons: [["toImage", "resetScale2d"]]' in text
            assert not re.search(r"""(src|href)=["'](https?:)?//""", text)


def test_everything_is_written_and_nothing_is_left_over(written: Written, case):
    folder = written.report.parent
    names = {p.name for p in folder.iterdir()}
    assert {"report.html", "verdict.json", "evidence.parquet", "figures"} <= names
    assert "evidence.csv" not in names and "interp export" in written.report.read_text("utf-8")
    assert not [p for p in folder.rglob("*") if ".tmp" in p.name]
    assert all(p.exists() for p in written.files)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    keys = {"changed", "sharpened", "where", "where_fact", "what", "share_lower", "handover_layer",
            "share_before_handover", "block_span", "responsibility", "shared_shift", "claims", "items",
            "excluded", "thresholds", "provenance"}  # fmt: skip
    assert keys <= set(verdict) and verdict["what"] == case[0].what
    assert verdict["provenance"]["note"] == HOSTILE
    assert len(Evidence.load(folder / "evidence.parquet")) == len(case[2])


def test_a_report_is_never_overwritten(written: Written, case):
    before = written.report.stat().st_mtime_ns
    with pytest.raises(ValueError, match="must not hold report.html yet"):
        write_report(*case, written.report.parent, svg=False)
    assert written.report.stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_made_is_said_in_one_line(case, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ValueError, match="must be a folder, got a file"):
        write_report(*case, tmp_path / "file", svg=False)


def test_every_item_and_number_is_in_the_page(case, page: Page):
    verdict = case[0].to_dict()
    rows = headline_numbers(verdict)
    assert len(rows) >= 6
    for row in rows.to_dict("records"):
        assert number(row["estimate"]) in page.told and interval(row) in page.told
    prompts = [i["text"] for i in verdict["items"]]
    assert set(prompts) <= set(page.shown)


@pytest.mark.parametrize("kind", ["identical", "null", "few_changed"])
def test_a_pair_without_a_located_change_has_a_report_too(kind: str, tmp_path: Path):
    outcomes, probes, causal = fake_case(kind, n_groups=24, n_layers=6, claims=False)
    verdict = judge(outcomes, probes, causal)
    drawn = gallery(verdict.to_dict(), outcomes, Evidence.concat([probes, causal]))
    text = render(verdict.to_dict(), outcomes, drawn)
    assert verdict.to_dict()["sentence"] in Page(text).told
    empty = Evidence.concat([])
    assert gallery(judge(outcomes, empty, empty).to_dict(), outcomes, empty) == []


def test_every_figure_is_an_svg_too_without_a_browser(case, drawn, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    written = write_report(*case, tmp_path / "out")
    paths = [path for path in written.files if path.suffix == ".svg"]
    assert {path.stem for path in paths} == {shown.name for shown in drawn}
    for path in paths:
        parts = list(ElementTree.parse(path).iter())
        assert parts[0].tag.endswith("svg") and not [p for p in parts if p.tag.endswith("script")]


def test_numbers_as_text():
    assert [number(v) for v in (None, float("nan"), 24.0, 0.005, -0.001, 1.0, -2.5)] == [
        "–", "–", "24", "0.01", "0.00", "1.00", "−2.50",
    ]  # fmt: skip
    assert interval({"low": None, "high": 1.0}) == "–"
    assert interval({"low": -0.004, "high": 0.5}) == "[0.00, 0.50]"


def test_what_was_written_is_listed_once_and_the_page_comes_last(written: Written):
    on_disk = {path for path in written.report.parent.rglob("*") if path.is_file()}
    assert set(written.files) == on_disk and len(written.files) == len(on_disk)
    assert written.files[-1] == written.report
    with pytest.raises(dataclasses.FrozenInstanceError):
        written.report = Path("elsewhere")  # type: ignore[misc]


def test_captions_and_methods_are_prose_in_whole_lines(case, drawn, page: Page):
    verdict = case[0]
    for shown in drawn:
        assert shown.caption.endswith(".") and "\n" not in shown.caption and "{" not in shown.caption
    text = page.told
    limits = verdict.thresholds
    assert (
        f"High: lower bound at least {limits.high:g}; low: upper bound at most {limits.low:g}" in text
    )


def test_the_methods_name_the_thresholds_of_the_verdict_that_is_reported(case):
    verdict, outcomes, _ = case
    data = verdict.to_dict()
    data["thresholds"] = {**data["thresholds"], "high": 0.61, "mixed_share": 0.27}
    text = Page(render(data, outcomes, [])).told
    assert "lower bound at least 0.61" in text and "more than 27% for certain" in text
    assert f"at least {verdict.thresholds.high:g};" not in text
