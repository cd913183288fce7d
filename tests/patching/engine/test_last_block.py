"""Of the last block, positions that nobody reads need keys and values only; no number changes."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import pytest
import tiny
import torch

from interp.metrics import token_logit
from interp.models.block_calls import first
from interp.sites import Kind, Site
from patching.engine import block_cost, reuse as reuse_module, splitting
from patching.engine.reuse import reuse
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Scale, Zero

#: Kinds whose edits at one position reach only that position's output, and those that reach later ones.
OWN = (Kind.Q, Kind.Z, Kind.ATTN_OUT, Kind.MLP_OUT, Kind.RESID_POST)
LATER = (Kind.RESID_PRE, Kind.K, Kind.V)


def never_spared(monkeypatch):
    monkeypatch.setattr(block_cost.BlockCost, "pays", lambda cost, tokens: False)


@pytest.fixture(params=tiny.FAMILIES)
def model(request, tiny_model, monkeypatch):
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 0.0)
    monkeypatch.setattr(splitting, "PACKED_PRICE", 1e9)
    made = tiny_model(request.param)
    assert reuse(made).last
    return made


def cells_at(model, examples, kinds, position):
    where = tiny.one_position(examples, position)
    top = model.n_layers - 1
    head = {Kind.Q: 1, Kind.K: 0, Kind.V: 0, Kind.Z: 1}
    below = Edit(Site(Kind.MLP_OUT, 0), tiny.one_position(examples, 1), Zero())
    edits = [Edit(Site(kind, top, head.get(kind)), where, Scale(-2.0)) for kind in kinds]
    return [Cell((edit,)) for edit in edits] + [Cell((below, edit)) for edit in edits]


@pytest.mark.parametrize("read", [-1, 3])
def test_edits_in_the_last_block_count_as_if_all_of_it_ran(model, read, monkeypatch):
    examples = tiny.contrast(6, 6, 7).clean
    positions = examples.lengths - 1 if read < 0 else torch.full((3,), read)
    metric = token_logit(examples, torch.tensor([12, 30, 41]))
    metric = replace(metric, positions=positions + examples.starts)
    cells = cells_at(model, examples, (*LATER, *OWN), 2) + cells_at(model, examples, OWN, 5)
    left: list[int] = []

    def see(block, args, output):
        left.append(first(output).shape[:2].numel())

    handle = model.bridge.blocks[-1].register_forward_hook(see)
    reuse(model)
    del left[:]
    found = sweep(model, examples, cells, metric)
    few = sum(left)
    never_spared(monkeypatch)
    del left[:]
    expected = sweep(model, examples, cells, metric)
    handle.remove()
    assert few < 0.8 * sum(left), "what nobody reads is left out"
    name = next(iter(found.values))
    assert tiny.same(found.values[name], expected.values[name])
    assert tiny.same(found.baseline[name], expected.baseline[name])
    effect = (expected.values[name] - expected.baseline[name]).abs().amax(1)
    assert effect[: len(LATER)].min() > 1e-4, "earlier keys and values are read"
    alone = expected.values[name][len(LATER) : len(LATER) + len(OWN)]
    assert tiny.same(alone, expected.baseline[name].expand_as(alone)), "and nothing else of a position"


def test_a_block_that_cannot_be_ended_early_runs_whole(tiny_model, untried, monkeypatch):
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 0.0)
    model = tiny_model("llama")
    examples = tiny.contrast(6, 6).clean
    metric = token_logit(examples, torch.tensor([12, 30]))
    added = Add(torch.linspace(-2, 2, model.d_model))
    cells = [Cell((Edit(Site(Kind.RESID_PRE, 0), tiny.one_position(examples, 2), added),))]
    expected = sweep(model, examples, cells, metric)
    update = type(model.bridge.blocks[-1].attn)._update_kv_cache

    def swallowed(attention, k, v, **given):
        try:
            return update(attention, k, v, **given)
        except Exception:
            return k, v

    monkeypatch.setattr(type(model.bridge.blocks[-1].attn), "_update_kv_cache", swallowed)
    monkeypatch.setattr(reuse_module, "_FOUND", WeakKeyDictionary())
    assert reuse(model).prefix and not reuse(model).last
    found = sweep(model, examples, cells, metric)
    name = next(iter(found.values))
    assert tiny.same(found.values[name], expected.values[name])
