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


SBATCH = """#!/bin/bash
cat "$1" >> "$SENT"
echo "Submitted batch job 77"
"""


def test_what_is_sent_to_slurm_bears_its_options_and_the_merge_waits(tmp_path, monkeypatch):
    for name, text in (("sbatch", SBATCH), ("srun", "#!/bin/bash\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SENT", str(tmp_path / "sent"))
    array = Array(tmp_path / "run", tmp_path, 3, ["true"], ["true"], {"gres": "gpu:1"})
    array.write()
    with pytest.raises(ValueError, match="needs the time limit of a job"):
        array.send()
    Array(array.folder, tmp_path, 3, ["true"], ["true"], {**array.options, "time": "4:00:00"}).send()
    first, second = (tmp_path / "sent").read_text().split("#!/bin/bash")[1:]
    for text in (first, second):
        for option in ("time=4:00:00", "gres=gpu:1", "requeue", "job-name=interp"):
            assert f"#SBATCH --{option}\n" in text, text
    assert "#SBATCH --array=0-2%3\n" in first and "--array" not in second
    assert "#SBATCH --dependency=afterok:77\n" in second and "--dependency" not in first
