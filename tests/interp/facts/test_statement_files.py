"""Labelled statements in the published layout and from users: read alike, every bad row named."""

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from interp.facts.own_statements import load_statements
from interp.facts.truth import truth_statements

PUBLISHED = (
    "statement,label,city,country,correct_country\n"
    "The city of Krasnodar is in Russia.,1,Krasnodar,Russia,Russia\n"
    "The city of Krasnodar is in South Africa.,0,Krasnodar,South Africa,Russia\n"
    '"The city of Łódź, in the middle, is in Poland.",1,Łódź,Poland,Poland\n'
)


@pytest.fixture
def written(tmp_path):
    def write(content: str | bytes, suffix: str = ".csv"):
        path = tmp_path / f"cities{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_the_published_layout_is_read_with_its_entities(written):
    said = load_statements(written(PUBLISHED))
    assert said.name == "cities" and said.labels == (True, False, True)
    assert said.groups == ("Krasnodar", "Krasnodar", "Łódź") == said.blocks
    assert said.texts[2] == "The city of Łódź, in the middle, is in Poland."
    assert said.values == ("Russia", "Africa", "Poland")
    assert load_statements(str(written(PUBLISHED)), group="country").groups[1] == "South Africa"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "frame"])
def test_every_format_reads_the_same(kind: str, tmp_path):
    frame = pd.DataFrame(
        {"statement": ["Oz is far.", "Oz is near."], "label": [True, False], "block": ["a", "b"]}
    )
    path = tmp_path / f"own.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        frame.to_parquet(path)
    said = load_statements(frame if kind == "frame" else path)
    assert said.texts == ("Oz is far.", "Oz is near.") and said.labels == (True, False)
    assert said.blocks == ("a", "b")
    assert said.groups == ("Oz", "Oz"), "both ends of one sentence are one group"


def test_what_contradicts_or_repeats_is_left_out_and_counted(written):
    said = load_statements(
        written(
            "Statement;LABEL ;likelihood\n"
            "Oz is far.;1;.1\nOz is near.;0;.2\nOz is far.;0;.1\nOz is far.;1;.1\n"
            "Oz is near.;False;.1\nEv is near.;True;.1\nEv is far.;0.0;.1\n"
        )
    )
    assert said.texts == ("Oz is near.", "Ev is near.", "Ev is far.")
    assert said.labels == (False, True, False)
    assert said.notes[0] == (
        "1 of 4 statements are given as true and as false and are left out: "
        "line 4 contradicts the label of line 2"
    )
    assert said.notes[1] == "1 of 7 rows repeat a statement and are left out"


def test_a_bad_cell_costs_its_row_and_the_others_are_read(written):
    content = "".join(f"Land {i} is {'far' if i % 2 else 'near'}.,{i % 2}\n" for i in range(40))
    bad = '"Oz\x03 is far.",1\n,1\nEv is far.,neither\nMo is far.,\n'
    said = load_statements(written("statement,label\n" + content + bad))
    assert len(said) == 40 and "4 of 44 rows of cities.csv are left out" in said.notes[0]
    assert "line 42: statement holds an unprintable character (U+0003)" in said.notes[0]
    assert "line 44: label must be 1, 0, true or false, got 'neither'; and 1 more" in said.notes[0]


def test_statements_of_several_lines_and_rare_characters_are_read_whole(written):
    code = "def f():\n\treturn 1"
    texts = [code, "The HPV virus\u200b causes it.", "می\u200cخواهم آب است.", "Plain is plain."]
    frame = pd.DataFrame({"statement": texts, "label": [1, 0, 1, 0]})
    path = written(frame.to_csv(index=False))
    for source in (frame, path):
        said = load_statements(source)
        assert said.texts == tuple(texts) and len(said.notes) == 1


