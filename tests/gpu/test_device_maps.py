"""A model whose blocks lie on a GPU and on the CPU does what it does on one device."""

from __future__ import annotations

import placed_work
import pytest
import torch
from placed_work import BASE, TUNED, WORK, halves

import interp
from interp import ModelPair

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

CLOSE = 1e-3
ORDERS = {"the CPU first": ("cpu", "cuda:0"), "the GPU first": ("cuda:0", "cpu")}


@pytest.fixture(scope="module")
def whole() -> ModelPair:
    """The pair on the CPU."""
    return placed_work.on_cpu()


@pytest.fixture(scope="module", params=ORDERS)
def split(request: pytest.FixtureRequest) -> ModelPair:
    """The pair on both."""
    return interp.load_pair(BASE, TUNED, device=halves(*ORDERS[request.param]))


@pytest.mark.parametrize("name", WORK)
def test_a_map_gives_what_one_device_gives(name: str, split: ModelPair) -> None:
    found = WORK[name](split)
    assert placed_work.gap(found, placed_work.expected(name)) <= CLOSE
    home = "cpu" if name == "store" else split.base.device.type
    assert placed_work.devices_of(found) <= {home}


def test_every_block_lies_where_the_map_says(split: ModelPair) -> None:
    kinds = [device.type for device in split.base.placement.blocks]
    assert sorted({*kinds[:3]}) + sorted({*kinds[3:]}) in (["cpu", "cuda"], ["cuda", "cpu"])
    for block, device in zip(split.base.bridge.blocks, split.base.placement.blocks, strict=True):
        assert {p.device.type for p in block.parameters()} == {device.type}


def test_the_exactness_of_the_map_is_measured(split: ModelPair) -> None:
    for model in (split.base, split.tuned):
        assert model.exactness is not None
        assert model.exactness.logits <= 1e-4 and model.exactness.blocks <= 1e-4


def test_weights_of_the_cpu_were_never_on_the_gpu() -> None:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = interp.load_model(BASE, device=halves("cpu", "cuda:0"))
    there = sum(
        p.numel() * p.element_size() for p in model.bridge.original_model.parameters() if p.is_cuda
    )
    whole = sum(p.numel() * p.element_size() for p in model.bridge.original_model.parameters())
    # What is made on the way is small: a few prompts of eight tokens, and rounding up to pages.
    assert torch.cuda.max_memory_allocated() - before < there + (whole - there) / 2


def test_a_comparison_under_a_map_comes_to_the_same_words(split: ModelPair) -> None:
    assert placed_work.words(split) == placed_work.words_on_cpu()


def test_bfloat16_under_a_map(whole: ModelPair) -> None:
    model = interp.load_model(BASE, device=halves("cuda:0", "cpu"), dtype="bfloat16")
    asked = placed_work.prompts(whole.base)
    read = model.logits(asked.tokens.to(model.device))[asked.mask.to(model.device)]
    assert placed_work.gap(read.float(), whole.base.logits(asked.tokens)[asked.mask]) <= 0.1
    assert placed_work.patched(model, "resid_pre", "z").table["value"].notna().all()


def test_a_model_dispatched_by_accelerate_is_wrapped_where_it_lies(whole: ModelPair) -> None:
    from accelerate import dispatch_model
    from transformers import AutoModelForCausalLM

    from interp.models import named

    bare = AutoModelForCausalLM.from_pretrained(named.shipped()[BASE], attn_implementation="eager")
    placed = dispatch_model(bare, {"": 0})
    model = interp.wrap(placed, whole.base.tokenizer)
    asked = placed_work.prompts(whole.base)
    assert (
        placed_work.gap(
            model.logits(asked.tokens.cuda())[asked.mask.cuda()],
            whole.base.logits(asked.tokens)[asked.mask],
        )
        <= CLOSE
    )
