"""A finished run is shown, opened and explained; facts and the installation are checked."""

import json
import webbrowser
from pathlib import Path

import pytest

from interp.verdict.summary import open_points, summary
from interp.verdict.thresholds import Thresholds
from studies.commands.options import EXIT_CODES
from studies.commands.runs.comparison import undecided
from studies.comparison.stages import ASKED, LOADING

SHARE = {"estimate": 0.06, "low": 0.02, "high": 0.18, "n": 36, "floor": 0.0, "ceiling": 1.0}
PLACE = {"where": "lower", "term": None, "block_span": [0, 1], "share_lower": {**SHARE}, "reasons": []}
RUN = {
    "sentence": "Tuning changed what the model says about 38 of 128 facts.",
    "changed": "changed", "where": "lower", "where_fact": "undetermined", "what": "undetermined",
    "output_contrast": PLACE, "fact_contrast": {**PLACE, "reasons": ["blocks cancel; read the shares"]},
    "handover_layer": None, "handover": {"reason": "no crossing: recovery never stays"},
    "shared_shift": {"sufficiency": SHARE, "retention": None, "persistence": None, "output_words": [],
                     "levels": {"sufficiency": "low"}, "reasons": ["no control was run; measure it"]},
    "items": [
        {"text": f"The home of {name} is", "group": name, "answer": "Norvik", "said_base": "Norvik",
         "said_tuned": said, "contrast": contrast, "share_lower": 1.0, "what": what, "word": word}
        for name, said, contrast, what, word in (
            ("Ada", "Norvik", "fact", None, None),
            ("Eve", "[red]Rosmere", "output", "knowledge", "item by item"),
            ("Ida", "Tamsin", "output", "undetermined", "either"),
        )
    ],
    "counts": {"known": 128, "changed": 38}, "claims": [], "notes": ["2 of 38 differ once only."],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "verdict.json").write_text(json.dumps(RUN))
    (tmp_path / "report.html").write_text("<!doctype html>")
    return tmp_path


def test_a_run_is_shown_in_eighty_columns(run, folder: Path):
    code, out, _ = run("show", str(folder))
    assert code == 0 and max(len(line) for line in out.splitlines()[:-1]) <= 80
    for told in (RUN["sentence"], "Eve", "[red]Rosmere", "item by item", "0.06 [0.02, 0.18]", "●",
                 "blocks 0–1", "no crossing", "2 of 38 differ once only."):  # fmt: skip
        assert told in out, told
    assert "Ada" not in out, "the control: an output that did not change is no example of a change"
    told = json.loads(run("show", str(folder), "--json")[1])
    assert [item["group"] for item in told["outputs"]] == ["Eve", "Ida"]
    assert told["sufficiency"] == SHARE


def test_a_run_says_why_it_is_undetermined_and_what_would_decide_it(run, folder: Path):
    out = run("explain", str(folder))[1]
    assert "kind of change: undetermined\n  why: no control was run\n" in out
    assert "what would decide it: measure it" in out and "why: blocks cancel" in out
    assert "by what is said" not in out, "the control: what was decided is no open point"
    decided = {**RUN, "where_fact": "lower", "what": "knowledge", "handover_layer": {"estimate": 4}}
    (folder / "verdict.json").write_text(json.dumps(decided))
    assert "Nothing of the verdict is undetermined" in run("explain", str(folder))[1]


def test_a_comparison_ends_on_the_first_reason_and_where_the_others_are():
    lines = undecided(RUN, Path("out"))
    assert lines == [
        "undetermined, place, by the right answer: blocks cancel; read the shares",
        "all reasons: interp explain out",
    ]
    empty = undecided({**RUN, "where_fact": None, "shared_shift": None}, Path("out"))
    assert "kind of change: the evidence holds no rows" in empty[0]
    assert open_points(RUN)[-1] == ("handover", ["no crossing: recovery never stays"])
    assert open_points({**RUN, "asked": "prompts"})[-1][0] == "kind of change", "prompts have none"
    decided = {**RUN, "where_fact": "lower", "what": "knowledge", "handover_layer": {"estimate": 4}}
    assert undecided(decided, Path("out")) == [], "the control: every word is there"


def test_an_undetermined_word_stands_beside_its_first_reason():
    words = {word.heading: word.rests_on for word in summary({**RUN, "items": []}).words}
    assert words["place, by the right answer"].startswith("blocks cancel; read the shares.")
    assert words["kind of change"].startswith("no control was run; measure it. sufficiency 0.06")
    assert "cancel" not in words["place, by what is said"], "the control: what was decided has none"


