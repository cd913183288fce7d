"""Facts and statements: known content, balanced falsehoods, every malformed row named."""

import inspect
import json
from collections import Counter
from importlib.metadata import EntryPoint

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from interp.facts.cities import city_country
from interp.facts.comparisons import number_word
from interp.facts.loading import SOURCES, fact_names, load_facts
from interp.facts.pairing import exchange_blocks
from interp.facts.truth import STATEMENT_NAMES, truth_statements
from interp.facts.types import FactSet, render, render_statement, shares_words

TEMPLATES = ("The capital of {subject} is", "In {subject}, the capital is")


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_shipped_set_is_well_formed(name: str):
    facts = load_facts(name)
    assert len(facts.templates) >= 2
    assert len(facts) >= 100
    assert len(set(facts.answers)) >= 6
    assert facts.placebos == ("initial",)
    assert set(facts.attribute("initial")) == {"A-M", "N-Z"}
    for form in range(len(facts.templates)):
        pairs = zip(facts.prompts(form), facts.subject_spans(form), facts.facts, strict=True)
        for prompt, (start, end), fact in pairs:
            assert prompt[start:end].casefold() == fact.subject.casefold()
            assert prompt[0].isupper() or prompt[0].isdigit()
            assert "  " not in prompt and prompt == prompt.strip()


@pytest.mark.parametrize(
    ("name", "subject", "answer"),
    [
        ("capitals", "France", "Paris"),
        ("capitals", "the Netherlands", "Amsterdam"),
        ("capitals", "Kazakhstan", "Astana"),
        ("currencies", "Japan", "yen"),
        ("currencies", "China", "yuan"),
        ("continents", "Kenya", "Africa"),
        ("city_country", "Mumbai", "India"),
        ("city_country", "London", "the United Kingdom"),
        ("element_symbols", "iron", "Fe"),
        ("atomic_numbers", "26", "iron"),
    ],
)
def test_known_facts(name: str, subject: str, answer: str):
    facts = load_facts(name)
    assert dict(zip(facts.subjects, facts.answers, strict=True))[subject] == answer


def test_capitals_are_the_fixed_ones_without_copied_answers():
    facts = load_facts("capitals")
    assert facts.templates[:2] == (
        "The capital of {subject} is the city of",
        "In {subject}, the capital is the city of",
    )
    assert not {"Mexico", "Singapore", "Netherlands Antilles"} & set(facts.groups)
    assert not any(shares_words(fact.subject, fact.answer) for fact in facts.facts)
    france = facts.facts[facts.groups.index("France")]
    assert france.attributes == {"continent": "Europe", "initial": "A-M"}
    netherlands = facts.facts[facts.groups.index("Netherlands")]
    assert render(facts.templates[0], netherlands.subject)[0].startswith(
        "The capital of the Netherlands is"
    )
    assert render("{subject} has the capital", "the Gambia") == (
        "The Gambia has the capital",
        (0, 10),
    )


@pytest.mark.parametrize("name", ["iPhone", "eBay", "van Gogh", "iron", "éclair", "ß", "\u200fab"])
def test_a_name_keeps_its_first_letter_and_a_sentence_gets_a_capital(name: str):
    assert render("{subject} was created by", name) == (f"{name} was created by", (0, len(name)))
    assert render("the maker of {subject} is", name)[0] == f"The maker of {name} is"
    said = render_statement("{subject} is by {answer}.", name, "xAI")
    assert said == f"{name} is by xAI."
    assert render_statement("{answer} made {subject}.", name, "xAI") == f"xAI made {name}."
    assert render_statement("the maker of {subject} is {answer}.", name, "xAI")[:3] == "The"


def test_several_subjects_in_one_group_are_refused_with_their_names(tmp_path):
    path = tmp_path / "families.csv"
    rows = [f"person {i},town {i},family {i // 2}" for i in range(12)]
    path.write_text("subject,answer,group\n" + "\n".join(rows))
    with pytest.raises(ValueError) as caught:
        load_facts(path, templates=TEMPLATES)
    text = str(caught.value)
    assert "'family 0' (person 0, person 1)" in text and "and 1 more: keep one subject" in text
    assert len(text.splitlines()) == 1
    path.write_text("subject,answer,group\nthe Gambia,Banjul,Gambia\nKenya,Nairobi,Kenya\n")
    assert load_facts(path, templates=TEMPLATES).groups == ("Gambia", "Kenya")


def test_no_shipped_set_relies_on_several_subjects_of_one_group():
    for name in fact_names():
        groups = load_facts(name).groups
        assert len(set(groups)) == len(groups)


def test_cities_name_one_country():
    cities = load_facts("city_country")
    assert "Hyderabad" not in cities.groups  # also a city in Pakistan
    assert max(Counter(cities.answers).values()) <= 8
    assert not any(shares_words(fact.subject, fact.answer) for fact in cities.facts)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("name", STATEMENT_NAMES)
