"""Sweeps in a resumable run: the same bytes as without one, whatever was on disk, and no unit twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kills
import pandas as pd
import pytest
import tiny
import torch

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import logit_difference, metric
from interp.runs import folder as runs
from interp.runs.run import resumable
from interp.sites import Kind, Site, boundaries, every_head
from patching.engine import block_cost, schedule, splitting
from patching.engine.sweeping import record, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero
from patching.methods.grids import patch_sites
from patching.methods.paths import path_patch
from patching.methods.stitching import stitch
from patching.methods.tracing import causal_trace


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    """Every pass a unit of its own, and passes small."""
    monkeypatch.setattr(schedule, "UNIT_FLOPS", 1.0)
    monkeypatch.setattr(block_cost, "CPU_PASS_BYTES", 1)


def heads(model, pairs) -> Evidence:
    sites = every_head(Kind.Z, model.n_layers, 4)
    return patch_sites(model, pairs, sites, logit_difference(pairs), positions="last")


def grid(model, pairs) -> Evidence:
    return patch_sites(model, pairs, boundaries(model.n_layers), logit_difference(pairs))


def paths(model, pairs) -> Evidence:
    receivers = [Site(Kind.RESID_POST, model.n_layers - 1)]
    return path_patch(model, pairs, every_head(Kind.Z, 2, 4), receivers, logit_difference(pairs))


def traced(model, pairs) -> Evidence:
    return causal_trace(model, pairs.clean, Kind.MLP_OUT, logit_difference(pairs), repeats=2)


WORK: dict[str, Callable[..., Evidence]] = {
    "heads": heads, "grid": grid, "paths": paths, "traced": traced,
}  # fmt: skip


def same(one: Evidence, other: Evidence) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


@pytest.mark.parametrize(
    "name", ["grid", "heads", *(pytest.param(n, marks=pytest.mark.slow) for n in ("paths", "traced"))]
)
def test_a_run_gives_the_bytes_of_none_whatever_of_it_was_there(name, tmp_path: Path, tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 7, 5)
    plain = WORK[name](model, pairs)
    with resumable(tmp_path) as run:
        same(WORK[name](model, pairs), plain)
    units = sorted((tmp_path / "units").glob("*.safetensors"))
    assert run.made == len(units) > 2
    for lost in (units[:1], units[1::2], units):
        for path in lost:
            path.unlink()
        with resumable(tmp_path) as again:
            same(WORK[name](model, pairs), plain)
        assert (again.made, again.found) == (len(lost), len(units) - len(lost))


class Killed(BaseException):
    """Stands for the end of a process between two units."""


def test_a_sweep_killed_after_every_unit_makes_each_once(tmp_path: Path, tiny_model, monkeypatch):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 6)
    plain = heads(model, pairs)
    kept = runs.write_durably
    left = [1]

    def killing(path: Path, write: Callable[..., Any]) -> Path:
        done = kept(path, write)
        if path.suffix == ".safetensors":
            left[0] -= 1
            if left[0] == 0:
                raise Killed
        return done

    monkeypatch.setattr(runs, "write_durably", killing)
    for _ in range(100):
        left[0] = 1
        try:
            with resumable(tmp_path):
                same(heads(model, pairs), plain)
            break
        except Killed:
            continue
    else:
        pytest.fail("it never ended")
    begun = (tmp_path / "units.log").read_text().split("\n")[:-1]
    assert len(begun) == len(set(begun)) == len(list((tmp_path / "units").iterdir()))


#: Every head at every position, each pass a unit, in a run or in none; the table goes to a file.
HEAD_SWEEP = """
import contextlib, sys
import interp, patching
from patching.engine import block_cost, schedule, splitting
schedule.UNIT_FLOPS, block_cost.CPU_PASS_BYTES = 1.0, 2**18
model, facts = interp.load_model("organism-base"), interp.load_facts("world")
examples = interp.Examples.from_facts(model, facts).subset(range(24))
pairs = interp.Contrast.pairs(examples, [interp.first_token(model, a) for a in facts.answers[:24]])
sites = interp.every_head("z", model.n_layers, model.n_heads)
with interp.resumable(sys.argv[2]) if len(sys.argv) > 2 else contextlib.nullcontext():
    grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
