"""Grids: which cell every row of a table is."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.activations import collect
from interp.contrasts import Contrast
from interp.metrics import logit_difference
from interp.models.alike import Alike
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from interp.sites import Kind, Site, every_layer
from patching.context import intervened
from patching.engine.sweeping import sweep
from patching.interventions.cells import Edit
from patching.interventions.values import Replace
from patching.methods import grids
from patching.methods.grids import cross_patch, handover, patch_sites
from patching.methods.stitching import stitch


def run(model, prompts, metric, edits):
    """The metric with the edits attached, for prompts of one length."""
    with intervened(model, edits) as inside:
        logits = inside.logits(prompts.tokens)[:, -1]
    return metric(logits[:, metric.tokens], torch.arange(len(prompts)))


def test_every_row_is_the_cell_it_names(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    sites = [Site(Kind.RESID_PRE, 1), Site(Kind.Z, 0, 3), Site(Kind.MLP_OUT, 2)]
    table = patch_sites(model, pairs, sites, metric)
    clean = collect(model, pairs.clean, sites, positions="all")
    assert len(table.where(condition="patched")) == len(sites) * 5 * 2
    for site in sites:
        for p in range(5):
            edit = Edit(site, tiny.one_position(pairs.clean, p), Replace(clean[site].values))
            expected = run(model, pairs.corrupted, metric, [edit])
            rows = table.where(
                condition="patched", kind=site.kind, layer=site.layer, head=site.head, position=p
            )
            assert rows["example"].tolist() == [0, 1]
            assert (torch.tensor(rows["value"].to_numpy()) - expected).abs().max() <= 1e-4
    for condition, prompts in (("clean", pairs.clean), ("corrupted", pairs.corrupted)):
        expected = sweep(model, prompts, [], {"m": metric}).baseline["m"]
        found = table.where(condition=condition)["value"].to_numpy()
        assert (torch.tensor(found) - expected).abs().max() <= 1e-5


def test_spans_and_unequal_lengths(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(4, 6)
    metric = logit_difference(pairs)
    table = patch_sites(model, pairs, [Site(Kind.RESID_PRE, 0)], metric, positions=("all", "last"))
    patched = table.where(condition="patched", span="all")["value"].to_numpy()
    clean = table.where(condition="clean")["value"].to_numpy()
    assert abs(patched - clean).max() <= 1e-5
    assert set(table.where(condition="patched")["span"]) == {"all", "last"}
    with pytest.raises(ValueError, match="no position 'object'"):
        patch_sites(model, pairs, [Site(Kind.RESID_PRE, 0)], metric, positions="object")


def test_handover_restores_everything_at_the_top_and_nothing_below(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5, 6)
    # The prompts end alike, so that their last positions agree below the first block.
    pairs.corrupted.tokens[torch.arange(3), pairs.clean.position("last")] = pairs.clean.tokens[
        torch.arange(3), pairs.clean.position("last")
    ]
    table = handover(model, pairs, logit_difference(pairs))
    assert set(table.table["method"]) == {"handover"}
    assert set(table.table["group"]) == {f"e{i} -> e{i}" for i in range(3)}

    def values(**named):
        return table.where(**named).sort_values("example")["value"].to_numpy()

    for span in ("last", "subject"):
        assert table.where(condition="patched", span=span)["layer"].nunique() == 4
    clean, corrupted = (values(condition=c, span="last") for c in ("clean", "corrupted"))
    top = values(condition="patched", span="last", layer=3)
    assert abs(top - clean).max() <= 1e-5
    bottom = values(condition="patched", span="last", layer=0)
    assert abs(bottom - corrupted).max() <= 1e-5
    assert abs(values(condition="patched", span="subject", layer=3) - corrupted).max() <= 1e-5
    assert abs(clean - corrupted).min() > 1e-3


def test_handover_of_pairs_from_text_names_both_entities(tiny_model):
    model = tiny_model("llama")
    pairs = Contrast.from_text(
        model,
        [f"The capital of land{i} is" for i in range(3)],
        [f"The capital of land{i + 3} is" for i in range(3)],
        [f"city{i}" for i in range(3)],
        [f"city{i + 3}" for i in range(3)],
        clean_subjects=[f"land{i}" for i in range(3)],
        corrupted_subjects=[f"land{i + 3}" for i in range(3)],
        clean_groups=[f"land{i}" for i in range(3)],
        corrupted_groups=[f"land{i + 3}" for i in range(3)],
    )
    table = handover(model, pairs, logit_difference(pairs)).table
    assert set(table["group"]) == {f"land{i} -> land{i + 3}" for i in range(3)}


def test_cross_patching_all_positions_is_stitching(tiny_pair):
    pair, pairs = tiny_pair("neox"), tiny.contrast(5, 6)
    metric = logit_difference(pairs)
    across = cross_patch(pair, pairs.clean, {"output": metric})
    stitched = stitch(pair, pairs.clean, {"output": metric})
    keys = ["model", "layer", "example"]

    def ordered(rows):
        return rows.astype({"model": str}).sort_values(keys)

    ours = ordered(across.where(condition="patched", span="all"))
    theirs = ordered(stitched.where(condition="stitched"))
    assert ours["donor"].tolist() == theirs["donor"].tolist()
    assert abs(ours["value"].to_numpy() - theirs["value"].to_numpy()).max() <= 1e-5
    subject = ordered(across.where(condition="patched", span="subject"))
    assert abs(subject["value"].to_numpy() - theirs["value"].to_numpy()).max() > 1e-2


@pytest.mark.parametrize("positions", ["each", ("last", "subject", "all")])
def test_what_both_prompts_begin_with_is_not_patched_and_changes_no_number(
    positions, tiny_model, monkeypatch
):
    model, beginning = tiny_model("llama"), [7, 11, 5]
    sides = [
        tiny.examples(
            [beginning + ids for ids in tiny.token_rows(4, 3, 4, seed=seed)], subject=[(3, 4)] * 3
        )
        for seed in (0, 1)
    ]
    pairs = Contrast(*sides, torch.arange(5, 8), torch.arange(50, 53))
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    metric, swept = logit_difference(pairs), []
    monkeypatch.setattr(
        grids, "sweep", lambda *args, **how: (swept.append(len(args[2])), sweep(*args, **how))[1]
    )
    found = patch_sites(model, pairs, sites, metric, positions=positions).table
    monkeypatch.setattr(grids, "apart", lambda contrast: torch.ones_like(contrast.clean.mask))
    plain = patch_sites(model, pairs, sites, metric, positions=positions).table
    fewer = 3 * len(sites) if positions == "each" else 0
    assert swept == [swept[1] - fewer, swept[1]], "three positions at every layer"
    values, expected = found.pop("value"), plain.pop("value")
    assert found.equals(plain) and (values - expected).abs().max() <= 1e-5
    if positions == "each":
        early = (found["condition"] == "patched") & (found["position"] < 3)
        ends = found[found["condition"] == "corrupted"].set_index("example").index
        corrupted = dict(zip(ends, values[found["condition"] == "corrupted"], strict=True))
        assert (values[early] == found["example"][early].map(corrupted)).all()
        assert (values[~early] - found["example"][~early].map(corrupted)).abs().max() > 0.01


@pytest.mark.parametrize("sites", [None, [Site(Kind.MLP_OUT, 0), Site(Kind.MLP_OUT, 2)]])
def test_models_are_not_crossed_below_the_first_block_that_differs(sites, tokenizer, monkeypatch):
    base, tuned = (wrap(tiny.hf_model("llama"), tokenizer) for _ in range(2))
    with torch.no_grad():
        for parameter in tuned.bridge.blocks[1].parameters():
            parameter.mul_(1.2)
    pair, pairs, swept = ModelPair(base, tuned), tiny.contrast(6, 4), []
    monkeypatch.setattr(
        grids, "sweep", lambda *args, **how: (swept.append(len(args[2])), sweep(*args, **how))[1]
    )
    found = cross_patch(pair, pairs.clean, logit_difference(pairs), sites=sites).table
    monkeypatch.setattr(grids, "alike", lambda base, tuned: Alike.nothing(base.n_layers))
    plain = cross_patch(pair, pairs.clean, logit_difference(pairs), sites=sites).table
    each = 3  # spans
    assert swept == ([2 * each] * 2 + [4 * each] * 2 if sites is None else [each] * 2 + [2 * each] * 2)
    values, expected = found.pop("value"), plain.pop("value")
    assert found.equals(plain) and (values - expected).abs().max() <= 1e-5
