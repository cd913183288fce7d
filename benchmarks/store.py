"""`python -m benchmarks.store`: writing activations to disk, and probes that read them from there.

Random states of 200,000 prompts at 31 sites of width 576, in float32, stored as float16 (7.1 GB). Rates
are of the stored bytes, and everything is on the disk when a clock stops:

    disk    one file of the same size, written front to back in pieces of 4 MiB and flushed at the end;
            before the store and after it, of which the faster counts
    store   what `interp.collect(..., store=)` does with the states of its forwards: rounding,
            checksums, shards, each flushed and renamed, and the manifest behind each

Then a fresh process fits a probe at every site from the store, one after the other (class means), and
at three of them by logistic regression. Its memory is the largest resident size, mapped files
included, over that before the store is opened, sampled every 5 ms. A last process fits the same probes
from memory, where a site is read whole, and compares the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor

import probes
from benchmarks.machine import described
from interp.activations import Activations, load_activations
from interp.activations.contents import Prompts
from interp.activations.manifest import Manifest
from interp.activations.reading import Wanted
from interp.activations.storing import Writer
from interp.examples import Examples
from interp.sites import boundaries

ROWS, SITES, WIDTH, BATCH, ENTITIES = 200_000, 31, 576, 64, 2_000
PIECE = 2**22


def main() -> None:
    """Write, read, and print a line for each; with --json one JSON object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; temporary by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sweep", metavar="ESTIMATOR", help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sweep:
        print(json.dumps(swept(options.folder, options.sweep, in_memory=options.memory)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        numbers = measured(Path(folder), options.rows)
    if options.json:
        print(json.dumps(numbers))


def measured(folder: Path, rows: int) -> dict[str, float]:
    """Every number of the run, printed as it comes."""
    size = rows * SITES * WIDTH * 2
    free = shutil.disk_usage(folder).free
    if free < 2.2 * size:
        raise SystemExit(f"{folder} has {free / 1e9:.1f} GB free; {2.2 * size / 1e9:.1f} are needed")
    print(f"{described()}\n{rows:,} rows × {SITES} sites × {WIDTH}, float16: {size / 1e9:.2f} GB")
    before = sequential(folder / "file", size)
    store = written(folder / "store", rows)
    after = sequential(folder / "file", size)
    disk = max(before, after)
    print(f"disk   {before:6.2f} GB/s before, {after:.2f} after")
    print(f"store  {store:6.2f} GB/s, {store / disk:.0%} of the faster")
    numbers = {"disk_before": before, "disk_after": after, "store": store, "ratio": store / disk}
    for estimator in ("mass_mean", "logistic"):
        ours, memory = (apart(folder / "store", estimator, *more) for more in ((), ("--memory",)))
        equal = ours["weights"] == memory["weights"]
        print(
            f"{estimator} {ours['sites']} sites: {ours['seconds']:.1f} s, +{ours['peak_mb']:.0f} MB; "
            f"in memory {memory['seconds']:.1f} s, +{memory['peak_mb']:.0f} MB; "
            f"{'equal weights' if equal else 'OTHER WEIGHTS'}"
        )
        numbers |= {f"{estimator}_seconds": ours["seconds"], f"{estimator}_mb": ours["peak_mb"]}
    return numbers


def sequential(path: Path, size: int) -> float:
    """Bytes per nanosecond of a plain file, flushed."""
    piece = os.urandom(PIECE)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    taken = time.perf_counter() - start
    path.unlink()
    return size // PIECE * PIECE / taken / 1e9


def written(folder: Path, rows: int) -> float:
    """Bytes per nanosecond of a store; the states are drawn outside of the clock."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(8 * BATCH, WIDTH, generator=generator)
    labels = torch.randint(2, (rows,), generator=generator)
    prompts, sites = Prompts(Wanted(as_examples(labels), "last")), tuple(boundaries(SITES - 1))
    manifest = Manifest(
        "random", "0" * 32, "base", sites, (), "last", False, torch.float16, torch.float32, ()
    )  # fmt: skip
    writer, taken = Writer(folder, manifest, prompts), 0.0
    for part in torch.arange(rows).split(BATCH):
        drawn = torch.randint(len(pool), (SITES, len(part)), generator=generator)
        states = pool[drawn] + 0.2 * labels[part, None]
        start = time.perf_counter()
        for site, held in zip(sites, states, strict=True):
            writer.see(site, held)
        writer.add(part.tolist())
        taken += time.perf_counter() - start
    start = time.perf_counter()
    writer.commit()
    return rows * SITES * WIDTH * 2 / (taken + time.perf_counter() - start) / 1e9


def as_examples(labels: Tensor) -> Examples:
    """As many prompts of two tokens as there are labels, each of its own."""
    n = len(labels)
    number = torch.arange(n)
    groups = tuple(f"entity {i % ENTITIES}" for i in range(n))
    whole, last = torch.tensor([[0, 2]]).expand(n, 2), torch.tensor([[1, 2]]).expand(n, 2)
    tokens = torch.stack([number // 1000, number % 1000], 1)
    texts = tuple(f"prompt {i}" for i in range(n))
    spans = {"all": whole, "last": last}
    return Examples(tokens, torch.ones(n, 2).bool(), texts, groups, spans, ("A",) * n, labels)


def apart(folder: Path, estimator: str, *more: str) -> dict[str, float]:
    """`swept` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.store",
        "--folder",
        folder,
        "--sweep",
        estimator,
        *more,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def swept(folder: Path, estimator: str, *, in_memory: bool) -> dict[str, float]:
    """Fit a probe at each site, or at three for logistic regression: seconds, memory, weights."""

    def run() -> tuple[int, float]:
        states = load_activations(folder)
        chosen = list(states.values())
        if estimator == "logistic":
            chosen = chosen[:: len(chosen) // 2]
        total = 0.0
        for held in chosen:
            if in_memory:
                held = Activations(held.site, held.values, held.groups, held.labels)
            total += float(probes.fit(held, estimator=estimator).weight.double().abs().sum())
        return len(chosen), total

    small = Activations(
        boundaries(1)[0], torch.randn(40, 4), tuple("abcdefgh" * 5), torch.arange(40) % 2
    )
    probes.fit(small, estimator=estimator)  # what the libraries load is no memory of the rows
    start = time.perf_counter()
    (sites, weights), peak = watched(run)
    seconds = time.perf_counter() - start
    return {"sites": sites, "seconds": seconds, "peak_mb": peak / 1e6, "weights": weights}


def watched(run: Callable[[], tuple[int, float]]) -> tuple[tuple[int, float], int]:
    """What a run gives, and by how many bytes the resident size grew at most."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = run()
    finally:
        done.set()
        watcher.join()
    return result, peak - before


if __name__ == "__main__":
    main()
