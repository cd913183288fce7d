"""Users' tables: every text kept, whatever the separator, the index and the case of the columns."""

import datetime
import json
import re
import unicodedata
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from interp.facts.cells import CellProblem, attribute_text, cell_text
from interp.facts.loading import load_facts
from interp.facts.own_statements import load_statements

TEMPLATES = ("The capital of {subject} is", "In {subject}, the capital is")
ANY_TABLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _facts(frame: pd.DataFrame):
    return load_facts(frame, templates=TEMPLATES)


TEXTS = {
    "combining marks": "Cafe\u0301 नेपाल",
    "joiners": "می\u200cخواهم क्\u200dष 👩\u200d🔬",
    "soft hyphen": "Donau\u00addampf",
    "no-break spaces": "New\u00a0York\u202f1\u2009000",
    "direction marks": "\u200fעברית\u200e (\u2067אב\u2069) end",
    "byte order mark inside": "HPV\ufeff virus\u200b x",
    "flags and tags": "🏴\U000e0067\U000e0062\U000e007f",
    "new letters": "\U0001e900\U00010e80",
    "private use": "\ue000x",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_character_of_a_text_is_kept(text: str, suffix: str, tmp_path):
    frame = pd.DataFrame({"subject": [text], "answer": [f"b {text}x"], "note": [f"c {text}x"]})
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    facts = load_facts(path, templates=TEMPLATES)
    assert facts.subjects == (text,) and facts.answers == (f"b {text}x",)
    assert facts.attribute("note") == (f"c {text}x",) and facts.notes == ()


@pytest.mark.parametrize("character", ["\0", "\x03", "\x1b", "\x97", "\ud800", "\ufffe", "\ufdd0"])
def test_what_is_no_text_costs_its_row_and_says_so(character: str):
    subjects = ["Oz", f"Nar{character}nia", "Utopia", "Laputa"]
    facts = _facts(pd.DataFrame({"subject": subjects, "answer": ["a", "b", "c", "d"]}, dtype=object))
    assert facts.subjects == ("Oz", "Utopia", "Laputa")
    code = f"U+{ord(character):04X}"
    said = (
        f"1 of 4 rows of dataframe are left out: row 2: subject holds an unprintable character ({code})"
    )
    assert facts.notes == (said,)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "True"),
        (np.bool_(False), "False"),
        (pd.Timestamp("1792-09-22"), "1792-09-22"),
        (pd.Timestamp("1792-09-22 10:30"), "1792-09-22 10:30:00"),
        (np.datetime64("1792-09-22"), "1792-09-22"),
        (datetime.date(1792, 9, 22), "1792-09-22"),
        (pd.Period("1792-09", "M"), "1792-09"),
        (pd.Interval(0, 10), "(0, 10]"),
        (3, "3"),
        (np.int8(3), "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (np.float32(0.5), "0.5"),
        (Decimal("0.10"), "0.10"),
        (2**70 + 1, str(2**70 + 1)),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("NA", "NA"),
    ],
)
def test_attributes_hold_any_single_value(value, text: str):
    cells = pd.Series([value, "x"], dtype=object)
    facts = _facts(pd.DataFrame({"subject": ["a", "b"], "answer": ["c", "d"], "note": cells}))
    assert facts.attribute("note") == (text, "x") and facts.notes == ()


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), "", " \u200b"])
def test_an_empty_attribute_is_missing_without_a_note(value):
    cells = pd.Series([value, "x"], dtype=object)
    facts = _facts(pd.DataFrame({"subject": ["a", "b"], "answer": ["c", "d"], "note": cells}))
    assert facts.attribute("note") == (None, "x") and facts.notes == ()


