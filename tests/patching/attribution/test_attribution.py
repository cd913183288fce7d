"""Attribution against exact patches of vanishing size, brute force, and TransformerLens."""

from __future__ import annotations

import pytest
import tiny
import torch
from transformer_lens.tools.analysis import EdgeAttributionConfig, attribution_patch

from interp.activations import collect
from interp.metrics import closed_set_correct, logit_difference
from interp.models.loading import wrap
from interp.sites import Kind, Site
from patching.attribution.edges import Edge, attribute_edges, edge_attributions
from patching.attribution.gradients import batches, run_with_gradients
from patching.attribution.nodes import attribute, attributions
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace

FOUR = ("gpt2", "neox", "llama", "gemma3")
KINDS = (Kind.RESID_PRE, Kind.RESID_POST, Kind.ATTN_OUT, Kind.MLP_OUT, Kind.Z, Kind.Q, Kind.K, Kind.V)


@pytest.fixture(scope="module")
def exact(tokenizer):
    """Models in float64, where a finite difference is worth something."""
    made = {}

    def make(family):
        if family not in made:
            made[family] = wrap(tiny.hf_model(family, 0).double(), tokenizer, name=family)
        return made[family]

    return make


def small_step(model, pairs, site, position, head, metric, step=1e-3):
    """(m(a + step (clean - corrupted)) - m(a)) / step at one position, exactly on the engine."""
    whole = Site(site.kind, site.layer)
    both = [
        collect(model, p, [whole], positions="all")[whole].values
        for p in (pairs.clean, pairs.corrupted)
    ]
    change = (both[0] - both[1]).nan_to_num(0.0)
    place = Site(site.kind, site.layer, head)
    change = change if head is None else change[:, :, head]
    where = tiny.one_position(pairs.corrupted, position)
    cells = [Cell((Edit(place, where, Add(change, s)),)) for s in (step, -step)]
    values = sweep(model, pairs.corrupted, cells, {"m": metric}).values["m"]
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("family", FOUR)
def test_equals_the_exact_patch_to_first_order(family, exact):
    model, pairs = exact(family), tiny.contrast(6, 6, 5)
    metric = logit_difference(pairs)
    sites = [Site(kind, layer) for kind in KINDS for layer in (0, 2)]
    found, _ = attributions(model, pairs, sites, metric)
    size = 0.0
    for site in sites:
        heads = [None] if found[site].ndim == 2 else [0, found[site].shape[2] - 1]
        for head in heads:
            for position in (1, 4):
                expected = small_step(model, pairs, site, position, head, metric)
                mine = found[site][:, position] if head is None else found[site][:, position, head]
                error = (mine - expected).abs().max()
                assert error <= 1e-3 * max(1.0, float(expected.abs().max())), (site, head, position)
                size = max(size, float(expected.abs().max()))
    assert size > 0.1
    # The control: the whole patch is not its first order, and another position is another number.
    site = Site(Kind.RESID_PRE, 0)
    whole = small_step(model, pairs, site, 1, None, metric, step=1.0)
    assert (found[site][:, 1] - whole).abs().max() > 1e-2
    assert (found[site][:, 1] - found[site][:, 4]).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_neurons_equal_the_gradient_by_hand_and_add_up(family, exact):
    model, pairs = exact(family), tiny.contrast(5, 5)
    metric, site = logit_difference(pairs), Site(Kind.MLP_POST, 1)
    found, _ = attributions(model, pairs, [site, Site(Kind.MLP_OUT, 1)], metric)
    assert found[site].shape == (2, 5, 128 if family == "gpt2" else 64)
    # The output is linear in its neurons, so their attributions add up to the MLP's.
    assert (found[site].sum(-1) - found[Site(Kind.MLP_OUT, 1)]).abs().max() < 1e-9
    table = attribute(model, pairs, [site], metric, neurons=3).where(condition="attribution")
    best = found[site].abs().sum((0, 1)).topk(3).indices
    assert set(table["neuron"]) == set(best.tolist()) and len(table) == 3 * 5 * 2


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama", "gemma3"])
def test_equals_transformer_lens(family, tiny_model):
    model, pairs = tiny_model(family), tiny.contrast(6)
    metric = logit_difference(pairs)
    answer, foil = int(pairs.answers[0]), int(pairs.foils[0])
    # Frozen parameters: the oracle's graph has to begin at the embedding.
    begin = ("hook_embed", lambda a, hook: a.detach().requires_grad_(True))
    with model.bridge.hooks(fwd_hooks=[begin]):
        theirs = attribution_patch(
            model.bridge,
            pairs.clean.tokens,
            pairs.corrupted.tokens,
            lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
            EdgeAttributionConfig(granularity="node"),
        ).node_scores
    sites = [Site(kind, layer) for kind in (Kind.Z, Kind.MLP_OUT) for layer in range(tiny.LAYERS)]
    found, _ = attributions(model, pairs, sites, metric)
    scale = max(1.0, max(map(abs, theirs.values())))
    compared = 0
    for node, score in theirs.items():
        if node.kind in ("attn_head_out", "mlp_out"):
            kind = Kind.Z if node.kind == "attn_head_out" else Kind.MLP_OUT
            mine = found[Site(kind, node.layer)][0, node.position]
            mine = mine if node.head is None else mine[node.head]
            assert abs(float(mine) - score) <= 1e-4 * scale
            compared += 1
    assert compared == tiny.LAYERS * 6 * 5


