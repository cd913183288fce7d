"""Tensors given to interventions: equal to the explicit full tensor, or refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st

from interp.directions import AffineEraser, Direction, Subspace
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.context import intervened
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import Erase, ProjectOut, SwapSubspace
from patching.interventions.values import Add, Features, Knockout, Mean, Replace, Resample, Zero
from patching.methods.grids import patch_sites
from patching.methods.steering import steer

#: Sites and what each holds at a position, in a model of width 32 with four heads and 64 neurons.
SHAPES = {
    Site(Kind.RESID_PRE, 1): (32,),
    Site(Kind.MLP_OUT, 1): (32,),
    Site(Kind.Z, 1): (4, 8),
    Site(Kind.Z, 1, 2): (8,),
    Site(Kind.MLP_POST, 1): (64,),
}


def full(tensor, n, width, d):
    """The explicit tensor a shape stands for, or None where it stands for nothing."""
    shared = tensor.shape == d
    placed = (
        tensor.ndim == 2 + len(d)
        and tensor.shape[2:] == d
        and tensor.shape[0] in (1, n)
        and tensor.shape[1] in (1, width)
    )
    return tensor.expand(n, width, *d).clone() if shared or placed else None


def makers(site, n, d):
    """Every intervention that takes a tensor, as a function of the tensor."""
    made = {
        "replace": Replace,
        "mean": Mean,
        "add": lambda t: Add(t, 2.0),
        "features": lambda t: Features(Replace(t), torch.tensor([0, 3])),
    }
    if len(d) == 1:
        space = Subspace(site, torch.randn(d[0], 2, generator=torch.Generator().manual_seed(3)))
        made["swap"] = lambda t: SwapSubspace(space, t)
        made["project out"] = lambda t: ProjectOut(space, t)
    return made


@settings(deadline=None)
@given(data=st.data())
def test_a_tensor_equals_its_full_form_or_is_refused(tiny_model, data):
    model = tiny_model("llama")
    n, width = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 4, 8, 32]))
    site = data.draw(st.sampled_from(list(SHAPES)))
    d = SHAPES[site]
    prompts = tiny.examples(tiny.token_rows(*[width] * n))
    size = st.sampled_from(sorted({1, n, width, *d}))
    shape = data.draw(
        st.one_of(
            st.sampled_from([d, (1, 1, *d), (n, 1, *d), (1, width, *d), (n, width, *d)]),
            st.lists(size, min_size=0, max_size=4).map(tuple),
        )
    )
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    make = data.draw(st.sampled_from(list(makers(site, n, d).values())))
    expected, where = full(tensor, n, width, d), torch.ones(n, width, dtype=torch.bool)

    def run(given):
        with intervened(model, [Edit(site, where, make(given))]):
            return model.logits(prompts.tokens)

    if expected is None:
        with pytest.raises(ValueError, match=f"at {site} .*expected") as refused:
            run(tensor)
        assert "\n" not in str(refused.value) and str(list(shape)) in str(refused.value)
    else:
        assert torch.equal(run(tensor), run(expected))


def test_a_plain_vector_is_added_whole_for_one_prompt_and_for_several(tiny_model):
    model, site = tiny_model("llama"), Site(Kind.RESID_PRE, 1)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0))
    for n in (1, 3):
        prompts = tiny.examples(tiny.token_rows(*[5] * n))
        found = []
        for one in (vector, vector[None, None], vector.expand(n, 5, 32)):
            with intervened(model, [Edit(site, prompts.mask, Add(one, 5.0))]):
                found.append(model.logits(prompts.tokens))
        assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
        # What was once added: the first number everywhere.
        with intervened(model, [Edit(site, prompts.mask, Add(vector[:1].expand(32), 5.0))]):
            assert (model.logits(prompts.tokens) - found[0]).abs().max() > 0.1


def test_a_misfit_is_refused_before_the_model_runs(tiny_model):
    model, site = tiny_model("gpt2"), Site(Kind.RESID_PRE, 1)
    pairs = tiny.contrast(5, 5)
    metrics = {"m": logit_difference(pairs)}
    ran = []
    handle = model.bridge.blocks[0].register_forward_pre_hook(lambda *_: ran.append(1))
    try:
        with pytest.raises(
            ValueError, match=r"at resid_pre.1 the vector has shape \[31\]; expected \[32\]"
        ):
            sweep(
                model,
                pairs.clean,
                [Cell((Edit(site, pairs.clean.mask, Add(torch.ones(31))),))],
                metrics,
            )
        with pytest.raises(ValueError, match=r"at resid_pre.1 the source has shape \[3, 5, 32\]"):
            Edit(site, pairs.clean.mask, Replace(torch.ones(3, 5, 32)))
        with pytest.raises(ValueError, match=r"at resid_pre.1 the source has shape \[3, 5, 32\]"):
            Edit(site, pairs.clean.mask, Resample(torch.ones(2, 5, 32), torch.tensor([0, 1, 0])))
        with pytest.raises(ValueError, match=r"rows 0..1 of the source, got \[0, 2\]"):
            Resample(torch.ones(2, 5, 32), torch.tensor([0, 2]))
    finally:
        handle.remove()
    assert not ran


def test_masks_factors_and_features_that_do_not_fit_are_refused(tiny_model):
    site, pattern = Site(Kind.RESID_PRE, 1), Site(Kind.PATTERN, 1)
    where, prompts = torch.ones(2, 4, dtype=torch.bool), tiny.examples(tiny.token_rows(4, 4))
    for made in (
        lambda: Edit(site, where.long(), Zero()),
        lambda: Edit(site, where[0], Zero()),
        lambda: Edit(site, where, Knockout(where)),
        lambda: Knockout(where.float()),
    ):
        with pytest.raises(ValueError, match="expected") as refused:
            made()
        assert "\n" not in str(refused.value)
    model = tiny_model("gpt2")
    for bad in (
        Edit(pattern, where, Knockout(where[:, :3])),
        Edit(site, where, Features(Zero(), torch.tensor([99]))),
    ):
        with pytest.raises(ValueError, match=f"at {bad.site} .*expected"), intervened(model, [bad]):
            model.logits(prompts.tokens)


def test_a_direction_is_taken_wherever_a_vector_or_a_subspace_is(tiny_model):
    model, site = tiny_model("gpt2"), Site(Kind.RESID_PRE, 1)
    prompts = tiny.examples(tiny.token_rows(5, 5))
    direction = Direction(site, torch.arange(32.0))
    line, source = (
        direction.subspace(),
        torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0)),
    )

    def run(made):
        with intervened(model, [Edit(site, prompts.mask, made)]):
            return model.logits(prompts.tokens)

    assert torch.equal(run(Add(direction, 3.0)), run(Add(direction.vector, 3.0)))
    assert torch.allclose(run(Add(line, 3.0)), run(Add(direction, 3.0)), atol=1e-4)
    assert torch.equal(run(ProjectOut(direction)), run(ProjectOut(line)))
    assert torch.equal(run(SwapSubspace(direction, source)), run(SwapSubspace(line, source)))
    with pytest.raises(ValueError, match="rank 2; expected"):
        Add(Subspace(site, torch.eye(32)[:, :2]))


def test_a_direction_of_another_site_or_width_is_refused_with_both_named(tiny_model):
    model, here, there = tiny_model("gpt2"), Site(Kind.RESID_PRE, 1), Site(Kind.MLP_OUT, 2)
    pairs = tiny.contrast(5, 5)
    where, metric = pairs.clean.mask, logit_difference(pairs)
    vector = torch.arange(1.0, 33.0)
    eraser = AffineEraser(there, torch.ones(32, 1) / 32, torch.ones(1, 32), torch.zeros(32))
    source = torch.zeros(2, 5, 32)
    elsewhere = Direction(there, vector)
    for made in (
        Add(elsewhere),
        ProjectOut(elsewhere),
        SwapSubspace(elsewhere.subspace(), source),
        Erase(eraser),
    ):
        with pytest.raises(ValueError, match="edit is at resid_pre.1, .* mlp_out.2; expected"):
            Edit(here, where, made)
    narrow = Direction(here, vector[:31])
    for made in (Add(narrow), ProjectOut(narrow), SwapSubspace(narrow, source)):
        with pytest.raises(
            ValueError, match=r"at resid_pre.1 the .* has shape \[31\]; expected \[32\]"
        ):
            sweep(model, pairs.clean, [Cell((Edit(here, where, made),))], {"m": metric})
    with pytest.raises(ValueError, match=r"resid_pre.1 the vector has shape \[31\]; expected \[32\]"):
        steer(model, pairs.clean, narrow, metric, strengths=[1.0])
    # On purpose it can be carried over, and grids carry theirs to every site of its width.
    Edit(here, where, Add(replace(elsewhere, site=here)))
    assert len(
        patch_sites(model, pairs, [here], metric, positions="last", subspace=elsewhere.subspace())
    )
