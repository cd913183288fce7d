"""`python -m benchmarks.patching`: our grids against the loops a user would write instead, in one run.

On SmolLM2-135M, with the same prompts for every side: `patching.patch_sites`, TransformerLens's own
loops, plain PyTorch hooks on the bare transformers model with all cells of the grid batched (in as
much memory as ours) and with one forward for each cell, and loops in nnsight and pyvene, which live
in a virtual environment of their own (it is made on the first run). Ours, TransformerLens's and the
batched grids are run in full; the other loops cost one forward for each cell, so a random sample of
their cells is timed and scaled to the grid. Medians are compared, and the largest difference of any
value to TransformerLens's is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformer_lens import patching as reference

from benchmarks import figure, machine, peers
from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics import logit_difference
from interp.models.loading import load_model
from interp.models.model import Model
from interp.sites import Kind, every_head, every_layer
from patching.engine.block_cost import BlockCost
from patching.engine.planning import plan
from patching.engine.schedule import MAX_BYTES
from patching.methods.grids import patch_sites

HERE = Path(__file__).parent
#: Cells of a grid that the sampled loops run, and runs of ours for each of the others.
SAMPLE, OURS = 16, 3


@dataclass(frozen=True)
class Task:
    """One grid: what is patched, in how many pairs of how many tokens."""

    kind: Kind
    pairs: int
    width: int

    @property
    def name(self) -> str:
        """As in the table."""
        kind = "head_z" if self.kind is Kind.Z else str(self.kind)
        return f"{kind}_{self.pairs}x{self.width}"


TASKS = (
    Task(Kind.RESID_PRE, 1, 6),
    Task(Kind.RESID_PRE, 1, 12),
    Task(Kind.RESID_PRE, 1, 18),
    Task(Kind.RESID_PRE, 16, 10),
    Task(Kind.Z, 1, 6),
)
#: The figures a reader is promised.
PROMISED = ("resid_pre_1x6", "resid_pre_1x18", "resid_pre_16x10", "head_z_1x6")


def main() -> None:
    """Time every side of every task; print and write the table; --json adds one object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps; only cpu updates the figure")
    parser.add_argument(
        "--peers", nargs="*", default=peers.PEERS, choices=peers.PEERS, help="none: our own loops only"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load_model("smollm2", device=options.device)
    print(machine.described(model.device), flush=True)
    peak = best_product(model.device)
    seconds: dict[str, dict[str, float]] = {}
    worst, achieved = 0.0, 0.0
    whole: dict[str, peers.Sample] = {}
    sampled: dict[str, peers.Sample] = {}
    for task in TASKS:
        contrast = random_pairs(task.pairs, task.width).to(model.device)
        times, truth, difference = full(model, task, contrast, options.repeats)
        seconds[task.name], worst = times, max(worst, difference)
        cells = truth.shape.numel()
        chosen = torch.randperm(cells, generator=torch.Generator().manual_seed(0))[:SAMPLE]
        whole[task.name] = sample_of(model, task, contrast, truth, torch.arange(cells))
        sampled[task.name] = sample_of(model, task, contrast, truth, chosen)
        flops = plan(model, contrast.corrupted, sites_of(model, task)).layer_tokens
        rate = flops * BlockCost.of(model).block_flops / times["interp"]
        achieved = max(achieved, rate)
        print(f"{task.name}: {shown(times)}; {rate / 1e9:.0f} GFLOP/s", flush=True)
    measured = peers.run(whole, sampled, options.repeats, options.device, options.peers)
    for side, rows in measured.items():
        for name, (time_taken, difference) in rows.items():
            seconds[name][side], worst = time_taken, max(worst, difference)
            print(f"{name}: {side} {time_taken:.2f} s, largest difference {difference:.1e}")
    table = as_table(seconds)
    print(table)
    print(f"largest difference {worst:.1e}; best matrix product {peak / 1e9:.0f} GFLOP/s")
    if model.device.type == "cpu":
        (HERE / "patching.md").write_text(table + "\n", encoding="utf-8")
        figure.draw(seconds, HERE / "patching.svg")
    if options.json:
        speedups = {n: seconds[n]["TransformerLens"] / seconds[n]["interp"] for n in PROMISED}
        print(
            json.dumps(
                {
                    "speedup_vs_transformer_lens": speedups,
                    "max_abs_difference": worst,
                    "fraction_of_peak_flops": achieved / peak,
                }
            )
        )


def sample_of(
    model: Model, task: Task, contrast: Contrast, truth: torch.Tensor, chosen: torch.Tensor
) -> peers.Sample:
    """These cells of a grid, with the values they must have."""
    return peers.Sample(
        kind=str(task.kind),
        clean=contrast.clean.tokens.tolist(),
        corrupted=contrast.corrupted.tokens.tolist(),
        answers=contrast.answers.tolist(),
        foils=contrast.foils.tolist(),
        cells=[list(map(int, torch.unravel_index(i, truth.shape))) for i in chosen],
        total=truth.shape.numel(),
        batch=max(1, MAX_BYTES // (BlockCost.of(model).row_bytes(task.width, 0) * task.pairs)),
        expected=truth.flatten()[chosen].tolist(),
    )


def full(
    model: Model, task: Task, contrast: Contrast, repeats: int
) -> tuple[dict[str, float], torch.Tensor, float]:
    """Median seconds of our grid and TransformerLens's, its grid, and the largest difference."""
    sites, metric = sites_of(model, task), logit_difference(contrast)
    rows = torch.arange(task.pairs, device=model.device)

    def ours() -> torch.Tensor:
        table = patch_sites(model, contrast, sites, metric).where(condition="patched")
        values = torch.tensor(table["value"].to_numpy())
        grid = values.reshape(len(sites), task.width, task.pairs).mean(-1)
        grid = grid.reshape(model.n_layers, -1, task.width).transpose(1, 2)
        return grid.squeeze(-1) if task.kind is not Kind.Z else grid

    loop = {
        Kind.RESID_PRE: reference.get_act_patch_resid_pre,
        Kind.Z: reference.get_act_patch_attn_head_out_by_pos,
    }[task.kind]

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(contrast.clean.tokens)
            return loop(
                model.bridge,
                contrast.corrupted.tokens,
                cache,
                lambda logits: (
                    logits[rows, -1, contrast.answers] - logits[rows, -1, contrast.foils]
                ).mean(),
            ).cpu()

    our_grid = ours()
    times: dict[str, list[float]] = {"interp": [], "TransformerLens": []}
    grid = our_grid
    for _ in range(repeats):
        times["interp"] += [timed(ours)[0] for _ in range(OURS)]
        taken, grid = timed(theirs)
        times["TransformerLens"].append(taken)
    difference = float((our_grid - grid).abs().max())
    return {side: statistics.median(t) for side, t in times.items()}, grid, difference


def sites_of(model: Model, task: Task) -> list:
    """Every place of the task's kind."""
    if task.kind is Kind.Z:
        return every_head(task.kind, model.n_layers, model.n_heads)
    return every_layer(task.kind, model.n_layers)


def random_pairs(pairs: int, width: int, seed: int = 0) -> Contrast:
    """Pairs of random tokens: the amount of work depends on their number and length only."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(2):
        tokens = torch.randint(10, 10_000, (pairs, width), generator=generator)
        ends = torch.full((pairs,), width)
        spans = {
            "all": torch.stack([torch.zeros_like(ends), ends], 1),
            "last": torch.stack([ends - 1, ends], 1),
        }
        names = tuple(f"pair {i}" for i in range(pairs))
        mask = torch.ones_like(tokens, dtype=torch.bool)
        parts.append(Examples(tokens, mask, names, names, spans, ("A",) * pairs))
    answers = torch.arange(100, 100 + pairs)
    return Contrast(parts[0], parts[1], answers, answers + 1_000)


def best_product(device: torch.device) -> float:
    """The most floating-point operations a second of any square matrix product on the device."""
    best = 0.0
    for size in (512, 1024, 2048, 3072) if device.type == "cpu" else (4096, 8192):
        left, right = torch.randn(2, size, size, device=device)
        taken = min(timed(lambda a=left, b=right: a @ b)[0] for _ in range(7))
        best = max(best, 2 * size**3 / taken)
    return best


def timed(run: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = run()
    if result.is_cuda:
        torch.cuda.synchronize(result.device)
    return time.perf_counter() - start, result


def shown(times: Mapping[str, float]) -> str:
    """Both sides and their ratio."""
    ratio = times["TransformerLens"] / times["interp"]
    return ", ".join(f"{side} {t:.2f} s" for side, t in times.items()) + f", {ratio:.1f}x"


def as_table(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Seconds of every side and how many times ours they take, in Markdown."""
    sides = list(dict.fromkeys(side for times in seconds.values() for side in times))
    lines = ["| grid (pairs x tokens) | " + " | ".join(sides) + " |", "|---" * (1 + len(sides)) + "|"]
    for name, times in seconds.items():
        row = [
            f"{times[side]:.2f} s"
            + ("" if side == "interp" else f" ({times[side] / times['interp']:.1f}x)")
            if side in times
            else "-"
            for side in sides
        ]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
