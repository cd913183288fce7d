"""`python -m benchmarks.patching`: a RESID_PRE grid against TransformerLens's own loop, in one run.

Both do the same exact work on SmolLM2-135M: every layer × every position of one pair, or of several
pairs at once. Runs alternate and the medians are compared; the largest difference is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from transformer_lens import patching as reference

from interp.metrics import logit_difference
from interp.models import Model, load_model
from interp.sites import Kind, every_layer
from interp.tasks import Contrast, Examples
from patching.grids import patch_sites

SHAPES = {"resid_pre_1x6": (1, 6), "resid_pre_1x12": (1, 12), "resid_pre_1x18": (1, 18)}


def main() -> None:
    """Time every shape and print a table; with --json, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    model = load_model(given.model)
    speedups, worst = {}, 0.0
    print(f"{model.name}, {torch.get_num_threads()} threads, medians of {given.repeats}")
    for name, (pairs, width) in SHAPES.items():
        contrast = random_pairs(model, pairs, width)
        ours, theirs, difference = compare(model, contrast, given.repeats)
        speedups[name] = theirs / ours
        worst = max(worst, difference)
        print(
            f"{name}: ours {ours:.2f} s, TransformerLens {theirs:.2f} s, "
            f"{theirs / ours:.1f} x, largest difference {difference:.1e}"
        )
    if given.json:
        print(json.dumps({"speedup_vs_transformer_lens": speedups, "max_abs_difference": worst}))


def random_pairs(model: Model, pairs: int, width: int, seed: int = 0) -> Contrast:
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


def compare(model: Model, contrast: Contrast, repeats: int) -> tuple[float, float, float]:
    """Median seconds of ours and of TransformerLens's loop, and the largest difference."""
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    metric = logit_difference(contrast)
    rows = torch.arange(len(contrast))

    def ours() -> torch.Tensor:
        table = patch_sites(model, contrast, sites, metric).where(condition="patched")
        grid = table.groupby(["layer", "position"], observed=True)["value"].mean()
        return torch.tensor(grid.to_numpy().reshape(model.n_layers, -1))

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(contrast.clean.tokens)
            return reference.get_act_patch_resid_pre(
                model.bridge,
                contrast.corrupted.tokens,
                cache,
                lambda logits: (
                    logits[rows, -1, contrast.answers] - logits[rows, -1, contrast.foils]
                ).mean(),
            )

    first, second = ours(), theirs()
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        times["ours"].append(timed(ours))
        times["theirs"].append(timed(theirs))
    return (
        statistics.median(times["ours"]),
        statistics.median(times["theirs"]),
        float((first - second).abs().max()),
    )


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