grid.table.to_parquet(sys.argv[1])
"""


@pytest.mark.slow
def test_a_head_sweep_killed_twenty_times_ends_in_the_same_bytes(tmp_path: Path):
    folder, command = tmp_path / "run", kills.python(HEAD_SWEEP, "torn.parquet", "run")
    killed = kills.kill_often(command, folder, longest=0.2)
    begun = kills.begun_units(folder)
    assert len(begun) - len(set(begun)) <= killed, "each start makes at most one unit anew"
    kills.to_its_end(command, folder)
    kills.to_its_end(kills.python(HEAD_SWEEP, "plain.parquet"), folder)
    assert (tmp_path / "torn.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    assert killed >= 5, "it was killed in earnest"


def test_stitching_is_kept_too(tmp_path: Path, tiny_pair):
    pair, prompts = tiny_pair("llama"), tiny.examples(tiny.token_rows(4, 6))
    read = metric(lambda logits: logits[..., 5] - logits[..., 9], prompts)
    plain = stitch(pair, prompts, read)
    with resumable(tmp_path):
        same(stitch(pair, prompts, read), plain)
    with resumable(tmp_path) as run:
        same(stitch(pair, prompts, read), plain)
    assert run.made == 0 and run.found > 0


def silenced(prompts: Examples) -> list[Cell]:
    return [Cell((Edit(Site(Kind.MLP_OUT, n), prompts.mask, Zero()),)) for n in range(tiny.LAYERS)]


def test_whatever_determines_a_number_makes_another_unit(tmp_path: Path, tiny_model):
    model, prompts = tiny_model("gpt2"), tiny.examples(tiny.token_rows(4, 6))
    cells, read = silenced(prompts), metric(lambda logits: logits[..., 5], prompts)
    other = tiny.examples(tiny.token_rows(4, 6, seed=1))
    calls = [
        (model, prompts, cells, read, {}),
        (tiny_model("gpt2", 1), prompts, cells, read, {}),
        (model, other, cells, read, {}),
        (model, prompts, cells[::-1], read, {}),
        (model, prompts, cells, metric(lambda logits: logits[..., 6], prompts), {}),
        (model, prompts, cells, metric(lambda logits: logits[..., 5], prompts, positions=1), {}),
        (model, prompts, cells, read, {"corruption": Edit(Site(Kind.EMBED, 0), prompts.mask, Zero())}),
    ]
    for model_, prompts_, cells_, read_, options in calls:
        with resumable(tmp_path) as run:
            swept = sweep(model_, prompts_, cells_, read_, **options)
        assert run.made > 0 and run.found == 0
        plain = sweep(model_, prompts_, cells_, read_, **options)
        assert torch.equal(swept.values["metric"], plain.values["metric"])
    with resumable(tmp_path) as run:
        sweep(*calls[0][:4])
    assert run.made == 0, "the control: the first is there still"


def test_activations_of_edited_runs_are_kept(tmp_path: Path, tiny_model):
    model, prompts = tiny_model("llama"), tiny.examples(tiny.token_rows(4, 6))
    sites = [Site(Kind.RESID_POST, 2), Site(Kind.Z, 1)]
    plain = record(model, prompts, silenced(prompts), sites)
    for _ in range(2):
        with resumable(tmp_path) as run:
            kept = record(model, prompts, silenced(prompts), sites)
        for site in sites:
            assert torch.equal(kept[site].nan_to_num(7.0), plain[site].nan_to_num(7.0))
    assert run.made == 0


def test_shards_hold_their_rows_and_together_the_table_of_one_run(tmp_path: Path, tiny_model):
    model, pairs = tiny_model("llama"), tiny.contrast(5, 7, 5)
    plain = heads(model, pairs)
    for i in (1, 2, 3):
        with resumable(tmp_path, shard=f"{i}/3"):
            part = heads(model, pairs)
        assert len(part) < len(plain) or i == 3
    with resumable(tmp_path) as run:
        same(heads(model, pairs), plain)
    assert run.made == 0


def test_passes_that_are_too_small_share_a_unit(tiny_model, monkeypatch):
    monkeypatch.setattr(schedule, "UNIT_FLOPS", 30.0)
    cost = block_cost.BlockCost(2, 1.0, 1, 1, 1, 1, 1, True)
    passes = [splitting.Pass(slice(0, 1), (0,), (0,), False, n) for n in (10, 10, 10, 10, 40, 5)]
    units = schedule.together(cost, passes)
    assert [[p.layer_tokens for p in unit] for unit in units] == [[10, 10, 10], [10, 40], [5]]
