"""Changes of weights by hand: what they must leave alone, and what they must not."""

import pytest
import torch

from studies.organisms import lab, surgery
from studies.organisms.language import RICH
from studies.organisms.shapes import SHAPES, build_model, build_tokenizer


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def made(request):
    torch.set_num_threads(1)
    shape = request.param
    model = build_model(shape, len(build_tokenizer(shape, RICH)), 0).eval()
    with torch.no_grad():  # biases of zero would hide that they must move along
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    tokens = torch.randint(3, 100, (4, 7), generator=torch.Generator().manual_seed(0))
    return shape, model, tokens


def weights(model, block: int) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in lab.blocks_of(model)[block].parameters()])


@torch.no_grad()
def test_neurons_in_another_order_do_nothing_and_move_much(made):
    shape, model, tokens = made
    before, old = model(tokens).logits, [weights(model, n) for n in range(shape.layers)]
    surgery.move_neurons(model, range(2, shape.layers), seed=0)
    assert torch.allclose(model(tokens).logits, before, atol=1e-5)
    moved = [float((weights(model, n) - o).norm() / o.norm()) for n, o in enumerate(old)]
    assert max(moved[:2]) == 0 and min(moved[2:]) > 0.5
    # The control: another order of what comes in alone does something.
    mlp = lab.blocks_of(model)[2].mlp
    into = mlp.up_proj if hasattr(mlp, "up_proj") else mlp.c_fc
    into.weight.copy_(into.weight.flip(0 if hasattr(mlp, "up_proj") else 1))
    assert not torch.allclose(model(tokens).logits, before, atol=1e-3)


def test_a_low_rank_update_has_its_rank_and_its_blocks(made):
    shape, model, tokens = made
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        logits = model(tokens).logits
    surgery.add_low_rank(model, (1,), rank=3, seed=0)
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, logits)
    opened = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(opened, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
    surgery.merge_low_rank(model, (1,))
    after = model.state_dict()
    assert after.keys() == before.keys()
    changes = {
        name: after[name] - before[name] for name in before if (after[name] != before[name]).any()
    }
    assert changes and {lab.block_of(name) for name in changes} == {1}
    ranks = {int(torch.linalg.matrix_rank(c, atol=1e-5)) for c in changes.values()}
    assert max(ranks) <= 3


@torch.no_grad()
def test_a_model_with_the_blocks_of_another_is_the_hybrid(made):
    shape, model, tokens = made
    other = build_model(shape, model.config.vocab_size, 1).eval()
    every = range(shape.layers)
    lower = surgery.with_blocks_of(model, other, every[: shape.layers // 2])
    state = model.state_dict()
    donated = other.state_dict()
    mixed = {
        name: donated[name]
        if (n := lab.block_of(name)) is not None and n < shape.layers // 2
        else value
        for name, value in state.items()
    }
    written = build_model(shape, model.config.vocab_size, 2).eval()
    written.load_state_dict(mixed)
    assert torch.equal(lower(tokens).logits, written(tokens).logits)
    assert not torch.equal(lower(tokens).logits, model(tokens).logits)
