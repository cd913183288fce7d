"""Progress is a bar in a terminal, a plain line a minute elsewhere, and nothing when asked."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp import progress

ROOT = Path(__file__).parents[2]
WORK = """
import sys, time
from interp import progress
progress.QUIET_SECONDS = 0.0
progress.LINE_SECONDS = {seconds}
progress.announce("comparing")
for item in progress.tracked(list(range(40)), "sweeping"):
    time.sleep(0.02)
"""
JOB = WORK.replace(
    "for item",
    "whole = progress.job('whole', {{'stage': 1}})\nwhole.__enter__()\n"
    "progress.stage('stage')\nfor item",
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which the test sets."""
    now = [0.0]  # whole seconds from zero, which add up exactly
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_last_line", now[0])
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return now


def test_without_a_terminal_a_line_a_minute_is_written_at_most(clock, capsys):
    for _ in progress.tracked(range(10), "sweeping", "cells"):
        clock[0] += 25.0
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err
    assert err.splitlines() == [
        "sweeping: 3 of 10 cells", "sweeping: 6 of 10 cells", "sweeping: 9 of 10 cells",
    ]  # fmt: skip


def test_works_that_follow_each_other_share_their_minutes(clock, capsys):
    for part in range(6):
        for _ in progress.tracked(range(2), f"part {part}"):
            clock[0] += 10.0
    assert capsys.readouterr().err.splitlines() == ["part 2: 2 of 2 batches", "part 5: 2 of 2 batches"]


def test_quick_work_writes_nothing(clock, capsys):
    assert list(progress.tracked(range(3), "sweeping")) == [0, 1, 2]
    progress.announce("comparing")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_the_usual_variable_silences_everything(value: str, clock, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", value)
    for _ in progress.tracked(range(3), "sweeping"):
        clock[0] += 100.0
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TQDM_DISABLE", "0")
    for _ in progress.tracked(range(3), "sweeping"):
        clock[0] += 100.0
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_work_without_a_name_is_not_shown(clock, capsys):
    with progress.counted(3, None, "cells") as step:
        clock[0] += 100.0
        step(3)
    assert capsys.readouterr() == ("", "")


def test_a_job_says_its_stage_its_share_and_the_time_left(clock, capsys):
    with progress.job("comparing", {"loading": 1, "sweeping": 3}):
        progress.stage("loading")
        clock[0] += 100.0
        progress.stage("sweeping", parts=2)
        for _ in range(2):
            for _ in progress.tracked(range(2), "cells"):
                clock[0] += 100.0
    assert capsys.readouterr().err.splitlines() == [
        "comparing: 25%, sweeping, about 5 min left",
        "comparing: 44%, sweeping, about 4 min left (cells: 1 of 2 batches)",
        "comparing: 62%, sweeping, about 3 min left (cells: 2 of 2 batches)",
        "comparing: 81%, sweeping, about 2 min left (cells: 1 of 2 batches)",
        "comparing: 100%, sweeping, about 0 s left (cells: 2 of 2 batches)",
    ]


def test_work_inside_of_other_work_and_jobs_inside_of_jobs_count_once(clock):
    with progress.job("outer", {"one": 1, "two": 1}):
        progress.stage("one")
        with progress.job("inner", {"two": 1}):
            with progress.counted(2, "readings", "readings") as step:
                step(1)
                list(progress.tracked(range(5), "inside"))
                assert progress._job is not None and progress._job.done == 0.25
                step(1)
            assert progress._job.what == "outer" and progress._job.done == 0.5
            progress.stage("two")
        assert progress._job is not None
    assert progress._job is None


def test_how_much_is_told_can_be_set(clock, capsys):
    try:
        for detail, lines in ((progress.Detail.VERBOSE, 3), (progress.Detail.QUIET, 0)):
            progress.tell(detail)
            with progress.job("comparing", {"loading": 1, "sweeping": 1}):
                progress.announce("reading")
                progress.stage("loading")
                progress.stage("sweeping")
            assert len(capsys.readouterr().err.splitlines()) == lines
    finally:
        progress.tell(progress.Detail.USUAL)


def test_a_pipe_gets_lines_and_no_carriage_return():
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    command = [sys.executable, "-c", WORK.format(seconds=0.0)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment)
    assert done.returncode == 0 and done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert b"\r" not in done.stderr and lines[-1] == "sweeping: 40 of 40 batches"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
@pytest.mark.parametrize("work", [WORK, JOB])
def test_a_terminal_gets_a_bar(work: str):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    command = [sys.executable, "-c", work.format(seconds=0.0)]
    with subprocess.Popen(command, stderr=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert process.returncode == 0
    assert seen.startswith(b"comparing") and b"sweeping" in seen
    assert (b"whole: stage" in seen and b" left" in seen) if work == JOB else b"\rsweeping" in seen


def test_no_module_makes_a_bar_of_its_own():
    makers = set()
    for package in ("interp", "probes", "patching", "studies"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "tqdm" for name in names):
                    makers.add(str(file.relative_to(ROOT)))
    assert makers == {"interp/progress.py"}
