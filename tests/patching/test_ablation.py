"""Ablation and steering against direct hook runs and closed forms at the top of the model."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.activations import collect
from interp.directions import Direction, Subspace
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.ablation import _placebos, ablate, steer
from patching.context import intervened
from patching.interventions import Edit, Mean, Zero

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
    table = ablate(model, prompts, SITES, metric, how=how, span="subject")
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
    table = ablate(model, prompts, [TOP], logit_difference(pairs), how=away, span="last", placebos=3)
    hidden = collect(model, prompts, [TOP], positions="all")[TOP].values
    last, mean, v = hidden[:, -1], hidden.flatten(0, 1).mean(0), away.vector
    expected = last - ((last - mean) @ v)[:, None] * v
    assert (values(table.where(condition="ablated")) - read(model, pairs, expected)).abs().max() <= 1e-4
    placebo = table.where(condition="placebo")
    assert set(placebo["seed"]) == {0, 1, 2} and len(placebo) == 6
    baseline = values(table.where(condition="baseline"))
    assert (baseline - read(model, pairs, last)).abs().max() <= 1e-4


@pytest.mark.parametrize("rank", [1, 3])
def test_placebos_remove_as_much_along_other_directions(rank):
    generator = torch.Generator().manual_seed(0)
    centred = torch.randn(4, 5, 16, generator=generator)
    subspace = Subspace(TOP, torch.randn(16, rank, generator=generator))
    removed = -subspace.project(centred)
    draws = _placebos(removed, centred, subspace, 6, generator)
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
        model, prompts, push, logit_difference(pairs), strengths=strengths, span="last", placebos=2
    )
    hidden = collect(model, prompts, [TOP], positions="all")[TOP].values
    scale = hidden.flatten(0, 1).norm(dim=1).mean()
    for c in strengths:
        moved = read(model, pairs, hidden[:, -1] + c * scale * push.vector)
        found = values(table.where(condition="steered", strength=c))
        assert (found - moved).abs().max() <= 1e-4
    baseline = values(table.where(condition="baseline"))
    for condition in ("steered", "placebo"):
        still = table.where(condition=condition, strength=0.0)
        for seed in still["seed"].unique():
            part = (
                still[still["seed"].isna()] if condition == "steered" else still[still["seed"] == seed]
            )
            assert torch.equal(values(part), baseline)
    assert len(table.where(condition="placebo")) == 2 * len(strengths) * 2
    steered = values(table.where(condition="steered", strength=1.0))
    assert (steered - baseline).abs().max() > 1e-2


def test_draws_are_repeated_by_their_seed(tiny_model, pairs):
    def placebo(seed):
        table = ablate(
            tiny_model("gpt2"), pairs.clean, [TOP], logit_difference(pairs),
            how=direction(), placebos=2, seed=seed,
        )  # fmt: skip
        return table.where(condition="placebo")["value"].to_numpy()

    assert (placebo(1) == placebo(1)).all()
    assert (placebo(1) != placebo(2)).any()


def test_mistakes_are_named(tiny_model, pairs):
    model, metric = tiny_model("gpt2"), logit_difference(pairs)
    with pytest.raises(ValueError, match="'zero', 'mean', a Direction or a Subspace; got 'resample'"):
        # The annotation refuses it too; a caller without run-time checks meets this message.
        ablate.__wrapped__(model, pairs.clean, [TOP], metric, how="resample")
    narrow = Direction(TOP, torch.ones(7))
    with pytest.raises(ValueError, match="width 32.*got 7"):
        ablate(model, pairs.clean, [TOP], metric, how=narrow)
