"""Claims of use: which rows they make, and what each is in closed form at the last block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from interp.activations import collect
from interp.directions import Direction
from interp.metrics import logit_difference
from interp.sites import Kind, Site
from patching.methods.claims import ClaimToTest, swap_and_remove
from patching.methods.grids import patch_sites

TOP = Site(Kind.RESID_POST, 2)
MIDDLE = Site(Kind.RESID_PRE, 1)
LATER = Site(Kind.RESID_PRE, 2)


def direction(site, seed, position="last"):
    generator = torch.Generator().manual_seed(seed)
    return Direction(site, torch.randn(tiny.WIDTH, generator=generator), position)


@pytest.fixture(scope="module")
def pairs():
    return tiny.contrast(5, 5, 5)


@pytest.fixture(scope="module")
def used(tiny_model, pairs):
    claims = [
        ClaimToTest("colour", 3, direction(TOP, 0), [direction(TOP, s) for s in (1, 2)]),
        ClaimToTest(
            "size",
            1,
            direction(MIDDLE, 5, "subject_last"),
            later=[direction(MIDDLE, 5, "subject_last"), direction(LATER, 6)],
        ),
    ]
    return swap_and_remove(tiny_model("gpt2"), pairs, claims, logit_difference(pairs), repeats=3)


def values(rows):
    return torch.tensor(rows.sort_values("example")["value"].to_numpy())


def test_each_claim_has_its_rows(used):
    expected = {
        "swap": 1, "whole_state": 1, "project_out": 1, "clean": 1, "corrupted": 1,
        "swap_random": 3, "project_out_random": 3,
    }  # fmt: skip
    for name, extra in (
        ("colour", {"swap_control_task": 2, "project_out_control_task": 2}),
        ("size", {"project_out_later": 1}),
    ):
        rows = used.where(metric=name)
        counts = rows["condition"].value_counts()
        found = {c: n // 3 for c, n in counts.items() if n}
        assert found == {**expected, **extra}
        assert rows["layer"].nunique() == 1 and rows["span"].nunique() == 1
    assert set(used.table["group"]) == {f"e{i} -> e{i}" for i in range(3)}
    assert set(used.where(condition="swap_random")["draw"]) == {0, 1, 2}
    assert used.table["donor"].isna().all()


def test_the_whole_state_swap_is_activation_patching(used, tiny_model, pairs):
    grid = patch_sites(
        tiny_model("gpt2"), pairs, [TOP, MIDDLE], logit_difference(pairs), positions="each"
    )
    for name, site, position in (("colour", TOP, 4), ("size", MIDDLE, 2)):
        patched = grid.where(condition="patched", kind=site.kind, position=position)
        whole = used.where(metric=name, condition="whole_state")
        assert (values(whole) - values(patched)).abs().max() <= 1e-5
        # One direction of it does less than all of it.
        swap = used.where(metric=name, condition="swap")
        assert (values(whole) - values(swap)).abs().max() > 1e-2


def test_swap_and_removal_in_closed_form(used, tiny_model, pairs):
    model, v = tiny_model("gpt2"), direction(TOP, 0).vector
    clean, corrupted = (
        collect(model, part, [TOP], positions="last")[TOP].values
        for part in (pairs.clean, pairs.corrupted)
    )

    def read(hidden):
        logits, row = model.readout(hidden), torch.arange(3)
        return logits[row, pairs.answers] - logits[row, pairs.foils]

    mean = torch.cat([clean, corrupted]).mean(0)
    for condition, expected in (
        ("clean", clean),
        ("corrupted", corrupted),
        ("swap", corrupted + ((clean - corrupted) @ v)[:, None] * v),
        ("project_out", clean - ((clean - mean) @ v)[:, None] * v),
    ):
        found = values(used.where(metric="colour", condition=condition))
        assert (found - read(expected)).abs().max() <= 1e-4


def test_joint_removal_goes_further_than_one_boundary(used):
    one = values(used.where(metric="size", condition="project_out"))
    joint = values(used.where(metric="size", condition="project_out_later"))
    assert (one - joint).abs().max() > 1e-4


def test_a_measured_use_is_filed_under_the_model_that_ran(tiny_model, pairs):
    claim = ClaimToTest("colour", 3, direction(TOP, 0))
    for role in ("tuned", "base"):
        model = replace(tiny_model("gpt2"), role=role)
        found = swap_and_remove(model, pairs, [claim], logit_difference(pairs), repeats=1)
        assert set(found.table["model"]) == {role}
