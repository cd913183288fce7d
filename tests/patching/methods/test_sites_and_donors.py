"""Every site the engine edits, and every donor a patch can have, against plain hooks."""

from __future__ import annotations

import pytest
import tiny
import torch
import transformer_lens.patching as reference

from interp.activations import collect
from interp.directions import Subspace
from interp.metrics import logit_difference
from interp.models.loading import wrap
from interp.sites import Kind, Site, every_head, every_layer
from patching.engine.sweeping import record, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Features, Knockout, Replace, Scale, Zero
from patching.methods.grids import cross_patch, patch_sites

CLOSE = 1e-4
GROUPED = ("llama", "gemma3")


@pytest.fixture(params=["gpt2", "neox", "llama", "gemma3"])
def family(request, tiny_model):
    return tiny_model(request.param)


def heads_of(model, kind):
    fewer = getattr(model.bridge.cfg, "n_key_value_heads", None)
    return (fewer or 4) if kind in (Kind.K, Kind.V) else 4


def read(model, tokens, pairs, hooks):
    """The logit difference of whole forwards with plain hooks."""
    row = torch.arange(len(tokens))
    logits = model.bridge.run_with_hooks(tokens, fwd_hooks=hooks)[:, -1]
    return logits[row, pairs.answers] - logits[row, pairs.foils]


@pytest.mark.parametrize("kind", [Kind.Q, Kind.K, Kind.V, Kind.Z, Kind.PATTERN])
def test_every_head_by_position_equals_plain_hooks(family, kind, layout):
    model, pairs = family, tiny.contrast(5, 5)
    sites = every_head(kind, model.n_layers, heads_of(model, kind))
    table = patch_sites(model, pairs, sites, logit_difference(pairs)).where(condition="patched")
    ours = table.sort_values(["layer", "head", "position", "example"])["value"].to_numpy()
    ours = torch.tensor(ours).reshape(len(sites), 5, 2)
    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    theirs = torch.empty_like(ours)
    for i, site in enumerate(sites):
        for p in range(5):

            def write(act, hook, head=site.head, p=p):
                out = act.clone()
                if kind is Kind.PATTERN:
                    out[:, head, p] = cache[hook.name][:, head, p]
                else:
                    out[:, p, head] = cache[hook.name][:, p, head]
                return out

            theirs[i, p] = read(model, pairs.corrupted.tokens, pairs, [(site.hook_name, write)])
    assert (ours - theirs).abs().max() <= CLOSE * max(1.0, float(theirs.abs().max()))
    # The control: another head's row is another number.
    assert (ours.roll(1, 0) - theirs).abs().max() > 0.05


