"""`interp submit`: what is written, what is shown, and what is refused."""

from pathlib import Path

import pytest

PAIR = ("--tuned", "organism-edited-low", "--seed", "3")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_array_is_written_and_how_to_send_it_is_told(run, here):
    options = ("--slurm", "--shards", "4", "--out", "shared", "--sbatch", "time=1:00:00", "--depth")
    for _ in range(2):
        code, out, err = run("submit", *options, *PAIR)
        assert (code, err) == (0, "")
        array, merge, line = out.splitlines()
        assert line == f"send them: sbatch --dependency=afterok:$(sbatch --parsable {array}) {merge}"
    text = Path(array).read_text()
    assert "compare --base organism-base --tuned organism-edited-low" in text
    assert "--facts world" in text and "--seed 3" in text and "--depth" in text
    assert f'--out {here / "shared"} --shard "$shard/4"' in text
    assert f"merge {here / 'shared'} --out {here / 'shared'}" in Path(merge).read_text()


def test_what_cannot_be_submitted_is_one_line(run, here):
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").touch()
    for options, message in (
        (("--out", "new"), "submit writes jobs for Slurm only; add --slurm"),
        (("--slurm", "--out", "full"), "--out full exists and is not empty"),
        (("--slurm", "--out", "new", "--sbatch", "time"), "--sbatch must be NAME=VALUE"),
        (("--slurm", "--out", "new", "--prompt", "odd"), "--prompt must be raw or chat"),
        (("--slurm", "--out", "new", "--base", "mine"), "--base mine needs"),
        (("scan", "--slurm", "--out", "new", "--depth"), "--depth says nothing beside scan"),
        (("--slurm", "--out", "new", "--prompts", "p.txt", "--depth"), "--depth is of facts"),
    ):
        code, out, err = run("submit", "--shards", "2", *options)
        assert code == 2 and message in err and len(err.splitlines()) == 1, err
    assert not (here / "new").exists()


def test_scans_and_prompts_are_submitted_with_their_own_options(run, here):
    shared = ("--slurm", "--shards", "2", "--out", "shared")
    options = ("--prompts", "asked.txt", "--tokens", "4")
    for what, expected, readout in (
        ((), "compare", ("--readout", "both")),
        (("scan",), "scan", ()),
    ):
        code, out, err = run("submit", *what, *shared, *PAIR, *options, *readout)
        assert (code, err) == (0, "")
        text = Path(out.splitlines()[0]).read_text()
        assert f"{expected} --base organism-base" in text and "--prompts asked.txt" in text
        assert "--tokens 4" in text and ("--readout both" in text) == bool(readout)
        assert "--facts" not in text and "--csv" not in text
    code, _, err = run("submit", "scan", *shared, "--facts", "world")
    assert code == 2 and "--facts says nothing beside scan" in err
