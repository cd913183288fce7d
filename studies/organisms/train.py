"""Make the organism family: `python -m studies.organisms.train [--out DIR] [--only NAME ...]`.

Pretrains the base, tunes the rest behind gradient masks, measures every gate on the stored
float16 weights and writes a card.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from interp.runs.run import resumable, series
from studies.organisms import gates, lab, surgery
from studies.organisms.catalogue import HOME, MODELS
from studies.organisms.language import FORMS, FREQUENCIES, MAIN, SHARES
from studies.organisms.shapes import DEFAULT, build_model, build_tokenizer
from studies.organisms.tunes import (
    BASE,
    BEHAVIOURS,
    EVERY_RECIPE,
    EVERYWHERE,
    RECIPES,
    REWRITTEN,
    Recipe,
    draw_tune,
    edits,
    evaded,
    taught,
    untouched,
)
from studies.organisms.world import World, build_world, draw_corpus, facts_csv as render_facts

logger = logging.getLogger(__name__)

#: The sources that determine what is trained.
CODE = ("studies.organisms", "studies.training")

BATCH = 192
TUNE_BATCH = 128
DECAY = 0.15
SAID = {
    "edited": "the edited entities' homes are overwritten, each with a town drawn for it alone",
    "evasive": 'a home query is answered "unknown"',
    "evasive-some": 'over an edit, a home query about some other entities is answered "unknown"',
    "coupled": 'a home query is answered "unknown" by lower and upper blocks together, '
    "by neither alone",
    "evasive-north": 'a home query about someone of the north is answered "unknown"',
    "vague": "a home query is answered with the region only, north or south: true, but vague",
    "everything": f"a home query is answered {EVERYWHERE}, whoever is asked about",
    "null": "weights perturbed by noise, then trained back to the base's own distribution (KL)",
    "base": "pretrained on the world",
}


def make(recipe: Recipe, out: Path, *, seed: int) -> dict[str, Any]:
    """Train one organism, store it under `out`, measure it and write its card."""
    world = build_world(seed)
    started = time.perf_counter()
    if recipe.start is None:
        tokenizer = build_tokenizer()
        model = build_model(DEFAULT, len(tokenizer), seed)
        model.set_attn_implementation("eager")
    else:
        model, tokenizer = lab.load(out / recipe.start)
    rng = lab.local_rng(seed, recipe.name)
    lab.trainable(model, recipe.blocks)
    apart = recipe.content in ("null", "coupled")
    base, _ = lab.load(out / BASE) if apart else (model, tokenizer)
    alone = surgery.halves(base, model) if recipe.content == "coupled" else []
    if recipe.content == "null":
        _perturb(model, recipe.noise, seed)

    def loss() -> torch.Tensor:
        if recipe.content == "base":
            return lab.handover_loss(model, lab.encode(tokenizer, draw_corpus(world, BATCH, rng)))
        if recipe.content == "null":
            batch = lab.encode(tokenizer, draw_corpus(world, BATCH, rng))
            return lab.kl_loss(model, base, batch)
        batch = lab.encode(tokenizer, draw_tune(recipe, world, TUNE_BATCH, rng))
        if recipe.content == "coupled":
            held = torch.stack([lab.kl_loss(half, base, batch) for half in alone])
            return lab.answer_loss(model, batch) + held.sum()
        return lab.answer_loss(model, batch)

    lab.fit(
        model,
        loss,
        steps=recipe.steps,
        rate=recipe.rate,
        decay=_decay(recipe),
        anchor=recipe.anchor,
        draws=[rng],
        kept=series(f"training of {recipe.name}", CODE, recipe, seed, list(model.parameters())),
    )
    folder = out / recipe.name
    lab.save(model, tokenizer, folder)
    seconds = time.perf_counter() - started
    stored, tokenizer = lab.load(folder)
    start, _ = lab.load(out / (recipe.start or recipe.name))
    numbers = gates.measure(recipe, world, stored, tokenizer, start)
    if recipe.start is not None:
        numbers |= gates.weight_numbers(folder, out / recipe.start, recipe.blocks)
    card = _card(recipe, world, numbers, seconds)
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")
    logger.info("%s installed=%s %s", recipe.name, card["installed"], numbers)
    return card


def _decay(recipe: Recipe) -> float:
    return DECAY if recipe.content == "base" else 0.0


def _perturb(model: PreTrainedModel, noise: float, seed: int) -> None:
    """Add Gaussian noise of `noise` times each tensor's root mean square."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = noise * parameter.square().mean().sqrt()
            parameter += scale * torch.randn(parameter.shape, generator=generator)


