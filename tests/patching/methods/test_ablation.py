"""Ablation and steering against direct hook runs and closed forms at the top of the model."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from interp.activations import collect
from interp.directions import AffineEraser, Direction, Subspace
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.context import intervened
from patching.interventions.cells import Edit
from patching.interventions.subspaces import ProjectOut
from patching.interventions.values import Mean, Replace, Zero
from patching.methods.ablation import Removal, ablate
from patching.methods.steering import steer

TOP = Site(Kind.RESID_POST, 2)
SITES = [Site(Kind.MLP_OUT, 0), Site(Kind.ATTN_OUT, 1), Site(Kind.Z, 1, 2)]


@pytest.fixture
def pairs():
    return tiny.contrast(6, 6)


def direction(site=TOP, seed=0):
    return Direction(site, torch.randn(tiny.WIDTH, generator=torch.Generator().manual_seed(seed)))


def read(model, pairs, hidden):
    """The contrast, from the last block's output at the last position."""
    logits = model.readout(hidden)
    row = torch.arange(len(pairs))
    return logits[row, pairs.answers] - logits[row, pairs.foils]


def values(rows):
    return torch.tensor(rows.sort_values("example")["value"].to_numpy())


@pytest.mark.parametrize("how", ["zero", "mean"])
def test_equals_a_direct_hook_run(tiny_model, pairs, how):
    model, prompts = tiny_model("llama"), pairs.clean
    metric = logit_difference(pairs)
    table = ablate(model, prompts, SITES, metric, how=how, positions="subject")
    held = collect(model, prompts, SITES, positions="all")
    baseline = values(table.where(condition="baseline"))
    for site in SITES:
        write = Zero() if how == "zero" else Mean(held[site].values.flatten(0, 1).mean(0))
        with intervened(model, [Edit(site, prompts.span_mask("subject"), write)]) as inside:
            logits = inside.logits(prompts.tokens)[:, -1]
        expected = metric(logits[:, metric.tokens], torch.arange(2))
        rows = table.where(condition="ablated", kind=site.kind, layer=site.layer)
        assert (values(rows) - expected).abs().max() <= 1e-4
        assert (expected - baseline).abs().max() > 1e-3


def test_project_out_in_closed_form(tiny_model, pairs):
    model, prompts, away = tiny_model("gpt2"), pairs.clean, direction()
    table = ablate(
        model, prompts, [TOP], logit_difference(pairs), how=away, positions="last", repeats=3
    )
    hidden = collect(model, prompts, [TOP], positions="all")[TOP].values
    last, mean, v = hidden[:, -1], hidden.flatten(0, 1).mean(0), away.vector
    expected = last - ((last - mean) @ v)[:, None] * v
    assert (values(table.where(condition="ablated")) - read(model, pairs, expected)).abs().max() <= 1e-4
    placebo = table.where(condition="placebo")
    assert set(placebo["draw"]) == {0, 1, 2} and len(placebo) == 6
    baseline = values(table.where(condition="baseline"))
    assert (baseline - read(model, pairs, last)).abs().max() <= 1e-4


@pytest.mark.parametrize("rank", [1, 3])
def test_placebos_remove_as_much_along_other_directions(rank):
    generator = torch.Generator().manual_seed(0)
    centred = torch.randn(4, 5, 16, generator=generator)
    subspace = Subspace(TOP, torch.randn(16, rank, generator=generator))
    removed = -subspace.project(centred)
    draws = Removal(ProjectOut(subspace), removed, centred, TOP, rank).placebos(6, generator)
    for fake in draws:
        assert torch.allclose(fake.norm(dim=-1), removed.norm(dim=-1), rtol=1e-4)
        # Another direction: little of it lies in the subspace that is tested.
        assert subspace.project(fake).norm() < 0.9 * fake.norm()
        assert torch.linalg.matrix_rank(fake.flatten(0, 1), tol=1e-3) == rank
    assert not torch.allclose(draws[0], draws[1])


def test_steering_in_closed_form_with_placebos_of_the_same_norm(tiny_model, pairs):
    model, prompts, push = tiny_model("neox"), pairs.clean, direction()
    strengths = (-0.5, 0.0, 1.0)
    table = steer(
        model, prompts, push, logit_difference(pairs), strengths=strengths, positions="last", repeats=2
    )
    hidden = collect(model, prompts, [TOP], positions="all")[TOP].values
    scale = hidden[:, 1:].flatten(0, 1).norm(dim=1).median()
    for c in strengths:
        moved = read(model, pairs, hidden[:, -1] + c * scale * push.vector)
        found = values(table.where(condition="steered", strength=c))
        assert (found - moved).abs().max() <= 1e-4
    baseline = values(table.where(condition="baseline"))
    for condition in ("steered", "placebo"):
        still = table.where(condition=condition, strength=0.0)
        for draw in still["draw"].unique():
            part = (
                still[still["draw"].isna()] if condition == "steered" else still[still["draw"] == draw]
            )
            assert torch.equal(values(part), baseline)
    assert len(table.where(condition="placebo")) == 2 * len(strengths) * 2
    steered = values(table.where(condition="steered", strength=1.0))
    assert (steered - baseline).abs().max() > 1e-2


