"""Make the compiled models and what is known of them.

    python -m studies.circuit_truth.build FOLDER

FOLDER holds what `programs` wrote. A folder is written for each model under `models`, and a file with
its true edges and its prompts under `truths`. Beside the programs stand two edits of `reverse`: one
with an edited head of its last layer, and one with two of its embeddings exchanged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from interp._files import write_text
from interp.circuit_tasks.items import TaskItem
from interp.circuit_tasks.own import write_items
from interp.models.formats import quiet
from patching.circuits.graph import Graph
from studies.circuit_truth.brute_force import SMALLEST, PlainGPT2
from studies.circuit_truth.catalogue import HOME
from studies.circuit_truth.compiled import NOTHING, Compiled, as_gpt2

#: Prompts that are kept of a program for tests and scores.
KEPT = 48

SUMMARIES = {
    "tracr-reverse": "the input from its end",
    "tracr-sort": "the input in order, by counting",
    "tracr-histogram": "how often the last token stands in the input",
    "tracr-fraction": "the fraction of tokens so far that are x",
    "tracr-dyck": "whether brackets are balanced",
    "tracr-reverse-upper": "the input from its end, a and b exchanged by its last head",
    "tracr-reverse-lower": "the input from its end, a and b exchanged by its embeddings",
}


@quiet()
def save(name: str, model: Any, tokenizer: Any, summary: str) -> None:
    """Write a model's folder, with a card that says what it computes."""
    folder = HOME / "models" / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_text(folder / "card.json", json.dumps({"summary": summary}, indent=1) + "\n")


def pairs_of(prompts: Sequence[str]) -> list[tuple[str, str]]:
    """Every ordered pair of prompts that ask equally much."""
    by_length: dict[int, list[str]] = {}
    for prompt in prompts:
        by_length.setdefault(len(prompt.split()), []).append(prompt)
    return [pair for alike in by_length.values() for pair in permutations(alike, 2)]


def items_of(
    compiled: Compiled, pairs: Sequence[tuple[str, str]], words: Mapping[str, str]
) -> list[TaskItem]:
    """Pairs with different answers as items of a task, in a drawn order.

    Args:
        compiled: the program.
        pairs: of prompts.
        words: what the model says for an answer of the program.
    """
    said = compiled.said
    differing = [(a, b) for a, b in pairs if said[a] != said[b]]
    if compiled.numeric:  # the metric is the number itself: the clean prompt's is the larger one
        differing = [(a, b) for a, b in differing if float(said[a]) > float(said[b])]
    chosen = Random("prompts").sample(differing, len(differing))

    def item(clean: str, corrupted: str) -> TaskItem:
        answer, foil = (words.get(w, w) for w in (compiled.word(clean), compiled.word(corrupted)))
        foil = NOTHING if compiled.numeric else foil
        return TaskItem(f"BOS {clean}", f"BOS {corrupted}", (answer,), (foil,), clean, between=" ")

    return [item(*pair) for pair in chosen]