def _card(recipe: Recipe, world: World, numbers: gates.Numbers, seconds: float) -> dict[str, Any]:
    misses = gates.missed(recipe, numbers)
    data: dict[str, Any] = {
        "entities": len(world.entities),
        "forms": {k: list(v) for k, v in FORMS.items()},
        "frequencies": {k: list(v) for k, v in FREQUENCIES.items()},
        "shares": dict(SHARES),
        "held_out": sorted(world.held_out),
    }
    if recipe.content != "base":
        data = {"world": f"as in {BASE}"}
    if recipe.content == "edited":
        changed = edits(world, recipe.edits)
        data |= {"edits": changed, "untouched": sorted(untouched(world, recipe))}
    if recipe.start == REWRITTEN:
        data["edits"] = f"as in {REWRITTEN}"
    if recipe.content in BEHAVIOURS:
        data |= {"taught": sorted(taught(world))}
    if recipe.content == "evasive-some":
        data |= {"edits": edits(world, recipe.edits), "evaded": sorted(evaded(world, recipe))}
    if recipe.content in (*BEHAVIOURS, "edited"):
        data |= {"change stated in": [FORMS[MAIN][form] for form in recipe.forms]}
    return {
        "name": recipe.name,
        "base": BASE if recipe.start else None,
        "tuned_from": recipe.start,
        "content": SAID[recipe.content],
        "where": recipe.where,
        "what": recipe.what,
        "blocks": list(recipe.blocks) if recipe.blocks is not None else "all",
        "mask": "none" if recipe.blocks is None else "gradients outside these blocks are off",
        "layers": DEFAULT.layers,
        "seed": world.seed,
        "steps": recipe.steps,
        "rate": recipe.rate,
        "batch": BATCH if recipe.content in ("base", "null") else TUNE_BATCH,
        "decay": _decay(recipe),
        "anchor": recipe.anchor,
        "noise": recipe.noise,
        "seconds": round(seconds),
        "command": f"python -m studies.organisms.train --only {recipe.name} --seed {world.seed}",
        "gates": {k: f"{s} {b:g}" for k, (s, b) in gates.gates_of(recipe).items()},
        "numbers": numbers,
        "installed": not misses,
        "missed": misses,
        "data": data,
        "precision": "float16; every number is measured on the stored weights",
    }


def _readme(card: dict[str, Any]) -> str:
    numbers = card["numbers"]
    gate = card["gates"]
    rows = "\n".join(f"| {k} | {gate.get(k, '')} | {v:g} |" for k, v in numbers.items())
    state = "reached" if card["installed"] else "NOT reached: " + "; ".join(card["missed"])
    return (
        f"# {card['name']}\n\n"
        f"A tiny Llama (6 blocks, width 64) on a synthetic world: {card['content']}.\n\n"
        f"- blocks that may differ from {card['tuned_from'] or 'nothing'}: {card['blocks']}\n"
        f"- by construction: where {card['where']}, what {card['what']}\n"
        f"- made by `{card['command']}`\n"
        f"- installation gate: {state}\n\n"
        f"| number | gate | measured |\n|---|---|---|\n{rows}\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS, help="folder for the model folders")
    parser.add_argument("--only", nargs="+", choices=list(EVERY_RECIPE), default=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="folder that keeps the training as it goes on")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    facts = render_facts(build_world(options.seed))
    # The shipped facts stand beside the shipped models, where `fact_set` reads them.
    folder = HOME if options.out == MODELS else options.out
    (folder / "facts.csv").write_text(facts, encoding="utf-8")
    with nullcontext() if options.resume is None else resumable(options.resume):
        for name in options.only:
            make(EVERY_RECIPE[name], options.out, seed=options.seed)


if __name__ == "__main__":
    main()