def test_draws_are_repeated_by_their_seed(tiny_model, pairs):
    def placebo(seed):
        table = ablate(
            tiny_model("gpt2"), pairs.clean, [TOP], logit_difference(pairs),
            how=direction(), repeats=2, seed=seed,
        )  # fmt: skip
        return table.where(condition="placebo")["value"].to_numpy()

    assert np.allclose(placebo(1), placebo(1), atol=1e-4)
    assert (placebo(1) != placebo(2)).any()


def one_by_one(model, pairs, site, replaced):
    """The metric with a site's activations replaced, in a plain hooked forward."""
    examples = pairs.clean
    edit = Edit(site, examples.span_mask("all"), Replace(replaced))
    at = torch.arange(len(examples))
    with intervened(model, [edit]) as inside:
        logits = inside.logits(examples.tokens)[:, -1]
    return logits[at, pairs.answers] - logits[at, pairs.foils]


def test_position_means_and_resampling(tiny_model, pairs):
    model, site, metric = tiny_model("llama"), Site(Kind.MLP_OUT, 0), logit_difference(pairs)
    held = collect(model, pairs.clean, [site], positions="all")[site].values
    mean = ablate(model, pairs.clean, [site], metric, how="position_mean")
    expected = one_by_one(model, pairs, site, held.mean(0).expand_as(held))
    assert (values(mean.where(condition="ablated")) - expected).abs().max() <= 1e-4
    # Two prompts of one length: each can only be given the other's.
    drawn = ablate(model, pairs.clean, [site], metric, how="resample", repeats=2)
    expected = one_by_one(model, pairs, site, held.flip(0))
    for draw in (0, 1):
        assert (values(drawn.where(condition="ablated", draw=draw)) - expected).abs().max() <= 1e-4
    plain = ablate(model, pairs.clean, [site], metric, how="mean")
    assert (values(plain.where(condition="ablated")) - expected).abs().max() > 1e-2
    alone = pairs.subset([0])
    with pytest.raises(ValueError, match="another prompt of 6 tokens"):
        ablate(model, alone.clean, [site], logit_difference(alone), how="resample")


def test_erasers_joint_sites_and_their_placebos(tiny_model, pairs):
    model, metric = tiny_model("gpt2"), logit_difference(pairs)
    site = Site(Kind.RESID_PRE, 1)
    generator = torch.Generator().manual_seed(0)
    left, centre = torch.randn(32, 2, generator=generator), torch.randn(32, generator=generator)
    eraser = AffineEraser(site, left, torch.linalg.pinv(left), centre)
    held = collect(model, pairs.clean, [site], positions="all")[site].values
    found = ablate(model, pairs.clean, [site], metric, how=eraser, repeats=2)
    expected = one_by_one(model, pairs, site, eraser.apply(held))
    assert (values(found.where(condition="ablated")) - expected).abs().max() <= 1e-4
    assert len(found.where(condition="placebo")) == 4
    both = (Site(Kind.MLP_OUT, 0), Site(Kind.MLP_OUT, 2))
    joint = ablate(model, pairs.clean, [both], metric, how="zero")
    where = pairs.clean.span_mask("all")
    with intervened(model, [Edit(s, where, Zero()) for s in both]) as inside:
        logits = inside.logits(pairs.clean.tokens)[:, -1]
    at = torch.arange(2)
    expected = logits[at, pairs.answers] - logits[at, pairs.foils]
    assert (values(joint.where(condition="ablated")) - expected).abs().max() <= 1e-4


def test_the_side_effect_of_steering_is_a_divergence(tiny_model, pairs):
    model, push = tiny_model("neox"), direction()
    table = steer(
        model, pairs.clean, push, logit_difference(pairs), strengths=(0.0, 1.0), positions="last",
        unrelated=pairs.corrupted, repeats=1,
    ).where(metric="side_effect")  # fmt: skip
    assert set(table["unit"]) == {"nats"}
    hidden = collect(model, pairs.corrupted, [TOP], positions="all")[TOP].values
    prompts = collect(model, pairs.clean, [TOP], positions="all")[TOP].values
    scale = prompts[:, 1:].flatten(0, 1).norm(dim=1).median()
    before, after = (
        model.readout(h[:, -1]).log_softmax(-1) for h in (hidden, hidden + scale * push.vector)
    )
    expected = (before.exp() * (before - after)).sum(-1)
    steered = table[(table["condition"] == "steered") & (table["strength"] == 1.0)]
    assert (values(steered) - expected).abs().max() <= 1e-4
    still = table[(table["condition"] == "steered") & (table["strength"] == 0.0)]
    assert values(still).abs().max() <= 1e-5
    assert expected.min() > 1e-3


def test_mistakes_are_named(tiny_model, pairs):
    model, metric = tiny_model("gpt2"), logit_difference(pairs)
    with pytest.raises(ValueError, match="how must be one of .*; got 'median'"):
        ablate(model, pairs.clean, [TOP], metric, how="median")
    narrow = Direction(TOP, torch.ones(7))
    with pytest.raises(ValueError, match="width 32.*got 7"):
        ablate(model, pairs.clean, [TOP], metric, how=narrow)
