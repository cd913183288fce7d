"""Evidence keeps its columns and types through building, joining, filtering and the disk."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from interp._files import write_atomically
from interp.evidence import COLUMNS, INTEGER, REAL, TEXT, Evidence
from interp.evidence.schema import MEANINGS


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
    assert found.where(layer=[1, None])["value"].tolist() == [-1.25, 3.0], "null among others"
    assert found.where(model=["base", None])["value"].tolist() == [3.0]
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
    parquet, _, csv = found.save(tmp_path / "new" / "folder", csv=True)
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


def test_equal_tables_give_equal_files_whatever_they_were_joined_from(tmp_path: Path):
    rows = measured()
    extra = Evidence.build([9.0], group=["Aruba"], method="other")
    other = Evidence.concat([extra, rows]).select(method=rows.table["method"].unique().tolist())
    other = Evidence(other.table, rows.provenance)
    assert "Aruba" in other.table["group"].cat.categories, "the control: its history still shows"
    files = [part.save(tmp_path / name)[0] for name, part in (("one", rows), ("two", other))]
    assert files[0].read_bytes() == files[1].read_bytes()
    kinds = pq.read_schema(files[0])
    assert all(pa.types.is_dictionary(kinds.field(name).type) for name in TEXT), "each text stands once"


def test_evidence_is_exported_whole_and_no_csv_is_written_unasked(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("interp._files._ROWS", 2)
    monkeypatch.setattr("interp.evidence.exporting._ROWS", 2)
    rows = measured()
    assert {file.suffix for file in rows.save(tmp_path / "run")} == {".parquet", ".json"}
    whole = rows.export(tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert whole == rows.table.to_csv(index=False), "nothing in it is a formula"
    lines = rows.export(tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    assert [row.get("value") for row in told] == [0.5, -1.25, None, 3.0]
    held = [set(rows.table.columns[rows.table.iloc[i].notna()]) for i in range(len(rows))]
    assert [set(row) for row in told] == held, "what does not apply is left out"
    again = Evidence.load(rows.export(tmp_path / "rows.parquet"))
    pd.testing.assert_frame_equal(again.table, rows.table)
    with pytest.raises(ValueError, match="must end in .csv, .parquet, .jsonl; got '.xlsx'"):
        rows.export(tmp_path / "rows.xlsx")


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


#: The columns of earlier versions, in the order in which its files have them.
FORMER_COLUMNS = (
    "model donor method condition metric kind layer head position span example group template "
    "strength seed unit value"
).split()


def old_file(folder: Path, **columns: list) -> Path:
    """A parquet file as earlier versions wrote it: 17 columns, text as categories, the rest null."""
    n = len(columns["value"])
    table = pd.DataFrame({name: columns.get(name, [None] * n) for name in FORMER_COLUMNS})
    for name in FORMER_COLUMNS:
        if name in ("layer", "head", "position", "example", "seed"):
            table[name] = table[name].astype("Int64")
        elif name == "strength":
            table[name] = table[name].astype("Float64")
        elif name == "value":
            table[name] = table[name].astype("float32")
        else:
            table[name] = table[name].astype("string").astype("category")
    path = folder / "evidence.parquet"
    table.to_parquet(path, index=False)
    return path


def test_a_file_of_version_0_1_is_read_and_says_what_was_renamed(tmp_path: Path):
    path = old_file(
        tmp_path,
        method=["probe", "probe", "trace", "steer", "path_patch", "stitch"],
        condition=["probe", "control_task", "restored", "steered", "patched", "stitched"],
        strength=[1.0, 0.0, 5.0, 2.5, None, None],
        seed=[None, 3, 0, None, None, None],
        span=["last", "last", "last", "last", "z.3+mlp_out.4", "all"],
        value=[1.0, 0.0, 0.5, -0.5, 0.25, 2.0],
    )
    with pytest.warns(UserWarning, match="evidence.parquet is of an older version") as told:
        evidence = Evidence.load(path)
    message = str(told[0].message)
    for words in (
        "strength of probe is now label",
        "seed of probe is now draw",
        "strength of trace is now window",
        "span of path_patch is now receivers",
    ):
        assert words in message
    assert "steer" not in message, "a strength that is one keeps its name"
    probe, trace = evidence.rows(method="probe"), evidence.rows(method="trace")
    assert probe["label"].tolist() == [1.0, 0.0] and probe["draw"].tolist()[1] == 3
    assert pd.isna(probe["draw"].tolist()[0])
    assert trace["window"].tolist() == [5] and trace["label"].isna().all()
    assert evidence.rows(method="path_patch")["receivers"].tolist() == ["z.3+mlp_out.4"]
    steered = evidence.rows(method="steer")
    assert steered["strength"].tolist() == [2.5] and steered["label"].isna().all()
    assert tuple(evidence.table.columns) == COLUMNS


def test_the_form_of_a_tested_claim_is_no_number_of_a_question(tmp_path: Path):
    path = old_file(
        tmp_path, method=["claim"] * 2, condition=["raw", "swap"], template=["2", "B"], value=[1.0, 2.0]
    )  # fmt: skip
    with pytest.warns(UserWarning, match="template of claim is now question"):
        table = Evidence.load(path).table
    assert table["question"].tolist()[0] == "2" and pd.isna(table["question"].tolist()[1])
    assert table["template"].tolist()[1] == "B"


def test_a_file_of_today_is_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    Evidence.load(measured().save(tmp_path)[0])
    assert not recwarn.list


def test_an_old_file_has_the_types_of_today(tmp_path: Path):
    with pytest.warns(UserWarning, match="label"):
        old = Evidence.load(old_file(tmp_path, method=["probe"], strength=[1.0], value=[1.0]))
    for other in (measured(), Evidence.concat([old, measured()]), Evidence.build([1.0])):
        assert [str(other.table[c].dtype) for c in (*INTEGER, *REAL)] == [
            str(old.table[c].dtype) for c in (*INTEGER, *REAL)
        ]
    assert all(isinstance(old.table[c].dtype, pd.CategoricalDtype) for c in TEXT)
    assert len(Evidence.concat([old, measured()])) == 5


def test_former_columns_are_filled_from_the_new_ones():
    evidence = Evidence.build(
        [1.0, 2.0], label=[0.0, 1.0], draw=[4, None], fold=[None, 2], neuron=[7, 7],
        receivers="z.3", sender="embed", test_set="cities", train_set="capitals",
    )  # fmt: skip
    assert evidence.table["strength"].tolist() == [0.0, 1.0]
    assert evidence.table["seed"].tolist() == [4, 2]
    assert evidence.table["head"].tolist() == [7, 7] and evidence.table["span"].tolist() == ["z.3"] * 2
    assert evidence.table["donor"].tolist() == ["embed"] * 2, "the first that holds something"
    assert evidence.table["template"].tolist() == ["cities"] * 2
    assert len(evidence.rows(seed=4)) == len(evidence.rows(draw=4)) == 1
    own = Evidence.build([1.0], strength=[3.0], label=[1.0])
    assert own.table["strength"].tolist() == [3.0], "what was written is never replaced"
    assert Evidence.build([1.0], layer=2).table["seed"].isna().all(), "nothing comes of nothing"


def test_select_gives_evidence_and_rows_a_table():
    evidence = measured().with_provenance(note="kept")
    part = evidence.select(method="stitch", layer=[0, 1])
    assert isinstance(part, Evidence) and part.provenance["note"] == "kept"
    pd.testing.assert_frame_equal(part.table, evidence.rows(method="stitch", layer=[0, 1]))
    pd.testing.assert_frame_equal(evidence.rows(layer=1), evidence.where(layer=1))
    for reader in (evidence.select, evidence.rows, evidence.where):
        with pytest.raises(ValueError, match="evidence has no column 'stratum'; it has model, donor"):
            reader(stratum=1)


DOCS = Path(__file__).parents[3] / "docs"


def table_rows(text: str) -> list[list[str]]:
    """The cells of every line of the markdown tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_document_says_of_every_column_what_the_table_says():
    columns = [row for row in table_rows((DOCS / "evidence.md").read_text()) if row[0] in MEANINGS]
    told = {row[0]: row[2].removesuffix(" |").strip() for row in columns if len(row) == 3}
    assert told == MEANINGS
    assert list(told) == list(COLUMNS)