def test_all_heads_and_patterns_equal_the_loops_of_transformer_lens(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    row = torch.arange(2)
    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    for kind, loop in (
        (Kind.Z, reference.get_act_patch_attn_head_out_all_pos),
        (Kind.Q, reference.get_act_patch_attn_head_q_all_pos),
        (Kind.K, reference.get_act_patch_attn_head_k_all_pos),
        (Kind.V, reference.get_act_patch_attn_head_v_all_pos),
        (Kind.PATTERN, reference.get_act_patch_attn_head_pattern_all_pos),
    ):
        theirs = loop(
            model.bridge,
            pairs.corrupted.tokens,
            cache,
            lambda lg: (lg[row, -1, pairs.answers] - lg[row, -1, pairs.foils]).mean(),
        )
        sites = every_head(kind, model.n_layers, 4)
        table = patch_sites(model, pairs, sites, logit_difference(pairs), positions="all")
        means = table.where(condition="patched").groupby(["layer", "head"], observed=True)["value"]
        ours = torch.tensor(means.mean().to_numpy()).reshape(theirs.shape)
        assert (ours - theirs).abs().max() <= CLOSE
        assert theirs.std() > 1e-3


@pytest.mark.parametrize("pad", ["left", "right"])
def test_patterns_of_padded_prompts_are_those_of_each_alone(family, pad, layout):
    lengths = (4, 6, 5)
    pairs = tiny.contrast(*lengths, pad=pad)
    site = Site(Kind.PATTERN, 1)
    source = collect(family, pairs.clean, [site], positions="all")[site].values
    where = pairs.corrupted.span_mask("last")
    cells = [Cell((Edit(site, where, Replace(source)),))]
    mine = sweep(family, pairs.corrupted, cells, {"m": logit_difference(pairs)}).values["m"][0]
    for i in range(len(lengths)):
        real = pairs.clean.mask[i]
        clean, corrupted = (p.tokens[i : i + 1, real] for p in (pairs.clean, pairs.corrupted))
        _, cache = family.bridge.run_with_cache(clean)

        def write(act, hook, cache=cache):
            out = act.clone()
            out[:, :, -1] = cache[hook.name][:, :, -1]
            return out

        logits = family.bridge.run_with_hooks(corrupted, fwd_hooks=[(site.hook_name, write)])[0, -1]
        assert (mine[i] - (logits[pairs.answers[i]] - logits[pairs.foils[i]])).abs() <= CLOSE
    assert source[~pairs.clean.mask].isnan().all()


def test_knockout_is_minus_infinity_before_the_softmax(family, layout):
    pairs = tiny.contrast(6, 6)
    examples, site = pairs.clean, Site(Kind.PATTERN, 1)
    keys, where = examples.span_mask("subject"), examples.span_mask("last")
    cell = Cell((Edit(site, where, Knockout(keys)),))
    swept = sweep(family, examples, [cell], {"m": logit_difference(pairs)})

    def cut(scores, hook):
        out = scores.clone()
        out[:, :, -1, 1:3] = -torch.inf
        return out

    theirs = read(family, examples.tokens, pairs, [("blocks.1.attn.hook_attn_scores", cut)])
    assert (swept.values["m"][0] - theirs).abs().max() <= CLOSE
    assert (swept.values["m"][0] - swept.baseline["m"]).abs().max() > 1e-3


def test_embedding_edits_and_corruption(family, layout):
    pairs = tiny.contrast(6, 6)
    where = pairs.clean.span_mask("subject")
    noise = torch.randn(2, 6, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    embed, later = Site(Kind.EMBED, 0), Site(Kind.MLP_OUT, 1)
    metric = {"m": logit_difference(pairs)}
    source = collect(family, pairs.clean, [later], positions="all")[later].values
    restored = Cell((Edit(later, pairs.clean.span_mask("last"), Replace(source)),))
    corrupted = Edit(embed, where, Add(noise))

    def noisy(act, hook):
        return act + noise * where[..., None]

    def back(act, hook):
        out = act.clone()
        out[:, -1] = source[:, -1]
        return out

    alone = sweep(family, pairs.clean, [Cell((corrupted,))], metric).values["m"][0]
    theirs = read(family, pairs.clean.tokens, pairs, [("hook_embed", noisy)])
    assert (alone - theirs).abs().max() <= CLOSE
    both = sweep(family, pairs.clean, [restored], metric, corruption=corrupted)
    assert (both.baseline["m"] - theirs).abs().max() <= CLOSE
    hooks = [("hook_embed", noisy), (later.hook_name, back)]
    assert (both.values["m"][0] - read(family, pairs.clean.tokens, pairs, hooks)).abs().max() <= CLOSE
    # What enters block 0 may be corrupted as well; where embeddings are scaled they differ.
    enters = Edit(Site(Kind.RESID_PRE, 0), where, Add(noise))
    entered = sweep(family, pairs.clean, [restored], metric, corruption=enters)
    hooks = [("blocks.0.hook_resid_pre", noisy), (later.hook_name, back)]
    theirs = read(family, pairs.clean.tokens, pairs, hooks)
    assert (entered.values["m"][0] - theirs).abs().max() <= CLOSE
    assert (entered.values["m"] - entered.baseline["m"]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="acts on the input"):
        sweep(family, pairs.clean, [], metric, corruption=Edit(later, where, Zero()))


@pytest.mark.parametrize("kind", [Kind.EMBED, Kind.RESID_PRE])
def test_an_embedding_restored_in_a_corrupted_run_leaves_the_rest_corrupted(family, layout, kind):
    pairs = tiny.contrast(6, 6)
    examples, width = pairs.clean, 6
    noise = torch.randn(2, width, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    embed, site = Site(Kind.EMBED, 0), Site(kind, 0)
    where = examples.span_mask("subject")
    first = torch.arange(width)[None] == examples.position("subject_first")[:, None]
    clean = collect(family, examples, [embed], positions="all")[embed].values
    restored = Cell((Edit(embed, first, Replace(clean)),))
    corruption = Edit(site, where, Add(noise))
    metric = {"m": logit_difference(pairs)}
    swept = sweep(family, examples, [restored], metric, corruption=corruption)

    def noisy(act, hook):
        return act + noise * where[..., None]

    def back(act, hook):
        return torch.where(first[..., None], clean, act)

    hooks = [("hook_embed", back), ("blocks.0.hook_resid_pre", noisy)]
    if kind is Kind.EMBED:
        hooks = [("hook_embed", lambda act, hook: back(noisy(act, hook), hook))]
    assert (swept.values["m"][0] - read(family, examples.tokens, pairs, hooks)).abs().max() <= CLOSE
    # The control: neither the corrupted nor the clean run.
    untouched = read(family, examples.tokens, pairs, [])
    assert (swept.values["m"][0] - untouched).abs().max() > 1e-3


def test_single_neurons_and_sets_of_them(family):
    pairs, site = tiny.contrast(5, 5), Site(Kind.MLP_POST, 1)
    where, metric = pairs.clean.span_mask("all"), {"m": logit_difference(pairs)}
    chosen = torch.tensor([0, 3])
    cells = [Cell((Edit(site, where, Features(Zero(), chosen)),)), Cell((Edit(site, where, Zero()),))]
    swept = sweep(family, pairs.clean, cells, metric)

    def silence(act, hook):
        out = act.clone()
        out[..., chosen] = 0
        return out

    theirs = read(family, pairs.clean.tokens, pairs, [(site.hook_name, silence)])
    assert (swept.values["m"][0] - theirs).abs().max() <= CLOSE
    assert (swept.values["m"][0] - swept.values["m"][1]).abs().max() > 1e-3
    half = sweep(family, pairs.clean, [Cell((Edit(site, where, Scale(1.0)),))], metric)
    assert torch.equal(half.values["m"][0], half.baseline["m"])


def test_record_reads_what_the_edited_run_holds(family):
    pairs = tiny.contrast(5, 5)
    low, high = Site(Kind.ATTN_OUT, 0), Site(Kind.Q, 2, 1)
    source = collect(family, pairs.clean, [low], positions="all")[low].values
    where = pairs.corrupted.span_mask("subject")
    top = Site(Kind.RESID_PRE, 2)
    cells = [Cell((Edit(low, where, Replace(source)),)), Cell((Edit(top, where, Zero()),))]
    seen = record(family, pairs.corrupted, cells, [low, high])

    def write(act, hook):
        return torch.where(where[..., None], source, act)

    held = {}

    def keep(act, hook):
        held["q"] = act[:, :, 1]

    hooks = [(low.hook_name, write), (high.hook_name, keep)]
    family.bridge.run_with_hooks(pairs.corrupted.tokens, fwd_hooks=hooks)
    assert (seen[high][0] - held["q"]).abs().max() <= CLOSE
    # A place is read before its own edit, and a cell that enters above it holds the baseline there.
    own = collect(family, pairs.corrupted, [low], positions="all")[low].values
    assert (seen[low] - own).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="at least one cell"):
        record(family, pairs.corrupted, [], [low])


def test_donors(tiny_model, tokenizer):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    other = wrap(tiny.hf_model("llama", seed=3), tokenizer)
    metric, sites = logit_difference(pairs), every_layer(Kind.RESID_PRE, model.n_layers)

    def patched(**options):
        table = patch_sites(model, pairs, sites, metric, positions="subject", **options)
        return torch.tensor(table.where(condition="patched")["value"].to_numpy())

    own = {s: a.values for s, a in collect(model, pairs.clean, sites, positions="all").items()}
    theirs = {s: a.values for s, a in collect(other, pairs.clean, sites, positions="all").items()}
    mean = {s: v[pairs.clean.mask].mean(0).expand_as(v) for s, v in own.items()}
    assert tiny.same(patched(), patched(donor=own))
    assert tiny.same(patched(), patched(donor=pairs.clean))
    assert tiny.same(patched(donor=other), patched(donor=theirs))
    assert tiny.same(patched(donor="mean"), patched(donor=mean))
    values = [patched(), patched(donor=other), patched(donor="mean"), patched(direction="noise")]
    assert all((a - b).abs().max() > 1e-2 for i, a in enumerate(values) for b in values[:i])
    # Noising is denoising with the roles exchanged.
    swapped = type(pairs)(pairs.corrupted, pairs.clean, pairs.foils, pairs.answers)
    table = patch_sites(model, swapped, sites, logit_difference(swapped), positions="subject")
    assert torch.allclose(
        -torch.tensor(table.where(condition="patched")["value"].to_numpy()), values[-1], atol=1e-5
    )


def test_joint_sites_and_subspaces(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    attention, mlp = Site(Kind.ATTN_OUT, 1), Site(Kind.MLP_OUT, 2)
    joint = patch_sites(model, pairs, [(attention, mlp)], metric, positions="all")
    row = joint.where(condition="patched").iloc[0]
    assert (row["kind"], row["layer"]) == ("attn_out+mlp_out", 1)
    source = collect(model, pairs.clean, [attention, mlp], positions="all")
    where = pairs.corrupted.span_mask("all")
    edits = tuple(Edit(s, where, Replace(source[s].values)) for s in (attention, mlp))
    swept = sweep(model, pairs.corrupted, [Cell(edits)], {"m": metric})
    assert row["value"] == pytest.approx(float(swept.values["m"][0, 0]), abs=1e-6)
    # The whole space is the whole patch; a random line of it is not.
    site = Site(Kind.RESID_PRE, 1)
    whole = Subspace(site, torch.eye(tiny.WIDTH))
    one = patch_sites(model, pairs, [site], metric, positions="all")
    same = patch_sites(model, pairs, [site], metric, positions="all", subspace=whole, repeats=2)
    line = Subspace(site, torch.eye(tiny.WIDTH)[:, :1])
    thin = patch_sites(model, pairs, [site], metric, positions="all", subspace=line, repeats=2)
    values = [t.where(condition="patched")["value"].to_numpy() for t in (one, same, thin)]
    assert values[1] == pytest.approx(values[0], abs=1e-4)
    assert abs(values[2] - values[0]).max() > 1e-2
    assert sorted(thin.where(condition="placebo")["draw"].unique()) == [0, 1]


def test_cross_patching_other_sites(tiny_pair):
    pair, pairs = tiny_pair("llama"), tiny.contrast(5, 5)
    sites = [Site(Kind.Z, 1, 2), Site(Kind.MLP_OUT, 0)]
    metrics = {"m": logit_difference(pairs)}
    found = cross_patch(pair, pairs.clean, metrics, sites=sites, positions=("all",))
    rows = found.where(condition="patched", model="base")
    assert set(zip(rows["kind"], rows["layer"], strict=True)) == {("z", 1), ("mlp_out", 0)}
    source = collect(pair.tuned, pairs.clean, sites, positions="all")
    where = pairs.clean.span_mask("all")
    cells = [Cell((Edit(s, where, Replace(source[s].values)),)) for s in sites]
    swept = sweep(pair.base, pairs.clean, cells, metrics)
    assert rows["value"].to_numpy() == pytest.approx(swept.values["m"].flatten().numpy(), abs=1e-6)


def test_a_subspace_is_exchanged_between_two_models(tiny_pair):
    pair, pairs = tiny_pair("llama"), tiny.contrast(5, 5)
    metrics = {"m": logit_difference(pairs)}
    options = {"sites": [Site(Kind.RESID_PRE, 1)], "positions": ("all",), "repeats": 2}
    whole = Subspace(options["sites"][0], torch.eye(tiny.WIDTH))
    plain = cross_patch(pair, pairs.clean, metrics, **options)
    same = cross_patch(pair, pairs.clean, metrics, subspace=whole, **options)
    line = Subspace(options["sites"][0], torch.eye(tiny.WIDTH)[:, :1])
    thin = cross_patch(pair, pairs.clean, metrics, subspace=line, **options)
    values = [
        t.where(condition="patched", model="base")["value"].to_numpy() for t in (plain, same, thin)
    ]
    assert values[1] == pytest.approx(values[0], abs=1e-4)
    assert abs(values[2] - values[0]).max() > 1e-2
    assert len(thin.where(condition="placebo", model="base")) == 4
    assert not len(plain.where(condition="placebo"))


def test_mistakes_are_named_in_one_line(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    metric, sites = logit_difference(pairs), [Site(Kind.RESID_PRE, 1)]
    short = tiny.contrast(4, 4).clean
    line = Subspace(sites[0], torch.eye(8)[:, :1])
    for match, options in (
        ("denoise' or 'noise', got 'both'", {"direction": "both"}),
        ("got 'noise'", {"donor": "noise"}),
        ("must align", {"donor": short}),
        (r"missing \['resid_pre.1'\]", {"donor": {}}),
        (r"got \(2, 4, 32\)", {"donor": {sites[0]: torch.zeros(2, 4, 32)}}),
        ("cannot donate", {"donor": tiny_model("gpt2")}),
        ("has width 8", {"subspace": line}),
        ("no position 'object'", {"positions": "object"}),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            patch_sites(model, pairs, sites, metric, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no mean"):
        patch_sites(model, pairs, [Site(Kind.PATTERN, 0)], metric, donor="mean")