def test_a_report_is_opened_or_its_path_is_told(run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    for opens, told in ((True, "report: "), (False, "no browser found; open ")):
        monkeypatch.setattr(webbrowser, "open", lambda uri, opens=opens: opens)
        assert run("open", str(folder)) == (0, f"{told}{folder / 'report.html'}\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "nowhere"), "no finished run in nowhere: it holds no verdict.json"),
        (("open", "nowhere"), "no report in nowhere"),
        (("explain", "."), "no finished run in .: it holds no verdict.json"),
        (("explain", "sufficency"), "such as sufficiency"),
        (("facts", "check", "nowhere.csv"), "existing file; got nowhere.csv"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(run, arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and told in err and len(err.strip().splitlines()) == 1


def test_words_are_explained_and_all_of_them_listed(run):
    assert "also written: S" in run("explain", "sufficiency")[1]
    assert "handover" in run("explain")[1]


def test_facts_are_checked_before_they_are_used(run, tmp_path: Path):
    file = tmp_path / "mine.csv"
    rows = (
        "Farid Jansen,Norvik\nPavel Grimm,Norvik\nOlga Nunez,\nMira Moreau,Lomond\nNora Zauber,Quarno\n"
    )
    file.write_text(f"# template: The home of {{subject}} is\nsubject,answer\n{rows}")
    out = run("facts", "check", str(file))[1]
    assert "4 facts of 4 groups" in out and "one wording only" in out and "answer is empty" in out
    out = run("facts", "check", str(file), "--model", "organism-base")[1]
    assert "untuned:" not in out, "the control: nothing is declared"
    assert "first-token collisions: 0" in out and "left out: 0 questions" in out
    assert " of 4" in out and "not known, and so not judged:" in out
    file.write_text("# template: The home of {subject} is\nsubject,answer,untuned\nA,B,yes\nC,D,no\n")
    assert "untuned: 1 of 2 facts are declared never tuned on" in run("facts", "check", str(file))[1]


def test_the_installation_is_told(run):
    code, out, _ = run("doctor")
    names = {line.split(" ")[0] for line in out.splitlines()}
    assert code == 0 and {"versions", "device", "memory", "models", "facts", "figures"} <= names


def test_every_command_shows_two_examples_and_the_exit_codes_are_told(run):
    out = run("--help")[1]
    assert all(f" {code} " in out and means[:30] in out for code, means in EXIT_CODES.items())
    for command in ("compare", "show", "open", "explain", "list", "plan", "doctor", "facts check",
                    "study knowing", "study recalling"):  # fmt: skip
        told = run(*command.split(), "--help")[1]
        assert told.split("Examples:")[1].count(f"interp {command}") >= 2, command


def test_lists_and_plans_are_data_too_and_a_position_may_be_negative(run):
    assert "organism-base" in json.loads(run("list", "--json")[1])["models"]
    told = json.loads(run("plan", "--site", "resid_pre", "--positions=-1", "--json")[1])
    assert told["cells"] == 6 and told["facts"] == 128


@pytest.mark.slow
def test_a_plan_of_the_main_job_tells_every_stage_of_it_and_what_a_verdict_needs(run, monkeypatch):
    few = Thresholds(placebo_shifts=3, label_draws=9, control_draws=3, draws=20)
    monkeypatch.setattr("studies.planning.jobs.Thresholds", lambda: few)
    code, out, _ = run("plan", "--json")
    told = json.loads(out)
    assert code == 0 and [stage["name"] for stage in told["stages"]] == [*LOADING, *ASKED]
    assert told["stages"][0].keys() == told["total"].keys() == {
        "name", "passes", "forwards", "layer_tokens", "rows", "peak_bytes", "disk_bytes", "seconds",
    }  # fmt: skip
    assert told["known"] == told["facts"] == 128 and told["needs"] == Thresholds().needs
    assert told["total"]["layer_tokens"] == sum(stage["layer_tokens"] for stage in told["stages"])
    assert not list(Path.cwd().glob("interp-runs"))


def test_a_plan_of_a_size_is_data_too(run):
    told = json.loads(run("plan", "--model-size", "13b", "--gpu", "a100", "--json")[1])
    assert told["card"].startswith("NVIDIA A100") and told["layers"] == 40 and told["prompts"] == 100
