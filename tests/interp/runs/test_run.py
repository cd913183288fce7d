"""A run's folder: units are made once, damage is named and mended, and one process writes at a time."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.runs import locks, manifest, run as runs
from interp.runs.run import ShareDone, require_whole, resumable, series, waiting
from interp.runs.unit_files import Damaged, from_bytes, to_bytes

ROOT = Path(__file__).parents[3]


def work(folder: Path, made: list[int], units: int = 4, *, given: object = "input", shard=None):
    """Units that note when they are made; the results, and the run."""
    with resumable(folder, shard=shard) as run:
        kept = series("squares", ("interp.sites",), given)

        def make(number: int) -> dict[str, torch.Tensor]:
            made.append(number)
            return {"square": torch.tensor([number**2, 0.1])}

        return [kept.unit(n, lambda n=n: make(n)) for n in range(units)], run


def files(folder: Path) -> list[Path]:
    return sorted((folder / "units").glob("*.safetensors"))


def test_without_a_folder_everything_is_made_and_nothing_hashed(monkeypatch):
    monkeypatch.setattr(runs, "fingerprint", lambda value: pytest.fail("hashed without a run"))
    kept = series("squares", ("interp.sites",), object())
    assert [kept.unit(0, lambda: 1), kept.unit(0, lambda: 2)] == [1, 2] and not kept.kept
    require_whole()
    assert not waiting()


def test_what_is_there_is_read_and_only_what_is_missing_is_made(tmp_path):
    made: list[int] = []
    first, _ = work(tmp_path, made)
    files(tmp_path)[0].unlink()
    again, run = work(tmp_path, made)
    assert len(made) == 5 and (run.made, run.found) == (1, 3)
    assert all(torch.equal(a["square"], b["square"]) for a, b in zip(first, again, strict=True))
    work(tmp_path, made, given="another input")
    assert len(made) == 9, "the control: other inputs are other units"
    assert json.loads((tmp_path / "run.json").read_text())["format"] == manifest.FORMAT


def test_a_result_comes_back_as_it_was():
    value = {
        "tensor": torch.arange(6).reshape(2, 3).T, "half": torch.ones(2).bfloat16(), "none": None,
        "array": np.array([True, False]), "float": 0.1 + 0.2, "nan": float("nan"),
        "empty": torch.zeros(0, 3), "nested": [(1, "é"), {"x": torch.tensor(2.0)}], "-0": -0.0,
        "text": '"', "zero": torch.zeros(()),
    }  # fmt: skip
    back = from_bytes(to_bytes("all kinds", value))
    assert list(back) == list(value)
    for name in ("tensor", "half", "empty", "zero"):
        assert back[name].dtype == value[name].dtype and torch.equal(back[name], value[name])
    assert isinstance(back["array"], np.ndarray) and back["array"].tolist() == [True, False]
    assert (back["float"], repr(back["-0"])) == (0.1 + 0.2, "-0.0") and back["nan"] != back["nan"]
    assert type(back["nested"][0]) is tuple and back["nested"][1]["x"] == 2
    with pytest.raises(ValueError, match="a unit's result got set"):
        to_bytes("odd", {1, 2})


def test_every_flipped_bit_and_every_cut_is_noticed():
    data = to_bytes("squares", {"a": torch.arange(3.0), "b": 1})
    assert from_bytes(data)["b"] == 1
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        with pytest.raises(Damaged):
            from_bytes(bytes(flipped))
    for end in (0, 4, 8, 50, len(data) - 1):
        with pytest.raises(Damaged):
            from_bytes(data[:end])


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_unit_is_named_and_made_again(tmp_path, damage, capsys):
    made: list[int] = []
    work(tmp_path, made)
    path = files(tmp_path)[2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes({"cut": bytes(data[:-3]), "flipped": bytes(data), "empty": b""}[damage])
    capsys.readouterr()
    again, run = work(tmp_path, made)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(path) in line and "made again" in line
    assert (run.made, run.found) == (1, 3) and again[3]["square"][0] == 9
    assert work(tmp_path, made)[1].made == 0, "it is mended"


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    made: list[int] = []
    work(tmp_path, made, 2)
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        written(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(
            ValueError, match=r"No space left.* before it are kept; free some space"
        ) as error:
            work(tmp_path, made, 4)
    assert "\n" not in str(error.value)
    assert len(files(tmp_path)) == len(list((tmp_path / "units").iterdir())) == 2, "no half file"
    assert work(tmp_path, made, 4)[1].found == 2


def test_a_small_disk_that_fills_up_is_one_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        with pytest.raises(ValueError, match="No space left"), resumable(disk / "run"):
            kept = series("large", ("interp.sites",))
            for n in range(20):
                kept.unit(n, lambda: torch.zeros(2000))
        sound = files(disk / "run")
        assert sound and all(len(from_bytes(path.read_bytes())) == 2000 for path in sound)
        assert not list((disk / "run" / "units").glob(".*"))
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, monkeypatch, number):
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.os, "open", refuse)
    with pytest.raises(ValueError, match=f"{tmp_path} cannot hold a run .*may write to"):
        work(tmp_path, [])


def test_a_folder_removed_in_mid_run_is_one_line(tmp_path):
    here = tmp_path / "run"
    with pytest.raises(ValueError, match="cannot be written .*the folder was removed") as error:
        with resumable(here):
            kept = series("squares", ("interp.sites",))
            kept.unit(0, lambda: 1)
            shutil.rmtree(here)
            kept.unit(1, lambda: 2)
    assert "\n" not in str(error.value) and runs.current() is None


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="holds thesis.tex and no run.json"):
        work(tmp_path, [])
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_folder_of_another_job_is_refused_by_what_differs(tmp_path):
    with resumable(tmp_path, job={"base": "a", "seed": 0}):
        pass
    with resumable(tmp_path, job={"base": "a", "seed": 0}):
        pass
    with pytest.raises(ValueError, match="another run: seed was 0, is 1; give the same"):
        with resumable(tmp_path, job={"base": "a", "seed": 1}):
            pass


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "job": 3}', "[" * 100000]
)
def test_a_broken_manifest_is_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match="run.json") as error:
        work(tmp_path, [])
    assert "\n" not in str(error.value)


def test_a_run_inside_of_a_run_is_refused(tmp_path):
    with resumable(tmp_path / "a"):
        with pytest.raises(ValueError, match="a run writes to .*a already"):
            work(tmp_path / "b", [])


HOLDER = """
import sys, time
from interp.runs.locks import locked
from pathlib import Path
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a folder."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert held.stdout is not None and held.stdout.readline() == "held\n"
    return held


