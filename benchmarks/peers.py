"""Runs the other libraries' loops: plain hooks here, nnsight and pyvene in an environment of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from interp.models.sources import smollm2_folder

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-peers"
PEERS = ("nnsight", "pyvene")


@dataclass(frozen=True)
class Sample:
    """Cells of one grid for a loop to run: indices (layer, position) or (layer, position, head).

    `expected` is each cell's mean logit difference over the pairs, from the reference; `batch` how
    many cells a loop that takes several at once may take.
    """

    kind: str
    clean: list[list[int]]
    corrupted: list[list[int]]
    answers: list[int]
    foils: list[int]
    cells: list[list[int]]
    total: int
    batch: int
    expected: list[float]


def run(
    whole: Mapping[str, Sample],
    samples: Mapping[str, Sample],
    repeats: int,
    device: str = "cpu",
    peers: Sequence[str] = PEERS,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Side -> task -> (seconds for the whole grid, largest difference to what is expected).

    Batched hooks run the whole grids, the other loops the samples.
    """
    here = Path(sys.executable)
    rows = {"batched hooks": _loops(here, "batched", whole, repeats, device)}
    rows["PyTorch hooks"] = _loops(here, "hooks", samples, repeats, device)
    for peer in peers:
        rows[peer] = _loops(environment(), peer, samples, repeats, device)
    return rows


def environment() -> Path:
    """The peers' interpreter; the environment is made where there is none."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / ".ready"
    if not ready.exists():
        print(f"making {ENVIRONMENT.name} for {', '.join(PEERS)}", flush=True)
        pin = next(
            line.strip()
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if line.lower().startswith("torch==")
        )
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        for packages in ([pin], list(PEERS)):
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, pin, *packages], check=True)
        ready.touch()
    return python


def _loops(
    python: Path, side: str, samples: Mapping[str, Sample], repeats: int, device: str
) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory() as folder:
        task, out = Path(folder, "task.json"), Path(folder, "out.json")
        description = {
            "model": str(smollm2_folder()),
            "device": device,
            "repeats": repeats,
            "samples": {name: asdict(sample) for name, sample in samples.items()},
        }
        task.write_text(json.dumps(description), encoding="utf-8")
        script = str(Path(__file__).with_name("peer_loops.py"))
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        subprocess.run([str(python), script, side, str(task), str(out)], check=True, env=offline)
        measured = json.loads(out.read_text(encoding="utf-8"))
    rows = {}
    for name, result in measured.items():
        sample = samples[name]
        pairs = zip(result["values"], sample.expected, strict=True)
        difference = max(abs(value - expected) for value, expected in pairs)
        rows[name] = (result["seconds"] / len(sample.cells) * sample.total, difference)
    return rows
