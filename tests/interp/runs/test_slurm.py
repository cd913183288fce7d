"""Scripts of a Slurm array: what they call, with which options, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp.runs import slurm
from interp.runs.manifest import is_trace, strangers
from interp.runs.slurm import Array, Script, interp_command, sbatch_options

#: Stands in for a command: it writes down its arguments.
NOTE = "import sys, json; open('called', 'a').write(json.dumps(sys.argv[1:]) + chr(10))"


@pytest.fixture
def array(tmp_path: Path) -> Array:
    where = tmp_path / "a folder's $HOME"
    where.mkdir()
    command = [sys.executable, "-c", NOTE]
    return Array(
        where / "run", where, 10, [*command, "--base", "it's $HERE"], [*command, "merge"],
        {"time": "4:00:00", "comment": "two words"},
    )  # fmt: skip


def test_a_task_calls_its_shard_and_outlives_the_lock_of_its_predecessor(array: Array):
    script, merge = array.write()
    locks = [array.folder / f"shard-{n}-of-10.lock" for n in (2, 3)]
    for lock in locks:
        lock.write_text("{}")
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    subprocess.run(["/bin/bash", script], check=True, env=environment)
    Script(str(script))("7")
    Script(str(merge))()
    calls = [json.loads(line) for line in (array.where / "called").read_text().splitlines()]
    assert calls == [
        ["--base", "it's $HERE", "--shard", "2/10"], ["--base", "it's $HERE", "--shard", "7/10"],
        ["merge"],
    ]  # fmt: skip
    assert [lock.exists() for lock in locks] == [False, True]
    with pytest.raises(subprocess.CalledProcessError):
        Script(str(array.jobs / "none.sh"))()


def test_scripts_tell_slurm_what_it_needs(array: Array):
    script, merge = (path.read_text() for path in array.write())
    for text in (script, merge):
        assert text.startswith("#!/bin/bash\n#SBATCH --requeue\n")
        assert "#SBATCH --time=4:00:00\n" in text and "#SBATCH --comment='two words'\n" in text
    assert "#SBATCH --array=1-10\n" in script and "--array" not in merge
    line = array.sending()
    assert line.startswith("sbatch --dependency=afterok:$(sbatch --parsable '")
    subprocess.run(["/bin/bash", "-n"], input=line, text=True, check=True)


def test_scripts_stand_in_no_runs_way(array: Array):
    array.write()
    assert is_trace("slurm/array.sh") and not strangers(array.folder)


def test_options_of_sbatch():
    given = ["time=4:00:00", "--gres=gpu:1", "cpus-per-task=8"]
    assert sbatch_options(given) == {"time": "4:00:00", "gres": "gpu:1", "cpus-per-task": "8"}
    for text in ("time", "=3", "Time=3", "a b=c", "time=1\n#SBATCH --wrap=x", ""):
        with pytest.raises(ValueError, match="--sbatch must be NAME=VALUE") as error:
            sbatch_options([text])
        assert "\n" not in str(error.value).replace("\\n", "")


def test_sending_without_submitit_is_one_line(array: Array, monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(slurm, "import_module", absent)
    with pytest.raises(ValueError, match=r"needs submitit, .*pip install 'interp\[slurm\]'"):
        array.send()


def test_a_command_of_interp_runs_without_a_path():
    command = interp_command("--version")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("interp ")
