"""Causal tracing and attention knockout on top of the engine."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.activations import collect
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.engine.sweeping import sweep
from patching.methods.knockout import knock_out
from patching.methods.tracing import embedding_noise, trace


def values(table):
    return torch.tensor(table.sort_values("example")["value"].to_numpy())


def test_restoring_everything_undoes_the_noise(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 6)
    found = trace(
        model, pairs.clean, Kind.RESID_POST, logit_difference(pairs), positions="all", draws=2
    )
    clean = values(found.where(condition="clean"))
    for draw in (0, 1):
        corrupted = values(found.where(condition="corrupted", seed=draw))
        assert (corrupted - clean).abs().min() > 1e-2
        for layer in range(model.n_layers):
            back = values(found.where(condition="restored", seed=draw, layer=layer))
            assert (back - clean).abs().max() <= 1e-4
    first, second = (values(found.where(condition="corrupted", seed=d)) for d in (0, 1))
    assert (first - second).abs().max() > 1e-2


def test_a_window_restores_its_blocks_together(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    options = {"positions": "subject", "draws": 1, "seed": 4}
    found = trace(model, pairs.clean, Kind.MLP_OUT, metric, window=3, **options)
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
        trace(model, prompts, Kind.MLP_OUT, logit_difference(tiny.contrast(*[6] * 40)), window=4)


def test_knockout_cuts_a_window_and_spares_other_keys(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(7, 7)
    found = knock_out(model, pairs.clean, logit_difference(pairs), window=2, placebos=2)

    def cut(scores, hook):
        out = scores.clone()
        out[:, :, -1, 1:3] = -torch.inf
        return out

    names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in (1, 2)]
    hooks = [(name, cut) for name in names]
    logits = model.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)[:, -1]
    row = torch.arange(2)
    expected = logits[row, pairs.answers] - logits[row, pairs.foils]
    assert (values(found.where(condition="knocked_out", layer=1)) - expected).abs().max() <= 1e-4
    # Three keys are neither the first, source nor destination: two of them are cut as a placebo.
    placebo = found.where(condition="placebo", layer=1)
    assert len(placebo) == 4
    assert (values(placebo[placebo["seed"] == 0]) - expected).abs().max() > 1e-4
    short = tiny.contrast(4, 4)
    none = knock_out(model, short.clean, logit_difference(short), placebos=2)
    assert not len(none.where(condition="placebo"))
    one = knock_out(model, pairs.clean, logit_difference(pairs), heads=[0], placebos=0)
    every = knock_out(model, pairs.clean, logit_difference(pairs), placebos=0)
    assert (values(one.where(layer=1)) - values(every.where(layer=1))).abs().max() > 1e-4
    for match, options in (
        ("window must be 1..3", {"window": 9}),
        ("heads 0..3", {"heads": [7]}),
        ("no span 'object'", {"source": "object"}),
    ):
        with pytest.raises(ValueError, match=match):
            knock_out(model, pairs.clean, logit_difference(pairs), **options)


def test_prompts_without_a_placebo_leave_the_sweep_as_it_was(tiny_model, monkeypatch):
    swept = []

    def keeping(*given, **options):
        swept.append(sweep(*given, **options))
        return swept[-1]

    monkeypatch.setattr("patching.methods.knockout.sweep", keeping)
    # Four tokens: one is neither the first, source nor destination, too few for a placebo of two.
    model, pairs = tiny_model("llama"), tiny.contrast(4, 7)
    found = knock_out(model, pairs.clean, logit_difference(pairs), placebos=1)
    assert set(found.where(condition="placebo")["example"]) == {1}
    (result,) = swept
    assert result.values["metric"].isfinite().all()
