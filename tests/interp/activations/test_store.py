"""A store gives back what was stored, goes on where it stopped, and names what is damaged."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st
from safetensors import safe_open
from stores import contents, store_of

from interp.activations import (
    Activations,
    StoredActivations,
    collect,
    load_activations,
    verify_activations,
)
from interp.activations.manifest import DTYPES, read_manifest
from interp.activations.storing import Writer
from interp.examples import Examples
from interp.models.model import Model
from interp.runs.locks import only_writer
from interp.sites import Kind, Site, boundaries

SITES = [*boundaries(tiny.LAYERS), Site(Kind.Z, 1)]
ROWS = tiny.token_rows(*[5, 7, 5, 6, 7, 5, 6, 5, 7, 5])


@pytest.fixture
def model(tiny_model) -> Model:
    return tiny_model("llama")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard for every batch."""
    monkeypatch.setattr("interp.activations.storing.SHARD_BYTES", 1)


def prompts(rows=ROWS, pad: str = "right") -> Examples:
    examples = tiny.examples(rows, subject=[(1, 3)] * len(rows), pad=pad)
    return replace(examples, labels=torch.arange(len(rows)) % 2)


def random_states(n: int, shapes: list[tuple[int, ...]], seed: int) -> dict[Site, Activations]:
    generator = torch.Generator().manual_seed(seed)
    groups = tuple(f"g{i % 7}" for i in range(n))
    return {
        Site(Kind.Z, layer): Activations(
            Site(Kind.Z, layer), torch.randn(n, *shape, generator=generator), groups
        )
        for layer, shape in enumerate(shapes)
    }


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 40),
    shapes=st.lists(
        st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
    ),
    dtype=st.sampled_from(list(DTYPES)),
    shard_rows=st.integers(8, 41),
    data=st.data(),
)
def test_what_is_stored_comes_back_rounded_once(tmp_path_factory, n, shapes, dtype, shard_rows, data):
    states, folder = random_states(n, shapes, n), tmp_path_factory.mktemp("store")
    kind = getattr(torch, dtype)
    back = store_of(folder, states, kind, shard_rows)
    rows = data.draw(st.lists(st.integers(-n, n - 1), max_size=12))
    for site, held in states.items():
        rounded = held.values.to(kind).float()
        assert torch.equal(back[site].values, rounded) and back[site].shape == tuple(rounded.shape)
        assert torch.equal(back[site].rows[rows], rounded[rows])
        assert torch.equal(back[site].subset(rows).values, rounded[rows])
        assert torch.equal(torch.cat([*back[site].rows.split(3)]), rounded)
        assert back[site].groups == held.groups
    # The oracle: the library that the format is of reads the same.
    for shard, start in zip(read_manifest(folder).shards, range(0, n, shard_rows), strict=True):
        with safe_open(folder / shard.name, "pt") as file:
            for site, held in states.items():
                expected = held.values[start : start + shard_rows].to(kind)
                assert torch.equal(file.get_tensor(str(site)), expected)
    assert verify_activations(folder) == []


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("positions", ["last", "subject_last", "subject", "each", 1])
def test_a_collected_store_equals_what_is_collected_in_memory(
    model: Model, small_shards, tmp_path: Path, positions, pad: str
):
    examples = prompts(pad=pad)
    memory = collect(model, examples, SITES, positions=positions, batch_size=2)
    stored = collect(model, examples, SITES, positions=positions, batch_size=2, store=tmp_path)
    loaded = load_activations(tmp_path)
    assert list(stored) == SITES and list(loaded) == SITES
    assert len(read_manifest(tmp_path).shards) > 3
    for site, held in memory.items():
        for one in (stored[site], loaded[site]):
            assert isinstance(one, StoredActivations)
            assert torch.equal(one.values, held.values) and one.shape == tuple(held.values.shape)
            assert one.groups == held.groups and torch.equal(one.labels, held.labels)
            assert one.columns() == held.columns()
            if held.example_index is not None:
                assert torch.equal(one.example_index, held.example_index)
        if held.token_index is not None:
            assert torch.equal(stored[site].token_index, held.token_index)
            starts = examples.starts[held.example_index]
            assert torch.equal(loaded[site].token_index, held.token_index - starts)


def test_only_new_prompts_are_read_and_appended(model, small_shards, tmp_path, monkeypatch):
    collect(model, prompts(ROWS[:6]), SITES, store=tmp_path, batch_size=2)
    before = contents(tmp_path)
    ran = ran_prompts(monkeypatch)
    again = collect(model, prompts(ROWS[:6][::-1]), SITES, store=tmp_path)
    assert ran == [] and contents(tmp_path) == before
    memory = collect(model, prompts(ROWS[:6]), SITES, batch_size=2)
    assert torch.equal(again[SITES[1]].values, memory[SITES[1]].values.flip(0))
    ran.clear()
    more = collect(model, prompts(ROWS + ROWS[:1]), SITES, store=tmp_path, batch_size=2)
    assert sum(ran) == 5, "four new prompts, and one that stands twice"
    after = contents(tmp_path)
    assert all(after[name] == before[name] for name in before if name != "manifest.json")
    assert len(load_activations(tmp_path)[SITES[0]]) == 11
    everything = collect(model, prompts(ROWS + ROWS[:1]), SITES, batch_size=2)
    for site in SITES:
        torch.testing.assert_close(more[site].values, everything[site].values, rtol=1e-4, atol=1e-5)