def test_sentences_are_found_beside_an_index_column_and_a_third_class(written):
    said = load_statements(
        written(
            ",examples,label,agreement\n"
            "0,Bees make honey.,True,1\n1,Bees make glass.,False,1\n2,Bees are kind.,Neither,.6\n"
            "3,Ants fly.,False,1\n"
        )
    )
    assert said.labels == (True, False, False) and said.groups == ("Bees", "Bees", "Ants")
    assert "no name" in said.notes[0] and "got 'neither'" in said.notes[1]


def test_the_number_of_groups_of_one_is_told_where_no_column_names_the_entity(written):
    content = "statement,label\nOz is far.,1\nOz is near.,0\nEv is far.,1\n"
    assert load_statements(written(content)).notes == (
        "cities.csv has no column of the entity: 2 groups were read from the words before the verb, "
        "1 of them of one statement; give the column with group= if there is one",
    )
    assert load_statements(written(PUBLISHED)).notes == ()


def test_a_block_column_that_divides_an_entity_is_told(written):
    rows = "Oz is far.,1,Oz,{}\nOz is near.,0,Oz,b\nEv is far.,1,Ev,c\n"
    head = "statement,label,entity,block\n"
    said = load_statements(written(head + rows.format("a")))
    assert said.blocks == ("a", "b", "c")
    assert said.notes == ("1 of 2 entities stand in several blocks: splits by block divide them",)
    assert load_statements(written(head + rows.format("b"))).notes == ()


def test_names_are_read_too():
    assert load_statements("neg_cities") == truth_statements("cities", negated=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("statement\nOz is far.\n", "got \\['statement'\\]: add label"),
        ("text,label\nOz is far.,1\n", "add statement"),
        ("statement,label\nOz is far.,2\n", "line 2: label must be 1, 0, true or false, got '2'"),
        ("statement,label\nOz is far.,\n", "line 2: label is empty"),
        ("statement,label\n,1\n", "line 2: statement is empty"),
        ("statement,label\nOz is far.,yes\nOz,no\n", "2 malformed: line 2.*'yes'; line 3.*'no'"),
        ("statement,label\nOz is far.,1\nOz is far.,0\n", "contradicts the label of line 2"),
        ("statement,label\nOz is far.,1\nNarnia is far.,1\n", "got 2 true of 2"),
        ("statement,label\n", "got 0 true of 0"),
        ("statement,label\nOz,1,2\n", "line 2: 3 cells where the header has 2"),
        ("statement,label,label\nOz,1,1\n", "twice"),
        (b"statement,label\nOz\xff,1\n", "0xff"),
    ],
)
def test_malformed_files_say_what_is_wrong(content, said: str, written):
    with pytest.raises(ValueError, match=said) as caught:
        load_statements(written(content))
    assert len(str(caught.value).splitlines()) == 1


def test_many_bad_rows_stay_one_readable_line(written):
    content = "statement,label\n" + "".join(f"Land {i} is far.,maybe\n" for i in range(100))
    with pytest.raises(ValueError, match="got 100 malformed.*and 95 more") as caught:
        load_statements(written(content))
    assert len(str(caught.value)) < 2_500


@pytest.mark.parametrize(
    ("source", "said"),
    [("towns", "got 'towns'"), ("nowhere.csv", "existing file"), ("neg_towns", "got 'neg_towns'")],
)
def test_what_is_not_there_is_said(source: str, said: str):
    with pytest.raises(ValueError, match=said):
        load_statements(source)


def test_an_entity_column_that_is_not_there_is_said(written):
    with pytest.raises(ValueError, match="add town"):
        load_statements(written(PUBLISHED), group="town")


CELL = st.one_of(st.none(), st.text(max_size=4), st.floats(), st.integers(-1, 2), st.booleans())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(CELL, CELL), max_size=6))
def test_frames_load_or_say_why_in_one_line(cells: list[tuple]):
    frame = pd.DataFrame(cells, columns=["statement", "label"], dtype=object)
    try:
        said = load_statements(frame)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and "got" in str(error)
        return
    assert len(said) <= len(cells) and 0 < sum(said.labels) < len(said)