def truth_of(plain: PlainGPT2, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Tensor:
    """The largest effect of every edge over pairs of prompts.

    Args:
        plain: the model.
        tokenizer: its tokenizer.
        pairs: of prompts without BOS.
    """
    effects = torch.zeros(plain.graph.n_edges)
    for length in sorted({len(clean.split()) for clean, _ in pairs}):
        alike = [pair for pair in pairs if len(pair[0].split()) == length]
        clean, corrupted = (
            torch.tensor([tokenizer(f"BOS {pair[side]}").input_ids for pair in alike])
            for side in (0, 1)
        )
        effects = torch.maximum(effects, plain.effects(clean, corrupted))
    return effects


def make(
    name: str, compiled: Compiled, change: Any = None, words: Mapping[str, str] | None = None
) -> None:
    """Write a model, its true edges and its prompts.

    Args:
        name: of the model.
        compiled: the program.
        change: edits the model in place; None for the program itself.
        words: what the edited model says for an answer of the program.

    Raises:
        ValueError: if the model does not say what the program says, or its effects leave no gap.
    """
    model, tokenizer = as_gpt2(compiled)
    if change is not None:
        change(model, tokenizer)
    graph = Graph(model.config.n_layer, model.config.n_head, model.config.n_head)
    plain, renamed = PlainGPT2(model, graph), words or {}
    _check_answers(name, compiled, plain, tokenizer, renamed)
    pairs = pairs_of(list(compiled.said))
    effects = truth_of(plain, tokenizer, pairs)
    true = effects > SMALLEST
    least, largest = float(effects[true].min()), float(effects[~true].max())
    if not least > 10 * SMALLEST > SMALLEST / 10 > largest:
        raise ValueError(
            f"{name}: effects leave no gap: true from {least:.2g}, others to {largest:.2g}"
        )
    items = _that_show(plain, tokenizer, items_of(compiled, pairs, renamed), true)
    save(name, model, tokenizer, f"a compiled program whose circuit is known: {SUMMARIES[name]}")
    write_items(items, HOME / "truths" / f"{name}.prompts.json")
    told = {
        "kind": "compiled",
        "edges": [graph.names[i] for i in true.nonzero()[:, 0].tolist()],
        "least_true": least,
        "largest_other": largest,
        "pairs": len(pairs),
    }
    write_text(HOME / "truths" / f"{name}.json", json.dumps(told, indent=1) + "\n")
    sys.stdout.write(
        f"{name}: {int(true.sum())} of {graph.n_edges} edges, from {least:.3g}, others to {largest:.2g}"
        f", {len(pairs)} pairs, {len(items)} prompts\n"
    )


def _check_answers(
    name: str, compiled: Compiled, plain: PlainGPT2, tokenizer: Any, words: Mapping[str, str]
) -> None:
    """Hold the model to what the program says of every input."""
    for prompt, said in compiled.said.items():
        logits, _ = plain.run(torch.tensor([tokenizer(f"BOS {prompt}").input_ids]))
        if compiled.numeric:
            gap = abs(float(logits[0, tokenizer.convert_tokens_to_ids("value")]) - float(said))
            right = gap < 1e-3
        else:
            word = compiled.word(prompt)
            right = tokenizer.decode([int(logits[0].argmax())]) == words.get(word, word)
        if not right:
            raise ValueError(f"{name} says something else than its program of {prompt!r}: {said}")


def _that_show(
    plain: PlainGPT2, tokenizer: Any, items: Sequence[TaskItem], true: Tensor
) -> list[TaskItem]:
    """The first items, as many as it takes to see every true edge in them."""
    for count in (KEPT, 2 * KEPT, 4 * KEPT, 8 * KEPT):
        kept = list(items[:count])
        pairs = [(i.clean.removeprefix("BOS "), i.corrupted.removeprefix("BOS ")) for i in kept]
        seen = truth_of(plain, tokenizer, pairs) > SMALLEST
        if torch.equal(seen, true):
            return kept
    missing = [plain.graph.names[i] for i in (true & ~seen).nonzero()[:, 0].tolist()]
    raise ValueError(f"no {8 * KEPT} prompts show the edges {missing}")


def _exchanged_embeddings(model: Any, tokenizer: Any) -> None:
    """Tokens a and b change places where they come in."""
    one, two = (tokenizer.convert_tokens_to_ids(token) for token in "ab")
    with torch.no_grad():
        model.transformer.wte.weight[[one, two]] = model.transformer.wte.weight[[two, one]].clone()


def _edited_head(model: Any, tokenizer: Any) -> None:
    """The last layer's head writes b for a and a for b."""
    says = model.lm_head.weight
    entries = [int(says[tokenizer.convert_tokens_to_ids(token)].argmax()) for token in "ab"]
    with torch.no_grad():
        out = model.transformer.h[-1].attn.c_proj.weight
        out[:, entries] = out[:, entries[::-1]].clone()


def main() -> None:
    """Make every model from the folder that is named."""
    folder = Path(sys.argv[1])
    (HOME / "truths").mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.safetensors")):
        make(f"tracr-{path.stem}", Compiled.read(path))
    swap, reverse = {"a": "b", "b": "a"}, Compiled.read(folder / "reverse.safetensors")
    make("tracr-reverse-upper", reverse, _edited_head, swap)
    make("tracr-reverse-lower", reverse, _exchanged_embeddings, swap)


if __name__ == "__main__":
    main()