def test_columns_of_every_kind_keep_their_values_whatever_the_count():
    n = 24
    frame = pd.DataFrame(
        {
            "subject": [f"land {i}" for i in range(n)],
            "answer": [f"city {i}" for i in range(n)],
            "continent": pd.Categorical(["Asia", "Europe", "Africa", "America"] * 6),
            "island": [i % 2 == 0 for i in range(n)],
            "since": pd.date_range("1900-01-01", periods=n),
            "size": pd.cut(range(n), 3, labels=["small", "middle", "large"]),
            "rare": ["yes", *[None] * (n - 1)],
        }
    )
    facts = _facts(frame)
    assert set(facts.attribute("continent")) == {"Asia", "Europe", "Africa", "America"}
    assert facts.attribute("island")[:2] == ("True", "False")
    assert facts.attribute("since")[0] == "1900-01-01"
    assert facts.attribute("rare") == ("yes", *[None] * (n - 1))
    assert facts.notes == ()


def test_values_that_are_no_single_value_cost_themselves_only():
    cells = pd.Series([["x", "y"], {"x": 1}, np.inf, "fine"], dtype=object)
    frame = pd.DataFrame({"subject": list("abcd"), "answer": list("efgh"), "note": cells})
    facts = _facts(frame)
    assert facts.subjects == tuple("abcd") and facts.attribute("note") == (None, None, None, "fine")
    assert "3 of 4 values of 'note' (row 1: note must be text or a number, got list)" in facts.notes[0]


@pytest.mark.parametrize(
    "answer", ["Paris|Lutetia", "Paris | Lutetia", "Paris; Lutetia", "Paris / Lutetia"]
)
def test_several_answers_are_never_taken_literally(answer: str, tmp_path):
    frame = pd.DataFrame({"subject": ["Japan", "France", "Peru"], "answer": ["Tokyo", answer, "Lima"]})
    with pytest.raises(ValueError) as caught:
        _facts(frame)
    text = str(caught.value)
    assert "row 2: answer gives several" in text and "keep Paris or Lutetia" in text
    assert len(text.splitlines()) == 1
    for fine in ("AC/DC", "km/h", "|", ";)", "Paris, France", "and"):
        frame.loc[1, "answer"] = fine
        assert _facts(frame).answers[1] == fine


def test_a_list_of_answers_and_a_subject_with_two_answers_are_refused(tmp_path):
    path = tmp_path / "several.jsonl"
    rows = [{"subject": "Peru", "answer": "Lima"}, {"subject": "Fiji", "answer": "Suva"}]
    path.write_text("\n".join(map(json.dumps, [*rows, {"subject": "Peru", "answer": "Cusco"}])))
    with pytest.raises(ValueError, match="line 3: subject 'Peru' contradicts.*'Lima'.*line 1"):
        load_facts(path, templates=TEMPLATES)
    listed = {"subject": "France", "answer": ["Paris", "Lutetia"]}
    path.write_text("\n".join(map(json.dumps, [*rows, listed])))
    with pytest.raises(ValueError, match="line 3: .*gives several.*keep Paris or Lutetia"):
        load_facts(path, templates=TEMPLATES)


