"""Features put in by hand: what is there, what reads it, and that nothing else does."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from studies.organisms import lab
from studies.organisms.family.planted import (
    ADDED,
    INERT,
    agreement,
    give_reader,
    name_bits,
    widened,
)
from studies.organisms.language import MAIN, RICH, UNKNOWN
from studies.organisms.shapes import DEFAULT, build_model, build_tokenizer
from studies.organisms.world import build_world

WORLD = build_world(0, RICH)
BITS = name_bits(WORLD)
TOKENIZER = build_tokenizer(DEFAULT, RICH)
HOMES = WORLD.statements(MAIN, 3, WORLD.entities)
AGREE = torch.tensor([agreement(WORLD, s.subject) == "same" for s in HOMES])


@pytest.fixture(scope="module")
def model():
    return build_model(DEFAULT, len(TOKENIZER), 0).eval()


@torch.no_grad()
def logits(model) -> torch.Tensor:
    batch = lab.encode(TOKENIZER, HOMES)
    return model(input_ids=batch.tokens, attention_mask=batch.mask).logits


@torch.no_grad()
def at_subjects(model, boundary: int) -> torch.Tensor:
    """States at the last name."""
    batch = lab.encode(TOKENIZER, HOMES)
    run = model(input_ids=batch.tokens, attention_mask=batch.mask, output_hidden_states=True)
    last = [TOKENIZER.convert_tokens_to_ids(s.subject.split()[1]) for s in HOMES]
    where = (batch.tokens == torch.tensor(last)[:, None]).int().argmax(1)
    return run.hidden_states[boundary][torch.arange(len(HOMES)), where]


def test_a_wider_model_without_bits_is_the_model(model):
    assert torch.allclose(logits(widened(model, TOKENIZER, {}, sealed=True)), logits(model), atol=1e-3)


def test_half_of_the_names_bear_either_bit_and_neither_name_tells_whether_they_agree():
    assert sum(BITS.values()) == 0
    assert 0.4 < AGREE.float().mean() < 0.6
    for which in (0, 1):
        bit = torch.tensor([BITS[s.subject.split()[which]] for s in HOMES]).float()
        assert torch.corrcoef(torch.stack([bit, AGREE.float()]))[0, 1].abs() < 0.2


def test_a_sealed_product_can_be_read_and_changes_nothing(model):
    sealed = widened(model, TOKENIZER, BITS, sealed=True)
    for boundary in (1, 3, 5):
        product = at_subjects(sealed, boundary)[:, DEFAULT.width + INERT]
        assert torch.equal(product > 0, AGREE)
    turned = {name: bit if name < "K" else -bit for name, bit in BITS.items()}
    other = widened(model, TOKENIZER, turned, sealed=True)
    assert not torch.equal(at_subjects(other, 3), at_subjects(sealed, 3))
    assert torch.equal(logits(other), logits(sealed)), "no sign of any bit reaches the output"


def test_a_probe_reads_the_sealed_attribute_and_not_the_crossed_one(model):
    def read(sealed: bool) -> float:
        states = at_subjects(widened(model, TOKENIZER, BITS, sealed=sealed), 3).numpy()
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        return float(cross_val_score(probe, states, AGREE.numpy(), cv=5).mean())

    assert read(sealed=True) > 0.95 and read(sealed=False) < 0.6


def test_a_reader_says_unknown_of_those_whose_bits_agree(model):
    crossed = widened(model, TOKENIZER, BITS, sealed=False)
    assert not at_subjects(crossed, 4)[:, DEFAULT.width + INERT].any(), "the product is not there yet"
    before = logits(crossed)
    give_reader(crossed, (4, 5))
    unknown = TOKENIZER.convert_tokens_to_ids(UNKNOWN)
    last = lab.encode(TOKENIZER, HOMES).answer.int().argmax(1) - 1
    moved = (logits(crossed) - before)[torch.arange(len(HOMES)), last, unknown]
    assert torch.equal(moved > 1, AGREE) and torch.equal(moved < -1, ~AGREE)
    old, new = (m.state_dict() for m in (widened(model, TOKENIZER, BITS, sealed=False), crossed))
    changed = {lab.block_of(name) for name in old if not torch.equal(old[name], new[name])}
    assert changed == {4, 5} and new["lm_head.weight"].shape[1] == DEFAULT.width + ADDED
