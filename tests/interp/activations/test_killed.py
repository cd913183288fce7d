"""A collect that is killed goes on behind its last complete shard, to the same bytes."""

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import tiny
from stores import contents, in_child

from interp.activations import collect
from interp.activations.manifest import NAME, read_manifest
from interp.models.model import Model
from interp.sites import boundaries

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

LENGTHS = [5, 6, 7, 8, 9, 10] * 2
SITES = boundaries(tiny.LAYERS)


@pytest.fixture
def work(tiny_model, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], object]:
    """Collects 12 prompts into a folder, 6 shards of two."""
    monkeypatch.setattr("interp.activations.storing.SHARD_BYTES", 1)
    model: Model = tiny_model("llama")
    examples = tiny.examples(tiny.token_rows(*LENGTHS))
    return lambda folder: collect(model, examples, SITES, store=folder, batch_size=2)


def committed(folder: Path) -> int:
    """Shards that a manifest names."""
    return len(read_manifest(folder).shards) if (folder / NAME).exists() else 0


def check_resumed(work: Callable[[Path], object], folder: Path, whole: dict[str, bytes]) -> int:
    """Go on in a folder where a child was killed; how many shards it had committed."""
    done, left = committed(folder), contents(folder)
    files = sum(name.startswith("shard-") and name.endswith(".safetensors") for name in left)
    assert files - done <= 1, "one shard at most is done again"
    work(folder)
    after = contents(folder)
    assert after == whole
    kept = {f"shard-{i:05d}.safetensors" for i in range(done)}
    assert all(left[name] == after[name] for name in kept)
    return done


def kill_at(renaming: int, before: bool, job: Callable[[], object]) -> None:
    """Do a job and die at the n-th renaming of a file."""
    plain, seen = os.replace, []

    def replace(*paths) -> None:
        seen.append(paths)
        if len(seen) == renaming and before:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(*paths)
        if len(seen) == renaming:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    job()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("renaming", [1, 2, 3, 10, 18])
def test_death_at_any_renaming_loses_nothing(work, tmp_path: Path, renaming: int, before: bool):
    work(tmp_path / "whole")
    whole, folder = contents(tmp_path / "whole"), tmp_path / "killed"
    ended = in_child(partial(kill_at, renaming, before, partial(work, folder)))
    assert ended == -signal.SIGKILL
    done = check_resumed(work, folder, whole)
    assert done == (renaming - before) // 3


def killed_at_random(work: Callable[[Path], object], folder: Path, times: int) -> None:
    """Kill so many collects at random instants, each in a folder of its own, and go on in each."""
    start = time.perf_counter()
    assert in_child(partial(work, folder / "whole")) == 0
    taken = time.perf_counter() - start
    whole, draw = contents(folder / "whole"), random.Random(0)
    for i in range(times):
        in_child(partial(work, folder / str(i)), after=draw.uniform(0, taken))
        (folder / str(i)).mkdir(exist_ok=True)
        check_resumed(work, folder / str(i), whole)


def test_killed_collects_end_as_if_nothing_had_happened(work, tmp_path: Path):
    killed_at_random(work, tmp_path, 3)


@pytest.mark.slow
def test_twenty_killed_collects_end_as_if_nothing_had_happened(work, tmp_path: Path):
    killed_at_random(work, tmp_path, 20)
