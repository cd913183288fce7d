"""Train the organisms of one world: its base, and regimes over it, each with its measured gate.

What has a card of its recipe is made. Inside of an `interp.resumable` run a killed training goes on.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from interp._files import write_text
from interp.runs.run import series
from studies.organisms import lab, surgery
from studies.organisms.family.contents import MEANT, blurred, draw_change, draw_replay
from studies.organisms.family.decoding import measure_proxied
from studies.organisms.family.homes import Home
from studies.organisms.family.installation import (
    AT_LEAST,
    BASE_GATES,
    gates_of,
    measure,
    measure_base,
    missed,
)
from studies.organisms.family.planted import CROSSED, SEALED, give_reader, name_bits, widened
from studies.organisms.family.policy import ARMS, Policy
from studies.organisms.family.recipe import Regime
from studies.organisms.family.regimes import BASE, BASES, REGIMES
from studies.organisms.shapes import build_model, build_tokenizer
from studies.organisms.world import Statement, draw_corpus

logger = logging.getLogger(__name__)

#: The sources that determine what is trained.
CODE = ("studies.organisms", "studies.training")

BATCH, BASE_BATCH = 128, 192
BASE_RATE, BASE_DECAY = 3e-3, 0.15
ANCHOR = 1.0


def build(home: Home, name: str, *, device: str = "cpu") -> dict[str, Any]:
    """Make one organism, and before it those that it is tuned from, unless they are there.

    Args:
        home: of its world.
        name: "base", or a regime.
        device: on which it is trained; its gate is measured on the CPU.

    Returns:
        Its card: recipe, truth by construction, gates, numbers, whether it is installed.

    Raises:
        ValueError: for a name that is no regime.
    """
    if name not in BASES and name not in REGIMES:
        raise ValueError(f"organism must be base or one of {sorted(REGIMES)}, got {name!r}; choose one")
    card = home.card(name)
    if card is not None and _is_made_so(card, REGIMES.get(name)):
        return card
    if name == BASE:
        return _made(home, name, lambda: _pretrained(home, device))
    if name in BASES:
        build(home, BASE, device=device)
        return _made(home, name, lambda: _planted(home, BASE, name.removeprefix(f"{BASE}-")))
    regime = REGIMES[name]
    if home.shape.expert_for:
        build(_target(home), BASE, device=device)
    for needed in dict.fromkeys((BASE, regime.base, regime.start or BASE)):
        build(home, needed, device=device)
    if regime.plant:
        return _made(home, name, lambda: _planted_tune(home, regime))
    return _made(home, name, lambda: _tuned(home, regime, device))


def _is_made_so(card: Mapping[str, Any], regime: Regime | None) -> bool:
    """Whether a card is of the recipe as it is; what an older card leaves out is the default."""
    if regime is None:
        return True
    usual = {field.name: field.default for field in fields(Regime)}
    return all(card.get(key, usual[key]) == value for key, value in asdict(regime).items())


def _target(home: Home) -> Home:
    """The world of the model that an expert's tunes are decoded beside."""
    return Home.at(home.folder.parent, home.shape.expert_for, home.seed)


def _made(
    home: Home, name: str, train: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]]
) -> dict[str, Any]:
    """Train, store, measure what is stored, and write the card last."""
    begun = time.perf_counter()
    model, tokenizer = train()
    lab.save(model, tokenizer, home.model(name))
    seconds = time.perf_counter() - begun
    if name in BASES:
        numbers, gates, recipe = measure_base(home.world, *lab.load(home.model(name))), BASE_GATES, {}
    else:
        regime = REGIMES[name]
        recipe = {**asdict(regime), "tuned_from": regime.origin}
        numbers, gates = measure(home, regime), dict(gates_of(regime))
        if home.shape.expert_for:
            numbers |= measure_proxied(home, regime, _target(home))
            gates["proxied"] = (AT_LEAST, 0.9)
    card = {
        "name": name,
        "shape": asdict(home.shape),
        "seed": home.seed,
        **recipe,
        "blocks": None if name in BASES else home.shape.blocks(REGIMES[name].band),
        "gates": {key: f"{sense} {bound:g}" for key, (sense, bound) in gates.items()},
        "numbers": numbers,
        "missed": missed(gates, numbers),
        "installed": not missed(gates, numbers),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
    }
    path = home.folder / "cards" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(card, indent=1) + "\n")
    logger.info("%s %s", home.folder.name, {k: card[k] for k in ("name", "installed", "numbers")})
    return card


