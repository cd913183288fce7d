"""The plan counts what the engine does, and the budget holds."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import tiny
import torch

from interp.activations import collect
from interp.metrics import logit_difference
from interp.models.block_calls import first
from interp.sites import Kind, Site, every_layer
from patching.engine import block_cost, passes, planning, schedule, splitting, sweeping as engine
from patching.engine.block_cost import BlockCost
from patching.engine.planning import plan, plan_sweep
from patching.engine.schedule import MAX_BYTES
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace, Zero

pytestmark = pytest.mark.usefixtures("untried")


@pytest.fixture
def shown(monkeypatch) -> dict[str, int]:
    """What the engine's progress was told: layer-tokens in all, and done."""
    told = {"total": 0, "done": 0}

    @contextmanager
    def counted(total: int, what: str | None, unit: str):
        def step(more: int) -> None:
            told["done"] += more

        told["total"] = total
        yield step

    monkeypatch.setattr(passes, "counted", counted)
    return told


@pytest.mark.parametrize("price", ["whole", "grouped", "packed"])
def test_the_plan_counts_what_is_done(tiny_model, monkeypatch, shown, price):
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 1e18 if price == "whole" else 0.0)
    monkeypatch.setattr(splitting, "PACKED_PRICE", -1e-9 if price == "packed" else 1e9)
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5, 4)
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    expected = plan(model, pairs.corrupted, sites)
    source = collect(model, pairs.clean, sites, positions="all")
    cells = [
        Cell((Edit(s, tiny.one_position(pairs.corrupted, p), Replace(source[s].values)),))
        for s in sites
        for p in range(5)
    ]
    engine.sweep(model, pairs.corrupted, cells, {"m": logit_difference(pairs)}, progress="x")
    assert shown["done"] == shown["total"] > 0
    # The recorded prompts come on top: two of five tokens, one of four, through every block.
    assert expected.layer_tokens == shown["total"] + model.n_layers * 14
    assert expected.cells == len(cells) == 15
    assert expected.forwards == 30
    assert expected.loop_layer_tokens == model.n_layers * 14 * 15
    assert expected.seconds > 0 and "layer-tokens" in str(expected)
    assert (expected.layer_tokens < 0.7 * expected.loop_layer_tokens) == (price != "whole")


@pytest.mark.parametrize("price", ["whole", "grouped", "packed"])
def test_the_plan_foretells_the_time_of_a_machine_that_is_known(tiny_model, monkeypatch, price):
    """On a clock that a block's call moves by 5 s and a token that leaves it by 0.25 s, it is exact."""
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 1e18 if price == "whole" else 0.0)
    monkeypatch.setattr(splitting, "PACKED_PRICE", -1e-9 if price == "packed" else 1e9)
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5, 4)
    now = [0.0]

    def enters(block, args):
        now[0] += 5.0

    def leaves(block, args, output):
        hidden = first(output)
        now[0] += 0.25 * hidden.shape[0] * hidden.shape[1]

    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    handles = [b.register_forward_pre_hook(enters) for b in model.bridge.blocks]
    handles += [b.register_forward_hook(leaves) for b in model.bridge.blocks]
    try:
        cells = [
            Cell((Edit(s, tiny.one_position(pairs.corrupted, p), Zero()),))
            for s in every_layer(Kind.RESID_PRE, model.n_layers)
            for p in range(5)
        ]
        expected = plan_sweep(model, pairs.corrupted, cells)
        begun = now[0]
        engine.sweep(model, pairs.corrupted, cells, {"m": logit_difference(pairs)})
        taken = now[0] - begun
    finally:
        for handle in handles:
            handle.remove()
    assert expected.seconds == pytest.approx(taken)


def test_a_smaller_budget_makes_more_passes_of_no_more_than_it(tiny_model):
    model = tiny_model("llama")
    prompts = tiny.contrast(*[9] * 6).clean
    where = prompts.span_mask("last")
    cells = [Cell((Edit(Site(Kind.RESID_PRE, k), where, Zero()),)) for k in (0, 1, 2)] * 20
    shape = BlockCost.of(model)
    least = 2 * shape.row_bytes(9, 0) + 9 * shape.kept_bytes
    before = None
    for budget in (least, 4 * least, 64 * least, MAX_BYTES):
        found = plan_sweep(model, prompts, cells, max_bytes=budget)
        assert found.peak_bytes <= budget
        assert before is None or found.passes <= before
        before = found.passes
    with pytest.raises(ValueError, match="max_bytes must hold one prompt of 9 tokens"):
        plan_sweep(model, prompts, cells, max_bytes=least - 1)


def test_prompts_that_start_alike_share_a_batch(tiny_model, monkeypatch):
    monkeypatch.setattr(schedule, "RECORDED", 2)
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 0.0)
    model, prompts = tiny_model("gpt2"), tiny.contrast(*[8] * 4).clean
    where = torch.zeros_like(prompts.mask)
    where[[0, 2], 1] = True
    where[[1, 3], 6] = True
    cell = Cell((Edit(Site(Kind.MLP_OUT, 1), where, Zero()),))
    batches = schedule.schedule(BlockCost.of(model), prompts, [cell], MAX_BYTES)
    assert [b.rows.tolist() for b in batches] == [[0, 2], [1, 3]]
    assert [p.starts for b in batches for p in b.passes] == [(1,), (6,)]
