"""The sweep engine against other implementations of the same definition."""

from __future__ import annotations

import pytest
import tiny
import torch
import transformer_lens.patching as reference
from hypothesis import HealthCheck, given, settings, strategies as st
from sweeps import CLOSE, RESIDUAL, grid, hooked, roomy, tight
from transformer_lens import utilities

from interp.activations import collect
from interp.metrics import Metric, logit_difference
from interp.models.loading import load_model, wrap
from interp.sites import Kind, Site
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import record, sweep
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Mean, Replace, Zero


def test_every_family_can_run_above_a_kept_prefix(family_model):
    run = Baseline.of(family_model, tiny.contrast(5, 5).clean, torch.arange(2))
    assert sorted(run.past) == list(range(family_model.n_layers))
    assert run.packable
    assert all(k.shape[2] == v.shape[2] == 5 for k, v in run.past.values())


def test_equals_the_loops_of_transformer_lens(family_model, layout):
    model, pairs = family_model, tiny.contrast(6, 6)
    n, width = pairs.clean.tokens.shape
    sites = [Site(kind, layer) for kind in RESIDUAL for layer in range(model.n_layers)]
    source = collect(model, pairs.clean, sites, positions="all")
    cells = grid(model, pairs, sites, source)
    swept = sweep(model, pairs.corrupted, cells, {"pair": logit_difference(pairs)})
    ours = swept.values["pair"].reshape(len(RESIDUAL), model.n_layers, width, n)

    def metric(logits):
        row = torch.arange(n)
        return (logits[row, -1, pairs.answers] - logits[row, -1, pairs.foils]).mean()

    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    loops = (
        reference.get_act_patch_resid_pre,
        reference.get_act_patch_attn_out,
        reference.get_act_patch_mlp_out,
        lambda *given: reference.generic_activation_patch(
            *given,
            patch_setter=reference.layer_pos_patch_setter,
            activation_name="resid_post",
            index_axis_names=("layer", "pos"),
        ),
    )
    for mine, loop in zip(ours, loops, strict=True):
        theirs = loop(model.bridge, pairs.corrupted.tokens, cache, metric)
        assert (mine.mean(-1) - theirs).abs().max() <= CLOSE
        # The comparison has something to find: cells differ, and a rolled grid does not agree.
        assert (mine.mean(-1).roll(1, 1) - theirs).abs().max() > 0.05


def test_one_head_equals_the_loop_of_transformer_lens(tiny_model):
    for family in ("gpt2", "llama"):
        model, pairs = tiny_model(family), tiny.contrast(5, 5)
        n, width = pairs.clean.tokens.shape
        heads = range(4)
        sites = [Site(Kind.Z, layer, head) for layer in range(model.n_layers) for head in heads]
        source = collect(model, pairs.clean, sites, positions="all")
        swept = sweep(
            model,
            pairs.corrupted,
            grid(model, pairs, sites, source),
            {"pair": logit_difference(pairs)},
        )
        ours = swept.values["pair"].reshape(model.n_layers, len(heads), width, n).mean(-1)
        _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
        row = torch.arange(n)
        theirs = reference.get_act_patch_attn_head_out_by_pos(
            model.bridge,
            pairs.corrupted.tokens,
            cache,
            lambda lg: (lg[row, -1, pairs.answers] - lg[row, -1, pairs.foils]).mean(),  # noqa: B023
        )
        assert (ours.transpose(1, 2) - theirs).abs().max() <= CLOSE
        assert (ours - ours.mean()).abs().max() > 0.05


def test_as_many_prompts_as_positions(family_model):
    # Tensors that a block receives are per prompt or per position; here the sizes agree.
    pairs = tiny.contrast(5, 5, 5, 5, 5)
    metric = logit_difference(pairs)
    site = Site(Kind.ATTN_OUT, 1)
    source = collect(family_model, pairs.clean, [site], positions="all")
    cells = grid(family_model, pairs, [site], source)
    swept = sweep(family_model, pairs.corrupted, cells, {"pair": metric})
    expected = torch.stack([hooked(family_model, pairs.corrupted, c.edits, metric) for c in cells])
    assert (swept.values["pair"] - expected).abs().max() <= CLOSE