@pytest.mark.parametrize("family", FOUR)
def test_integrated_gradients_are_complete_and_plain_ones_are_not(family, exact):
    model, pairs = exact(family), tiny.contrast(6, 5, 6)
    metric, site = logit_difference(pairs), Site(Kind.RESID_PRE, 0)
    change = [sweep(model, p, [], {"m": metric}).baseline["m"] for p in (pairs.clean, pairs.corrupted)]
    change = change[0] - change[1]
    error = {}
    for steps in (8, 64, 512):
        found, ends = attributions(
            model, pairs, [site], metric, method="integrated", steps=steps, batch_size=512
        )
        error[steps] = float((found[site].nansum(1) - change).abs().max())
    assert (ends["clean"] - ends["corrupted"] - change).abs().max() < 1e-9
    assert error[512] <= 1e-3 * max(1.0, float(change.abs().max()))
    assert error[512] < error[64] < error[8]
    plain, _ = attributions(model, pairs, [site], metric)
    assert (plain[site].nansum(1) - change).abs().max() > 10 * error[512] + 1e-2


@pytest.mark.parametrize("family", FOUR)
def test_corrected_queries_and_keys_equal_brute_force(family, exact):
    model, pairs = exact(family), tiny.contrast(6, 6)
    metric, layer = logit_difference(pairs), 1
    sites, pattern = [Site(Kind.Q, layer), Site(Kind.K, layer)], Site(Kind.PATTERN, layer)
    found, _ = attributions(model, pairs, sites, metric, method="qk_corrected")
    plain, _ = attributions(model, pairs, sites, metric)
    batch = next(iter(batches(pairs, 8, "test")))
    ran = run_with_gradients(model, batch.corrupted, [pattern], metric, batch.rows, batch.columns)
    clean = collect(model, pairs.clean, sites, positions="all")
    apart = 0.0
    for site in sites:
        for head in range(clean[site].values.shape[2]):
            for position in (0, 2, 5):
                edit = Edit(
                    Site(site.kind, layer, head),
                    tiny.one_position(pairs.corrupted, position),
                    Replace(clean[site].values[:, :, head]),
                )
                seen = []
                hooks = [
                    (edit.site.hook_name, lambda a, hook, e=edit: e.apply(a, torch.arange(2))),
                    (pattern.hook_name, lambda a, hook, s=seen: s.append(a.clone())),
                ]
                with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
                    model.bridge(pairs.corrupted.tokens, use_cache=False)
                expected = ((seen[0] - ran.values[pattern]) * ran.gradients[pattern]).sum((1, 2, 3))
                mine = found[site][:, position, head]
                assert (mine - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))
                apart = max(apart, float((plain[site][:, position, head] - expected).abs().max()))
    assert apart > 1e-2
    # A single token's softmax cannot move: its query has no effect.
    assert found[sites[0]][:, 0].abs().max() < 1e-9


def test_padding_batches_and_a_pair_with_itself(tiny_model):
    model = tiny_model("llama")
    for pad in ("left", "right"):
        pairs = tiny.contrast(6, 4, 5, pad=pad)
        metric = logit_difference(pairs)
        sites = [Site(Kind.Z, 1), Site(Kind.RESID_PRE, 0)]
        together, _ = attributions(model, pairs, sites, metric)
        alone, _ = attributions(model, pairs, sites, metric, batch_size=1)
        for site in sites:
            assert torch.equal(together[site].isnan(), alone[site].isnan())
            real = pairs.corrupted.mask
            assert torch.equal(~together[site].reshape(*real.shape, -1)[..., 0].isnan(), real)
            assert (together[site] - alone[site]).nan_to_num(0.0).abs().max() <= 1e-4
        rows = attribute(model, pairs, [Site(Kind.Z, 1, 2)], metric).where(condition="attribution")
        assert len(rows) == 15 and set(rows["head"]) == {2}
    same = type(pairs)(pairs.clean, pairs.clean, pairs.answers, pairs.foils)
    for method in ("gradient", "integrated", "qk_corrected"):
        none, _ = attributions(
            model, same, [Site(Kind.Q, 1), Site(Kind.K, 0), *sites], metric, method=method
        )
        assert all(v.nan_to_num(0.0).abs().max() <= 1e-6 for v in none.values())


def test_nothing_is_left_behind_and_half_precision_runs(tiny_model, tokenizer):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    metric, hooks = logit_difference(pairs), tiny.hooks_left(model)
    before = model.logits(pairs.clean.tokens)
    table = attribute(model, pairs, [Site(Kind.Z, 0), Site(Kind.Q, 1)], metric, method="qk_corrected")
    assert tiny.hooks_left(model) == hooks
    assert tiny.same(model.logits(pairs.clean.tokens), before)
    assert not any(p.requires_grad for p in model.bridge.parameters())
    counts = table.table["condition"].value_counts().to_dict()
    assert counts == {"attribution": 2 * 5 * 4 * 2, "clean": 2, "corrupted": 2}
    half = wrap(tiny.hf_model("llama", 0).to(torch.bfloat16), tokenizer, name="half")
    for method in ("gradient", "integrated", "qk_corrected"):
        values = attribute(half, pairs, [Site(Kind.Z, 0), Site(Kind.K, 1)], metric, method=method)
        assert values.table["value"].notna().all()


