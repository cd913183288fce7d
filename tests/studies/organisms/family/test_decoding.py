"""Decoding beside an expert: what cancels, and what is added."""

import pytest
import torch

from studies.organisms import lab
from studies.organisms.family.decoding import proxied_logits
from studies.organisms.language import MAIN, RICH
from studies.organisms.shapes import DEFAULT, EXPERT, build_model, build_tokenizer
from studies.organisms.world import build_world

TOKENIZER = build_tokenizer(DEFAULT, RICH)


@pytest.fixture(scope="module")
def models():
    shapes = (DEFAULT, EXPERT, EXPERT)
    return [build_model(shape, len(TOKENIZER), seed).eval() for seed, shape in enumerate(shapes)]


def test_an_expert_adds_what_tuning_did_to_it_and_nothing_else(models):
    world = build_world(0, RICH)
    batch = lab.encode(TOKENIZER, world.statements(MAIN, 3, world.entities[:4]))
    target, expert, anti = models

    @torch.no_grad()
    def alone(model):
        return model(input_ids=batch.tokens, attention_mask=batch.mask).logits

    same = proxied_logits(target, expert, expert, batch)
    assert torch.allclose(same, alone(target), atol=1e-5), "an untuned expert changes nothing"
    assert torch.allclose(proxied_logits(anti, expert, anti, batch), alone(expert), atol=1e-5)
    moved = proxied_logits(target, expert, anti, batch) - alone(target)
    assert torch.allclose(moved, alone(expert) - alone(anti), atol=1e-5) and moved.abs().max() > 0.1
