"""nnsight's loop for `benchmarks.collect`: a trace that saves the last position of every block.

Run as a script in the peers' environment, as `peer_loops.py` is: `peer_collecting.py TASK OUT`.
"""

import json
import statistics
import sys
import time

import torch
from nnsight import LanguageModel


@torch.no_grad()
def main(task, out):
    """Time both nnsight and the bare model inside it, batch by batch, and write the seconds."""
    with open(task, encoding="utf-8") as handle:
        description = json.load(handle)
    model = LanguageModel(description["model"], device_map="cpu", dispatch=True, dtype=torch.float32)

    def collect(tokens):
        with model.trace(tokens, use_cache=False, logits_to_keep=1):
            states = list().save()
            states.append(model.model.layers[0].input[:, -1].clone())
            for layer in model.model.layers:
                block = layer.output
                value = block[0] if isinstance(block, tuple) else block
                states.append(value[:, -1].clone())
        return torch.stack(list(states))

    def bare(tokens):
        model._module(tokens, use_cache=False, logits_to_keep=1)

    sides = {"nnsight": collect, "bare, beside nnsight": bare}
    batches = [torch.tensor(batch) for batch in description["batches"]]
    taken = {name: [] for name in sides}
    for run in sides.values():
        run(batches[0])
    for _ in range(description["repeats"]):
        for batch in batches:
            for name, run in sides.items():
                start = time.perf_counter()
                run(batch)
                taken[name].append(time.perf_counter() - start)
    seconds = {name: len(batches) * statistics.median(times) for name, times in taken.items()}
    with open(out, "w", encoding="utf-8") as handle:
        json.dump(seconds, handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
