"""Evidence keeps its columns and types through building, joining, filtering and the disk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from interp._files import write_atomically
from interp.evidence import COLUMNS, INTEGER, TEXT, Evidence


def measured() -> Evidence:
    """Three stitched rows and a baseline whose layer does not apply."""
    return Evidence.concat(
        [
            Evidence.build(
                [0.5, -1.25, np.nan],
                method="stitch",
                model="tuned",
                donor="base",
                kind="resid_pre",
                layer=[0, 1, 2],
                group=["Nauru", "<script>", "Côte d'Ivoire"],
                example=[0, 1, 2],
                unit="logits",
                provenance={"seed": 0},
            ),
            Evidence.build([3.0], method="stitch", condition="baseline", provenance={"seed": 1}),
        ]
    )


def test_building_fills_constants_and_leaves_the_rest_null():
    found = measured()
    assert tuple(found.table.columns) == COLUMNS
    assert found.table["method"].tolist() == ["stitch"] * 4
    assert found.table["layer"].tolist()[:3] == [0, 1, 2] and found.table["layer"].isna().sum() == 1
    assert found.table["head"].isna().all()
    assert found.provenance == {"seed": 1}, "later parts win"


def test_types_do_not_depend_on_what_was_filled():
    for evidence in (measured(), Evidence.concat([]), Evidence.build([1.0])):
        table = evidence.table
        assert all(isinstance(table[c].dtype, pd.CategoricalDtype) for c in TEXT)
        assert all(str(table[c].dtype) == "Int64" for c in INTEGER)
        assert str(table["strength"].dtype) == "Float64" and table["value"].dtype == np.float32


def test_where_takes_values_sets_and_null():
    found = measured()
    assert found.where(layer=1)["value"].tolist() == [-1.25]
    assert len(found.where(group=["Nauru", "<script>"])) == 2
    assert found.where(layer=None)["value"].tolist() == [3.0]
    assert found.where(model="tuned", layer={0, 2})["example"].tolist() == [0, 2]
    assert len(found.where(model="nobody")) == 0, "the control: nothing matches a made-up name"


def test_the_output_of_the_last_block_becomes_boundary_l():
    rows = Evidence.build([1.0, 2.0], kind=["resid_pre", "resid_post"], layer=[1, 1])
    assert rows.by_boundary(2).table["layer"].tolist() == [1, 2]
    assert rows.table["layer"].tolist() == [1, 1], "the given evidence is left as it was"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stratum": 1}, "unknown Evidence columns \\['stratum'\\]"),
        ({"layer": [0, 1, 2]}, "'layer' must have one entry per value, 2; got 3"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Evidence.build([1.0, 2.0], **columns)


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="unknown \\['units'\\]"):
        Evidence(measured().table.rename(columns={"unit": "units"}))


def test_round_trip_through_parquet_and_csv(tmp_path: Path):
    found = measured().with_provenance(note="de-quantised")
    parquet, csv, _ = found.save(tmp_path / "new" / "folder")
    again = Evidence.load(parquet)
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.provenance == {"seed": 1, "note": "de-quantised"}
    assert len(Evidence.concat([again, found])) == 8, "what was read joins what was measured"
    read = pd.read_csv(csv)
    assert list(read.columns) == list(COLUMNS)
    assert read["group"].tolist()[:3] == ["Nauru", "<script>", "Côte d'Ivoire"]
    np.testing.assert_array_equal(read["value"], found.table["value"])


def test_an_empty_table_survives_the_disk(tmp_path: Path):
    again = Evidence.load(Evidence.concat([]).save(tmp_path)[0])
    assert len(again) == 0 and tuple(again.table.columns) == COLUMNS


def test_a_long_table_has_a_csv_of_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("interp.evidence.table.CSV_ROWS", 3)
    rows = Evidence.build([1.0, 3.0, 5.0, 7.0], layer=[0, 0, 1, 1], example=[0, 1, 0, 1])
    parquet, csv, _ = rows.save(tmp_path)
    assert len(Evidence.load(parquet)) == 4, "parquet stays complete"
    means = pd.read_csv(csv)
    assert means["mean"].tolist() == [2.0, 6.0] and means["count"].tolist() == [2, 2]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_rubble(tmp_path: Path):
    target = tmp_path / "numbers.csv"
    target.write_text("old", encoding="utf-8")

    def fail(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]
    write_atomically(target, lambda p: p.write_text("new", encoding="utf-8"))
    assert target.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [target]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=6),
    st.lists(st.one_of(st.none(), st.integers(0, 40)), min_size=6, max_size=6),
    st.lists(st.text(max_size=5), min_size=6, max_size=6),
)
def test_joining_parts_loses_nothing(values: list, layers: list, groups: list):
    n = len(values)
    parts = [
        Evidence.build([v], layer=[layer], group=[group])
        for v, layer, group in zip(values, layers, groups, strict=False)
    ]
    joined = Evidence.concat(parts).table
    assert joined["value"].tolist() == np.asarray(values, dtype=np.float32).tolist()
    assert [None if pd.isna(x) else x for x in joined["layer"]] == layers[:n]
    assert joined["group"].tolist() == groups[:n]
