"""What judging and writing cost: declared on one machine, and scaled by how fast this one is.

Both are bootstraps and figures over the evidence, whatever the models. They were timed in single
comparisons of an organism and of SmolLM2; a small computation of the same kind, timed there and here,
tells how much faster or slower this machine is. The table itself is written to a folder and measured.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from interp.evidence import Evidence
from interp.figures.style import plotly_javascript
from studies.planning.plans import Cost

#: Seconds of `_yardstick` where the seconds below were timed.
YARDSTICK = 0.0112

#: Seconds of judging beside the fingerprints of the weights.
JUDGING = 1.3

#: Bytes that are hashed to tell how long a fingerprint takes.
HASHED = 16 * 2**20

#: Seconds of figures and report, whatever there is, and for each row of evidence.
DRAWING, DRAWING_ROW = 0.6, 2.3e-5

#: Seconds in which about fifteen figures are drawn as SVG.
PRINTING = 5.0

#: Bytes of the report with its figures, and of everything else that is no row of evidence.
REPORT_BYTES, FIGURE_BYTES = 2_200_000, 1_000_000

#: Memory that a row of evidence takes at most while figures are drawn of it.
ROW_BYTES = 1_000


def judging(weights: int, rows: int) -> Cost:
    """What the verdict costs, and the fingerprints of the weights that it goes with.

    Args:
        weights: bytes of both models.
        rows: of evidence.
    """
    seconds = JUDGING * _speed() + weights * _hashing()
    return Cost(seconds=seconds, peak_bytes=rows * ROW_BYTES // 2)


def writing(rows: int, sample: Evidence | None) -> Cost:
    """What the folder costs.

    Args:
        rows: of evidence.
        sample: rows to be written once, for the time and the bytes of each; None for no rows.
    """
    seconds, row_bytes = _saved(sample)
    seconds = seconds * rows + (DRAWING + DRAWING_ROW * rows + PRINTING) * _speed()
    written = REPORT_BYTES + FIGURE_BYTES + len(plotly_javascript())
    return Cost(
        seconds=seconds, peak_bytes=rows * ROW_BYTES, disk_bytes=written + round(row_bytes * rows)
    )


def _saved(sample: Evidence | None) -> tuple[float, float]:
    """(seconds, bytes) of a row in the folder's tables, from rows that are written once."""
    if sample is None or not len(sample):
        return 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        files = sample.save(Path(folder))
        seconds = time.perf_counter() - begun
        return seconds / len(sample), sum(file.stat().st_size for file in files) / len(sample)


def _hashing() -> float:
    """Seconds in which a byte is hashed."""
    begun = time.perf_counter()
    hashlib.blake2b(bytes(HASHED)).digest()
    return (time.perf_counter() - begun) / HASHED


def _speed() -> float:
    """How many times longer than on the declared machine such work takes here."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        _yardstick()
        taken.append(time.perf_counter() - begun)
    return min(taken) / YARDSTICK


def _yardstick() -> None:
    """A bootstrap and a table's means."""
    rng = np.random.default_rng(0)
    (rng.integers(0, 3, (2_000, 200)) @ rng.standard_normal((40, 200)).T).mean(0)
    n = 20_000
    keys = {"a": rng.integers(0, 50, n), "b": rng.integers(0, 9, n).astype(str)}
    pd.DataFrame({**keys, "value": rng.standard_normal(n)}).groupby(["a", "b"])["value"].mean()
