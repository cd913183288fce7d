"""What prompts begin with alike runs once, and gives the numbers of the plain way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from interp import Kind, Site
from interp.activations import collect
from interp.metrics import says, token_logit
from interp.models.block_calls import named
from interp.models.loading import wrap
from interp.sites import boundaries
from patching.engine import block_cost, passes, schedule, splitting
from patching.engine.beginnings import beginning, common, common_to_all, levelled, written_alike
from patching.engine.block_cost import BlockCost
from patching.engine.planning import plan_sweep
from patching.engine.reuse import reuse
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace, Scale, Zero

#: The tokens all prompts begin with; windows of these models see four.
BEGINNING = [7, 11, 5, 30, 8, 9]


def prompts(*rest: int, pad: str = "right"):
    """Prompts that go on differently behind the same beginning."""
    rows = [BEGINNING + [40 + i, *ids] for i, ids in enumerate(tiny.token_rows(*rest))]
    return tiny.examples(rows, subject=[(len(BEGINNING), len(BEGINNING) + 1)] * len(rows), pad=pad)


def metrics_of(examples):
    said = {f"logit of {t}": token_logit(examples, torch.full((len(examples),), t)) for t in (12, 60)}
    return {**said, "said": says(examples, torch.full((len(examples),), 20))}


def cells_of(model, examples):
    """Edits of every beginning, of positions behind it, and inside blocks."""
    every, last = examples.span_mask("all"), examples.span_mask("last")
    states = collect(OTHERS[model.name], examples, boundaries(model.n_layers), positions="all")
    written = {site: levelled(examples, held.values) for site, held in states.items()}
    cells = [Cell((Edit(site, every, Replace(values)),)) for site, values in written.items()]
    site = Site(Kind.RESID_PRE, 1)
    added = (written[site] - 1.0).nan_to_num(0.0)
    cells += [
        Cell((Edit(site, every, Add(added)),)),
        Cell((Edit(site, last, Add(torch.linspace(-2, 2, model.d_model))),)),
        Cell((Edit(Site(Kind.MLP_OUT, 1), every, Zero()), Edit(Site(Kind.ATTN_OUT, 2), every, Zero()))),
        Cell((Edit(Site(Kind.EMBED, 0), every, Add(torch.linspace(-2, 2, model.d_model))),)),
        Cell((Edit(Site(Kind.RESID_POST, 0), every & ~last, Zero()),)),
    ]
    return cells


#: Another model of the same shape, whose states are written into a model.
OTHERS = {}


@pytest.fixture(params=tiny.FAMILIES)
def model(request, tiny_model):
    made, other = (tiny_model(request.param, seed) for seed in (0, 1))
    OTHERS[made.name] = other
    return made


@pytest.fixture(params=["a pass for each first position", "packed"])
def shared(request, monkeypatch):
    """Prices under which beginnings are always shared."""
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 0.0)
    monkeypatch.setattr(splitting, "PACKED_PRICE", -1e-9 if request.param == "packed" else 1e9)


def plain(monkeypatch):
    monkeypatch.setattr(block_cost.BlockCost, "spares", lambda cost, rows, count: False)


def counting(model):
    """The tokens that go through blocks while the list is filled; embedding alone is none."""
    seen = []

    def see(block, args, kwargs, output):
        hidden = named(block, args, kwargs)[0]
        seen.append(hidden.shape[0] * hidden.shape[1])

    handles = [b.register_forward_hook(see, with_kwargs=True) for b in model.bridge.blocks]
    return seen, handles


@pytest.mark.parametrize("pad", ["right", "left"])
def test_a_sweep_gives_the_same_with_the_beginning_run_once(model, shared, pad, monkeypatch):
    examples = prompts(3, 3, 2, 3, pad=pad)
    cells, metrics = cells_of(model, examples), metrics_of(examples)
    seen, handles = counting(model)
    reuse(model)  # found once
    del seen[:]
    found = sweep(model, examples, cells, metrics)
    ran, told = sum(seen), plan_sweep(model, examples, cells).layer_tokens
    plain(monkeypatch)
    del seen[:]
    expected = sweep(model, examples, cells, metrics)
    assert ran < 0.75 * sum(seen), "the beginning is not run for every prompt"
    for handle in handles:
        handle.remove()
    assert ran == told, "and the plan says so"
    for name in metrics:
        assert tiny.same(found.values[name], expected.values[name]), name
        assert tiny.same(found.baseline[name], expected.baseline[name]), name
    moved = expected.values["logit of 12"] - expected.baseline["logit of 12"]
    assert moved.abs().amax(1).min() > 1e-3, "every edit does something"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_beginning_runs_once_for_prompts_of_all_lengths(family, tiny_model, shared):
    model, other = (tiny_model(family, seed) for seed in (0, 1))
    OTHERS[model.name] = other
    few, many = prompts(3, 2), prompts(3, 2, 1, 3, 2, 1)
    for examples in (few, many):
        batches = schedule.schedule(BlockCost.of(model), examples, cells_of(model, examples), MAX_BYTES)
        assert len(batches) == len(examples.lengths.unique())
        assert len({batch.beginning for batch in batches}) == 1
    begun = batches[0].beginning
    assert begun.count == len(BEGINNING)
    blocks = [model.n_layers - cells_of(model, many)[i].entry for i in begun.cells]
    carried = [model.n_layers - cells_of(model, many)[run[0]].entry for run in begun.runs]
    assert begun.layer_tokens == begun.count * (model.n_layers + sum(blocks) + sum(carried))
    assert all(min(p.starts) >= begun.count for batch in batches for p in batch.passes)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_memory_that_keeps_a_few_beginnings_runs_all_prompts_again(family, tiny_model, shared):
    model, other = (tiny_model(family, seed) for seed in (0, 1))
    OTHERS[model.name] = other
    examples = prompts(3, 3, 2, 3)
    cells, metrics = cells_of(model, examples), metrics_of(examples)
    expected = sweep(model, examples, cells, metrics)
    cost = BlockCost.of(model)
    one = max(cost.past_bytes * len(BEGINNING) * (model.n_layers - cell.entry) for cell in cells)
    width = int(examples.lengths.max())
    least = 2 * cost.row_bytes(width, 0) + width * cost.kept_bytes
    for budget in (least + one, least + 3 * one):
        batches = schedule.schedule(cost, examples, cells, budget)
        rounds = {batch.beginning for batch in batches}
        assert None not in rounds and len(rounds) > 1
        assert sorted(i for b in rounds for i in b.cells) == sorted(
            {i for b in rounds for i in b.cells}
        )
        plan = plan_sweep(model, examples, cells, max_bytes=budget)
        assert plan.peak_bytes <= budget
        seen, handles = counting(model)
        reuse(model)  # found once
        del seen[:]
        found = sweep(model, examples, cells, metrics, max_bytes=budget)
        for handle in handles:
            handle.remove()
        assert sum(seen) == plan.layer_tokens
        for name in metrics:
            assert tiny.same(found.values[name], expected.values[name]), name


def test_prompts_whose_positions_are_encoded_by_their_length_share_nothing(
    shared, tokenizer, monkeypatch
):
    # Prompts of more than nine tokens have frequencies of their own.
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 9}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
    made = {"max_position_embeddings": 64, "rope_parameters": rope}
    model = wrap(tiny.hf_model("llama", **made), tokenizer, name="longrope")
    examples = prompts(6, 2, 6)
    assert reuse(model).steady == 9 and reuse(model).prefix
    every, push = examples.span_mask("all"), torch.linspace(-2, 2, model.d_model)
    cells = [Cell((Edit(Site(Kind.RESID_PRE, k), every, Add(push)),)) for k in range(model.n_layers)]
    metrics = metrics_of(examples)
    found = sweep(model, examples, cells, metrics).values["logit of 12"]
    monkeypatch.setattr(passes, "reuse", lambda model: replace(reuse(model), steady=64))
    wrong = sweep(model, examples, cells, metrics).values["logit of 12"]
    plain(monkeypatch)
    expected = sweep(model, examples, cells, metrics).values["logit of 12"]
    assert tiny.same(found, expected)
    assert not tiny.same(wrong, expected), "sharing would have been wrong"


def test_an_unedited_run_holds_the_same_with_the_beginning_run_once(model):
    examples, rows = prompts(3, 3, 3), torch.arange(3)
    whole = Baseline.of(model, examples, rows)
    once = Baseline.of(model, examples, rows, shared=len(BEGINNING))
    for ours, plain in zip(once.inputs, whole.inputs, strict=True):
        assert tiny.same(ours, plain)
    assert list(once.past) == list(whole.past)
    for layer, pair in whole.past.items():
        assert all(tiny.same(ours, plain) for ours, plain in zip(once.past[layer], pair, strict=True))
    assert torch.equal(once.columns, whole.columns) and torch.equal(once.tokens, whole.tokens)


def test_what_is_read_within_the_beginning_is_read_of_the_edited_run(tiny_model, shared, monkeypatch):
    model = tiny_model("llama")
    OTHERS[model.name] = tiny_model("llama", 1)
    examples = prompts(3, 3, 3)
    cells, early = cells_of(model, examples), torch.full((3,), 2)
    metrics = {"early": replace(token_logit(examples, torch.full((3,), 12)), positions=early)}
    found = sweep(model, examples, cells, metrics).values["early"]
    plain(monkeypatch)
    assert tiny.same(found, sweep(model, examples, cells, metrics).values["early"])


def test_edits_that_write_otherwise_in_every_prompt_are_run_for_every_prompt():
    examples = prompts(3, 2, pad="left")
    columns = beginning(examples)
    assert columns.tolist() == [list(range(6)), list(range(1, 7))]
    site, every = Site(Kind.RESID_PRE, 1), examples.span_mask("all")
    values = torch.zeros(2, examples.tokens.shape[1], tiny.WIDTH)

    def alike(where, intervention, count=6):
        return written_alike([Cell((Edit(site, where, intervention),))], columns[:, :count])

    assert alike(every, Replace(values)) == alike(every, Zero()) == len(BEGINNING)
    values[1, 4] = 1e-30
    assert alike(every, Replace(values)) == alike(every, Add(values)) == 3
    assert alike(every, Add(values), count=2) == 2, "what differs lies behind"
    first = every.clone()
    first[0, 1] = False
    assert alike(first, Zero()) == 1
    assert alike(every, Scale(0.5)) == 0, "of other interventions nothing is known"
    values[1, 2] = 1.0
    assert torch.equal(levelled(examples, values)[1, 4], values[0, 3]), "the first one's is taken"
    assert (values[1, 2] == 1.0).all(), "what is not the same is left"


def test_prompts_alone_and_equal_prompts_leave_a_token_to_each():
    examples = tiny.examples([BEGINNING, BEGINNING, BEGINNING[::-1]])
    assert common(examples.tokens[:1]) == 0
    assert common(examples.tokens[:2]) == len(BEGINNING) - 1
    assert common(examples.tokens) == 0
    longer = prompts(3, 1, 2, pad="left")
    assert common_to_all(longer).int().tolist() == [
        [0] * (3 - n) + [1] * len(BEGINNING) + [0] * (1 + n) for n in (3, 1, 2)
    ]