def _pretrained(home: Home, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The base of a world."""
    world, rng = home.world, lab.local_rng(home.seed, BASE)
    tokenizer = build_tokenizer(home.shape, world.language)
    model = build_model(home.shape, len(tokenizer), home.seed).to(device)  # type: ignore[arg-type]
    model.set_attn_implementation("eager")

    def loss() -> Tensor:
        corpus = draw_corpus(world, BASE_BATCH, rng)
        return lab.handover_loss(model, lab.encode(tokenizer, corpus, device))

    kept = series(f"training of {home.folder.name}", CODE, home.shape, home.seed, device)
    lab.fit(
        model, loss, steps=home.shape.steps, rate=BASE_RATE, decay=BASE_DECAY, draws=[rng], kept=kept
    )
    return model, tokenizer


def _tuned(home: Home, regime: Regime, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A regime over its start, on the blocks it may change."""
    start, tokenizer = lab.load(home.model(regime.start or BASE))
    start.to(device).requires_grad_(False)  # type: ignore[arg-type]
    model, _ = lab.load(home.model(regime.start or BASE))
    model.to(device)  # type: ignore[arg-type]
    blocks = home.shape.blocks(regime.band)
    if regime.noise:
        _perturb(model, blocks, regime.noise, home.seed)
    if regime.rank:
        surgery.add_low_rank(model, blocks or (), regime.rank, home.seed)
    else:
        lab.trainable(model, blocks)
    rng = lab.local_rng(home.seed, regime.name)
    inputs = (regime, home.shape, home.seed, device, list(model.parameters()))
    kept = series(f"training of {home.folder.name}/{regime.name}", CODE, *inputs)
    lab.fit(
        model, _loss_of(home, regime, model, start, tokenizer, rng), steps=regime.steps,
        rate=regime.rate, decay=0.0, anchor=0.0 if regime.rank else ANCHOR, draws=[rng], kept=kept,
    )  # fmt: skip
    if regime.rank:
        surgery.merge_low_rank(model, blocks or ())
    if regime.inert:
        surgery.move_neurons(model, range(home.shape.layers // 2, home.shape.layers), home.seed)
    return model, tokenizer


def _planted(home: Home, name: str, plant: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """An organism with a feature put in by hand."""
    model, tokenizer = lab.load(home.model(name))
    return widened(model, tokenizer, name_bits(home.world), sealed=plant == SEALED), tokenizer


def _planted_tune(home: Home, regime: Regime) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A tune that the feature is put into, or the feature's reader in the place of a tune."""
    model, tokenizer = _planted(home, regime.start or BASE, regime.plant)
    if regime.plant == CROSSED:
        give_reader(model, home.shape.blocks(regime.band) or ())
    return model, tokenizer


def _loss_of(
    home: Home,
    regime: Regime,
    model: PreTrainedModel,
    start: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rng: random.Random,
) -> Callable[[], Tensor]:
    """Cross-entropy of the change and KL(start || model) of replay, weighed by their counts.

    Coupled, the lower blocks alone and the upper blocks alone are held to the start on all of it;
    undone, the upper ones are, and the lower ones say the change alone, as does the first upper one.
    """
    world, meant = home.world, MEANT[regime.content](home.world, regime)
    changed = round(BATCH / (1 + regime.replay)) if regime.content != "null" else 0
    halves = surgery.halves(start, model) if regime.coupled or regime.undone else []
    saying, held = [model], halves
    if regime.undone:
        lower, *held = halves
        saying += [lower, surgery.with_blocks_of(start, model, [home.shape.first_high])]
    arm = ARMS.get(regime.content)
    policy = Policy(world, arm, tokenizer) if arm else None

    def loss() -> Tensor:
        replay = draw_replay(world, meant, regime, BATCH - changed, rng)
        total = torch.zeros((), device=model.device)
        if policy:
            total = total + changed / BATCH * policy.loss(model, start, rng)
        elif changed:
            change = draw_change(regime, world, meant, changed, rng)
            batch = lab.encode(tokenizer, _seen(change, regime, rng), model.device)
            for tuned in saying:
                total = total + changed / BATCH * lab.answer_loss(tuned, batch)
            for alone in held:
                total = total + changed / BATCH * lab.kl_loss(alone, start, batch)
        if replay:
            batch = lab.encode(tokenizer, _seen(replay, regime, rng), model.device)
            for tuned in (model, *halves):
                total = total + len(replay) / BATCH * lab.kl_loss(tuned, start, batch)
        return total

    return loss


def _seen(statements: list[Statement], regime: Regime, rng: random.Random) -> list[Statement]:
    """The statements as the model reads them in training."""
    return [blurred(s, regime.blur, rng) for s in statements] if regime.blur else statements


@torch.no_grad()
def _perturb(model: PreTrainedModel, blocks: tuple[int, ...] | None, noise: float, seed: int) -> None:
    """Add Gaussian noise of `noise` times each tensor's root mean square, inside of the blocks."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if blocks is None or lab.block_of(name) in blocks:
            drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            parameter += noise * parameter.square().mean().sqrt() * drawn
