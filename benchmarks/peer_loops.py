"""Loops over cells as each library's own documentation writes them, and all cells batched.

Run as a script by `benchmarks.peers`, in whichever environment has the library: it needs torch and
transformers only beside it. `peer_loops.py SIDE TASK.json OUT.json`.
"""

import json
import statistics
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def difference(logits, sample):
    """Mean logit difference of the pairs."""
    row = torch.arange(len(sample["answers"]))
    return float((logits[row, sample["answers"]] - logits[row, sample["foils"]]).mean())


class Loop:
    """One forward for each cell."""

    def values(self, sample, clean):
        """The metric of every cell."""
        return [difference(self.cell(sample, clean, cell), sample) for cell in sample["cells"]]


class Hooks(Loop):
    """The bare transformers model with PyTorch's own hooks."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.model.to(torch.get_default_device())
        self.width = self.model.config.hidden_size // self.model.config.num_attention_heads

    def prepare(self, sample):
        """What the clean run holds at every place, by layer."""
        clean, handles = {}, []
        for i, layer in enumerate(self.model.model.layers):
            place = layer if sample["kind"] == "resid_pre" else layer.self_attn.o_proj

            def keep(module, args, i=i):
                clean[i] = args[0].detach().clone()

            handles.append(place.register_forward_pre_hook(keep))
        self.model(torch.tensor(sample["clean"]), use_cache=False)
        for handle in handles:
            handle.remove()
        return clean

    def cell(self, sample, clean, cell):
        """Logits of the corrupted run with one cell written."""
        layer, position, *head = cell
        block = self.model.model.layers[layer]
        place = block if not head else block.self_attn.o_proj
        part = slice(None) if not head else slice(head[0] * self.width, (head[0] + 1) * self.width)

        def write(module, args):
            out = args[0].clone()
            out[:, position, part] = clean[layer][:, position, part]
            return (out, *args[1:])

        handle = place.register_forward_pre_hook(write)
        try:
            tokens = torch.tensor(sample["corrupted"])
            return self.model(tokens, use_cache=False).logits[:, -1]
        finally:
            handle.remove()


class Batched(Hooks):
    """Plain hooks as an expert would use them: as many cells in a forward as fit in memory."""

    def values(self, sample, clean):
        """The metric of every cell."""
        size = sample["batch"]
        chunks = [sample["cells"][i : i + size] for i in range(0, len(sample["cells"]), size)]
        return [value for chunk in chunks for value in self.together(sample, clean, chunk)]

    def together(self, sample, clean, cells):
        """The metric of these cells, from one forward with a copy of the prompts for each."""
        pairs, layers = len(sample["answers"]), {}
        for copy, (layer, position, *head) in enumerate(cells):
            rows = slice(copy * pairs, (copy + 1) * pairs)
            layers.setdefault(layer, []).append((rows, position, *head))
        handles = [
            self.place(layer, sample).register_forward_pre_hook(self.writer(clean[layer], chosen))
            for layer, chosen in layers.items()
        ]
        try:
            tokens = torch.tensor(sample["corrupted"]).repeat(len(cells), 1)
            logits = self.model(tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
        finally:
            for handle in handles:
                handle.remove()
        return [difference(part, sample) for part in logits.split(pairs)]

    def place(self, layer, sample):
        """The module whose input is written."""
        block = self.model.model.layers[layer]
        return block if sample["kind"] == "resid_pre" else block.self_attn.o_proj

    def writer(self, clean, chosen):
        """A hook that writes each copy's own cell."""

        def write(module, args):
            out = args[0].clone()
            for rows, position, *head in chosen:
                low = head[0] * self.width if head else 0
                part = slice(low, low + self.width if head else None)
                out[rows, position, part] = clean[:, position, part]
            return (out, *args[1:])

        return write


class NNsight(Loop):
    """nnsight: edits inside a trace."""

    def __init__(self, folder):
        from nnsight import LanguageModel

        self.model = LanguageModel(
            folder,
            device_map=str(torch.get_default_device()),
            dispatch=True,
            dtype=torch.float32,
            attn_implementation="eager",
        )
        self.width = self.model.config.hidden_size // self.model.config.num_attention_heads

    def prepare(self, sample):
        """What the clean run holds at every place, by layer."""
        hooks = Hooks.__new__(Hooks)
        hooks.model = self.model._module
        return hooks.prepare(sample)

    def cell(self, sample, clean, cell):
        """Logits of the corrupted run with one cell written."""
        layer, position, *head = cell
        block = self.model.model.layers[layer]
        part = slice(None) if not head else slice(head[0] * self.width, (head[0] + 1) * self.width)
        place = block if not head else block.self_attn.o_proj
        value = clean[layer][:, position, part]
        with self.model.trace(torch.tensor(sample["corrupted"])):
            changed = place.input.clone()
            changed[:, position, part] = value
            place.input = changed
            logits = self.model.lm_head.output[:, -1].save()
        return logits


class Pyvene(Loop):
    """pyvene: an intervenable model for each place; its interface runs the source with every cell."""

    def __init__(self, folder):
        import pyvene

        self.pyvene = pyvene
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.model.to(torch.get_default_device())

    def prepare(self, sample):
        """What the clean run holds at every place, by layer."""
        hooks = Hooks.__new__(Hooks)
        hooks.model = self.model
        return hooks.prepare(sample)

    def cell(self, sample, clean, cell):
        """Logits of the corrupted run with one cell written."""
        layer, position, *head = cell
        component = "block_input" if not head else "head_attention_value_output"
        unit = "pos" if not head else "h.pos"
        config = self.pyvene.IntervenableConfig(
            model_type=type(self.model),
            representations=[self.pyvene.RepresentationConfig(layer, component, unit, 1)],
            intervention_types=self.pyvene.VanillaIntervention,
        )
        intervenable = self.pyvene.IntervenableModel(config, self.model)
        tokens = {"input_ids": torch.tensor(sample["corrupted"])}
        source = {"input_ids": torch.tensor(sample["clean"])}
        where = position if not head else None
        places = (
            {"sources->base": where}
            if not head
            else {"sources->base": ([[[[head[0]]], [[position]]]], [[[[head[0]]], [[position]]]])}
        )
        _, out = intervenable(tokens, [source], places)
        return out.logits[:, -1]


SIDES = {"hooks": Hooks, "batched": Batched, "nnsight": NNsight, "pyvene": Pyvene}


@torch.no_grad()
def main(side, task, out):
    """Run every task's cells and write seconds and values."""
    with open(task, encoding="utf-8") as handle:
        description = json.load(handle)
    torch.set_default_device(description["device"])
    loop = SIDES[side](description["model"])
    results = {}
    for name, sample in description["samples"].items():
        clean = loop.prepare(sample)
        loop.cell(sample, clean, sample["cells"][0])
        times, values = [], []
        for _ in range(description["repeats"]):
            start = time.perf_counter()
            values = loop.values(sample, clean)
            times.append(time.perf_counter() - start)
        results[name] = {"seconds": statistics.median(times), "values": values}
    with open(out, "w", encoding="utf-8") as handle:
        json.dump(results, handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
