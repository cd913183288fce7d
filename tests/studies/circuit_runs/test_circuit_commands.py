"""`interp circuits`: from a search to figures and files, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import studies
from patching.circuits import read_circuit, read_mib
from studies import cli
from studies.circuit_runs import folder

ASKED = ["--model", "tracr-fraction", "--task", "tracr-fraction", "--prompts", "16"]


def interp_circuits(*arguments: str) -> int:
    sys.argv = ["interp", "circuits", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """A search by exact scores, and its evaluation."""
    out = tmp_path_factory.mktemp("circuits") / "found"
    argv = sys.argv
    try:
        code = interp_circuits(
            "discover", *ASKED, "--method", "eap", "--edges", "3", "--resamples", "20",
            "--verify", "20", "--out", str(out), "-q",
        )  # fmt: skip
        assert code == 0 and interp_circuits("evaluate", str(out), "-q") == 0
    finally:
        sys.argv = argv
    return out


def test_a_search_keeps_every_edge_its_prompts_and_its_settings(found: Path):
    truth = studies.known_circuit("tracr-fraction").circuit
    edges = pd.read_csv(found / "edges.csv")
    assert tuple(edges["edge"]) == truth.graph.names
    assert set(edges.loc[edges["word"] == "core", "edge"]) == set(truth.names)
    settings = json.loads((found / "settings.json").read_text())
    assert settings["task"] == "tracr-fraction" and settings["ablation"] == "counterfactual"
    assert settings["positions"] == "all" and settings["method"] == "eap" and settings["prompts"] == 16
    assert folder.circuit_of(found).names == truth.names
    exact = pd.read_csv(found / "exact.csv").set_index("edge")["exact"]
    assert set(exact.index[exact.abs() > 1e-3]) == set(truth.names)
    assert {path.stem for path in (found / "figures").glob("*.svg")} == {
        "graph", "edges", "screen", "faithfulness",
    }  # fmt: skip


def test_an_evaluation_stands_beside_chance(found: Path):
    areas = pd.read_csv(found / "areas.csv").set_index(["method", "measure"])["estimate"]
    assert areas["eap", "CMD"] < areas["random", "CMD"]
    curves = pd.read_csv(found / "faithfulness.csv")
    whole = curves[curves["share"] == 1.0]
    assert whole["estimate"].tolist() == pytest.approx([1.0] * len(whole), abs=1e-4)


@pytest.mark.parametrize(
    ("form", "name"),
    [("eap-ig", "c.json"), ("csv", "c.csv"), ("yaml", "c.yaml"), ("mib", "fraction_tiny")],
)
def test_a_circuit_is_exported_and_read_back(
    found: Path, tmp_path: Path, form: str, name: str, monkeypatch
):
    monkeypatch.setattr(sys, "argv", [])
    assert interp_circuits("export", str(found), "--format", form, "--out", str(tmp_path / name)) == 0
    circuit = folder.circuit_of(found)
    if form == "mib":
        back = read_mib(tmp_path / name)["importances"]
    else:
        back = read_circuit(tmp_path / name, graph=circuit.graph)
    assert torch.equal(back.mask, circuit.mask)
    if form != "yaml":
        converted = tmp_path / "again.csv"
        source = tmp_path / name / "importances.json" if form == "mib" else tmp_path / name
        asked = ("export", str(source), "--format", "csv", "--out", str(converted))
        assert interp_circuits(*asked, "--model", "tracr-fraction") == 0
        assert torch.equal(read_circuit(converted, graph=circuit.graph).mask, circuit.mask)


def test_an_export_replaces_nothing_and_tells_the_prompt_whole(
    found: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(sys, "argv", [])
    out = tmp_path / "keep.json"
    asked = ("export", str(found), "--format", "circuit-tracer", "--out")
    assert interp_circuits(*asked, str(out)) == 0
    first = json.loads((found / "prompts.json").read_text())["prompts"][0]["clean"]
    assert json.loads(out.read_text())["metadata"]["prompt"] == first
    out.write_text("precious")
    assert interp_circuits(*asked, str(out)) == 2 and out.read_text() == "precious"
    assert interp_circuits(*asked, str(tmp_path / "nowhere" / "x.json")) == 2


def test_prompts_that_were_searched_on_are_told(found: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    copy, own = tmp_path / "copy", tmp_path / "own.json"
    shutil.copytree(found, copy)
    shutil.copy(found / "prompts.json", own)
    settings = json.loads((copy / "settings.json").read_text())
    (copy / "settings.json").write_text(json.dumps({**settings, "task": str(own)}))
    assert interp_circuits("evaluate", str(copy), "-q") == 0
    assert (
        "16 of these prompts are among those that the circuit was found on" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("edges.csv", lambda text: text.replace(",word", ",words", 1), "must have the column word"),
        ("edges.csv", lambda text: text.replace(",0.0,", ",abc,", 1), "score with numbers alone"),
        ("settings.json", lambda text: text.replace('"width"', '"breadth"'), "got none of width"),
        ("settings.json", lambda text: text.replace('"seed"', '"sed"'), "got none of seed"),
    ],
)
def test_a_damaged_folder_is_one_line(
    found: Path, tmp_path: Path, file, change, told, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [])
    copy = tmp_path / "copy"
    shutil.copytree(found, copy)
    (copy / file).write_text(change((copy / file).read_text()))
    for command in (
        ("evaluate", str(copy)),
        ("export", str(copy), "--out", str(tmp_path / "x.csv"), "--format", "csv"),
    ):
        assert interp_circuits(*command) == 2
        assert told in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_two_circuits_of_no_edge_are_compared_all_the_same(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    pair = ("--base", "tracr-reverse", "--tuned", "tracr-reverse-upper", "--task", "tracr-reverse")
    asked = ("--prompts", "12", "--edges", "1", "--method", "random", "-q")
    assert interp_circuits("diff", *pair, *asked, "--out", str(tmp_path / "d")) == 0
    assert "both circuits are empty" in capsys.readouterr().out
    assert (tmp_path / "d" / "nodes.csv").is_file()


@pytest.mark.slow
def test_figures_are_drawn_anew_for_a_paper(found: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    assert interp_circuits("plot", str(found), "--format", "pdf", "--columns", "1", "--top", "2") == 0
    drawn = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.suffix for path in drawn] == [".pdf"] * 4 and all(path.is_file() for path in drawn)
    assert len(pd.read_csv(found / "figures" / "graph.csv")) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_two_models_are_compared_with_what_changed(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    pair = ("--base", "tracr-reverse", "--tuned", "tracr-reverse")
    out = tmp_path / "diff"
    asked = ("--task", "tracr-reverse", "--prompts", "12", "--edges", "4", "-q")
    assert interp_circuits("diff", *pair, *asked, "--out", str(out)) == 0
    assert "same circuit reused" in capsys.readouterr().out
    nodes = pd.read_csv(out / "nodes.csv")
    assert (
        not nodes["changed"].any() and json.loads((out / "verdict.json").read_text())["prompts"] == 12
    )
    other = ("--base", "tracr-reverse", "--tuned", "tracr-reverse-upper")
    assert interp_circuits("diff", *other, *asked, "--out", str(tmp_path / "other")) == 0
    changed = pd.read_csv(tmp_path / "other" / "nodes.csv")
    assert set(changed.loc[changed["changed"], "node"]) == {"input", "a2.h0"}, "the control"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("evaluate", "."), "must be a folder of `interp circuits discover`"),
        (("plot", ".", "--format", "gif"), "--format must be svg, pdf or png; got 'gif'"),
        (("discover", "--out", "new", "--task", "none"), "a task must be one of indirect_object"),
        (("discover", "--out", "new", *ASKED, "--method", "magic"), "method got"),
        (("export", ".", "--format", "xml", "--out", "x"), "format got 'xml'"),
        (("export", ".", "--format", "csv", "--out", "x.json"), "ends in .csv"),
        (("export", ".", "--edges", "all", "--out", "x.json"), "--edges must be core or contingent"),
    ],
)
def test_a_mistake_is_one_line(arguments, told: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    if arguments[0] == "discover" and "--model" not in arguments:
        arguments = (*arguments, "--model", "organism-base")
    assert interp_circuits(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert told in error.splitlines()[-1] and error.splitlines()[-1].startswith("interp: ")
    assert not (tmp_path / "new").exists()


def test_a_folder_with_files_is_left_alone(found: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    assert interp_circuits("discover", *ASKED, "--out", str(found)) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err