def test_patching_the_only_differing_position_at_layer_0_gives_the_clean_run(family_model):
    clean = tiny.token_rows(6, 6)
    corrupted = [[*row[:2], 7 if row[2] != 7 else 8, *row[3:]] for row in clean]
    pairs = type(tiny.contrast(3))(
        tiny.examples(clean), tiny.examples(corrupted), torch.tensor([5, 6]), torch.tensor([9, 8])
    )
    site = Site(Kind.RESID_PRE, 0)
    source = collect(family_model, pairs.clean, [site], positions="all")
    metric = {"pair": logit_difference(pairs)}
    swept = sweep(family_model, pairs.corrupted, grid(family_model, pairs, [site], source), metric)
    wanted = sweep(family_model, pairs.clean, [], metric).baseline["pair"]
    assert (swept.values["pair"][2] - wanted).abs().max() <= 1e-6
    assert torch.equal(swept.values["pair"][1], swept.baseline["pair"])
    assert (swept.baseline["pair"] - wanted).abs().min() > 1e-3


def test_several_edits_of_one_cell_act_together(family_model):
    pairs = tiny.contrast(6, 6)
    metric = logit_difference(pairs)
    heads = [Site(Kind.Z, 1, head) for head in (0, 3)]
    sites = [Site(Kind.RESID_PRE, 0), *heads, Site(Kind.MLP_OUT, 1), Site(Kind.RESID_POST, 2)]
    source = collect(family_model, pairs.clean, sites, positions="all")
    subject = pairs.corrupted.span_mask("subject")
    # Two heads share a hook; two edits share a site at different positions.
    edits = [Edit(s, subject, Replace(source[s].values)) for s in sites]
    edits.append(Edit(sites[0], tiny.one_position(pairs.corrupted, 4), Zero()))
    edits.append(Edit(sites[-1], pairs.corrupted.span_mask("last"), Mean(torch.ones(tiny.WIDTH))))
    edits.append(
        Edit(sites[-1], pairs.corrupted.span_mask("last"), Add(torch.ones(1, 1, tiny.WIDTH), 2.0))
    )
    chosen = [tuple(edits), tuple(edits[1:3]), tuple(edits[:1]), tuple(edits[1:2])]
    swept = sweep(model := family_model, pairs.corrupted, [Cell(c) for c in chosen], {"m": metric})
    for mine, cell in zip(swept.values["m"], chosen, strict=True):
        assert (mine - hooked(model, pairs.corrupted, cell, metric)).abs().max() <= CLOSE
    both, first = swept.values["m"][1], swept.values["m"][3]
    assert (both - first).abs().max() > 1e-3


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cell_equals_a_hooked_run(tiny_model, data):
    model = tiny_model(data.draw(st.sampled_from(["gpt2", "llama", "gemma3"])))
    lengths = data.draw(st.lists(st.integers(3, 6), min_size=1, max_size=3))
    pairs = tiny.contrast(*lengths, pad=data.draw(st.sampled_from(["left", "right"])))
    metric = logit_difference(pairs)
    shape = pairs.clean.tokens.shape

    def edit():
        kind = data.draw(st.sampled_from([*RESIDUAL, Kind.Z]))
        head = data.draw(st.integers(0, 3)) if kind is Kind.Z else None
        site = Site(kind, data.draw(st.integers(0, 2)), head)
        bits = data.draw(st.lists(st.booleans(), min_size=shape.numel(), max_size=shape.numel()))
        width = 8 if kind is Kind.Z else tiny.WIDTH
        vector = torch.linspace(-1, 1, width)
        clean = collect(model, pairs.clean, [site], positions="all")[site].values
        made = [Replace(clean), Zero(), Mean(vector), Add(vector[None, None], 3.0)]
        # Padding may be named: there is nothing there to write.
        return Edit(site, torch.tensor(bits).reshape(shape), data.draw(st.sampled_from(made)))

    cells = [
        Cell(tuple(edit() for _ in range(data.draw(st.integers(1, 3)))))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    room = data.draw(st.sampled_from([tight, roomy]))(model, pairs.corrupted)
    swept = sweep(model, pairs.corrupted, cells, {"m": metric}, max_bytes=room)
    for mine, cell in zip(swept.values["m"], cells, strict=True):
        expected = hooked(model, pairs.corrupted, cell.edits, metric)
        assert torch.allclose(mine, expected, rtol=CLOSE, atol=CLOSE)


def test_metrics_read_their_own_positions_and_tokens(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(6, 4)
    early = Metric(lambda lg, e: lg[:, 1], "logits", torch.tensor([2, 1]), torch.tensor([4, 9]))
    whole = Metric(lambda lg, e: lg.logsumexp(1), "nats", torch.tensor([5, 3]))
    found = sweep(model, pairs.clean, [], {"early": early, "whole": whole}).baseline
    for i, (at, last) in enumerate(((2, 5), (1, 3))):
        logits = model.logits(pairs.clean.tokens[i : i + 1, : last + 1])[0]
        assert (found["early"][i] - logits[at, 9]).abs() <= 1e-5
        assert (found["whole"][i] - logits[last].logsumexp(0)).abs() <= 1e-5


def test_the_reference_names_its_hooks_as_we_do(tiny_model):
    model = tiny_model("gpt2")
    for kind in RESIDUAL:
        assert utilities.get_act_name(str(kind), 1) == Site(kind, 1).hook_name
        assert Site(kind, 1).hook_name in model.bridge.hook_dict


@pytest.mark.real
def test_on_a_real_model():
    model, pairs = load_model("smollm2"), tiny.contrast(4)
    metric = logit_difference(pairs)
    sites = [Site(Kind.RESID_PRE, layer) for layer in range(model.n_layers)]
    source = collect(model, pairs.clean, sites, positions="all")
    swept = sweep(model, pairs.corrupted, grid(model, pairs, sites, source), {"m": metric})
    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    theirs = reference.get_act_patch_resid_pre(
        model.bridge,
        pairs.corrupted.tokens,
        cache,
        lambda lg: (lg[:, -1, pairs.answers] - lg[:, -1, pairs.foils]).mean(),
    )
    ours = swept.values["m"].reshape(theirs.shape)
    assert ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max() <= CLOSE
    assert theirs.std() > 0.5
    # Writing what the pass itself holds changes nothing at all; a source from another pass carries
    # that pass's rounding.
    where = pairs.corrupted.span_mask("all")
    own = collect(model, pairs.corrupted, sites, positions="all")
    same = [Cell((Edit(s, where, Add(torch.zeros(model.d_model))),)) for s in sites]
    again = [Cell((Edit(s, where, Replace(own[s].values)),)) for s in sites]
    for room in (tight(model, pairs.corrupted), MAX_BYTES):
        swept = sweep(model, pairs.corrupted, same + again, {"m": metric}, max_bytes=room)
        moved = (swept.values["m"] - swept.baseline["m"]).abs().squeeze(1)
        assert moved[: len(sites)].max() == 0
        assert moved[len(sites) :].max() <= CLOSE * max(1.0, float(swept.baseline["m"].abs()))


def test_patterns_of_prompts_of_several_lengths_are_those_of_unedited_runs():
    model, prompts = wrap(tiny.hf_model("gpt2"), None), tiny.examples(tiny.token_rows(4, 6, 4))
    last = Edit(Site(Kind.MLP_OUT, model.n_layers - 1), prompts.mask, Zero())
    site = Site(Kind.PATTERN, 0)
    read = record(model, prompts, [Cell((last,))], [site])[site]
    plain = collect(model, prompts, [site], positions="all")[site].values
    assert torch.allclose(read[0], plain, equal_nan=True, atol=CLOSE)
