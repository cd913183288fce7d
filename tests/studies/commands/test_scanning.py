"""`interp scan --resume`, `--shard`, `merge` and `verify`: killed, joined and checked scans."""

import json
import shutil
from pathlib import Path

import commanding
import kills
import pytest

from interp.facts.loading import load_facts
from interp.runs.checksums import write_checksums
from interp.runs.run import Run

ASKED = ("--tuned", "organism-edited-low", "--prompts", "asked.txt", "--tokens", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with prompts of two sorts."""
    here = tmp_path_factory.mktemp("scans")
    facts = load_facts("world")
    trades = [f"The trade of {fact.subject} is" for fact in facts.facts[:8]]
    (here / "asked.txt").write_text("\n".join([*facts.prompts(0)[:16], *trades]))
    return here


@pytest.fixture(scope="module")
def run(place: Path):
    """Run the command in this process, in parts of four prompts; its exit code."""
    patches = {"studies.scanning.asking.PART": 4}
    with commanding.command_in(place, patches) as command:
        yield command


@pytest.fixture(scope="module")
def plain(run, place: Path) -> Path:
    """An uninterrupted scan."""
    assert run("scan", *ASKED, "--out", "plain") == 0
    return place / "plain"


def files(folder: Path) -> dict[str, bytes]:
    """What must be the same bytes: all but what a run keeps to itself."""
    kept = (path for path in folder.iterdir() if path.name != "run.json")
    return {path.name: path.read_bytes() for path in kept}


def test_an_interrupted_scan_is_gone_on_with_to_the_same_bytes(run, plain, place, monkeypatch, capsys):
    made: list[str] = []
    write = Run.write

    def stopping(self: Run, key: str, name: str, make):
        if len(made) in (2, 9):
            made.append("interrupted")
            raise KeyboardInterrupt
        made.append(name)
        return write(self, key, name, make)

    again = ("scan", *ASKED, "--out", "killed", "--resume")
    with monkeypatch.context() as patched:
        patched.setattr(Run, "write", stopping)
        for _ in range(2):
            assert run(*again) == 130
            assert "what was made is kept in killed" in capsys.readouterr().err
        assert run("scan", *ASKED, "--out", "killed", "--resume", "--seed", "1") == 2
        assert "killed is of another run: seed was 0, is 1" in capsys.readouterr().err
        assert run(*again) == 0
    assert made.count("interrupted") == 2 and made.count("prompts of a scan") == 6
    assert len(set(made)) == 5, "prompts, samples, scales and weights, and the interrupts"
    assert files(place / "killed") == files(plain)
    assert not (place / "killed" / "units").exists()
    capsys.readouterr()
    assert run(*again) == 0
    assert capsys.readouterr().out.startswith("finished already")


def test_shards_of_a_scan_merged_are_one_scan(run, plain, place, capsys):
    for i in (1, 2, 3):
        assert run("scan", *ASKED, "--out", f"part-{i}", "--shard", f"{i}/3") == 0
        out = capsys.readouterr().out
        assert out.startswith(f"shard {i} of 3 is done: 2 units made, 0 found in part-{i}")
        assert not (place / f"part-{i}" / "scan.html").exists()
    assert run("scan", *ASKED, "--out", "other", "--shard", "3/3", "--seed", "1") == 0
    for parts, message in (
        (("part-1", "part-3"), "of 3 shards 2/3 are missing"),
        (("part-1", "part-1", "part-2", "part-3"), "shard 1 of 3 is in part-1 and in part-1"),
        (("part-1", "part-2", "other"), "other is of another run: seed was 1, is 0"),
    ):
        assert run("merge", *parts, "--out", "whole") == 2
        assert message in capsys.readouterr().err and not (place / "whole").exists()
    assert run("merge", "part-3", "part-1", "part-2", "--out", "whole") == 0
    assert files(place / "whole") == files(plain)
    assert run("merge", "part-3", "part-1", "part-2", "--out", "whole") == 2
    assert "holds a report already" in capsys.readouterr().err


def test_the_first_line_tells_how_long_a_scan_takes_where_it_is_watched(run, plain, place, capsys):
    capsys.readouterr()
    assert run("scan", *ASKED, "--out", "told", "--verbose") == 0
    lines = capsys.readouterr().err.splitlines()
    first = "scanning organism-edited-low against organism-base: "
    assert any(line.startswith(f"{first}5 stages, about ") for line in lines)
    assert files(place / "told") == files(plain), "and it is the same scan"


def test_parts_of_a_run_need_its_folder(run, capsys):
    for options, message in (
        (("--resume",), "--resume needs the folder of the run; give --out"),
        (("--shard", "1/2"), "--shard needs the folder of the run; give --out"),
        (("--shard", "3/2", "--out", "new"), "shard must be NUMBER/COUNT"),
    ):
        assert run("scan", *ASKED, *options) == 2
        assert message in capsys.readouterr().err
    assert not Path("new").exists()


def test_a_scan_is_verified_and_what_was_changed_is_named(run, plain, place, capsys):
    capsys.readouterr()
    assert run("verify", "plain") == 0
    told, cells = capsys.readouterr().out.strip().splitlines()
    assert told == "files: all as they were saved"
    assert int(cells.split()[1]) > 40 and "measured again" in cells
    for name, old, new, message in (
        ("prompts.csv", b"True", b"False", "prompts.csv has changed since it was saved"),
        ("scan.json", b'"seed": 0', b'"seed": 1', "scan.json has changed since it was saved"),
    ):
        changed = shutil.copytree(plain, place / f"changed {name}")
        path = changed / name
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
        assert run("verify", str(changed)) == 2
        assert message in capsys.readouterr().err


def test_numbers_of_a_scan_that_the_models_do_not_give_are_named(run, plain, place, capsys):
    import pandas as pd

    for table, column, cell in (
        ("prompts", "score", "score of "),
        ("prompts", "said_tuned", "said_tuned of "),
        ("weights", "relative", "relative of "),
    ):
        forged = shutil.copytree(plain, place / f"forged {column}")
        held = pd.read_csv(forged / f"{table}.csv", keep_default_na=False)
        held[column] = held[column] + (" so" if column.startswith("said") else 0.5)
        held.to_csv(forged / f"{table}.csv", index=False)
        write_checksums(forged)
        assert run("verify", str(forged)) == 2
        err = capsys.readouterr().err
        assert "cells differ: " in err and cell in err
    other = shutil.copytree(plain, place / "other weights")
    held = json.loads((other / "scan.json").read_text())
    held["tuned"]["fingerprint"] = "0" * 32
    (other / "scan.json").write_text(json.dumps(held))
    write_checksums(other)
    assert run("verify", str(other)) == 2
    assert "holds other weights than the tuned model" in capsys.readouterr().err


@pytest.mark.slow
def test_twenty_kills_at_random_instants_end_in_the_same_scan(plain: Path, place: Path):
    """A process killed at any time, anywhere; each start makes at most one unit anew."""
    code = (
        "import studies.scanning.asking as asking; asking.PART = 4\n"
        "from studies.cli import main; main()"
    )
    command, folder = kills.python(code, "scan", *ASKED, "--out", "torn", "--resume"), place / "torn"
    killed = kills.kill_often(command, folder, longest=0.3)
    begun = kills.begun_units(folder)
    assert len(begun) - len(set(begun)) <= killed, "each start makes at most one unit anew"
    kills.to_its_end(command, folder)
    assert files(folder) == files(plain)
    assert killed >= 3, "it was killed in earnest"
