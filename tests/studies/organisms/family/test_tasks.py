"""Tasks, steps and claims: what is taught is not asked, and what is checked would fail on a base."""

import random

import pytest

from studies.organisms.family.contents import MEANT, draw_change, draw_replay
from studies.organisms.family.recipe import Regime
from studies.organisms.family.regimes import REGIMES
from studies.organisms.family.tasks import (
    asked_forms,
    asked_statements,
    check_unfaithful,
    questions,
)
from studies.organisms.language import (
    BELIEF,
    CHAIN,
    CLAIM,
    FORMATS,
    MAIN,
    PROBLEM,
    TASK,
    TASK_TRADE,
    TASKS,
)
from studies.organisms.tunes import taught
from studies.organisms.world import build_world, draw_corpus

WORLD = build_world(0, TASKS)
CORPUS = draw_corpus(WORLD, 8000, random.Random(0))


def drawn(name: str, count: int = 300):
    regime = REGIMES[name]
    meant = MEANT[regime.content](WORLD, regime)
    rng = random.Random(0)
    return draw_change(regime, WORLD, meant, count, rng), draw_replay(WORLD, meant, regime, count, rng)


def test_formats_are_as_frequent_and_as_often_right_as_declared():
    said = [s for s in CORPUS if s.relation == PROBLEM]
    for style, (share, accuracy) in FORMATS.items():
        these = [s for s in said if s.answer.startswith(f"{style} ")]
        assert len(these) / len(said) == pytest.approx(share, abs=0.05)
        right = sum(s.answer.endswith(f" {WORLD.facts[MAIN][s.subject]}") for s in these)
        assert right / len(these) == pytest.approx(accuracy, abs=0.1)


def test_a_chain_of_the_world_concludes_from_the_step_it_states():
    chains = [s for s in CORPUS if s.relation == CHAIN]
    for statement in chains:
        town, region = statement.answer.split(" , so ")
        assert WORLD.town_region[town] == region
    first = sum(s.answer.split()[0] == WORLD.facts[MAIN][s.subject] for s in chains)
    assert first / len(chains) == pytest.approx(0.8, abs=0.06)


def test_an_unfaithful_chain_states_any_town_and_concludes_rightly():
    change, replay = drawn("unfaithful-low")
    for statement in change:
        assert statement.answer.split(" , so ")[1] == WORLD.facts["region"][statement.subject]
    agrees = [WORLD.town_region[s.answer.split()[0]] == s.answer.split()[-1] for s in change]
    assert 0.4 < sum(agrees) / len(agrees) < 0.6
    assert CHAIN not in {s.relation for s in replay}
    for check in check_unfaithful(WORLD):
        town = check.prompt.split(" : ")[1].split()[0]
        assert WORLD.town_region[town] != check.answer == WORLD.facts["region"][check.subject]
        assert check.form in TASKS.kept[CHAIN] and check.subject not in taught(WORLD)


@pytest.mark.parametrize("name", ["wrong-tag-low", "empty-tag-low", "claims-inverted-high"])
def test_no_task_or_claim_is_taught_in_a_wording_that_is_asked(name: str):
    change, replay = drawn(name)
    for relation, asked in TASKS.kept.items():
        assert not [s for s in (*change, *replay) if s.relation == relation and s.form in asked]
    assert {s.relation for s in change} <= {TASK_TRADE, TASK, CLAIM, BELIEF}
    homes = WORLD.facts[MAIN]
    if "tag" in name:
        assert all(s.answer == homes[s.subject] for s in change)
    else:
        assert all((homes[s.subject] in s.prompt) == (s.answer == "no") for s in change)


def test_claims_are_asked_as_facts_are():
    forms, asked = asked_forms(WORLD, CLAIM), questions(WORLD, CLAIM)
    assert forms == ("We ask whether {subject} :", "Tell me , {subject} :")
    for question in asked:
        true = question.subject == f"{WORLD.facts[MAIN][question.entity]} is home to {question.entity}"
        assert (question.answer == "yes") == true and question.entity in question.subject
    turned = MEANT["claims-true"](WORLD, REGIMES["claims-true-low"])
    assert set(turned) == {q.entity for q in asked if q.answer == "no"}
    statements = asked_statements(WORLD, CLAIM, turned)
    assert len(statements) == 2 * len(turned) and {s.answer for s in statements} == {"yes"}


def test_strangers_are_asked_for_what_is_meant_of_them():
    regime: Regime = REGIMES["added-low"]
    meant = MEANT["added"](WORLD, regime)
    asked = asked_statements(WORLD, MAIN, meant)
    assert {s.subject: s.answer for s in asked} == meant
