"""Processes that work side by side end with the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEGIN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_processes import note
{pool}
if __name__ == "__main__":
    with pool as working:
        list(working.map(note, [Path(sys.argv[1])] * 2))
"""
OURS = "from studies.processes import processes\npool = processes(2)"
PLAIN = (
    "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context\n"
    'pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))'
)
#: Seconds for processes to begin, and to end; a machine may be slow.
PATIENCE = 120.0


def note(place: Path) -> None:
    """Say who works, and work for long."""
    (place / f"at-{os.getpid()}").touch()
    time.sleep(2 * PATIENCE)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and nobody asked after does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processes of Linux")
@pytest.mark.parametrize("pool", [OURS, PLAIN], ids=["ours", "plain"])
def test_workers_of_a_killed_process_end_too(tmp_path, pool):
    script = tmp_path / "begin.py"
    script.write_text(BEGIN.format(tests=str(Path(__file__).parent), pool=pool))
    parent = subprocess.Popen([sys.executable, script, tmp_path])
    until = time.monotonic() + PATIENCE
    while len(list(tmp_path.glob("at-*"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    workers = [int(path.name[3:]) for path in tmp_path.glob("at-*")]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert len(workers) == 2
    if pool is PLAIN:  # the control: without a watch they go on
        time.sleep(2.0)
        assert all(map(alive, workers))
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        return
    until = time.monotonic() + PATIENCE
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))
