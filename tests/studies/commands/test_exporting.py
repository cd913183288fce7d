"""The evidence of a finished run is written for other programs, whole, and over nothing."""

import json
from pathlib import Path

import pandas as pd
import pytest

from interp.evidence import Evidence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Evidence.build([1.5, -2.0], group=["=1+1", "b"], layer=[0, 1]).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_every_row_is_written_in_each_format(run, folder: Path, format: str):
    out = folder.parent / "new" / f"rows.{format}"
    code, told, _ = run("export", str(folder), "--format", format, "--out", str(out))
    assert (code, told) == (0, f"2 rows: {out}\n")
    if format == "csv":
        assert pd.read_csv(out)["group"].tolist() == ["'=1+1", "b"]
    elif format == "jsonl":
        assert [json.loads(line)["value"] for line in out.read_text().splitlines()] == [1.5, -2.0]
    else:
        assert len(Evidence.load(out)) == 2


def test_csv_goes_beside_the_evidence_unless_a_file_is_named(run, folder: Path):
    assert run("export", str(folder)) == (0, f"2 rows: {folder / 'evidence.csv'}\n", "")
    before = (folder / "evidence.csv").read_bytes()
    code, _, err = run("export", str(folder))
    assert code == 2 and "evidence.csv exists; nothing is overwritten" in err
    assert (folder / "evidence.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere has no evidence.parquet"),
        ((".", "--format", "xlsx"), "--format must be one of csv, parquet, jsonl; got 'xlsx'"),
        ((".", "--out", "rows.parquet"), "--out rows.parquet must end in .csv; got '.parquet'"),
        ((".", "--format", "parquet"), "evidence.parquet exists; nothing is overwritten"),
    ],
)
def test_mistakes_are_one_line(run, folder: Path, monkeypatch, arguments, told: str):
    monkeypatch.chdir(folder)
    code, out, err = run("export", *arguments)
    assert (code, out) == (2, "") and told in err and len(err.strip().splitlines()) == 1
