"""`python -m benchmarks.circuits`: exact scores of edges against one forward for each edge.

On SmolLM2-135M and eight pairs of indirect-object prompts of one length, on one machine in one run.
The loop is what TransformerLens offers for it: heads read inputs of their own
(`use_split_qkv_input`), their outputs are kept apart (`use_attn_result`), and a hook takes one
source's output out of one destination's input. Ours patches a hundred edges into each of a few
destinations that divide the graph's edges evenly, as a run of the whole graph does; the loop runs a
random sample of those. Times are for an edge; the largest difference of any value is printed beside.
Two kinds of pairs: another second subject (the runs differ from there on), and other names
throughout (they differ from the first name on).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass

import torch

from benchmarks import machine, plain_edges
from benchmarks.patching import best_product
from interp.contrasts import Contrast
from interp.metrics import logit_difference
from interp.models.loading import load_model
from interp.models.model import Model
from patching.circuits.graph import Graph
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores
from patching.engine.schedule import BlockCost

NAMES = (
    ("Mary", "John"), ("Tom", "James"), ("Anna", "David"), ("Paul", "Sarah"),
    ("Mark", "Peter"), ("Alice", "Michael"), ("Robert", "Emma"), ("Thomas", "Laura"),
)  # fmt: skip
TEXT = "When {0} and {1} went to the store, {2} gave a drink to"


#: Edges into each destination.
EACH = 100


@dataclass(frozen=True)
class Timed:
    """Seconds for an edge on either side, and what else is told.

    Attributes:
        ours: seconds for an edge of ours.
        loop: seconds for an edge of the loop.
        difference: the largest of any value.
        rate: floating-point operations a second of ours.
    """

    ours: float
    loop: float
    difference: float
    rate: float


def main() -> None:
    """Time both sides on both kinds of pairs; --json adds one object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--destinations", type=int, default=6, help="into which ours patches all edges")
    parser.add_argument("--loop", type=int, default=12, help="edges of these that the loop patches")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load_model("smollm2")
    print(machine.described(model.device), flush=True)
    peak = best_product(model.device)
    found: dict[str, dict[str, float]] = {}
    for name, contrast in pairs(model).items():
        timed = measure(model, contrast, options.destinations, options.loop)
        share = timed.rate / peak
        found[name] = {
            "seconds_ours": timed.ours,
            "seconds_loop": timed.loop,
            "speedup": timed.loop / timed.ours,
            "max_abs_difference": timed.difference,
            "fraction_of_peak_flops": share,
        }
        print(
            f"{name}: {1e3 * timed.ours:.1f} ms an edge, the loop {1e3 * timed.loop:.0f} ms "
            f"({timed.loop / timed.ours:.1f} times); largest difference {timed.difference:.1e}; "
            f"{100 * share:.0f}% of the best matrix product",
            flush=True,
        )
    if options.json:
        print(json.dumps(found))


def pairs(model: Model) -> dict[str, Contrast]:
    """Indirect-object pairs of both kinds."""
    others = [*NAMES[3:], *NAMES[:3]]
    clean = [TEXT.format(a, b, b) for a, b in NAMES]
    swapped = [TEXT.format(a, b, a) for a, b in NAMES]
    foreign = [TEXT.format(c, d, c) for c, d in others]
    answers, foils = ([pair[i] for pair in NAMES] for i in (0, 1))
    return {
        "second subject": Contrast.from_text(model, clean, swapped, answers, foils),
        "all names": Contrast.from_text(model, clean, foreign, answers, foils),
    }


def measure(model: Model, contrast: Contrast, destinations: int, looped: int) -> Timed:
    """Both sides on edges of one kind of pairs."""
    metric = logit_difference(contrast)
    setting = Setting.of(model, contrast, metric)
    graph = setting.parts.graph
    generator = torch.Generator().manual_seed(0)
    chosen = spread(graph, destinations, generator)
    mask, edges = torch.zeros(graph.n_edges, dtype=torch.bool), len(chosen)
    mask[chosen] = True
    some = chosen[torch.randperm(edges, generator=generator)[:looped]].tolist()
    exact_scores(setting, mask & (torch.arange(graph.n_edges) == some[0]))  # first calls cost more
    began = time.perf_counter()
    ours = exact_scores(setting, mask)
    seconds = time.perf_counter() - began
    with plain_edges.split_inputs(model):
        tokens = contrast.clean.tokens
        own = plain_edges.outputs(model, tokens)
        other = plain_edges.outputs(model, contrast.corrupted.tokens)
        change = {name: own[name] - other[name] for name in own}
        whole = plain_edges.difference(plain_edges.logits(model, tokens, [], change), contrast)
        began = time.perf_counter()
        theirs = [
            plain_edges.difference(
                plain_edges.logits(model, tokens, [graph.names[edge]], change), contrast
            )
            for edge in some
        ]
        looping = time.perf_counter() - began
    gap = float((ours[some] - (whole - torch.stack(theirs))).abs().max())
    return Timed(seconds / edges, looping / looped, gap, work(setting, chosen) / seconds)


def spread(graph: Graph, destinations: int, generator: torch.Generator) -> torch.Tensor:
    """Edges into destinations that stand at even steps through the list of all edges."""
    steps = (torch.arange(destinations) + 0.5) / destinations
    found = []
    for number in graph.destination[(steps * graph.n_edges).long()].tolist():
        start, count = graph.starts[number], graph.reads[number]
        found.append(start + torch.randperm(count, generator=generator)[:EACH])
    return torch.cat(found)


def work(setting: Setting, chosen: torch.Tensor) -> float:
    """Operations of the blocks that the edges' runs cannot do without: from their own on."""
    graph, batch = setting.parts.graph, next(setting.prepared()).batch
    tokens = int((batch.clean != batch.corrupted).any(0).int().argmax())
    tokens = len(batch.rows) * (batch.clean.shape[1] - tokens)
    slots = graph.n_heads + 2 * graph.n_groups + 1
    blocks = graph.n_layers - graph.destination[chosen] // slots
    return float(blocks.sum()) * tokens * BlockCost.of(setting.model).block_flops


if __name__ == "__main__":
    main()
