"""Probes from disk have the numbers of probes from memory, and read no more than they need."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from probe_toys import Toy, planted
from stores import store_of

import probes
from interp.activations import Activations
from interp.activations.shards import Shards
from interp.sites import Kind, Site
from probes.blocks import Blocks, blocks
from probes.estimators.logistic import solve_logistic
from probes.solver.batch import BlockDesign

SITE = Site(Kind.RESID_PRE, 1)
BY_BLOCKS = ["lda", "logistic", "mass_mean", "ridge"]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of seven rows, whatever the width of 32."""
    monkeypatch.setattr("probes.blocks.LARGE", 100)
    monkeypatch.setattr("probes.blocks.BLOCK", 7 * 32)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows every read from disk asks for."""
    plain, read = Shards.read, []
    monkeypatch.setattr(Shards, "read", lambda s, n, rows: read.append(len(rows)) or plain(s, n, rows))
    yield read


def rounded(toy: Toy, dtype: torch.dtype) -> Toy:
    """The same activations as if they had been stored."""
    return {
        site: Activations(site, a.values.to(dtype).float(), a.groups, a.labels, a.position, a.model)
        for site, a in toy.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("estimator", sorted(probes.ESTIMATORS))
def test_cross_validation_from_disk_has_the_numbers_of_memory(
    tmp_path: Path, estimator: str, dtype: torch.dtype
):
    toy, _ = planted(n_groups=20, strength=1.0)
    stored = store_of(tmp_path, toy, dtype, shard_rows=11)
    first, second = (
        probes.cross_validate(states, estimator=estimator, repeats=1)
        for states in (rounded(toy, dtype), stored)
    )
    pd.testing.assert_frame_equal(first.table, second.table, check_exact=True)
    if first.beside is not None:
        pd.testing.assert_frame_equal(first.beside.table, second.beside.table, check_exact=True)
    ours, theirs = (
        probes.fit(states[SITE], estimator=estimator) for states in (rounded(toy, dtype), stored)
    )
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    assert ours.score == theirs.score and theirs.weight.dtype == torch.float32


@pytest.mark.parametrize("estimator", BY_BLOCKS)
def test_blocks_on_disk_have_the_numbers_of_blocks_in_memory(
    tmp_path: Path, small_blocks, reads: list[int], estimator: str
):
    toy, _ = planted(n_groups=20, strength=1.0)
    stored = store_of(tmp_path, toy, torch.float32, shard_rows=11)
    ours, theirs = (probes.fit(states[SITE], estimator=estimator) for states in (toy, stored))
    assert torch.equal(ours.weight, theirs.weight) and ours.score == theirs.score
    assert max(reads) == 7, "a block at a time"
    reads.clear()
    probes.fit(stored[SITE], estimator="pca")
    assert max(reads) == 40, "the control: an estimator that reads the whole site"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", BY_BLOCKS)
def test_blocks_change_no_optimum(monkeypatch: pytest.MonkeyPatch, estimator: str, classes: int):
    toy, _ = planted(n_groups=30, strength=1.0, classes=classes, per_group=classes)
    plain = probes.fit(toy[SITE], estimator=estimator)
    made = []
    start = BlockDesign.__init__
    monkeypatch.setattr(BlockDesign, "__init__", lambda *given: made.append(1) or start(*given))
    monkeypatch.setattr("probes.blocks.LARGE", 100)
    monkeypatch.setattr("probes.blocks.BLOCK", 7 * 32)
    blocked = probes.fit(toy[SITE], estimator=estimator)
    torch.testing.assert_close(blocked.weight, plain.weight, rtol=1e-3, atol=1e-5)
    assert blocked.score == plain.score
    assert bool(made) == (estimator == "logistic"), "the control: it did go by blocks"


def test_a_choice_of_strength_goes_by_blocks_too(tmp_path: Path, small_blocks, reads: list[int]):
    toy, _ = planted(n_groups=20, strength=1.0)
    stored = store_of(tmp_path, toy, torch.float32)
    solver = probes.Logistic(c=[0.01, 1.0])
    ours, theirs = (probes.fit(states[SITE], estimator=solver) for states in (toy, stored))
    assert torch.equal(ours.weight, theirs.weight)
    assert max(reads) < 40


def test_draws_that_see_few_rows_are_solved_by_blocks(small_blocks):
    toy, _ = planted(n_groups=20, strength=1.0)
    values, labels = toy[SITE].values, toy[SITE].labels.long()
    hidden = labels.clone()
    hidden[:13] = -1
    strengths = torch.tensor([0.1], dtype=torch.float64)
    weight, bias = solve_logistic(values, hidden[None], strengths, 2)
    alone, offset = solve_logistic(values[13:], labels[None, 13:], strengths, 2)
    torch.testing.assert_close(weight, alone, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(bias, offset, rtol=1e-3, atol=1e-5)


def test_train_and_test_of_one_store_stay_on_disk(tmp_path: Path, small_blocks, reads: list[int]):
    toy, _ = planted(n_groups=50, strength=1.0)
    stored = store_of(tmp_path, toy, torch.float32)
    tables = [
        probes.train_test(
            [a.subset(range(50)) for a in states.values()],
            [a.subset(range(50, 100)) for a in states.values()],
            estimator="mass_mean",
            controls=[],
        ).table
        for states in (toy, stored)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert max(reads) == 7


def test_blocks_are_every_wanted_row_once(small_blocks):
    values = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    used = torch.arange(40) % 3 > 0
    for kept in (None, used):
        parts = list(blocks(values, kept))
        rows = torch.cat([torch.arange(40)[examples] for examples, _ in parts])
        assert torch.equal(rows, torch.arange(40) if kept is None else used.nonzero()[:, 0])
        assert torch.equal(torch.cat([part for _, part in parts]), values[rows])
        assert max(len(part) for _, part in parts) <= 7
        assert Blocks(values, kept).shape == (len(rows), 32)
        centre, spread = values.mean(0).double(), torch.full((32,), 2.0).double()
        moved = torch.cat(list(Blocks(values, kept).standardised(centre, spread)))
        assert torch.equal(moved, (values[rows] - centre) / spread)
