"""`python -m benchmarks.collect`: reading all layers' residuals against the bare forward.

256 prompts of 12 tokens on SmolLM2-135M, in batches of 64, float32, without key/value cache, the
residual at the last position at every boundary 0..30:

    bare                  the transformers model without its unembedding, nothing recorded (sdpa, the
                          default attention); like ours it computes no logits
    bare, eager           the same with the attention that TransformerLens needs to show patterns
    bare, one logit row   the whole model with logits_to_keep=1
    output_hidden_states  bare, keeping the last position of every hidden state
    TransformerLens       run_with_cache(names_filter) of the same 31 hooks, logits_to_keep=1, then the
                          last position
    nnsight               a trace that saves the last position of every block's output,
                          logits_to_keep=1; in an environment of its own, where `benchmarks.peers` has
                          made one, compared with the bare model inside it, beside which it runs
    interp.collect        ours

`ratio_to_bare_forward` is against the fastest of the three bare rows. Runs alternate batch by batch in
rotating order, so that all sides meet the same load of the machine; the median seconds of a batch times
the number of batches. Memory is measured in a fresh process for each side: the largest resident size
while it runs (sampled every 2 ms) minus that before its first forward. On Linux file-backed pages (code
and mapped weights, which the kernel takes away and brings back as it likes) are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import torch
from torch import Tensor

from benchmarks import peers
from interp.activations import collect
from interp.examples import Examples
from interp.models.loading import load_model
from interp.models.model import Model
from interp.models.sources import load, smollm2_folder
from interp.sites import boundaries

PROMPTS, WIDTH, BATCH = 256, 12, 64
OURS, STATES = "interp.collect", "output_hidden_states"
BARE, EAGER, LOGITS = "bare", "bare, eager", "bare, one logit row"
LENS, NNSIGHT, BESIDE = "TransformerLens", "nnsight", "bare, beside nnsight"
SIDES = (OURS, BARE, EAGER, LOGITS, STATES, LENS)
#: A batch of token ids to what the side reads of it: [boundary, row, d], or nothing.
Side = Callable[[Tensor], Tensor | None]


def main() -> None:
    """Time every side, weigh every side, print a table; with --json one JSON object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    batches = list(prompts().split(BATCH))
    if options.memory:
        print(growth(options.memory, batches))
        return
    sides = {name: side(name)[0] for name in SIDES}
    seconds, difference = timed(sides, batches, options.repeats)
    shape = sides[OURS](batches[0]).shape
    seconds.update(nnsight(batches, options.repeats))
    memory = {name: weighed(name) for name in SIDES}
    result = 4 * shape[0] * PROMPTS * shape[2] / 2**20
    fastest = min(seconds[name] for name in (BARE, EAGER, LOGITS))
    ratio = {name: taken / fastest for name, taken in seconds.items()}
    if NNSIGHT in seconds:
        ratio[NNSIGHT] = seconds[NNSIGHT] / seconds[BESIDE]
        ratio[BESIDE] = 1.0
    print(f"{PROMPTS} prompts × {WIDTH} tokens, {torch.get_num_threads()} threads")
    for name, taken in seconds.items():
        grown = f"{memory[name]:6.1f} MB" if name in memory else "not measured"
        print(f"{name:22} {taken:6.2f} s  {ratio[name]:5.2f} × bare  memory +{grown}")
    print(f"the result itself: {result:.1f} MB; largest relative difference {difference:.1e}")
    if options.json:
        numbers = {
            "ratio_to_bare_forward": ratio[OURS],
            "peak_growth_mb": memory[OURS],
            "result_mb": result,
            "growth_beside_result_mb": memory[OURS] - result,
            "growth_beside_bare_and_result_mb": memory[OURS] - memory[BARE] - result,
            "max_relative_difference": difference,
            "ratio": ratio,
            "seconds": seconds,
            "growth_mb": memory,
        }
        print(json.dumps(numbers))


def prompts() -> Tensor:
    """Random token ids, the same on every run."""
    return torch.randint(10, 40_000, (PROMPTS, WIDTH), generator=torch.Generator().manual_seed(0))


def as_examples(tokens: Tensor) -> Examples:
    """Token ids as examples that all end at the last column."""
    n = len(tokens)
    names = tuple(f"prompt {i}" for i in range(n))
    last = torch.tensor([[WIDTH - 1, WIDTH]]).expand(n, 2)
    spans = {"all": torch.tensor([[0, WIDTH]]).expand(n, 2), "last": last}
    return Examples(tokens, torch.ones_like(tokens).bool(), names, names, spans, ("A",) * n)


