"""Train the models that follow a case, in parts that go on where they were left.

    python -m studies.circuit_truth.train FOLDER CASE [MINUTES]

FOLDER keeps weights, moments and the number of epochs between parts. A model whose every share passes
the gate is written to `models`, rounded to half precision and checked again; one that does not is not.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from interp._files import write_atomically, write_text
from interp.circuit_tasks.items import TaskItem
from interp.circuit_tasks.own import write_items
from studies.circuit_truth.alignment import RATE, Alignment, build
from studies.circuit_truth.build import save
from studies.circuit_truth.cases import CASES
from studies.circuit_truth.catalogue import HOME
from studies.circuit_truth.words import word_tokenizer

SEED, PROMPTS = 0, 64


def state_of(work: Alignment, optimiser: torch.optim.Adam) -> dict[str, torch.Tensor]:
    """Weights, moments and the epoch as tensors."""
    named = dict(work.model.named_parameters())
    state = {f"weight.{name}": p.detach() for name, p in named.items()}
    for name, parameter in named.items():
        for kind, value in optimiser.state[parameter].items():
            state[f"{kind}.{name}"] = torch.as_tensor(value)
    return {**state, "epoch": torch.tensor(work.epoch)}


def restore(work: Alignment, optimiser: torch.optim.Adam, state: dict[str, torch.Tensor]) -> None:
    """Go on where `state_of` was taken."""
    work.epoch = int(state["epoch"])
    with torch.no_grad():
        for name, parameter in work.model.named_parameters():
            parameter.copy_(state[f"weight.{name}"])
            kinds = ("step", "exp_avg", "exp_avg_sq")
            optimiser.state[parameter] = {kind: state[f"{kind}.{name}"] for kind in kinds}


def items_of(work: Alignment) -> list[TaskItem]:
    """Pairs of inputs with different answers, which the model says."""
    case, generator = work.case, torch.Generator().manual_seed(SEED)
    items: dict[tuple[str, str], TaskItem] = {}
    while len(items) < PROMPTS:
        pair = work.inputs(2, generator)
        _, (answer, foil) = case.run(pair)
        if answer != foil:
            clean, corrupted = (" ".join(["BOS", *map(str, row[1:].tolist())]) for row in pair)
            item = TaskItem(
                clean, corrupted, (str(int(answer)),), (str(int(foil)),), clean, between=" "
            )
            items[clean, corrupted] = item
    return list(items.values())


def ship(name: str, work: Alignment) -> None:
    """Write model, true edges and prompts.

    Raises:
        ValueError: if a share falls below the gate in half precision.
    """
    work.model.half().float()
    work.shares = work.check()
    if not work.passes:
        raise ValueError(f"{name} fails its gate in half precision: {work.shares}")
    case = work.case
    tokenizer = word_tokenizer(["BOS", *map(str, range(max(case.size, case.answers)))])
    told = f"a trained model whose circuit is known: {case.summary}"
    save(f"aligned-{name}", work.model.half(), tokenizer, told)
    write_items(items_of(work), HOME / "truths" / f"aligned-{name}.prompts.json")
    truth = {
        "kind": "trained",
        "edges": list(case.edges),
        "epochs": work.epoch,
        "shares": {node: round(share, 4) for node, share in work.shares.items()},
    }
    write_text(HOME / "truths" / f"aligned-{name}.json", json.dumps(truth, indent=1) + "\n")


def main() -> None:
    """Train one case for some minutes, and ship it if it passes."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    until = time.monotonic() + 60 * float(sys.argv[3] if len(sys.argv) > 3 else 5)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}.safetensors"
    work = Alignment(CASES[name], build(CASES[name], SEED), SEED)
    optimiser = torch.optim.Adam(work.model.parameters(), lr=RATE)
    if kept.exists():
        restore(work, optimiser, load_file(kept))
    passed = work.train(optimiser, lambda: time.monotonic() < until)
    write_atomically(kept, lambda path: save_file(state_of(work, optimiser), path))
    worst = sorted(work.shares.items(), key=lambda named: named[1])[:4]
    sys.stdout.write(f"{name}: epoch {work.epoch}, {'passed' if passed else 'goes on'}, {worst}\n")
    if passed:
        ship(name, work)


if __name__ == "__main__":
    main()
