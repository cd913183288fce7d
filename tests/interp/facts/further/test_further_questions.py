"""Further questions of fact sets: their slots, those of shipped sets, and those of a file."""

from pathlib import Path

import pytest

from interp.facts.further.questions import FurtherQuestions, TrueOrFalse, TwoSteps
from interp.facts.further.shipped import FURTHER
from interp.facts.loading import load_facts


@pytest.mark.parametrize("name", list(FURTHER))
def test_shipped_questions_are_not_those_of_the_verdict(name: str):
    facts = load_facts(name)
    assert facts.further.wordings and not set(facts.further.wordings) & set(facts.templates)


def test_two_steps_begin_at_another_thing_of_the_same_subject():
    facts = load_facts("capitals")
    (question,) = facts.further.two_steps
    where = dict(zip(facts.groups, facts.answers, strict=True))
    assert question.via["Egypt"] == "Alexandria" or question.via["Egypt"] != where["Egypt"]
    assert not {group for group, city in question.via.items() if city == where.get(group)}
    assert len(question.via) > 60


def test_the_world_is_asked_for_regions_and_truth():
    world = load_facts("world").further
    assert set(world.two_steps[0].leads.values()) == {"north", "south"}
    assert world.true_or_false is not None and "{answer}" in world.true_or_false.template


def test_a_file_brings_its_own(tmp_path: Path):
    file = tmp_path / "facts.csv"
    file.write_text(
        "# template: The capital of {subject} is\n# wording: {subject} is governed from\n"
        '# reversed: {answer} is the capital of\n"# reversed: {answer}, the capital, is in"\n'
        "subject,answer\nFrance,Paris\nPeru,Lima\n"
    )
    found = load_facts(file).further
    assert found.wordings == ("{subject} is governed from",)
    assert found.reversed == ("{answer} is the capital of", "{answer}, the capital, is in")


def test_lists_of_other_files_are_held_to_texts(tmp_path: Path):
    file = tmp_path / "facts.jsonl"
    first = '{"templates": ["The capital of {subject} is"], "reversed": [1]}\n'
    file.write_text(first + '{"subject": "France", "answer": "Paris"}\n')
    with pytest.raises(ValueError, match="must give reversed as a list of texts"):
        load_facts(file)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FurtherQuestions(wordings=("The capital of {answer} is",)),
        lambda: FurtherQuestions(wordings=("no slot",)),
        lambda: FurtherQuestions(reversed=("{answer} is the capital of {subject}",)),
        lambda: FurtherQuestions(two_steps=(TwoSteps("{subject} and {subject}"),)),
        lambda: FurtherQuestions(true_or_false=TrueOrFalse("{subject} ?", ("yes",), ("no",))),
    ],
)
def test_a_question_without_its_slot_is_refused_in_one_line(make):
    with pytest.raises(ValueError, match="must hold .* once and no other slot") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_white_space_at_an_end_is_refused():
    with pytest.raises(ValueError, match="must not begin or end with white space"):
        FurtherQuestions(reversed=("{answer} is the capital of ",))
