"""Tasks: every item says what it claims, and any tokenizer asks only what it can tell apart."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import tiny
import torch
import toy_tokenizers as toys

from interp.circuit_tasks import TaskItem, load_task, task_names
from interp.circuit_tasks.checking import LONG, ONE, TOGETHER, UNEQUAL, UNKNOWN, asked
from interp.circuit_tasks.items import Draw
from interp.circuit_tasks.loading import FEWEST, MAKERS
from interp.circuit_tasks.words import MEN, WOMEN
from interp.models.loading import wrap
from interp.models.model import Model
from interp.models.tokens import separator

CLEAN, CORRUPTED = "The capital of France", "The capital of Spain"
RIGHT = TaskItem(CLEAN, CORRUPTED, ("Paris",), ("Madrid",))
SIZES = {"vocab_size": 2 * toys.SIZE, "max_position_embeddings": 320}


@pytest.fixture(scope="module", params=["GPT-2", "Qwen", "prepending"])
def model(request) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys, "CORPUS", [*toys.CORPUS, string.printable])  # every letter once
        tokenizer = toys.KINDS[request.param]()
    return wrap(tiny.hf_model("llama", **SIZES), tokenizer, name=request.param)


@pytest.fixture(scope="module")
def plain() -> Model:
    return wrap(tiny.hf_model("llama", **SIZES), toys.bytewise(), name="plain")


def drawn(name: str, n: int = 30, seed: int = 0) -> list[TaskItem]:
    draw = Draw(Random(seed), len)
    return list(islice(MAKERS[name](draw), n))


def people(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text) if word in (*WOMEN, *MEN)]


def expected(name: str, text: str) -> str:
    """What a prompt expects, read off it by a rule of its own."""
    if name == "indirect_object":
        return next(n for n in people(text) if people(text).count(n) == 1)
    if name == "gendered_pronoun":
        return "she" if people(text)[0] in WOMEN else "he"
    if name == "agreement":
        return "are" if text.split()[1].endswith("s") else "is"
    if name == "induction":
        words = text.split()
        return words[words.index(words[-1]) + 1]
    if name == "docstring":
        names = re.search(r"\(self, (.*)\)", text)
        assert names
        return names[1].split(", ")[text.count(":param ")]
    if name == "arithmetic":
        return str(sum(int(n) for n in text.splitlines()[-1].removesuffix("=").split("+")))
    colour = re.search(r"is (\w+)\.", text)
    assert colour
    return next(line[0] for line in text.splitlines() if line[3:] == colour[1])


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"greater_than", "capital_country"}))
def test_both_prompts_expect_what_the_item_says(name: str):
    for item in drawn(name):
        assert (expected(name, item.clean),) == item.answers
        assert (expected(name, item.corrupted),) == item.foils


def test_years_are_answers_only_where_they_come_later():
    for item in drawn("greater_than"):
        start, end = (int(y) for y in re.findall(r"\d+", item.clean))
        assert start // 100 == end and item.between == ""
        assert all(int(f"{end}{year}") > start for year in item.answers)
        assert all(int(f"{end}{year}") <= start for year in item.foils)
        assert len(item.answers) + len(item.foils) == 100


def test_capitals_are_those_of_the_country_that_is_named():
    from interp.facts.countries import capitals

    capital = {fact.subject: fact.answer for fact in capitals().facts}
    for item in drawn("capital_country"):
        for text, (city,) in ((item.clean, item.answers), (item.corrupted, item.foils)):
            country = text.removeprefix("The capital of ").removesuffix(" is the city of")
            assert capital[country] == city


@pytest.mark.parametrize("name", task_names())
def test_any_tokenizer_asks_in_equal_lengths_and_reads_on_to_the_answer(model: Model, name: str):
    task = load_task(model, name, n=8)
    clean, corrupted = task.contrast.clean, task.contrast.corrupted
    assert torch.equal(clean.lengths, corrupted.lengths) and len(task) == 8
    read = model.tokenizer.decode
    for i, item in enumerate(task.items):
        assert set(task.answers[i]).isdisjoint(task.foils[i])
        row = clean.tokens[i][clean.mask[i]].tolist()
        for tokens, texts in ((task.answers[i], item.answers), (task.foils[i], item.foils)):
            between = item.between if item.between is not None else None
            whole = [
                item.clean + (separator(item.clean, t) if between is None else between) + t
                for t in texts
            ]
            for token in tokens:
                said = read([*row, token], skip_special_tokens=True)
                assert any(text.startswith(said) for text in whole), (said, whole[:2])


def test_digits_written_one_by_one_leave_the_tens_that_decide():
    tokenizer = toys.bytewise(toys.QWEN)
    item = TaskItem(
        "from 1732 to 17", "from 1701 to 17", ("33", "34", "40"), ("32", "31", "20"), between=""
    )
    made = asked(tokenizer, item, None)
    assert not isinstance(made, str)
    assert [tokenizer.decode([t]) for t in (*made.answers, *made.foils)] == ["4", "2"]
    close = TaskItem("from 1732 to 17", "from 1701 to 17", ("3",), ("33", "31"), between="")
    assert asked(tokenizer, close, None) == TOGETHER, "the control: an answer that ends in the tens"


def test_what_all_answers_and_foils_begin_with_is_appended():
    tokenizer = toys.bytewise(toys.QWEN)
    several = TaskItem("from 1732 to 17", "from 1701 to 17", ("33", "34"), ("32", "31"), between="")
    made = asked(tokenizer, several, None)
    assert not isinstance(made, str)
    told = [tokenizer.decode(list(ids)) for ids in (made.lead, made.answers, made.foils)]
    assert told == ["3", "34", "21"]
    made = asked(tokenizer, TaskItem("from 17", "from 18", ("194",), ("198",), between=""), None)
    assert not isinstance(made, str)
    assert [tokenizer.decode([t]) for t in (*made.lead, *made.answers, *made.foils)] == [
        "1",
        "9",
        "4",
        "8",
    ]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (TaskItem(CLEAN, "The capital of", ("Paris",), ("Madrid",)), UNEQUAL),
        (TaskItem(CLEAN, CLEAN, ("Paris",), ("Madrid",)), ONE),
        (TaskItem(CLEAN, CORRUPTED, ("Paris",), (" Paris",)), TOGETHER),
    ],
)
def test_what_cannot_be_asked_is_left_out_for_a_reason(item: TaskItem, why: str):
    words = toys.bytewise()
    assert asked(words, item, None) == why
    assert not isinstance(asked(words, RIGHT, None), str), "the control: this one is asked"
    assert asked(words, RIGHT, 2) == LONG


def test_words_that_a_tokenizer_lacks_are_never_asked():
    assert not isinstance(asked(toys.Slow(), RIGHT, None), str)
    strange = replace(RIGHT, answers=("ωραίο",))
    assert asked(toys.Slow(), strange, None) == UNKNOWN
    dropping = toys.prepending()  # what it lacks leaves no token at all
    assert asked(dropping, replace(RIGHT, clean="Ω Spain", corrupted="Ω France"), None) == UNKNOWN
    assert not isinstance(asked(dropping, RIGHT, None), str), "the control: it has these words"


def test_equal_seeds_make_equal_tasks_and_no_prompt_comes_twice(plain: Model):
    first, again, other = (load_task(plain, "agreement", n=60, seed=s) for s in (3, 3, 4))
    assert first.items == again.items != other.items
    assert len({(i.clean, i.corrupted) for i in first.items}) == 60
    with pytest.warns(UserWarning, match=r"has \d+ different items for plain, 360 were asked"):
        assert len(load_task(plain, "agreement", n=360)) < 360


def test_performance_is_that_of_a_plain_loop(plain: Model):
    for name in ("greater_than", "indirect_object"):
        task = load_task(plain, name, n=9)
        table = task.performance(plain)
        for i in range(len(task)):
            clean = task.contrast.clean
            logits = plain.logits(clean.tokens[i][clean.mask[i]][None])[0, -1]
            right, wrong = list(task.answers[i]), list(task.foils[i])
            value = logits[right].sum() - logits[wrong].sum()
            if name == "greater_than":
                p = logits.softmax(0)
                value = p[right].sum() - p[wrong].sum()
            assert table["clean"][i] == pytest.approx(float(value), abs=1e-4)
            assert table["prefers"][i] == (float(value) > 0)
            assert table["says"][i] == (int(logits.argmax()) in right)
        assert task.subset([2, 0]).performance(plain)["clean"].tolist() == pytest.approx(
            table["clean"][[2, 0]].tolist(), abs=1e-5
        )
        assert not table["clean"].equals(table["corrupted"]), "the control: the runs differ"


def test_too_few_items_are_one_line_with_the_reasons():
    small = wrap(tiny.hf_model("llama", **{**SIZES, "max_position_embeddings": 16}), toys.bytewise())
    with pytest.raises(
        ValueError, match=rf"docstring needs {FEWEST} items .* got 0 of .*{LONG}"
    ) as told:
        load_task(small, "docstring", n=FEWEST)
    assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match="must be one of indirect_object, .*; got 'nothing'"):
        load_task(small, "nothing")


def test_own_items_that_cannot_be_asked_are_told(plain: Model):
    good, bad = RIGHT, replace(RIGHT, corrupted=CLEAN)
    with pytest.warns(UserWarning, match=f"1 of 2 items of own are left out: 1 × {ONE}"):
        task = load_task(plain, [good, bad])
    assert task.items == (good,) and task.dropped == {ONE: 1} and "1 dropped" in repr(task)
    with pytest.raises(ValueError, match="own needs 1 items .* got 0 of 1"):
        load_task(plain, [bad])
    with pytest.raises(ValueError, match="expected one interp.TaskItem or more"):
        load_task(plain, [])


@pytest.mark.parametrize(
    ("answers", "foils", "told"),
    [
        (("",), ("b",), r"answers of 'a prompt' got \(''"),
        (("a",), (), r"foils of 'a prompt' got \(\)"),
        (("a", "b"), ("b",), "'b' is answer and foil of 'a prompt'"),
    ],
)
def test_an_item_without_answers_of_its_own_is_refused(answers, foils, told: str):
    with pytest.raises(ValueError, match=told):
        TaskItem("a prompt", "another", answers, foils)
