"""Shards of one job are joined; what overlaps, is missing or is foreign is refused by name."""

from pathlib import Path

import pytest
import torch

from interp.runs.merging import join
from interp.runs.run import resumable, series


def shard(folder: Path, which: str, *, seed: int = 0) -> Path:
    """A shard of six units in a folder of its own."""
    with resumable(folder, job={"seed": seed}, shard=which):
        kept = series("numbers", ("interp.sites",), seed)
        for n in range(6):
            kept.unit(n, lambda n=n: torch.tensor([n]))
    return folder


def whole(folder: Path) -> tuple[list[int], int]:
    """The six numbers from a folder, and how many were made for it."""
    with resumable(folder, job={"seed": 0}) as run:
        kept = series("numbers", ("interp.sites",), 0)
        units = [kept.unit(n, lambda n=n: torch.tensor([n])) for n in range(6)]
    return [int(unit) for unit in units if unit is not None], run.made


def test_joined_shards_are_the_whole(tmp_path):
    parts = [shard(tmp_path / str(i), f"{i}/3") for i in (1, 2, 3)]
    assert join(parts[::-1], tmp_path / "out") == 6
    assert whole(tmp_path / "out") == ([0, 1, 2, 3, 4, 5], 0)
    assert join(parts, tmp_path / "1") == 6 and whole(tmp_path / "1")[1] == 0, "into one of them"


def test_shards_of_one_folder_are_joined_where_they_are(tmp_path):
    for i in (1, 2):
        shard(tmp_path / "shared", f"{i}/2")
    assert join([tmp_path / "shared"], tmp_path / "shared") == 6
    assert whole(tmp_path / "shared")[1] == 0


def test_a_damaged_unit_of_a_shard_is_named_and_made_by_the_whole(tmp_path, capsys):
    parts = [shard(tmp_path / str(i), f"{i}/2") for i in (1, 2)]
    path = next((parts[1] / "units").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    assert join(parts, tmp_path / "out") == 5
    assert str(path) in capsys.readouterr().err
    assert whole(tmp_path / "out") == ([0, 1, 2, 3, 4, 5], 1)


def test_shards_that_do_not_fit_are_refused_by_name(tmp_path):
    one, two, three = (shard(tmp_path / str(i), f"{i}/3") for i in (1, 2, 3))
    again, foreign = shard(tmp_path / "again", "2/3"), shard(tmp_path / "foreign", "3/3", seed=1)
    other = shard(tmp_path / "other", "1/2")
    cases = [
        ([one, two], "of 3 shards 3/3 are missing"),
        ([one], "2/3, 3/3 are missing"),
        ([one, two, again, three], f"shard 2 of 3 is in {two} and in {again}"),
        ([one, two, foreign], f"{foreign} is of another run: seed was 1, is 0"),
        ([one, two, other], "one division"),
        ([one, two, tmp_path / "nowhere"], f"{tmp_path / 'nowhere'} must be a run's folder"),
        ([], "merge got no folders"),
    ]
    for folders, message in cases:
        with pytest.raises(ValueError, match=message):
            join(folders, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(RuntimeError), resumable(three, job={"seed": 0}, shard="3/3"):
        raise RuntimeError("killed before it was done")
    with pytest.raises(ValueError, match=f"{three} holds no shard that has done its share"):
        join([one, two, three], tmp_path / "out")
