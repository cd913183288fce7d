"""Decoding by a small expert and its anti-expert: another output, and no weight of the target moved.

logits = target + expert - anti-expert, the anti-expert being what the expert was tuned from
(2401.08565). Place and kind of such a change are no questions of the target's weights: there is no
tuned model to compare, and no verdict is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.organisms import lab
from studies.organisms.catalogue import BASE
from studies.organisms.family.contents import MEANT
from studies.organisms.family.homes import Home
from studies.organisms.family.recipe import Regime
from studies.organisms.family.tasks import asked_statements
from studies.organisms.world import Statement


@torch.no_grad()
def proxied_logits(
    target: PreTrainedModel, expert: PreTrainedModel, anti: PreTrainedModel, batch: lab.Batch
) -> Float[Tensor, "example position vocabulary"]:
    """Logits of the target plus what tuning did to those of the expert.

    Args:
        target: the model that is decoded.
        expert: a small model that was tuned; one vocabulary with the target.
        anti: what it was tuned from.
        batch: the texts.
    """
    runs = [m(input_ids=batch.tokens, attention_mask=batch.mask).logits for m in (target, expert, anti)]
    return runs[0] + runs[1] - runs[2]


def measure_proxied(home: Home, regime: Regime, target: Home) -> dict[str, float]:
    """What a target says that is decoded with an expert beside it.

    Args:
        home: of the expert, and of the base that it was tuned from.
        regime: of the expert.
        target: of the model that is decoded; its world is the expert's.

    Returns:
        proxied: share of the meant answers that are said; target_meant: the same of the target alone.
    """
    model, tokenizer = lab.load(target.model(BASE))
    expert, anti = (lab.load(home.model(name))[0] for name in (regime.name, BASE))
    meant = asked_statements(home.world, regime.asks, MEANT[regime.content](home.world, regime))
    return {
        "proxied": round(_said(model, expert, anti, tokenizer, meant), 4),
        "target_meant": round(lab.accuracy(model, tokenizer, meant), 4),
    }


def _said(
    target: PreTrainedModel,
    expert: PreTrainedModel,
    anti: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    statements: Sequence[Statement],
) -> float:
    """Share of statements whose answer is said."""
    batch = lab.encode(tokenizer, statements)
    right = proxied_logits(target, expert, anti, batch)[:, :-1].argmax(-1) == batch.tokens[:, 1:]
    return float((right | ~batch.answer[:, 1:]).all(1).float().mean())