def test_truth_is_balanced_within_every_entity(name: str, negated: bool):
    said = truth_statements(name, negated=negated, n=60, seed=3)
    assert len(said) == 120 and sum(said.labels) == 60
    assert len(set(said.texts)) == 120
    balance = Counter()
    for group, label in zip(said.groups, said.labels, strict=True):
        balance[group] += 1 if label else -1
    assert set(balance.values()) == {0}
    assert all((" is not " in text) == negated for text in said.texts)
    assert said == truth_statements(name, negated=negated, n=60, seed=3)
    assert said != truth_statements(name, negated=negated, n=60, seed=4)


@pytest.mark.parametrize("name", ["cities", "capitals", "element_symbols"])
def test_value_marginals_are_equal_under_true_and_false(name: str):
    said = truth_statements(name, seed=1)
    table = pd.DataFrame({"value": said.values, "label": said.labels, "block": said.blocks})
    for _, part in [("all", table), *table.groupby("block")]:
        assert Counter(part.value[part.label]) == Counter(part.value[~part.label])
    # Control: wrong values that are not dealt from the right ones break the balance.
    naive = [v if y else "Paris" for v, y in zip(said.values, said.labels, strict=True)]
    table["value"] = naive
    assert Counter(table.value[table.label]) != Counter(table.value[~table.label])


def test_labels_are_true_of_the_world():
    homes = {fact.subject: fact.answer for fact in city_country(1_000_000, 20).facts}
    for negated in (False, True):
        said = truth_statements("cities", negated=negated, n=80, seed=0)
        for text, label, group, value in zip(
            said.texts, said.labels, said.groups, said.values, strict=True
        ):
            verb = "is not in" if negated else "is in"
            assert text == f"The city of {group} {verb} {value}."
            assert label == ((homes[group] == value) != negated)


def test_larger_than_matches_first_number_and_gap():
    said = truth_statements("larger_than", seed=0)
    numbers = {number_word(i): i for i in range(100)}
    gaps: dict[bool, Counter] = {True: Counter(), False: Counter()}
    for group, value, label in zip(said.groups, said.values, said.labels, strict=True):
        assert label == (numbers[group] > numbers[value])
        gaps[label][(group, abs(numbers[group] - numbers[value]))] += 1
    assert gaps[True] == gaps[False]
    assert said.texts[0][0].isupper()


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=25), st.integers(0, 5))
def test_exchange_leaves_nobody_its_own_value(values: list[str], seed: int):
    try:
        blocks = exchange_blocks(values, np.random.default_rng(seed))
    except ValueError as error:
        most = max(Counter(values).values())
        assert "got" in str(error)
        assert 2 * most > len(values) or len(values) % 2
        return
    assert sorted(i for block in blocks for i in block) == list(range(len(values)))
    for block in blocks:
        around = (*block[1:], block[0])
        assert all(values[i] != values[j] for i, j in zip(block, around, strict=True))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: truth_statements("towns"), "got 'towns'"),
        (lambda: truth_statements("capitals", n=10_000), "got 10000"),
        (lambda: load_facts("captials"), "got 'captials'"),
        (lambda: truth_statements("cities", n=1), "got 1"),
        (lambda: load_facts("nowhere.csv"), "got nowhere.csv"),
        (lambda: load_facts("capitals", templates=["no slot"]), "got 'no slot'"),
        (lambda: load_facts("capitals", templates=["{subject} is "]), "white space"),
        (lambda: load_facts("capitals", templates=["{answer} is {subject}"]), "only once and at its"),
        (
            lambda: load_facts("capitals", templates=["{answer}{subject}{answer}"]),
            "only once and at its",
        ),
        (lambda: load_facts("capitals").attribute("colour"), "got 'colour'"),
    ],
)
def test_errors_are_one_line_with_got_and_next_step(call, said: str):
    with pytest.raises(ValueError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_a_template_may_say_what_stands_before_the_answer():
    templates = ["{subject} is", "{subject} is {answer}", 'city["{subject}"] = "{answer}']
    facts = load_facts("capitals", templates=templates)
    subject = facts.subjects[0]
    assert [facts.between(form) for form in range(3)] == [None, " ", ""]
    assert facts.prompts(1)[0] == facts.prompts(0)[0] == f"{subject} is"
    assert facts.prompts(2)[0].endswith(f'["{subject}"] = "')
    for form in range(3):
        start, stop = facts.subject_spans(form)[0]
        assert facts.prompts(form)[0][start:stop] == subject


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="capitals, currencies, continents"):
        load_facts("captials")


def _rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "subject": ["Oz", "Narnia", "Utopia"],
            "answer": ["Emerald City", "Cair Paravel", "Amaurot"],
            "group": ["oz", "narnia", "utopia"],
            "author": ["Baum", "Lewis", None],
        }
    )