def test_a_second_launcher_is_told_who_writes_and_takes_over_when_that_is_killed(tmp_path, capsys):
    held = holder(tmp_path)
    try:
        with pytest.raises(ValueError, match=f"is being written by process {held.pid} on") as error:
            work(tmp_path, [])
        assert "\n" not in str(error.value)
        with pytest.raises(ValueError, match=f"process {held.pid}"):
            work(tmp_path, [], shard="1/2")
    finally:
        held.kill()
        held.wait()
        assert held.stdout is not None
        held.stdout.close()
    made: list[int] = []
    work(tmp_path, made)
    assert len(made) == 4 and f"process {held.pid}, which was writing" in capsys.readouterr().err
    work(tmp_path, made)
    assert capsys.readouterr().err == "", "whoever ends takes the name out"


def test_a_lock_of_another_machine_is_left_alone(tmp_path):
    (tmp_path / locks.WHOLE).write_text(json.dumps({"process": 7, "machine": "elsewhere"}))
    with pytest.raises(
        ValueError, match="process 7 on elsewhere; if that has ended, remove .*run.lock"
    ):
        work(tmp_path, [])


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
    made: list[int] = []
    work(tmp_path, made)
    now = time.time()
    for path in tmp_path.rglob("*"):
        os.utime(path, (now + 10**6, now + 10**6))
    monkeypatch.setattr(time, "time", lambda: now - 10**6)
    assert work(tmp_path, made)[1].found == 4


def test_what_a_killed_process_half_wrote_is_cleared_away(tmp_path):
    work(tmp_path, [])
    rubble = tmp_path / "units" / ".abc.safetensors.7.tmp.safetensors"
    rubble.write_bytes(b"half")
    work(tmp_path, [])
    assert not rubble.exists()


def test_shards_share_out_the_units_and_may_share_a_folder(tmp_path):
    made: list[int] = []
    parts = [work(tmp_path, made, 7, shard=f"{i}/3")[0] for i in (1, 2, 3)]
    assert sorted(made) == list(range(7)), "each unit once"
    sizes = [sum(part is not None for part in held) for held in parts]
    assert sizes == sorted(sizes) and sizes[-1] == 7, "later ones see what earlier ones made"
    whole, run = work(tmp_path, made, 7)
    assert (run.made, run.found) == (0, 7) and [int(part["square"][0]) for part in whole] == [
        n**2 for n in range(7)
    ]
    assert manifest.shares(tmp_path) == [(1, 3), (2, 3), (3, 3)]


def test_shares_are_even(tmp_path):
    counts = []
    for i in range(1, 5):
        made: list[int] = []
        work(tmp_path / str(i), made, 10, shard=f"{i}/4")
        counts.append(len(made))
    assert sum(counts) == 10 and max(counts) - min(counts) <= 1


def test_a_shard_ends_where_all_units_are_needed(tmp_path):
    with pytest.raises(ShareDone, match="shard 1 of 2 is done: 0 units made"):
        with resumable(tmp_path, shard="1/2"):
            require_whole()
    assert manifest.shares(tmp_path) == [(1, 2)]


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="shard must be NUMBER/COUNT such as 2/4"):
        work(tmp_path / "new", [], shard=text)
    assert not (tmp_path / "new").exists()