@pytest.mark.parametrize("path", sorted((DOCS / "evidence").glob("*.md")), ids=lambda path: path.stem)
def test_the_tables_of_the_packages_name_columns_that_exist(path: Path):
    header = "| method | made by | conditions | unit | columns that vary |"
    _, *lines = path.read_text(encoding="utf-8").partition(header)[2].strip().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert rows and {len(row) for row in rows} == {5}
    for row in rows:
        named = re.sub(r"\([^)]*\)|`", "", row[4]).split(",")
        assert {name.strip() for name in named} <= set(COLUMNS), row[0]


def test_several_values_are_given_in_any_way_that_holds_them():
    evidence = Evidence.build([1.0, 2.0, 3.0], layer=[0, 1, 2], method="patch")
    for several in ([0, 1], (0, 1), range(2), np.arange(2), pd.Series([0, 1], index=[7, 8])):
        assert evidence.rows(layer=several)["value"].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="layer got slice"):
        evidence.rows(layer=slice(2))


def test_files_are_named_by_text_too(tmp_path: Path):
    Evidence.build([1.0], method="patch").save(str(tmp_path / "new"))
    assert len(Evidence.load(str(tmp_path / "new" / "evidence.parquet"))) == 1


@pytest.mark.parametrize("method", ["probe", "erasure", "quantity"])
def test_a_table_made_by_hand_is_understood_by_its_former_columns(method: str):
    evidence = Evidence.build([1.0, 0.0], method=method, strength=[0.0, 1.0], seed=[0, 1])
    assert evidence.table["label"].tolist() == [0.0, 1.0]
    assert evidence.table["draw"].tolist() == [0, 1]
    today = Evidence.build([1.0, 0.0], method=method, label=[0.0, 1.0], seed=[0, 0])
    assert today.table["draw"].isna().all(), "the control: a table of today is left as it is"


def test_a_head_of_former_attributions_is_a_neuron_where_it_was_one():
    old = Evidence.build([1.0, 2.0], method="attribute", kind=["mlp_post", "z"], head=[5, 1])
    assert old.table["neuron"].tolist()[0] == 5 and old.table["neuron"].isna().tolist() == [False, True]
