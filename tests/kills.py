"""A program that is killed again and again while it makes the units of a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}


def kill_often(command: Sequence[str], folder: Path, *, kills: int = 20, longest: float = 1.0) -> int:
    """Start a program until it ends or was killed so often, each time in the midst of its units.

    Args:
        command: what is started.
        folder: of the run that it makes.
        kills: how often it is killed at most.
        longest: seconds between the first unit that a start begins and its end, drawn at random.

    Returns:
        How often it was killed.
    """
    draw = random.Random(0)
    for killed in range(kills):
        before = len(begun_units(folder))
        process = subprocess.Popen(
            command, cwd=folder.parent, env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(begun_units(folder)) == before:
            time.sleep(0.01)
        try:
            process.wait(draw.uniform(0.0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            assert process.returncode == 0, "it ended by itself, and not well"
            return killed
    return kills


def to_its_end(command: Sequence[str], folder: Path) -> None:
    """Start it once more and let it end; what was made twice must be what was being made at a kill."""
    subprocess.run(command, cwd=folder.parent, env=ENVIRONMENT, check=True)


def begun_units(folder: Path) -> list[str]:
    """The units that were begun, in order, one that was begun again once more."""
    log = folder / "units.log"
    return log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []


def python(code: str, *arguments: str) -> list[str]:
    """The command that runs code in this interpreter."""
    return [sys.executable, "-c", code, *arguments]