def test_rows_that_say_the_same_twice_are_counted():
    frame = pd.DataFrame({"subject": ["Oz", "Peru", "Oz"], "answer": ["Ozma", "Lima", "Ozma"]})
    facts = _facts(frame)
    assert facts.subjects == ("Oz", "Peru")
    assert facts.notes == ("1 of 3 rows of dataframe are left out: row 3: subject 'Oz' repeats row 1",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".CSV", ".TSV"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_found_from_the_header(suffix: str, separator: str, tmp_path):
    path = tmp_path / f"own{suffix}"
    rows = [
        "# template: The capital of {subject}, they say, is",
        separator.join(["Subject ", '"the, answer; of it"', "ANSWER", "Continent"]),
        separator.join(['"Korea, South; the"', "x", '"Se""oul"', '"two\r\nlines\there"']),
    ]
    path.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    facts = load_facts(path)
    assert facts.templates == ("The capital of {subject}, they say, is",)
    assert facts.subjects == ("Korea, South; the",) and facts.answers == ('Se"oul',)
    assert facts.attribute("Continent") == ("two\nlines\there",)
    assert facts.attribute_names == ("Continent", "the, answer; of it")


def test_line_breaks_of_other_kinds_do_not_end_a_row(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("subject,answer,note\nOz,Ozma,one\u2028two\nPeru,Lima,three\u2029four\n")
    facts = load_facts(path, templates=TEMPLATES)
    assert facts.attribute("note") == ("one\u2028two", "three\u2029four")


def test_what_a_spreadsheet_adds_is_dropped(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "# template: The capital of {subject} is,,,\n"
        '"# template: In {subject}, the capital is",,,\n'
        "subject,answer,,\n"
        "Oz,Ozma,,\n"
        "Peru,Lima\n"
        ",,,\n"
    )
    facts = load_facts(path)
    assert facts.templates == TEMPLATES and facts.subjects == ("Oz", "Peru")
    assert facts.attribute_names == () and facts.notes == ()
    frame = pd.read_csv(path, comment="#", header=None, skiprows=2)
    frame.columns = ["subject", "answer", "Unnamed: 2", "Unnamed: 3"]
    assert _facts(frame.dropna(how="all")).attribute_names == ()
    path.write_text(",subject,answer\n0,Oz,Ozma\n1,Peru,Lima\n")
    facts = load_facts(path, templates=TEMPLATES)
    assert facts.attribute_names == () and "1 of the columns of own.csv have no name" in facts.notes[0]


def test_a_quotation_mark_that_is_not_closed_refuses_the_file(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("subject,answer\nOz,Ozma\nPeru,Lima\n" + '"Fiji,Suva\nKenya,Nairobi\n')
    with pytest.raises(ValueError, match="line 4: not readable as CSV.*not closed") as caught:
        load_facts(path, templates=TEMPLATES)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("columns", [("Subject ", " ANSWER"), ("\ufeffsubject", "Answer\u00a0")])
def test_columns_are_found_whatever_their_case_and_spaces(columns: tuple[str, str], tmp_path):
    frame = pd.DataFrame({columns[0]: ["Oz"], columns[1]: ["Ozma"], "Continent ": ["none"]})
    paths = [tmp_path / name for name in ("own.csv", "own.jsonl", "own.parquet")]
    frame.to_csv(paths[0], index=False)
    frame.to_json(paths[1], orient="records", lines=True)
    frame.to_parquet(paths[2])
    for source in (frame, *paths):
        facts = load_facts(source, templates=TEMPLATES)
        assert facts.subjects == ("Oz",) and facts.attribute("Continent") == ("none",)
    with pytest.raises(ValueError, match=r"got \['subject'\] twice"):
        load_facts(frame.assign(SUBJECT=["x"]), templates=TEMPLATES)


def test_line_breaks_in_names_of_columns_and_in_answers_leave_one_line():
    frame = pd.DataFrame({"subject": list("ab"), "answer": ["x", "y"], "two\nlines": ["z", ["z"]]})
    facts = _facts(frame)
    assert facts.attribute("two lines") == ("z", None) and "\n" not in facts.notes[0]
    with pytest.raises(ValueError, match="keep x or y z") as caught:
        _facts(frame.assign(answer=["w", "x | y\nz"]))
    assert len(str(caught.value).splitlines()) == 1


def test_two_spellings_of_a_column_in_one_line_are_named(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"subject": "Oz", "Subject": "Ev", "answer": "Ozma"}\n')
    with pytest.raises(ValueError, match="two keys of one name"):
        load_facts(path, templates=TEMPLATES)


def test_a_frame_is_read_in_its_order_whatever_its_index():
    frame = pd.DataFrame({"subject": list("abc"), "answer": list("xyz")}, index=[7, 2, 2])
    assert _facts(frame).subjects == ("a", "b", "c")
    assert _facts(frame.iloc[::-1]).answers == ("z", "y", "x")
    assert _facts(frame[frame.answer != "x"]).subjects == ("b", "c")
    assert _facts(frame.set_index("subject")).subjects == ("a", "b", "c")
    frame.loc[7, "answer"] = None
    assert "row 1 (index 7): answer is empty" in _facts(frame).notes[0]


def test_bad_rows_are_left_out_up_to_a_quarter_of_the_table():
    frame = pd.DataFrame({"subject": list("abcdefgh"), "answer": list("stuvwxyz")})
    frame.loc[[1, 2], "answer"] = None
    assert len(_facts(frame)) == 6
    frame.loc[4, "answer"] = None
    with pytest.raises(ValueError, match="3 malformed: row 2: answer is empty.*; row 3.*; row 5"):
        _facts(frame)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CELL = st.one_of(st.none(), TEXT, st.floats(), st.integers(), st.booleans(), st.just(10**5000))


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=8))
@ANY_TABLE
def test_frames_load_with_every_row_accounted_for_or_say_why(cells: list[tuple]):
    frame = pd.DataFrame(cells, columns=["subject", "answer", "note"], dtype=object)
    try:
        facts = _facts(frame)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and "got" in str(error)
        return
    left_out = [note for note in facts.notes if " rows of " in note]
    lost = int(left_out[0].split()[0]) if left_out else 0
    assert len(facts) + lost == len(cells) and (lost <= 1 or 4 * lost <= len(cells))
    assert all(fact.subject and fact.answer for fact in facts.facts)


@given(TEXT)
@ANY_TABLE
def test_a_text_is_kept_whole_or_refused_for_a_reason(text: str):
    try:
        kept = attribute_text(text)
    except CellProblem as problem:
        visible = text.strip().strip("\ufeff").strip()
        odd = any(unicodedata.category(c) in ("Cc", "Cn") for c in visible)
        invisible = all(unicodedata.category(c) in ("Cf", "Zs") for c in visible)
        assert odd or invisible or visible in ("nan", "NaN"), problem
        return
    assert kept and kept in text
    assert (
        "\n" in kept
        or "\t" in kept
        or "\r" in kept
        or {"\u2028", "\u2029"} & set(kept)
        or (cell_text(text) == kept)
    )


NAME = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="|;/#\ufeff"),
    min_size=1,
    max_size=8,
).filter(lambda text: any(c.isalnum() for c in text) and text not in ("nan", "NaN"))
PAIRS = st.dictionaries(NAME.map(str.strip), NAME.map(str.strip), min_size=1, max_size=8)


