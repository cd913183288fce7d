"""A store from a stranger: nothing outside the folder is read, and whatever is wrong is one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from stores import store_of

from interp.activations import Activations, load_activations, verify_activations
from interp.activations.manifest import MOST_BYTES, NAME
from interp.sites import Kind, Site

SITE = Site(Kind.RESID_PRE, 0)
SECRET = b"something that nobody may read through a store"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    values = torch.arange(24.0).reshape(6, 4)
    groups = tuple("abcdef")
    store_of(tmp_path / "store", {SITE: Activations(SITE, values, groups)}, torch.float32, 2)
    return tmp_path / "store"


def rewrite(folder: Path, *path: Any, value: Any) -> None:
    """Set one entry of the manifest."""
    data = json.loads((folder / NAME).read_text("utf-8"))
    held = data
    for name in path[:-1]:
        held = held[name]
    held[path[-1]] = value
    (folder / NAME).write_text(json.dumps(data), "utf-8")


def refused(folder: Path) -> str:
    """The one line that reading everything is refused with."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        for held in load_activations(folder).values():
            held.values  # noqa: B018
    assert "\n" not in str(error.value) and str(error.value)
    return str(error.value)


def test_the_control_is_read(store: Path):
    values = load_activations(store)[SITE].values
    assert torch.equal(values, torch.arange(24.0).reshape(6, 4))
    assert verify_activations(store) == []


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "/etc/passwd",
        "sub/shard-00000.safetensors",
        "..",
        "shard-00001.safetensors",
    ],
)
def test_a_shard_of_another_name_is_refused(store: Path, name: str):
    (store.parent / "secret.safetensors").write_bytes(SECRET)
    rewrite(store, "shards", 0, "file", value=name)
    assert "must be the file shard-00000.safetensors" in refused(store)


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "shard-00001.json", NAME])
def test_links_out_of_the_folder_are_refused(store: Path, name: str):
    inside, outside = store / name, store.parent / "outside"
    outside.write_bytes(inside.read_bytes())  # the very same bytes, and still refused
    inside.unlink()
    inside.symlink_to(outside)
    assert f"{name} is a link" in refused(store)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(store: Path):
    (store / "shard-00002.json").unlink()
    os.mkfifo(store / "shard-00002.json")
    assert "no plain file" in refused(store)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("version",), 2, "format must be"),
        (("format",), "safetensors", "format must be"),
        (("sites",), ["resid_pre.0", "resid_pre.0"], "each once"),
        (("sites",), ["../resid_pre.0"], "such as 'resid_pre.3'"),
        (("sites",), ["blocks.0.hook_resid_pre"], "such as 'resid_pre.3'"),
        (("sites",), ["resid_pre." + "9" * 40], "its header|instead of"),
        (("dtype",), "int4", "must be one of"),
        (("dtype",), "load", "must be one of"),
        (("shapes",), [[4] * 9], "lists of few numbers"),
        (("shapes",), [[2**60]], "whole numbers"),
        (("shapes",), [[0]], "whole numbers"),
        (("shapes",), [[2**40]], "instead of"),
        (("shapes",), [[5]], "instead of"),
        (("rows",), 7, "number of rows"),
        (("shards", 0, "rows"), -1, "whole numbers"),
        (("shards", 0, "rows"), True, "whole numbers"),
        (("shards", 0, "rows"), 1e99, "whole numbers"),
        (("shards", 0, "number"), 1, "must be"),
        (("shards", 0, "checksums"), [], "a checksum for each"),
        (("shards", 1, "index"), 5, "shard-00001.json .* it has changed"),
        (("shards", 0), None, "must be objects"),
        (("shards",), {}, "must be a list"),
        (("model",), 5, "must be a str"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_by_name(store: Path, path, value, told: str):
    rewrite(store, *path, value=value)
    with pytest.raises(ValueError, match=told):
        raise ValueError(refused(store))


def test_sizes_are_held_against_the_files_before_anything_is_read(store: Path):
    rewrite(store, "shards", 0, "rows", value=2**39)
    rewrite(store, "rows", value=2**39 + 4)
    assert "does not tell of 549755813888 rows" in refused(store)


def test_a_manifest_of_absurd_size_is_refused_before_it_is_read(store: Path):
    with open(store / NAME, "r+b") as file:
        file.truncate(MOST_BYTES + 1)
    assert "at most" in refused(store)


@pytest.mark.parametrize(
    "text", [b"", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"1" * 5_000, b"null"]
)
def test_what_is_no_manifest_is_refused(store: Path, text: bytes):
    (store / NAME).write_bytes(text)
    assert "manifest.json cannot be used" in refused(store)


def test_a_folder_that_is_no_store_says_so(tmp_path: Path):
    assert "is no store of activations" in refused(tmp_path)
    assert "is no store of activations" in refused(tmp_path / "nowhere")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A store whose manifest is written anew by each example."""
    folder = tmp_path_factory.mktemp("store")
    values = torch.arange(24.0).reshape(6, 4)
    store_of(folder, {SITE: Activations(SITE, values, tuple("abcdef"))}, torch.float32, 2)
    (folder / "kept.json").write_bytes((folder / NAME).read_bytes())
    return folder


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_other_entry_gives_one_line_or_the_same_rows(shared: Path, data):
    manifest = json.loads((shared / "kept.json").read_text("utf-8"))
    name = data.draw(st.sampled_from(sorted(manifest)))
    if name == "shards" and data.draw(st.booleans()):
        entries = manifest["shards"][data.draw(st.integers(0, 2))]
        entries[data.draw(st.sampled_from(sorted(entries)))] = data.draw(JSON)
    else:
        manifest[name] = data.draw(JSON)
    (shared / NAME).write_text(json.dumps(manifest), "utf-8")
    try:
        read = load_activations(shared)[SITE].values
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert torch.equal(read.float(), torch.arange(24.0).reshape(6, 4))
