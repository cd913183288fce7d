"""Workers over one folder: each unit is made by one, a dead one's by another, to the same table."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cluster_work
import pandas as pd
import pytest
import torch

from interp.runs import claims
from interp.runs.claims import SharedRun, work_in_rounds
from interp.runs.manifest import release, remove_units
from interp.runs.run import current, opened, require_whole, resumable, series, waiting
from interp.runs.unit_files import from_bytes
from patching.engine import block_cost, schedule

ROOT = Path(__file__).parents[3]


def squares(made: list[int], units: int = 5, *, dealt: bool = True) -> list[Any]:
    """Units that note when they are made."""
    kept = series("squares", ("interp.sites",), units)

    def make(number: int) -> torch.Tensor:
        made.append(number)
        return torch.tensor(number**2)

    return [kept.unit(n, lambda n=n: make(n), dealt=dealt) for n in range(units)]


def claimed(folder: Path, worker: str, number: int) -> Path:
    """The squares but for one, and the claim of a worker on it."""
    with resumable(folder):
        squares([])
    files = folder.glob("units/*.safetensors")
    (unit,) = [file for file in files if from_bytes(file.read_bytes()) == number**2]
    unit.unlink()
    claim = unit.with_suffix(".claim")
    claim.write_text(worker)
    return claim


@pytest.fixture
def stop_waiting(monkeypatch):
    """`stop_waiting(act)`: what happens while a worker waits for others."""

    def use(act: Callable[[], object]) -> None:
        def sleep(seconds: float) -> None:
            act()

        monkeypatch.setattr(claims.time, "sleep", sleep)

    return use


def test_one_worker_makes_everything_and_leaves_no_claim(tmp_path):
    made: list[int] = []
    result = work_in_rounds(tmp_path, "a", lambda: squares(made))
    assert [int(part) for part in result] == [0, 1, 4, 9, 16] and made == list(range(5))
    assert not list(tmp_path.glob("units/*.claim")) and current() is None
    work_in_rounds(tmp_path, "b", lambda: squares(made))
    assert len(made) == 5, "what is there is read"


def test_what_another_makes_is_left_to_it_and_waited_for(tmp_path, stop_waiting):
    claim = claimed(tmp_path, "other", 2)
    made: list[int] = []
    rounds: list[list[Any]] = []
    seen: list[bool] = []

    def work() -> list[Any]:
        rounds.append(squares(made))
        seen.append(waiting())
        return rounds[-1]

    def other_ends() -> None:
        seen.append(claim.exists())
        claim.unlink()

    stop_waiting(other_ends)
    result = work_in_rounds(tmp_path, "a", work)
    assert rounds[0][2] is None and [part is None for part in rounds[0]].count(True) == 1
    assert seen == [True, True, False], (
        "the first round lacks a row, and nothing is taken from the other"
    )
    assert made == [2] and int(result[2]) == 4, "given up, it is made here"


def test_only_the_dead_ones_claims_are_given_up(tmp_path):
    claim = claimed(tmp_path, "alive", 1)
    unnamed = claim.with_name("0.claim")
    unnamed.touch()
    release(tmp_path, "dead")
    assert claim.exists() and not unnamed.exists(), "one that died before it wrote its name has none"
    release(tmp_path, "alive")
    assert not claim.exists()


def test_one_that_begins_again_under_its_name_gives_up_what_it_was_making(tmp_path):
    claimed(tmp_path, "a", 3)
    made: list[int] = []
    work_in_rounds(tmp_path, "a", lambda: squares(made))
    assert made == [3]


def test_what_needs_all_rows_runs_only_when_they_are_there(tmp_path, stop_waiting):
    claim = claimed(tmp_path, "other", 0)
    stop_waiting(claim.unlink)
    sums: list[int] = []

    def work() -> int:
        parts = squares([])
        require_whole()
        sums.append(int(sum(parts)))
        return sums[-1]

    assert work_in_rounds(tmp_path, "a", work) == 30 and sums == [30]


def test_what_all_need_is_made_by_one(tmp_path, stop_waiting):
    claim = claimed(tmp_path, "other", 0)
    stop_waiting(claim.unlink)
    results: list[list[Any]] = []
    work_in_rounds(tmp_path, "a", lambda: results.append(squares([], dealt=False)))
    assert len(results) == 1 and None not in results[0]


def test_errors_of_rows_that_lack_are_forgotten_and_others_are_not(tmp_path, stop_waiting):
    claim = claimed(tmp_path, "other", 0)
    stop_waiting(claim.unlink)
    assert work_in_rounds(tmp_path, "a", lambda: sum(squares([]))) == 30, "None cannot be added"
    with pytest.raises(ZeroDivisionError):
        work_in_rounds(tmp_path, "a", lambda: 1 // 0)

    def fail() -> None:
        series("failing", ("interp.sites",)).unit(0, lambda: 1 // 0)

    claimed(tmp_path, "other", 0)
    with pytest.raises(ZeroDivisionError):
        work_in_rounds(tmp_path, "a", lambda: (squares([]), fail()))
    assert [path.read_text() for path in tmp_path.glob("units/*.claim")] == ["other"]


def test_a_unit_that_ended_between_two_looks_is_read(tmp_path, monkeypatch):
    with resumable(tmp_path):
        squares([])
    made: list[int] = []
    run, read = SharedRun(tmp_path, "a"), SharedRun.read
    looks: list[str] = []

    def late(self: SharedRun, key: str, name: str) -> Any:
        looks.append(key)
        return None if looks.count(key) == 1 else read(self, key, name)

    monkeypatch.setattr(SharedRun, "read", late)
    with opened(run):
        assert [int(part) for part in squares(made)] == [0, 1, 4, 9, 16]
    assert made == []


def test_whole_runs_and_workers_keep_each_other_out(tmp_path):
    with opened(SharedRun(tmp_path, "a")):
        process = start(tmp_path, "import sys, interp\nwith interp.resumable(sys.argv[1]): pass")
        assert "another process; wait until it has ended" in process.communicate()[1]
    claimed(tmp_path, "dead", 1)
    with resumable(tmp_path):
        pass
    assert not list(tmp_path.glob("units/*.claim")), "alone, it knows that all others have ended"
    claimed(tmp_path, "dead", 1)
    remove_units(tmp_path)
    assert not (tmp_path / "units").exists()


WORKER = """
import sys, cluster_work
from pathlib import Path
from interp.runs.claims import work_in_rounds
folder, name = Path(sys.argv[1]), sys.argv[2]
model = cluster_work.load_organism()
evidence = work_in_rounds(folder, name, lambda: cluster_work.few_heads(model))
evidence.table.to_parquet(folder.parent / f"{name}.parquet")
"""

#: A worker that begins one unit and never ends.
STUCK = """
import time
from interp.runs.folder import Run
def stay(self, key, name, make):
    print("begun", flush=True)
    time.sleep(3600)