def test_mistakes_are_named(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    metric, site = logit_difference(pairs), Site(Kind.Z, 0)
    with pytest.raises(ValueError, match="needs a metric with a gradient; got one in share"):
        attribute(model, pairs, [site], closed_set_correct(pairs.clean, pairs.answers))
    with pytest.raises(ValueError, match="not a vector per position"):
        attribute(model, pairs, [Site(Kind.PATTERN, 0)], metric)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        attribute(model, pairs, [site], metric, method="integrated", steps=0)
    with pytest.raises(ValueError, match="has heads 0..1"):
        attribute(model, pairs, [Site(Kind.K, 0, 2)], metric)


@pytest.mark.parametrize("family", ["gpt2", "neox"])
def test_edges_equal_transformer_lens(family, tiny_model):
    model, pairs = tiny_model(family), tiny.contrast(5)
    metric = logit_difference(pairs)
    answer, foil = int(pairs.answers[0]), int(pairs.foils[0])
    begin = ("hook_embed", lambda a, hook: a.detach().requires_grad_(True))
    with model.bridge.hooks(fwd_hooks=[begin]):
        theirs = attribution_patch(
            model.bridge,
            pairs.clean.tokens,
            pairs.corrupted.tokens,
            lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
            EdgeAttributionConfig(granularity="edge"),
        ).edge_scores

    def named(node):
        if node.kind in ("embed", "attn_head_out", "mlp_out"):
            kind = {"embed": Kind.RESID_PRE, "attn_head_out": Kind.Z, "mlp_out": Kind.MLP_OUT}
            return Site(kind[node.kind], node.layer or 0, node.head)
        kind = {"q_input": Kind.Q, "k_input": Kind.K, "v_input": Kind.V}
        kind |= {"mlp_in": Kind.MLP_OUT, "logits": Kind.RESID_POST}
        return Site(kind[node.kind], node.layer, node.head)

    expected = {}
    for (writer, reader), score in theirs.items():
        edge = Edge(named(writer), named(reader))
        expected[edge] = expected.get(edge, 0.0) + score
    edges, values = edge_attributions(model, pairs, metric)
    assert set(edges) == set(expected) and len(edges) == len(expected)
    scale = max(1.0, max(map(abs, expected.values())))
    for edge, value in zip(edges, values[:, 0].tolist(), strict=True):
        assert abs(value - expected[edge]) <= 1e-4 * scale


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama", "qwen3"])
@pytest.mark.parametrize("steps", [1, 4])
def test_edges_of_a_sender_add_up_to_its_node(family, steps, exact):
    model, pairs = exact(family), tiny.contrast(5, 6)
    metric = logit_difference(pairs)
    edges, values = edge_attributions(model, pairs, metric, steps=steps)
    sites = [Site(kind, layer) for layer in range(tiny.LAYERS) for kind in (Kind.Z, Kind.MLP_OUT)]
    sites.append(Site(Kind.RESID_PRE, 0))
    method = "integrated" if steps > 1 else "gradient"
    nodes, _ = attributions(model, pairs, sites, metric, method=method, steps=steps)
    senders = list(dict.fromkeys(edge.sender for edge in edges))
    assert len(senders) == 1 + tiny.LAYERS * 5
    for sender in senders:
        mine = sum(v for e, v in zip(edges, values, strict=True) if e.sender == sender)
        node = nodes[Site(sender.kind, sender.layer)].nansum(1)
        node = node if sender.head is None else node[:, sender.head]
        assert (mine - node).abs().max() <= 1e-5 * max(1.0, float(node.abs().max())), sender
    # The control: without the skip to the end the sum is another number.
    some = sum(
        v
        for e, v in zip(edges, values, strict=True)
        if e.sender == senders[0] and e.receiver.kind is not Kind.RESID_POST
    )
    assert (some - nodes[Site(Kind.RESID_PRE, 0)].nansum(1)).abs().max() > 1e-3


def test_edge_rows_and_models_whose_heads_do_not_add_up(tiny_model):
    pairs = tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    table = attribute_edges(tiny_model("llama"), pairs, metric, top=7)
    assert len(table) == 7 * 2 and table.provenance["edges"] > 100
    means = table.table.assign(value=table.table["value"].abs())
    keys = ["sender", "kind", "layer", "head"]
    means = means.groupby(keys, observed=True, dropna=False)["value"].mean()
    _, values = edge_attributions(tiny_model("llama"), pairs, metric)
    assert abs(means.max() - float(values.abs().mean(1).max())) < 1e-6
    with pytest.raises(ValueError, match="do not add up to its residual stream"):
        attribute_edges(tiny_model("gemma3"), pairs, metric)
