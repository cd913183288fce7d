"""Interventions as closed forms on arrays: pure, and written only where the edit says."""

from __future__ import annotations

import pytest
import torch

from interp.directions import Subspace
from interp.sites import Kind, Site
from patching.interventions.cells import Cell, Edit
from patching.interventions.subspaces import ProjectOut, SwapSubspace
from patching.interventions.values import Add, Mean, Replace, Zero

SITE = Site(Kind.RESID_PRE, 1)
EXAMPLE = torch.tensor([2, 0])


@pytest.fixture
def act():
    return torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def source():
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def plane():
    return Subspace(SITE, torch.randn(5, 2, generator=torch.Generator().manual_seed(2)))


def test_closed_forms(act, source, plane):
    q = plane.basis
    assert torch.allclose(q.T @ q, torch.eye(2), atol=1e-6)
    mean = torch.arange(5.0)
    assert torch.equal(Replace(source)(act, EXAMPLE), source[EXAMPLE])
    assert torch.equal(Zero()(act, EXAMPLE), torch.zeros_like(act))
    assert torch.equal(Mean(mean)(act, EXAMPLE), mean.expand_as(act))
    assert torch.equal(Add(source, 2.0)(act, EXAMPLE), act + 2 * source[EXAMPLE])
    assert torch.equal(Add(mean[None, None])(act, EXAMPLE), act + mean)
    gone = ProjectOut(plane)(act, EXAMPLE)
    assert torch.allclose(gone @ q, torch.zeros(2, 4, 2), atol=1e-5)
    assert torch.allclose(gone, act - act @ q @ q.T, atol=1e-5)
    about = ProjectOut(plane, mean)(act, EXAMPLE)
    assert torch.allclose(about @ q, (mean @ q).expand(2, 4, 2), atol=1e-5)
    swapped = SwapSubspace(plane, source)(act, EXAMPLE)
    assert torch.allclose(swapped @ q, source[EXAMPLE] @ q, atol=1e-5)
    rest = torch.eye(5) - q @ q.T
    assert torch.allclose(swapped @ rest, act @ rest, atol=1e-5)


def test_nothing_is_written_in_place_or_elsewhere(act, source, plane):
    where = torch.zeros(3, 4, dtype=torch.bool)
    where[2, 1] = where[0, 3] = True
    named = torch.zeros(2, 4, dtype=torch.bool)
    named[0, 1] = named[1, 3] = True
    for made in (Replace(source), Zero(), Add(source), ProjectOut(plane), SwapSubspace(plane, source)):
        before = act.clone()
        out = Edit(SITE, where, made).apply(act, EXAMPLE)
        assert torch.equal(act, before)
        assert torch.equal(out[~named], act[~named])
        assert torch.equal(out[named], made(act, EXAMPLE)[named])
        assert not torch.equal(out, act)


def test_a_head_edit_touches_its_head_only():
    act = torch.ones(2, 4, 3, 5)
    out = Edit(Site(Kind.Z, 0, 1), torch.ones(3, 4, dtype=torch.bool), Zero()).apply(act, EXAMPLE)
    assert torch.equal(out[:, :, 1], torch.zeros(2, 4, 5))
    assert torch.equal(out[:, :, [0, 2]], act[:, :, [0, 2]])
    assert act.min() == 1


def test_an_intervention_of_another_shape_is_refused(act):
    class Shorter:
        def __call__(self, act, example):
            return act[:, :2]

    with pytest.raises(ValueError, match=r"shape \(2, 4, 5\); got \(2, 2, 5\)"):
        Edit(SITE, torch.ones(3, 4, dtype=torch.bool), Shorter()).apply(act, EXAMPLE)


def test_padding_never_reaches_a_row(act, source):
    source[:, 3] = float("nan")
    where = torch.ones(3, 4, dtype=torch.bool)
    where[:, 3] = False
    written = Edit(SITE, where, Replace(source)).apply(act, EXAMPLE)
    assert torch.equal(written[:, 3], act[:, 3])
    assert torch.equal(written[:, :3], source[EXAMPLE][:, :3])
    # The control: were the padding written too, its NaN would be.
    where[:, 3] = True
    assert Edit(SITE, where, Replace(source)).apply(act, EXAMPLE)[:, 3].isnan().all()


def test_a_cell_starts_at_its_lowest_block():
    where = torch.ones(1, 1, dtype=torch.bool)
    edits = tuple(Edit(Site(Kind.MLP_OUT, layer), where, Zero()) for layer in (2, 1, 3))
    assert Cell(edits).entry == 1
