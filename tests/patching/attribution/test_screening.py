"""Screening finds what the whole grid finds, and says so only when it does."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode

import interp
from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples
from interp.metrics import logit_difference
from interp.prompts import first_token
from interp.sites import Kind, Site, every_head as heads_of
from patching.attribution import ranking
from patching.attribution.screening import missed_cells, screen_then_verify
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.methods.grids import patch_sites


def every_head(model):
    return heads_of(Kind.Z, model.n_layers, model.bridge.cfg.n_heads)


def whole_grid(model, pairs, sites, metric, positions):
    """Mean |effect| of every cell, from patch_sites: (kind, layer, head, place) -> value."""
    table = patch_sites(model, pairs, sites, metric, positions=positions)
    base = table.where(condition="corrupted").set_index("example")["value"]
    rows = table.where(condition="patched")
    place = "position" if positions == "each" else "span"
    rows = rows.assign(value=(rows["value"] - base.loc[rows["example"]].to_numpy()).abs())
    # A position that a prompt does not have changes nothing there: its effect counts as 0.
    total = rows.groupby(["kind", "layer", "head", place], observed=True)["value"].sum()
    return (total / len(pairs)).sort_values(ascending=False)


@pytest.mark.parametrize("positions", ["all", "each", ("subject", "last")])
def test_everything_verified_is_the_grid_itself(family_model, positions):
    model, pairs = family_model, tiny.contrast(6, 6, 5)
    metric, sites = logit_difference(pairs), every_head(family_model)
    assert len(sites) == tiny.LAYERS * 4
    expected = whole_grid(model, pairs, sites, metric, positions)
    found = screen_then_verify(
        model, pairs, sites, metric, k=5, positions=positions, candidates=len(expected)
    )
    about = found.provenance
    assert about["verified"] == about["grid"] == len(expected) and about["recall"] == 1.0
    assert about["recall_low"] == 1.0
    for (kind, layer, head, place, value), (key, truth) in zip(
        about["top"], expected.head(5).items(), strict=True
    ):
        assert (kind, layer, head, place) == key or abs(value - truth) < 1e-4
        assert abs(value - truth) <= 1e-4 * max(1.0, truth)
    assert expected.iloc[0] > 2 * expected.iloc[-1]


def test_rows_hold_estimates_for_all_cells_and_exact_values_for_the_verified(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(6, 6)
    metric, sites = logit_difference(pairs), every_head(tiny_model("llama"))
    found = screen_then_verify(model, pairs, sites, metric, k=2, candidates=4, sample=3)
    counts = found.table["condition"].value_counts().to_dict()
    assert counts == {"attribution": 24, "verified": 8, "sampled": 6, "clean": 2, "corrupted": 2}
    exact = patch_sites(model, pairs, sites, metric, positions="all").where(condition="patched")
    exact = exact.set_index(["layer", "head", "example"])["value"]
    for condition in ("verified", "sampled"):
        rows = found.where(condition=condition)
        there = exact.loc[[tuple(r) for r in rows[["layer", "head", "example"]].to_numpy()]]
        assert abs(rows["value"].to_numpy() - there.to_numpy()).max() <= 1e-4
    own = patch_sites(model, pairs, sites[:1], metric, positions="all")
    for end in ("clean", "corrupted"):
        gap = found.where(condition=end)["value"].to_numpy()
        assert abs(gap - own.where(condition=end)["value"].to_numpy()).max() <= 1e-4
    # No cell is both verified and sampled, and half the sample ranks next.
    keys = {
        c: {tuple(k) for k in found.where(condition=c)[["layer", "head"]].to_numpy()}
        for c in ("verified", "sampled")
    }
    assert not keys["verified"] & keys["sampled"] and len(keys["sampled"]) == 3


def test_a_blind_screen_is_found_out(tiny_model, monkeypatch):
    model, pairs = tiny_model("gpt2"), tiny.contrast(6, 6)
    metric, sites = logit_difference(pairs), every_head(tiny_model("gpt2"))
    settings = {"k": 6, "positions": "each", "candidates": 6, "sample": 66}
    truth = whole_grid(model, pairs, sites, metric, "each").head(6)

    def share(found):
        return len({row[:4] for row in found.provenance["top"]} & set(truth.index)) / 6

    seeing = screen_then_verify(model, pairs, sites, metric, **settings)
    seen_rightly = ranking.first_order_effects

    def upside_down(*args):
        effects, *rest = seen_rightly(*args)
        return {site: 1 / (value.abs() + 1e-3) for site, value in effects.items()}, *rest

    monkeypatch.setattr(ranking, "first_order_effects", upside_down)
    blind = screen_then_verify(model, pairs, sites, metric, **settings)
    assert share(seeing) >= 0.5 > share(blind) == 0
    # All others were sampled: the estimate is a true lower bound, and the blind one's is 0.
    for found in (seeing, blind):
        assert found.provenance["recall"] == found.provenance["recall_low"] <= share(found) + 1e-9
    assert blind.provenance["sampled_max"] > blind.provenance["threshold"]


def test_the_budget_decides_how_many_and_counts_what_is_spent(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(6, 6)
    metric, sites = logit_difference(pairs), every_head(tiny_model("llama"))
    shares = []
    for budget in (0.1, 0.5, 1.0):
        found = screen_then_verify(
            model, pairs, sites, metric, k=2, positions="each", budget=budget, sample=0
        ).provenance
        assert found["work"] <= budget + 1e-9 and found["verified"] >= 3
        shares.append(found["verified"])
    assert shares[0] < shares[1] < shares[2] == found["grid"]


@pytest.mark.parametrize(
    ("hits", "size", "seen", "estimate"),
    [(0, 20, 5, 0.0), (1, 20, 5, 4.0), (5, 20, 5, 20.0), (3, 7, 7, 3.0), (0, 9, 0, 0.0)],
)
def test_missed_cells_are_scaled_to_their_stratum(hits, size, seen, estimate):
    above = {i: i < hits for i in range(seen)}
    found = missed_cells(list(range(size)), above)
    most = missed_cells(list(range(size)), above, bound=True)
    assert found == pytest.approx(estimate)
    assert (most == found) if seen == size or hits == seen > 0 else (found < most <= size)


def test_what_precedes_the_first_difference_is_left_out_and_changes_nothing(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(6, 6)
    ids = pairs.clean.tokens.clone()
    ids[:, 2:] = pairs.corrupted.tokens[:, 2:]
    ids[:, :2] = pairs.clean.tokens[:, :2]
    other = pairs.clean.tokens.clone()
    other[:, 3] = (other[:, 3] + 1) % 90 + 3
    near = tiny.examples(other.tolist(), subject=[(1, 3)] * 2)
    pairs = Contrast(pairs.clean, near, pairs.answers, pairs.foils)
    shown = ranking.without_shared_start(pairs, pairs.corrupted.span_mask("all"))
    assert shown[:, :3].sum() == 0 and shown[:, 3:].all()
    alone = tiny.one_position(near, 1)
    assert torch.equal(ranking.without_shared_start(pairs, alone), alone)
    metric = logit_difference(pairs)
    found = screen_then_verify(model, pairs, every_head(model), metric, k=3, candidates=12)
    expected = whole_grid(model, pairs, every_head(model), metric, "all")
    for *key, value in found.provenance["top"]:
        assert abs(value - expected.loc[tuple(key)]) <= 1e-4


def test_mistakes_are_named(tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    with pytest.raises(ValueError, match="candidates at least k.*got k=5, candidates=3"):
        screen_then_verify(model, pairs, every_head(model), metric, k=5, candidates=3)
    with pytest.raises(ValueError, match="has heads 0..3"):
        screen_then_verify(model, pairs, [Site(Kind.Z, 0, 9)], metric)


@pytest.mark.real
def test_the_true_top_heads_of_smollm2_at_a_fraction_of_the_grid():
    model = interp.load_model("smollm2")
    facts = interp.load_facts("capitals")
    examples = Examples.from_text(
        model,
        facts.prompts(0),
        subjects=facts.subject_spans(0),
        groups=[fact.group for fact in facts.facts],
    )
    answers = torch.tensor([first_token(model, f" {fact.answer}") for fact in facts.facts])
    known = [
        i
        for i in range(len(examples))
        if int(model.logits(examples.tokens[i : i + 1, : examples.lengths[i]])[0, -1].argmax())
        == answers[i]
    ]
    examples, answers = examples.subset(known), answers[known]
    pairs = zip(*aligned_pairs(examples, answers), strict=True)
    # One length, so that neither side of the comparison pays for small batches.
    usual = int(examples.lengths.mode().values)
    chosen = [pair for pair in pairs if int(examples.lengths[pair[0]]) == usual][:16]
    clean, corrupted = ([pair[end] for pair in chosen] for end in (0, 1))
    pairs = Contrast(
        examples.subset(clean), examples.subset(corrupted), answers[clean], answers[corrupted]
    )
    metric, sites = logit_difference(pairs), every_head(model)
    with FlopCounterMode(display=False) as screened:
        found = screen_then_verify(model, pairs, sites, metric, k=20)
    z = [Site(Kind.Z, layer) for layer in range(model.n_layers)]
    held = interp.collect(model, pairs.clean, z, positions="all")
    where = pairs.corrupted.span_mask("all")
    cells = [
        Cell((Edit(s, where, Replace(held[Site(Kind.Z, s.layer)].values[:, :, s.head])),))
        for s in sites
    ]
    with FlopCounterMode(display=False) as whole:
        swept = sweep(model, pairs.corrupted, cells, {"m": metric})
    effect = (swept.values["m"] - swept.baseline["m"]).abs().mean(1)
    truth = {(sites[i].layer, sites[i].head) for i in effect.topk(20).indices.tolist()}
    top = {(layer, head) for _, layer, head, *_ in found.provenance["top"]}
    share = screened.get_total_flops() / whole.get_total_flops()
    report = f"{len(top & truth)} of 20 heads at {share:.1%} of the grid's operations"
    assert len(top & truth) >= 18, report
    assert share <= 0.15, report