@given(
    pairs=PAIRS,
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
)
@ANY_TABLE
def test_any_names_survive_any_separator_and_quoting(
    pairs: dict[str, str], separator: str, end: str, quoted: bool, tmp_path_factory
):
    frame = pd.DataFrame({"subject": list(pairs), "answer": list(pairs.values())})
    path = tmp_path_factory.mktemp("own") / "own.csv"
    frame.to_csv(path, index=False, sep=separator, lineterminator=end, quoting=1 if quoted else 0)
    facts = load_facts(path, templates=TEMPLATES)
    assert dict(zip(facts.subjects, facts.answers, strict=True)) == pairs


@given(PAIRS, st.randoms(use_true_random=False))
@ANY_TABLE
def test_the_order_of_rows_changes_nothing_but_the_order(pairs: dict[str, str], random):
    frame = pd.DataFrame({"subject": list(pairs), "answer": list(pairs.values())})
    order = list(range(len(frame)))
    random.shuffle(order)
    before, after = _facts(frame), _facts(frame.iloc[order])
    assert after.facts == tuple(before.facts[i] for i in order)
    assert after.notes == before.notes == ()


@given(
    st.lists(st.tuples(st.sampled_from(["Oz", "Ev", "Ix", "Mo"]), st.sampled_from("abcdefgh"))),
    st.randoms(use_true_random=False),
)
@ANY_TABLE
def test_the_order_of_statements_changes_no_group_and_no_count(said: list[tuple[str, str]], random):
    rows = [(f"{who} is near the {what} sea.", i % 2) for i, (who, what) in enumerate(said)]
    rows += [("Oz is far.", 1), ("Ev is far.", 0)]
    shuffled = random.sample(rows, len(rows))
    read = [load_statements(pd.DataFrame(r, columns=["statement", "label"])) for r in (rows, shuffled)]
    first, second = (set(zip(s.texts, s.labels, s.groups, strict=True)) for s in read)
    assert first == second
    counts = [[re.findall(r"^\d+ of \d+|\d+ groups|\d+ of them", n) for n in s.notes] for s in read]
    assert counts[0] == counts[1] and all(counts[0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(body=st.binary(max_size=40), suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_no_file_content_escapes_the_one_line_error(body: bytes, suffix: str, tmp_path):
    path = tmp_path / f"facts{suffix}"
    path.write_bytes(b"subject,answer\n" + body if suffix in (".csv", ".tsv") else body)
    try:
        load_facts(path, templates=TEMPLATES)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("yes, no", [(1, 0), ("1", ""), ("True", "false"), ("yes", "NO"), (1.0, None)])
def test_facts_are_declared_never_tuned_on_by_a_column(yes, no):
    frame = pd.DataFrame({"subject": ["Oz", "Utopia"], "answer": ["a", "b"]})
    assert not any(fact.untuned for fact in _facts(frame).facts), "the control: nothing is declared"
    facts = _facts(frame.assign(Untuned=pd.Series([yes, no], dtype=object)))
    assert [fact.untuned for fact in facts.facts] == [True, False]
    assert facts.attribute_names == (), "it is no attribute to be probed"


def test_a_declaration_that_is_neither_yes_nor_no_is_refused_in_one_line(tmp_path):
    file = tmp_path / "t.csv"
    rows = "".join(f"s{i},a,{i % 2}\n" for i in range(9))
    file.write_text(f"subject,answer,untuned\n{rows}Oz,b,2\n")
    with pytest.raises(ValueError, match=r"line 11: untuned must be 1 or 0 .*, got '2'") as refused:
        load_facts(file, templates=TEMPLATES)
    assert "\n" not in str(refused.value)


A, B = TEMPLATES


@pytest.mark.parametrize(
    ("rows", "templates", "noted"),
    [
        ([("Oz", A), ("Utopia", A)], (A,), False),
        ([("Oz", A), ("Oz", B), ("Utopia", A), ("Utopia", B)], (A, B), False),
        ([("Oz", A), ("Utopia", A), ("Laputa", B), ("Narnia", B)], (A, B), True),
    ],
)
def test_a_column_of_templates_asks_every_fact(rows, templates, noted: bool, tmp_path):
    frame = pd.DataFrame([{"subject": s, "answer": s[::-1], "template": t} for s, t in rows])
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    facts = load_facts(path)
    assert facts.templates == templates and facts.subjects == tuple(dict(rows))
    assert facts.attribute_names == () and bool(facts.notes) == noted
    given = load_facts(path, templates="Where is {subject}? In")
    assert given.templates == ("Where is {subject}? In",), "what is given goes before the column"
    assert "the column template is left out" in given.notes[0]


@pytest.mark.parametrize("column", ["prompt", "Question"])
def test_a_table_of_whole_prompts_is_told_of_templates_and_columns_in_one_line(column, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"{column},answer\nThe capital of Oz is,Emerald City\n")
    with pytest.raises(ValueError) as refused:
        load_facts(path)
    told = str(refused.value)
    assert "columns subject, answer (optional: group, untuned, template, attributes)" in told
    assert "and a template, the prompt with {subject}" in told and "add subject" in told
    assert f"split {column!r}" in told and "--prompts" in told and "\n" not in told


@pytest.mark.parametrize(
    ("templates", "told"),
    [
        (["The capital of Oz is", "The capital of Utopia is"], "each with {subject}; got 2 in 2 rows"),
        ([A, B], "give one or two that ask every subject"),
        (["It is"] * 2, "must hold {subject} exactly once"),
        (["", ""], "at least one template"),
    ],
)
def test_templates_of_single_rows_are_no_templates(templates, told: str):
    frame = pd.DataFrame({"subject": ["Oz", "Utopia"], "answer": ["a", "b"], "template": templates})
    with pytest.raises(ValueError, match=re.escape(told)):
        load_facts(frame)
