"""Checksums of a finished folder: every change of a byte, a name or a number of files is named."""

import shutil
import subprocess
from pathlib import Path

import pytest

from interp.runs.checksums import SUMS, differences, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    for name in ("evidence.parquet", "figures/a.csv", "run.json", "run.lock"):
        (tmp_path / name).write_bytes(name.encode())
    write_checksums(tmp_path)
    return tmp_path


def test_a_folder_as_it_was_has_no_differences(folder: Path):
    assert differences(folder) == []
    (folder / "run.json").write_text("what a run keeps to itself is no result")
    assert differences(folder) == []
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=True)


def test_every_difference_is_named(folder: Path):
    path = folder / "evidence.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (folder / "figures" / "a.csv").unlink()
    (folder / "figures" / "b.csv").write_text("new")
    assert differences(folder) == [
        "figures/a.csv is missing",
        "figures/b.csv was not there when it was saved",
        "evidence.parquet has changed since it was saved",
    ]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "a\\..\\b"])
def test_a_list_that_leaves_the_folder_is_refused(folder: Path, name: str):
    (folder / SUMS).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ValueError, match="names no file of it"):
        differences(folder)


def test_a_folder_without_checksums_is_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="has no SHA256SUMS that can be read; give one of"):
        differences(tmp_path)
