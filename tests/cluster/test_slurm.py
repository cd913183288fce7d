"""A comparison as a Slurm array, its jobs run as processes of this machine."""

import os
from pathlib import Path

import cluster_work
import pytest

from interp.runs.slurm import Array, interp_command
from studies import cli

pytest.importorskip("submitit", reason="pip install 'interp[slurm]'")
pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PAIR = ("--base", "organism-base", "--tuned", "organism-evasive-high", "--facts", "some.csv")


def test_four_shards_sent_as_an_array_and_merged_are_one_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("interp.report.page.write_svg", lambda figures, folder: [])
    cluster_work.write_facts(tmp_path / "some.csv")
    monkeypatch.setattr("sys.argv", ["interp", "compare", *PAIR, "--out", "whole"])
    cli.main()
    out = str(tmp_path / "shared")
    array = Array(
        Path(out), tmp_path, 4, interp_command("compare", *PAIR, "--out", out),
        interp_command("merge", out, "--out", out),
    )  # fmt: skip
    array.write()
    # What a task leaves that died on another machine must not stand in the way of its successor.
    (Path(out) / "shard-2-of-4.lock").write_text('{"process": 1, "machine": "elsewhere"}')
    assert len(array.send("local")) == 5
    for name in ("evidence.parquet", "verdict.json", "outputs.csv"):
        assert Path("shared", name).read_bytes() == Path("whole", name).read_bytes(), name
    assert os.path.exists("shared/report.html") and not os.path.exists("shared/units")
