"""Causal tracing: what restoring gives back, and how the noise is drawn."""

from __future__ import annotations

import pytest
import tiny
import torch

import patching
from interp.activations import collect
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.methods.tracing import causal_trace, embedding_noise


def values(table):
    return torch.tensor(table.sort_values("example")["value"].to_numpy())


def test_restoring_everything_undoes_the_noise(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 6)
    found = causal_trace(
        model, pairs.clean, Kind.RESID_POST, logit_difference(pairs), positions="all", repeats=2
    )
    clean = values(found.where(condition="clean"))
    for draw in (0, 1):
        corrupted = values(found.where(condition="corrupted", draw=draw))
        assert (corrupted - clean).abs().min() > 1e-2
        for layer in range(model.n_layers):
            back = values(found.where(condition="restored", draw=draw, layer=layer))
            assert (back - clean).abs().max() <= 1e-4
    first, second = (values(found.where(condition="corrupted", draw=d)) for d in (0, 1))
    assert (first - second).abs().max() > 1e-2


def test_a_window_restores_its_blocks_together(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    options = {"positions": "subject", "repeats": 1, "seed": 4}
    found = causal_trace(model, pairs.clean, Kind.MLP_OUT, metric, window=3, **options)
    sites = [Site(Kind.MLP_OUT, layer) for layer in range(3)]
    clean = collect(model, pairs.clean, sites, positions="all")
    noise = embedding_noise(model, pairs.clean, seed=4)

    def noisy(act, hook):
        return act + noise * pairs.clean.span_mask("subject")[..., None]

    def back(act, hook):
        site = next(s for s in sites if model.bridge.hook_dict[s.hook_name].name == hook.name)
        out = act.clone()
        out[:, 1:3] = clean[site].values[:, 1:3]
        return out

    # Centred on the middle block, a window of three covers the whole model.
    hooks = [("hook_embed", noisy), *((s.hook_name, back) for s in sites)]
    logits = model.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)[:, -1]
    row = torch.arange(2)
    expected = logits[row, pairs.answers] - logits[row, pairs.foils]
    assert (values(found.where(condition="restored", layer=1)) - expected).abs().max() <= 1e-4
    edge = values(found.where(condition="restored", layer=2))
    assert (edge - expected).abs().max() > 1e-4


def test_noise_has_the_size_and_shape_of_its_rule(tiny_model):
    model = tiny_model("gpt2")
    prompts = tiny.contrast(*[6] * 40).clean
    site = Site(Kind.EMBED, 0)
    held = collect(model, prompts, [site], positions="all")[site].values
    seen = held[prompts.span_mask("subject")]
    drawn = {
        rule: embedding_noise(model, prompts, rule=rule, scale=2.0, seed=1).flatten(0, 1)
        for rule in ("gaussian", "uniform", "multivariate", "student_t")
    }
    sigma = float(seen.std())
    assert float(drawn["gaussian"].std()) == pytest.approx(2 * sigma, rel=0.03)
    assert float(drawn["uniform"].abs().max()) == pytest.approx(2 * sigma, rel=0.03)
    assert float(drawn["uniform"].std()) == pytest.approx(2 * sigma / 3**0.5, rel=0.03)
    # The multivariate rule varies as embeddings do: its variances follow theirs, Gaussian's do not.
    own = seen.var(0)
    for rule, follows in (("multivariate", True), ("gaussian", False)):
        likeness = torch.corrcoef(torch.stack([own, drawn[rule].var(0)]))[0, 1]
        assert (likeness > 0.7) == follows
    # Tails: a t with three degrees of freedom reaches much further than a normal.
    reach = {r: float(d.norm(dim=1).max() / d.norm(dim=1).median()) for r, d in drawn.items()}
    assert reach["student_t"] > 2 * reach["multivariate"]
    again = embedding_noise(model, prompts, rule="gaussian", scale=2.0, seed=1)
    assert torch.allclose(again.flatten(0, 1), drawn["gaussian"])
    with pytest.raises(ValueError, match="rule must be one of"):
        embedding_noise(model, prompts, rule="cauchy")
    with pytest.raises(ValueError, match="window must be 1..3"):
        causal_trace(model, prompts, Kind.MLP_OUT, logit_difference(tiny.contrast(*[6] * 40)), window=4)


def test_the_corrupted_place_may_be_any_position(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 6)
    metric, options = logit_difference(pairs), {"positions": "last", "repeats": 1}

    def corrupted(**more):
        traced = causal_trace(model, pairs.clean, Kind.MLP_OUT, metric, **options, **more)
        return values(traced.where(condition="corrupted"))

    last = corrupted(corrupt="subject_last")
    noise = embedding_noise(model, pairs.clean, corrupt="subject_last")

    def noisy(act, hook):
        out = act.clone()
        out[:, 2] += noise[0, 2]
        return out

    logits = model.bridge.run_with_hooks(pairs.clean.tokens[:1, :5], fwd_hooks=[("hook_embed", noisy)])
    expected = logits[0, -1, pairs.answers[0]] - logits[0, -1, pairs.foils[0]]
    assert (last[0] - expected).abs() <= 1e-4
    # The control: the whole subject is another corruption.
    assert (corrupted() - last).abs().max() > 1e-3


def test_former_names_of_the_call_and_its_arguments_are_understood(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5)
    metric, given = logit_difference(pairs), (model, pairs.clean, Kind.MLP_OUT)
    today = causal_trace(*given, metric, corrupt="last", repeats=2, positions="last")
    former = patching.trace(*given, metric, span="last", draws=2, positions="last")
    assert former.table["value"].equals(today.table["value"])
    assert set(today.table["window"].dropna()) == {1} and today.table["strength"].notna().any()
    with pytest.raises(TypeError, match="unexpected keyword argument 'spans'"):
        patching.trace(*given, metric, spans="last")