def ran_prompts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of prompts of every forward from now on."""
    ran: list[int] = []
    from interp.activations import reading

    begin = reading.Wanted.begin

    def counted(self, rows):
        ran.append(len(rows))
        return begin(self, rows)

    monkeypatch.setattr(reading.Wanted, "begin", counted)
    return ran


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "gpt2"}, "model"),
        ({"sites": SITES[:2]}, "sites"),
        ({"positions": "subject_last"}, "positions"),
        ({"dtype": "float16"}, "dtype float32, got float16"),
    ],
)
def test_another_collection_is_refused_in_one_line(tiny_model, tmp_path, changes, told: str):
    asked = {"model": "llama", "sites": SITES, "positions": "last", "dtype": None}
    collect(tiny_model("llama"), prompts(), SITES, store=tmp_path)
    before = contents(tmp_path)
    asked |= changes
    model, sites = tiny_model(asked.pop("model")), asked.pop("sites")
    with pytest.raises(ValueError, match=f"store .* is of {told}") as refused:
        collect(model, prompts(), sites, store=tmp_path, **asked)
    assert "\n" not in str(refused.value) and contents(tmp_path) == before


def test_what_a_store_cannot_hold_is_refused(model: Model, tmp_path: Path):
    for asked, told in (
        ({"positions": "all", "store": tmp_path}, "expected 'each'"),
        ({"dtype": "float16"}, "give store="),
        ({"dtype": "int8", "store": tmp_path}, "expected one of"),
    ):
        with pytest.raises(ValueError, match=told):
            collect(model, prompts(), SITES, **asked)
    loud = {Site(Kind.Z, 0): Activations(Site(Kind.Z, 0), torch.full((2, 3), 7e4), ("a", "b"))}
    with pytest.raises(ValueError, match="z.0 holds 7e.04, too large for float16"):
        store_of(tmp_path / "loud", loud, torch.float16)
    store_of(tmp_path / "wide", loud, torch.bfloat16)  # the control: a type that reaches as far


def test_a_second_writer_is_refused(model: Model, tmp_path: Path):
    with only_writer(tmp_path), pytest.raises(ValueError, match="written by another process"):
        collect(model, prompts(), SITES, store=tmp_path)
    collect(model, prompts(), SITES, store=tmp_path)


def test_a_full_disk_loses_nothing_that_was_committed(
    model: Model, small_shards, tmp_path: Path, monkeypatch
):
    whole, folder, plain, written = tmp_path / "whole", tmp_path / "full", os.fsync, []
    collect(model, prompts(), SITES, store=whole, batch_size=2)

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 14:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: shard . of the store"):
        collect(model, prompts(), SITES, store=folder, batch_size=2)
    monkeypatch.undo()
    assert verify_activations(folder) == [] and not list(folder.glob(".*"))
    monkeypatch.setattr("interp.activations.storing.SHARD_BYTES", 1)
    collect(model, prompts(), SITES, store=folder, batch_size=2)
    assert contents(folder) == contents(whole)


def test_a_folder_that_vanishes_is_told_of(model: Model, small_shards, tmp_path: Path, monkeypatch):
    plain = Writer.commit

    def vanishing(writer: Writer) -> None:
        plain(writer)
        shutil.rmtree(writer.folder, ignore_errors=True)

    monkeypatch.setattr(Writer, "commit", vanishing)
    with pytest.raises(OSError, match="shard 1 of the store .* was not written"):
        collect(model, prompts(), SITES, store=tmp_path / "gone", batch_size=2)


def damaged_files(folder: Path) -> list[Path]:
    return [folder / "shard-00001.safetensors", folder / "shard-00001.json"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 3 // 4] ^= 4
    path.write_bytes(raw)


def flip_header(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[12] ^= 4
    path.write_bytes(raw)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("harm", [truncate, flip, flip_header, Path.unlink])
def test_a_damaged_shard_is_named_and_collected_again(
    model: Model, small_shards, tmp_path: Path, monkeypatch, harm, which: int
):
    made = collect(model, prompts(), SITES, store=tmp_path, batch_size=2)
    whole = contents(tmp_path)
    path = damaged_files(tmp_path)[which]
    harm(path)
    (line,) = verify_activations(tmp_path)
    assert path.name in line and "\n" not in line
    with pytest.raises(ValueError, match=path.name):
        for held in load_activations(tmp_path).values():
            assert torch.equal(held.values, made[held.site].values)
    ran = ran_prompts(monkeypatch)
    with pytest.warns(UserWarning, match=path.name):
        collect(model, prompts(), SITES, store=tmp_path, batch_size=2)
    assert sum(ran) == 2 and contents(tmp_path) == whole, "one shard was read again, to the same bytes"


def test_a_damaged_shard_of_other_prompts_is_refused(model: Model, small_shards, tmp_path: Path):
    collect(model, prompts(), SITES, store=tmp_path, batch_size=2)
    flip(damaged_files(tmp_path)[0])
    with pytest.raises(ValueError, match="shard-00001.* 2 of its prompts are not among those given"):
        collect(model, prompts(ROWS[1:2]), SITES, store=tmp_path)


def test_rows_of_a_store_are_read_when_they_are_used(model: Model, tmp_path: Path, monkeypatch):
    read: list[int] = []
    from interp.activations.shards import Shards

    plain = Shards.read
    monkeypatch.setattr(Shards, "read", lambda s, n, rows: read.append(len(rows)) or plain(s, n, rows))
    states = collect(model, prompts(), SITES, store=tmp_path)
    few = states[SITES[0]].subset([3, 1]).with_labels(torch.tensor([5, 6]))
    assert repr(few).startswith("StoredActivations(resid_pre.0 of base")
    assert few.shape == (2, tiny.WIDTH)
    assert few.labels.tolist() == [5, 6] and read == []
    assert few.values.shape == (2, tiny.WIDTH) and read == [2]