Run.write = stay
"""


def start(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs some lines."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *arguments], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_three_workers_of_which_one_is_killed_give_the_table_of_one(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    killed = start(folder, STUCK + WORKER, "killed")
    assert killed.stdout is not None and killed.stdout.readline() == "begun\n"
    workers = [start(folder, WORKER, name) for name in ("a", "b")]
    for home, name in ((schedule, "UNIT_FLOPS"), (block_cost, "CPU_PASS_BYTES")):
        monkeypatch.setattr(home, name, getattr(home, name))
    alone = cluster_work.few_heads(cluster_work.load_organism())
    killed.kill()
    killed.communicate()
    (claim,) = [path for path in folder.glob("units/*.claim") if path.read_text() == "killed"]
    assert [worker.poll() for worker in workers] == [None, None], "they wait for what it was making"
    release(folder, "killed")
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    alone.table.to_parquet(tmp_path / "alone.parquet")
    tables = {name: (tmp_path / f"{name}.parquet").read_bytes() for name in ("a", "b", "alone")}
    assert tables["a"] == tables["b"] == tables["alone"]
    assert pd.read_parquet(tmp_path / "a.parquet")["value"].notna().sum() == len(alone) > 100
    made = (folder / "units.log").read_text().split("\n")[:-1]
    assert len(made) == len(set(made)) == len(list(folder.glob("units/*.safetensors"))) > 5
    assert claim.with_suffix(".safetensors").exists() and not claim.exists()
    others = alone.table.assign(value=alone.table["value"] + 1e-7)
    others.to_parquet(tmp_path / "others.parquet")
    assert (tmp_path / "others.parquet").read_bytes() != tables["a"], "the control"
