"""Path patching against plain hooks, a closed form, and what must not reach a receiver."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.methods.paths import path_patch


@pytest.fixture(params=["gpt2", "neox", "llama", "gemma3"])
def family(request, tiny_model):
    return tiny_model(request.param)


def values(table):
    return torch.tensor(table.sort_values("example")["value"].to_numpy())


def written(cache, head=None, span=slice(None)):
    """A hook that writes a cached activation, or one head of it."""

    def hook(act, hook):
        out = act.clone()
        if head is None:
            out[:, span] = cache[hook.name][:, span]
        else:
            out[:, span, head] = cache[hook.name][:, span, head]
        return out

    return hook


def by_hand(model, pairs, sender, receivers, *, held, span=slice(None)):
    """Two runs with plain hooks: hold, patch the sender, note the receivers; then write them."""
    _, own = model.bridge.run_with_cache(pairs.clean.tokens)
    _, other = model.bridge.run_with_cache(pairs.corrupted.tokens)
    noted = {}

    def note(act, hook):
        noted[hook.name] = act.detach().clone()

    hooks = [(r.hook_name, note) for r in receivers]
    hooks += [(Site(kind, layer).hook_name, written(own)) for kind, layer in held]
    hooks.append((sender.hook_name, written(other, sender.head, span)))
    model.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    hooks = [(r.hook_name, written(noted, r.head, span)) for r in receivers]
    logits = model.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)[:, -1]
    row = torch.arange(len(logits))
    return logits[row, pairs.answers] - logits[row, pairs.foils]


# A head of block 0 acts on block 2: what comes between is the MLP of 0, all of 1, attention of 2.
BETWEEN = [(Kind.MLP_OUT, 0), (Kind.ATTN_OUT, 1), (Kind.MLP_OUT, 1)]


@pytest.mark.parametrize("kind", [Kind.Q, Kind.K, Kind.V])
@pytest.mark.parametrize("free", ["none", "mlps", "all"])
def test_heads_to_heads_equal_two_runs_with_plain_hooks(family, kind, free):
    pairs, metric = tiny.contrast(5, 5), None
    metric = logit_difference(pairs)
    sender, receiver = Site(Kind.Z, 0, 1), Site(kind, 2, 0)
    held = {
        "none": BETWEEN,
        "mlps": [h for h in BETWEEN if h[0] is Kind.ATTN_OUT],
        "all": [],
    }[free]
    found = path_patch(family, pairs, [sender], [receiver], metric, free=free)
    expected = by_hand(family, pairs, sender, [receiver], held=held)
    mine = values(found.where(condition="patched"))
    assert (mine - expected).abs().max() <= 1e-4
    # Holding what is between matters, and the path carries something.
    if free == "none":
        loose = by_hand(family, pairs, sender, [receiver], held=[])
        assert (mine - loose).abs().max() > 1e-4
    assert (mine - values(found.where(condition="clean"))).abs().max() > 1e-4


def test_receivers_in_several_blocks_and_at_one_span(family):
    pairs = tiny.contrast(5, 5)
    sender = Site(Kind.MLP_OUT, 0)
    receivers = [Site(Kind.MLP_OUT, 1), Site(Kind.V, 2, 1)]
    metric = logit_difference(pairs)
    found = path_patch(family, pairs, [sender], receivers, metric, positions="subject")
    _, own = family.bridge.run_with_cache(pairs.clean.tokens)
    _, other = family.bridge.run_with_cache(pairs.corrupted.tokens)
    noted, span = {}, slice(1, 3)

    def note(act, hook):
        noted[hook.name] = act.detach().clone()

    # A receiving MLP is asked what it would write, and then held as well.
    hooks = [(r.hook_name, note) for r in receivers]
    for kind, layer in ((Kind.ATTN_OUT, 1), (Kind.MLP_OUT, 1)):
        hooks.append((Site(kind, layer).hook_name, written(own)))
    hooks.append((sender.hook_name, written(other, None, span)))
    family.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    hooks = [(r.hook_name, written(noted, r.head, span)) for r in receivers]
    logits = family.bridge.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)[:, -1]
    row = torch.arange(2)
    expected = logits[row, pairs.answers] - logits[row, pairs.foils]
    assert (values(found.where(condition="patched")) - expected).abs().max() <= 1e-4
    edges = path_patch(family, pairs, [sender], receivers, metric, positions="subject", jointly=False)
    rows = edges.where(condition="patched")
    assert set(rows["receivers"]) == {"mlp_out.1", "v.2.h1"} and set(rows["span"]) == {"subject"}


def test_the_direct_path_to_the_logits_in_closed_form(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    sender, last = Site(Kind.Z, 1, 2), Site(Kind.RESID_POST, model.n_layers - 1)
    found = path_patch(model, pairs, [sender], [last], logit_difference(pairs))
    _, own = model.bridge.run_with_cache(pairs.clean.tokens)
    _, other = model.bridge.run_with_cache(pairs.corrupted.tokens)
    change = (other[sender.hook_name] - own[sender.hook_name])[:, -1, 2]
    weight = model.bridge.blocks[1].attn.W_O[2]
    hidden = own[last.hook_name][:, -1] + change @ weight
    logits, row = model.readout(hidden), torch.arange(2)
    expected = logits[row, pairs.answers] - logits[row, pairs.foils]
    assert (values(found.where(condition="patched")) - expected).abs().max() <= 1e-4
    assert (expected - values(found.where(condition="clean"))).abs().max() > 1e-3


def test_with_everything_free_the_logits_receive_the_whole_effect(family):
    from patching.methods.grids import patch_sites

    pairs = tiny.contrast(5, 5)
    sender, last = Site(Kind.ATTN_OUT, 0), Site(Kind.RESID_POST, family.n_layers - 1)
    metric = logit_difference(pairs)
    for direction in ("noise", "denoise"):
        found = path_patch(family, pairs, [sender], [last], metric, free="all", direction=direction)
        whole = patch_sites(family, pairs, [sender], metric, positions="all", direction=direction)
        mine, theirs = (values(t.where(condition="patched")) for t in (found, whole))
        assert (mine - theirs).abs().max() <= 1e-4


def test_mistakes_are_named_in_one_line(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    good = ([Site(Kind.Z, 0, 0)], [Site(Kind.Q, 1, 0)])
    for match, (senders, receivers), options in (
        ("at least one sender", ([], good[1]), {}),
        ("a sender must be one of", ([Site(Kind.Q, 0, 0)], good[1]), {}),
        ("a receiver must be one of", (good[0], [Site(Kind.PATTERN, 1)]), {}),
        ("comes after", ([Site(Kind.Z, 1, 0)], good[1]), {}),
        ("after the last block", (good[0], [Site(Kind.RESID_POST, 0)]), {}),
        ("free must be", good, {"free": "heads"}),
        ("direction must be", good, {"direction": "both"}),
        ("heads 0..1", (good[0], [Site(Kind.K, 1, 3)]), {}),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            path_patch(model, pairs, senders, receivers, logit_difference(pairs), **options)
        assert "\n" not in str(caught.value)
