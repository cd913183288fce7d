"""Finished runs stand beside each other, and their figures are made for a paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from verdict_cases import fake_case

import studies
from interp import figures
from interp.evidence import Evidence
from interp.report import write_report
from interp.verdict import Verdict, judge
from studies.cli import app
from studies.runs import outcomes_of, verdict_of


@pytest.fixture(scope="module")
def judged() -> tuple:
    outcomes, readable, causal = fake_case("evasive_high", n_groups=24, n_layers=6)
    verdict = judge(outcomes, readable, causal)
    return verdict, outcomes, Evidence.concat([causal, readable])


@pytest.fixture(scope="module")
def folder(judged: tuple, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    names = {"base": {"source": "one"}, "tuned": {"source": "two"}, "facts": {"name": "world"}}
    write_report(*judged, folder, provenance=names, svg=False)
    return folder


def test_a_row_holds_the_numbers_of_the_verdict_and_nothing_else(judged: tuple):
    verdict: Verdict = judged[0]
    row, data = verdict.row(), verdict.to_dict()
    cell = data["shared_shift"]["sufficiency"]
    assert row["sufficiency"] == cell["estimate"] and row["sufficiency_floor"] == cell["floor"]
    assert row["share_lower_low"] == data["share_lower"]["low"]
    assert (row["changed"], row["what"]) == (verdict.changed, verdict.what)
    assert all(not isinstance(value, dict | list) for value in row.values())


def test_runs_stand_in_one_table_and_one_forest(folder: Path):
    table = studies.summary([folder, str(folder)])
    assert list(table["run"]) == ["two ← one"] * 2 and table["sufficiency"].notna().all()
    drawn = [t for t in figures.forest(table).data if t.name == "estimate"]
    assert list(drawn[1].x) == list(table["sufficiency"])
    with pytest.raises(ValueError, match="runs got str"):
        studies.summary(str(folder))
    with pytest.raises(ValueError, match="runs got none"):
        studies.summary([])
    with pytest.raises(ValueError, match="no finished run in"):
        studies.summary([folder / "nowhere"])


def test_the_groups_of_a_run_are_read_back_from_its_verdict(judged: tuple, folder: Path):
    outcomes = outcomes_of(verdict_of(folder))
    assert outcomes.changed_groups == judged[1].changed_groups
    assert outcomes.unchanged_groups == judged[1].unchanged_groups
    assert outcomes.estimating_form == judged[1].estimating_form


def test_the_command_writes_the_standard_set_in_the_width_of_the_venue(folder: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["figures", str(folder), "--venue", "acl", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    drawn = {p.stem for p in tmp_path.glob("*.pdf")}
    assert {"stitch", "shared_shift", "responsibility", "handover"} <= drawn
    about = json.loads((tmp_path / "stitch.json").read_text())
    assert about["width_points"] == pytest.approx(218.27, abs=0.01) and about["n"]
    assert {p.suffix for p in tmp_path.glob("stitch.*")} == {".pdf", ".csv", ".json", ".txt"}
