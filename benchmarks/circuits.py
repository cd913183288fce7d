"""`python -m benchmarks.circuits`: exact scores of edges against one forward for each edge.

On SmolLM2-135M, on one machine in one run.
The loop is what TransformerLens offers for it: heads read inputs of their own
(`use_split_qkv_input`), their outputs are kept apart (`use_attn_result`), and a hook takes one
source's output out of one destination's input. Ours patches, as a run of the whole graph does, all
edges that a few random sources send into each of a few blocks that divide the graph's edges evenly; the
loop runs a random sample of those, half before and half after, with the fastest matrix product at both
ends, so that all three see the same machine. Times are for an edge; the largest difference of any value
is printed beside. How much can be left out depends on where the runs begin to
differ, so eight pairs of every task are timed, all of one length, and indirect-object pairs twice:
another second subject (the runs differ from there on), and other names throughout (from the first on).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import torch

from benchmarks import machine, plain_edges
from benchmarks.patching import best_product, timed
from interp.circuit_tasks.loading import load_task, task_names
from interp.contrasts import Contrast
from interp.metrics import logit_difference
from interp.models.loading import load_model
from interp.models.model import Model
from patching.circuits.graph import Graph
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores
from patching.engine.block_cost import BlockCost

NAMES = (
    ("Mary", "John"), ("Tom", "James"), ("Anna", "David"), ("Paul", "Sarah"),
    ("Mark", "Peter"), ("Alice", "Michael"), ("Robert", "Emma"), ("Thomas", "Laura"),
)  # fmt: skip
TEXT = "When {0} and {1} went to the store, {2} gave a drink to"

#: Sources whose edges into a block are patched.
SOURCES = 16

#: Pairs of a task.
PAIRS = 8


@dataclass(frozen=True)
class Timed:
    """Seconds for an edge on either side, and what else is told.

    Attributes:
        ours: seconds for an edge of ours.
        loop: seconds for an edge of the loop.
        difference: the largest of any value.
        share: of the fastest matrix product, what ours keeps up.
        less: how many times more the loop's forwards multiply than ours must.
        differing: positions from the first on at which the runs differ.
        tokens: positions of a prompt.
    """

    ours: float
    loop: float
    difference: float
    share: float
    less: float
    differing: int
    tokens: int


def main() -> None:
    """Time both sides on pairs of every kind; --json adds one object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=12, help="into which ours patches edges")
    parser.add_argument("--loop", type=int, default=12, help="edges that the loop patches")
    parser.add_argument("--only", default="", help="kinds of pairs whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load_model("smollm2")
    print(machine.described(model.device), flush=True)
    found: dict[str, dict[str, float]] = {}
    for name, contrast in (pairs(model) | of_tasks(model)).items():
        if options.only not in name:
            continue
        took = measure(model, contrast, options.blocks, options.loop)
        found[name] = {
            "seconds_ours": took.ours,
            "seconds_loop": took.loop,
            "speedup": took.loop / took.ours,
            "max_abs_difference": took.difference,
            "fraction_of_peak_flops": took.share,
            "multiplications_saved": took.less,
            "differing_tokens": took.differing,
            "tokens": took.tokens,
        }
        print(
            f"{name} ({took.differing} of {took.tokens} tokens): {1e3 * took.ours:.1f} ms an edge, "
            f"the loop {1e3 * took.loop:.0f} ms ({took.loop / took.ours:.1f} times, with "
            f"{took.less:.1f} times less to multiply); largest difference {took.difference:.1e}; "
            f"{100 * took.share:.0f}% of the best matrix product",
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


def of_tasks(model: Model) -> dict[str, Contrast]:
    """Eight pairs of the commonest length of every other task that ships."""
    found = {}
    for name in task_names():
        if name == "indirect_object":
            continue
        task = load_task(model, name, n=64)
        lengths = task.contrast.clean.mask.sum(1)
        same = (lengths == lengths.mode().values).nonzero()[:PAIRS, 0].tolist()
        found[name] = load_task(model, [task.items[i] for i in same]).contrast
    return found


def measure(model: Model, contrast: Contrast, blocks: int, looped: int) -> Timed:
    """Both sides on edges of one kind of pairs, the loop before and after ours."""
    setting = Setting.of(model, contrast, logit_difference(contrast))
    graph, generator = setting.parts.graph, torch.Generator().manual_seed(0)
    chosen = spread(graph, blocks, generator)
    sampled = chosen[torch.randperm(len(chosen), generator=generator)[:looped]]
    exact_scores(setting, graph.mask([graph.names[int(chosen[0])]]))  # first calls cost more
    tokens = contrast.clean.tokens
    with plain_edges.split_inputs(model):
        own = plain_edges.outputs(model, tokens)
        other = plain_edges.outputs(model, contrast.corrupted.tokens)
        change = {name: own[name] - other[name] for name in own}
        whole = plain_edges.difference(plain_edges.logits(model, tokens, [], change), contrast)

    def loop(edges: torch.Tensor) -> tuple[float, dict[int, torch.Tensor]]:
        total, less = 0.0, {}
        for edge in edges.tolist():
            with plain_edges.split_inputs(model):
                seconds, logits = timed(
                    lambda edge=edge: plain_edges.logits(model, tokens, [graph.names[edge]], change)
                )
            total += seconds
            less[edge] = whole - plain_edges.difference(logits, contrast)
        return total, less

    mask = torch.zeros(graph.n_edges, dtype=torch.bool)
    mask[chosen] = True
    before, first = loop(sampled[: looped // 2])
    rate = best_product(model.device)
    ours, scores = timed(lambda: exact_scores(setting, mask))
    rate = max(rate, best_product(model.device))
    after, second = loop(sampled[looped // 2 :])
    gap = max(float((scores[edge] - less).abs().max()) for edge, less in (first | second).items())
    needed = work(setting, chosen)
    return Timed(
        ours=ours / len(chosen),
        loop=(before + after) / looped,
        difference=gap,
        share=needed / (ours * rate),
        less=len(chosen) * whole_work(setting) / needed,
        differing=differing(setting),
        tokens=tokens.shape[1],
    )


def spread(graph: Graph, blocks: int, generator: torch.Generator) -> torch.Tensor:
    """Edges that random sources send into blocks at even steps through the list of all edges."""
    slots = graph.n_heads + 2 * graph.n_groups + 1
    steps = (torch.arange(blocks) + 0.5) / blocks
    layers = graph.destination[(steps * graph.n_edges).long()] // slots
    found = []
    for layer in layers.clamp(max=graph.n_layers - 1).unique().tolist():
        into = range(layer * slots, (layer + 1) * slots)
        heads = graph.reads[into[0]]
        sources = torch.randperm(heads, generator=generator)[:SOURCES]
        found += [graph.starts[destination] + sources for destination in into]
    return torch.cat(found)


def work(setting: Setting, chosen: torch.Tensor) -> float:
    """Operations that the edges' runs cannot do without: the blocks from their own on.

    At the positions from the first that differs on; of the last block all but keys and values at the
    last position only; of the vocabulary's rows the metric reads two.
    """
    graph, cost, pairs = setting.parts.graph, BlockCost.of(setting.model), len(setting.contrast)
    slots = graph.n_heads + 2 * graph.n_groups + 1
    below = graph.n_layers - 1 - graph.destination[chosen] // slots
    attention = setting.model.bridge.blocks[-1].attn
    keyed = 2.0 * sum(p.numel() for part in (attention.k, attention.v) for p in part.parameters())
    tokens = pairs * differing(setting)
    last = tokens * keyed + pairs * (cost.block_flops - keyed)
    return (
        float(below.clamp(min=0).sum()) * tokens * cost.block_flops + float((below >= 0).sum()) * last
    )


def differing(setting: Setting) -> int:
    """Positions from the first on at which any of the pairs differs."""
    batch = next(setting.prepared()).batch
    return int(batch.clean.shape[1] - (batch.clean != batch.corrupted).any(0).int().argmax())


def whole_work(setting: Setting) -> float:
    """Operations of a forward of the prompts: every block and the unembedding at every position."""
    model, tokens = setting.model, setting.contrast.clean.tokens
    blocks = setting.parts.graph.n_layers * BlockCost.of(model).block_flops
    return tokens.numel() * (blocks + 2.0 * model.d_model * model.vocabulary)


if __name__ == "__main__":
    main()
