"""`interp study`: the studies are listed, and what goes wrong in one is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import knowing, recalling


def test_the_studies_are_listed(run):
    code, out, _ = run("study", "--help")
    assert code == 0 and "knowing" in out and "recalling" in out
    assert "study" in run("--help")[1]
    code, out, err = run("study")
    assert code == 2 and "recalling" in out + err


def test_options_reach_the_study(run, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def spy(*args, **options):
        calls.append((args, options))
        return "tables"

    monkeypatch.setattr(knowing, "report", spy)
    monkeypatch.setattr(recalling, "report", spy)
    assert run("study", "knowing", "--model", "a", "--base", "b", "--out", "c", "--seed", "3")[1:] == (
        "tables\n", "",
    )  # fmt: skip
    run(
        "study",
        "recalling",
        "--base",
        "a",
        "--facts",
        "b",
        "--seed",
        "4",
        "--window",
        "3",
        "--out",
        "d",
    )
    run("study", "recalling", "--base", "organism-null")
    run("study", "recalling")
    assert calls == [
        (("a",), {"base": "b", "out": Path("c"), "seed": 3}),
        (("a", "b"), {"window": 3, "out": Path("d"), "seed": 4}),
        (("organism-null", "world"), {"window": 5, "out": None, "seed": 0}),
        (("smollm2", "capitals"), {"window": 5, "out": None, "seed": 0}),
    ]


def test_a_model_without_the_words_is_told_before_anything_long_runs(run):
    code, out, err = run("study", "knowing", "--model", "organism-base")
    assert (code, out) == (2, "")
    assert "city statements apart" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("knowing", "--model", "no-such-model"), "no-such-model"),
        (("recalling", "--base", "no-such-model"), "no-such-model"),
        (("recalling", "--base", "organism-base", "--facts", "capitals"), "can be asked: "),
        (("nothing",), "No such command 'nothing'"),
        (("recalling", "capitals"), "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_line(run, arguments, message):
    code, out, err = run("study", *arguments)
    assert (code, out) == (2, "")
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_folder_that_exists_is_refused(run, tmp_path: Path):
    for study in ("knowing", "recalling"):
        code, _, err = run("study", study, "--out", str(tmp_path))
        assert code == 2 and "--out must be a new folder" in err


def test_the_scorecard_gets_its_options_and_keeps_its_tables(run, monkeypatch, tmp_path: Path):
    calls = []

    class Card:
        def __str__(self) -> str:
            return "card"

        def save(self, folder: Path) -> None:
            calls.append(folder)

    def spy(families, **options):
        calls.append((families, options))
        return Card()

    monkeypatch.setattr("studies.scores.scorecard.scorecard", spy)
    worlds = {"seeds": None, "first_seed": None}
    plain = {"models": None, "jobs": 1, "only": None, "seed": 0, **worlds}
    assert run("study", "scorecard")[:2] == (0, "card\n")
    asked = ("--family", "fresh", "--only", "null", "--jobs", "2", "--seed", "3", "--first-seed", "7")
    run("study", "scorecard", *asked, "--models", "m", "--out", str(tmp_path / "card"))
    given = {"models": Path("m"), "jobs": 2, "only": ["null"], "seed": 3, "seeds": None}
    given["first_seed"] = 7
    assert calls == [(["shipped"], plain), (["fresh"], given), tmp_path / "card"]


def test_what_a_scorecard_cannot_do_is_one_line(run, tmp_path: Path):
    for wrong, says in (
        (("--family", "all"), "families must be some of"),
        (("--only", "nobody"), "none of which"),
        (("--shard", "1/2"), "add --resume DIR"),
        (("--out", str(tmp_path)), "--out must be a new folder"),
    ):
        code, out, err = run("study", "scorecard", *wrong)
        assert (code, out) == (2, "") and says in err, err
        assert len(err.strip().splitlines()) == 1