def _written(kind: str, folder) -> FactSet:
    frame, path = _rows(), folder / f"lands.{kind}"
    if kind == "csv":
        head = "".join(f"# template: {t}\n" for t in TEMPLATES) + "\n"
        path.write_text(head + frame.to_csv(index=False), encoding="utf-8-sig")
    elif kind == "jsonl":
        lines = [{"templates": TEMPLATES}, *frame.to_dict("records")]
        path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    else:
        frame.attrs["templates"] = list(TEMPLATES)
        if kind == "frame":
            return load_facts(frame)
        frame.to_parquet(path)
    return load_facts(str(path))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "frame"])
def test_own_facts_read_the_same_from_every_format(kind: str, tmp_path):
    facts = _written(kind, tmp_path)
    assert facts.templates == TEMPLATES
    assert facts.subjects == ("Oz", "Narnia", "Utopia")
    assert facts.groups == ("oz", "narnia", "utopia")
    assert facts.attribute("author") == ("Baum", "Lewis", None)
    assert facts.statement == "The capital of {subject} is {answer}."


def test_names_take_one_template_as_text_too():
    facts = load_facts("capitals", templates="In {subject} they live in")
    assert facts.templates == ("In {subject} they live in",)
    with pytest.raises(ValueError, match="got list: pass a table as pandas.DataFrame"):
        inspect.unwrap(load_facts)([{"subject": "Oz"}])  # as without type checks at run time


def test_numbers_become_text_and_country_codes_survive(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text('subject,answer\nNamibia,NA\n"Korea, South",KR\n')
    assert load_facts(path, templates=TEMPLATES).answers == ("NA", "KR")
    frame = pd.DataFrame({"subject": ["iron", "gold"], "answer": [26.0, 79.0]})
    assert load_facts(frame, templates=TEMPLATES).answers == ("26", "79")


def test_every_malformed_row_is_named(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(
        "# template: The capital of {subject} is\n"
        "subject,answer,author\n"
        "Oz,Emerald City,Baum\n"
        "Narnia,,Lewis\n"
        "Oz,Emerald City,Baum\n"
        "Utopia,Amaurot\n"
        "Laputa,nan,Swift\n"
        "Oz,Ozma,Baum\n"
    )
    with pytest.raises(ValueError) as caught:
        load_facts(path)
    text = str(caught.value)
    assert "5 malformed" in text and "\n" not in text
    assert "line 3" not in text.replace("repeats line 3", "").replace(") line 3", "")
    for part in (
        "line 4: answer is empty",
        "line 5: subject 'Oz' repeats line 3",
        "line 6: 2 cells where the header has 3",
        "line 7: answer is empty (NaN)",
        "line 8: subject 'Oz' contradicts (answer 'Emerald City') line 3",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("suffix", "content", "said"),
    [
        (
            ".csv",
            b"country,capital\nOz,Ozma\n",
            r"got \['country', 'capital'\]: add subject, answer",
        ),
        (".csv", b"", "got \\[\\]: add subject, answer"),
        (".csv", b"subject,answer\n", "got 0"),
        (".csv", b"subject,answer\nOz,\xff\n", "0xff"),
        (".csv", b'subject,answer\nOz,"Emer\n', "line 2: not readable as CSV"),
        (".csv", b"subject,answer,answer\nOz,a,b\n", "got \\['answer'\\] twice"),
        (
            ".jsonl",
            b'{"subject": "Oz", "answer": [1]}\n{"subject"\n',
            "line 1.*list; line 2: not valid",
        ),
        (".jsonl", b'{"subject": "Oz", "answer": true}', "got bool"),
        (".jsonl", b'{"subject": "Oz", "answer": "a\\nb"}', "line break"),
        (".jsonl", b'{"subject": "Oz", "answer": "\\ud800"}', "unprintable"),
        (".parquet", b"PAR?", "must be a parquet file"),
        (".xlsx", b"", "must end in one of"),
    ],
)
def test_malformed_files_say_what_is_wrong(suffix: str, content: bytes, said: str, tmp_path):
    path = tmp_path / f"facts{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_facts(path, templates=TEMPLATES)


def test_names_of_other_packages_are_found(monkeypatch):
    point = EntryPoint("lands", "tests_lands:make", "interp.facts")
    own = load_facts(_rows(), templates=TEMPLATES)
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda: own)
    monkeypatch.setattr("interp.facts.loading.entry_points", lambda group: [point])
    assert "lands" in fact_names()
    assert load_facts("lands") is own


def test_templates_are_required():
    with pytest.raises(ValueError, match="at least one template"):
        load_facts(_rows())


def test_braces_in_names_stay_as_they_are():
    said = render_statement("{subject} is {answer}.", "{answer}", "{subject}")
    assert said == "{answer} is {subject}."