def transformers_model(attention: str) -> torch.nn.Module:
    """A transformers model of its own, without hooks."""
    model = load("smollm2", dtype=torch.float32).model.eval().requires_grad_(False)
    model.set_attn_implementation(attention)  # pyright: ignore[reportCallIssue]
    return model


def side(name: str) -> tuple[Side, torch.nn.Module]:
    """What one side does with a batch, and the module that holds its weights."""
    if name in (BARE, EAGER, LOGITS, STATES):
        model = transformers_model("eager" if name == EAGER else "sdpa")

        def forward(tokens: Tensor) -> Tensor | None:
            if name == LOGITS:
                model(tokens, use_cache=False, logits_to_keep=1)
                return None
            with_states = name == STATES
            result = model.base_model(tokens, use_cache=False, output_hidden_states=with_states)
            return torch.stack([h[:, -1] for h in result.hidden_states]) if with_states else None

        return forward, model
    wrapped = load_model("smollm2")
    run = cached(wrapped) if name == LENS else lambda tokens: ours(wrapped, tokens)
    return run, wrapped.bridge.original_model


def ours(model: Model, tokens: Tensor) -> Tensor:
    """`interp.collect` at every boundary."""
    states = collect(model, as_examples(tokens), boundaries(model.n_layers), batch_size=BATCH)
    return torch.stack([state.values for state in states.values()])


def cached(model: Model) -> Side:
    """TransformerLens's cache of the same hooks."""
    names = [site.hook_name for site in boundaries(model.n_layers)]

    def forward(tokens: Tensor) -> Tensor:
        _, cache = model.bridge.run_with_cache(
            tokens, names_filter=lambda name: name in names, use_cache=False, logits_to_keep=1
        )
        return torch.stack([cache[name][:, -1] for name in names])

    return forward


@torch.no_grad()
def timed(
    sides: Mapping[str, Side], batches: Sequence[Tensor], repeats: int
) -> tuple[dict[str, float], float]:
    """Seconds of each side for all batches, and the largest relative difference of what they read."""
    for run in sides.values():
        run(batches[0])
    taken: dict[str, list[float]] = {name: [] for name in sides}
    difference = 0.0
    order = list(sides)
    for _ in range(repeats):
        for batch in batches:
            results = {}
            order = [*order[1:], order[0]]
            for name in order:
                run = sides[name]
                start = time.perf_counter()
                results[name] = run(batch)
                taken[name].append(time.perf_counter() - start)
            read = [states for states in results.values() if states is not None]
            for states in read[1:]:  # the last hidden state comes after the final norm, ours before
                gap = (states[:-1] - read[0][:-1]).abs().max() / read[0].abs().max()
                difference = max(difference, float(gap))
    return {name: len(batches) * statistics.median(times) for name, times in taken.items()}, difference


def nnsight(batches: Sequence[Tensor], repeats: int) -> dict[str, float]:
    """Median seconds of nnsight, where its environment exists."""
    python = peers.ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print(f"{NNSIGHT}: no {peers.ENVIRONMENT.name}; python -m benchmarks.patching makes it")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        task, out = Path(folder, "task.json"), Path(folder, "out.json")
        description = {
            "model": str(smollm2_folder()),
            "repeats": repeats,
            "batches": [batch.tolist() for batch in batches],
        }
        task.write_text(json.dumps(description), encoding="utf-8")
        script = Path(__file__).with_name("peer_collecting.py")
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        subprocess.run([python, script, task, out], check=True, env=offline)
        return json.loads(out.read_text(encoding="utf-8"))


@torch.no_grad()
def growth(name: str, batches: Sequence[Tensor]) -> float:
    """Peak resident size of one side over its size before the first forward, in MB."""
    if name == OURS:
        model, tokens = load_model("smollm2"), torch.cat(list(batches))
        weights = model.bridge.original_model
        examples, sites = as_examples(tokens), boundaries(model.n_layers)

        def run() -> object:
            return collect(model, examples, sites, batch_size=BATCH)
    else:
        forward, weights = side(name)

        def run() -> object:
            return [forward(batch) for batch in batches]

    sum(float(weight.sum()) for weight in weights.parameters())  # every page of the files is in
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    done = threading.Event()
    before = peak = resident()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = run()
    peak = max(peak, resident())
    done.set()
    watcher.join()
    del result
    return (peak - before) / 2**20


def resident() -> int:
    """Bytes of anonymous memory in use; all resident memory where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return psutil.Process().memory_info().rss


def weighed(name: str) -> float:
    """`growth` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.collect", "--memory", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
