"""Runs of `interp compare --prompts`: shards joined, and what was saved measured again."""

import shutil
from pathlib import Path

import commanding
import pandas as pd
import pytest

from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.runs.checksums import write_checksums
from interp.verdict.thresholds import Thresholds

PAIR = ("--tuned", "organism-edited-low", "--prompts", "asked.csv", "--tokens", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with prompts and their paraphrases, some of which change."""
    here, facts = tmp_path_factory.mktemp("prompts"), load_facts("world")
    columns = {"prompt": facts.prompts(0)[:16], "paraphrase": facts.prompts(1)[:16]}
    pd.DataFrame(columns).to_csv(here / "asked.csv", index=False)
    return here


@pytest.fixture(scope="module")
def run(place: Path):
    """Run the command in this process; its exit code."""
    few = Thresholds(placebo_shifts=3, placebo_groups=4)
    patches = {
        "interp.report.page.gallery": lambda *_, **__: [],  # figures take their time
        "studies.comparison.comparing.Thresholds": lambda: few,
    }
    with commanding.command_in(place, patches) as command:
        yield command


@pytest.fixture(scope="module")
def plain(run, place: Path) -> Path:
    """An uninterrupted comparison."""
    assert run("compare", *PAIR, "--out", "plain") == 0
    return place / "plain"


def test_a_run_of_prompts_is_verified_and_one_changed_cell_is_named(run, plain, place, capsys):
    capsys.readouterr()
    assert run("verify", "plain") == 0
    told, cells = capsys.readouterr().out.strip().splitlines()
    assert told == "files: all as they were saved" and int(cells.split()[1]) > 100
    forged = shutil.copytree(plain, place / "forged")
    path = forged / "evidence.parquet"
    evidence = Evidence.load(path)
    one = (evidence.table["method"] == "stitch") & (evidence.table["condition"] == "stitched")
    one &= (evidence.table["metric"] == "output") & (evidence.table["layer"] == 3)
    evidence.table.loc[one, "value"] += 0.5
    evidence.save(forged)
    assert run("verify", "forged", "--files") == 2
    assert "evidence.parquet has changed since it was saved" in capsys.readouterr().err
    write_checksums(forged)
    assert run("verify", "forged") == 2
    err = capsys.readouterr().err
    assert "cells differ: stitch stitched output" in err and "said_" not in err
    shutil.copytree(plain, place / "other prompts")
    asked = (place / "asked.csv").read_text()
    try:
        (place / "asked.csv").write_text("\n".join(asked.split("\n")[:10]))
        assert run("verify", "other prompts") == 2
        assert "restore the file" in capsys.readouterr().err
    finally:
        (place / "asked.csv").write_text(asked)


@pytest.mark.slow
def test_shards_of_prompts_merged_are_one_run(run, plain, place, capsys):
    for i in (1, 2):
        assert run("compare", *PAIR, "--out", f"part-{i}", "--shard", f"{i}/2") == 0
        assert f"shard {i} of 2 is done" in capsys.readouterr().out
    assert run("merge", "part-2", "--out", "whole") == 2
    assert "of 2 shards 1/2 are missing" in capsys.readouterr().err
    assert run("merge", "part-2", "part-1", "--out", "whole") == 0
    for name in ("evidence.parquet", "verdict.json", "outputs.csv"):
        assert (place / "whole" / name).read_bytes() == (plain / name).read_bytes()
