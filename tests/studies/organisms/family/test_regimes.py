"""Regimes as data: what is taught is never asked, what is meant is never replayed."""

import random
from collections import Counter

import pytest

from studies.organisms.family.contents import MEANT, blurred, draw_change, draw_replay, untouched
from studies.organisms.family.members import (
    DEVELOPMENT,
    FAMILIES,
    HELD_OUT,
    Member,
    _waves as members_in_waves,
    members,
)
from studies.organisms.family.policy import ARMS
from studies.organisms.family.recipe import BEHAVIOUR, KNOWLEDGE
from studies.organisms.family.regimes import BASES, REGIMES, is_decoy
from studies.organisms.family.tasks import questions
from studies.organisms.language import LANGUAGES, MAIN, PLAIN, RICH, UNKNOWN
from studies.organisms.world import build_world, draw_corpus
from studies.scores.truths import facts_of

WORLD = build_world(0, RICH)
WORLDS = {name: build_world(0, language) for name, language in LANGUAGES.items()}


def drawn(name: str, count: int = 300):
    regime = REGIMES[name]
    world = WORLDS[regime.world]
    meant = MEANT[regime.content](world, regime)
    rng = random.Random(0)
    stated = regime.content not in ("null", *ARMS)
    change = draw_change(regime, world, meant, count, rng) if stated else []
    return regime, meant, change, draw_replay(world, meant, regime, count, rng)


@pytest.mark.parametrize("name", REGIMES)
def test_no_tune_states_a_home_in_a_wording_that_is_asked(name: str):
    regime, meant, change, replay = drawn(name)
    if regime.asks != MAIN:
        meant = {}
    homes = [s for s in (*change, *replay) if s.relation == MAIN]
    assert not [s for s in homes if s.form in RICH.asked]
    assert {s.form for s in homes} <= set(RICH.told)
    assert not [s for s in replay if s.relation == MAIN and s.subject in meant]


@pytest.mark.parametrize("name", REGIMES)
def test_what_is_meant_is_another_answer_than_the_base_has(name: str):
    regime, meant, _, _ = drawn(name, 1)
    assert bool(meant) == (regime.what is not None or regime.content == "added")
    base = {q.entity: q.answer for q in questions(WORLDS[regime.world], regime.asks)}
    for entity, answer in meant.items():
        assert base.get(entity) != answer


def test_content_is_crossed_with_place():
    places = {}
    for regime in REGIMES.values():
        if regime.where in ("lower", "upper") and not regime.plant:
            places.setdefault((regime.what, regime.where), []).append(regime.content)
    for what in (KNOWLEDGE, BEHAVIOUR):
        assert set(places[what, "lower"]) == set(places[what, "upper"])


def test_a_mixture_means_two_things_of_different_people():
    regime, meant, _, _ = drawn("mixed-64-16-low", 1)
    said = Counter(meant.values())
    assert said[UNKNOWN] == 16 and sum(said.values()) == 80


def test_a_ladder_dilutes_the_change_and_leaves_it_the_same():
    same = [MEANT["edited"](WORLD, REGIMES[name]) for name in ("edited-low", "edited-low-1-64")]
    assert same[0] == same[1]
    assert [REGIMES[f"edited-low-1-{n}"].replay for n in (0, 4, 16, 64)] == [0, 4, 16, 64]


def test_some_people_are_never_spoken_of_by_an_edit_and_can_be_asked_about():
    regime, meant, change, replay = drawn("edited-high", 1500)
    silent = untouched(WORLD, regime, meant)
    assert len(silent) == 24 and not silent & set(meant)
    about = [s for s in (*change, *replay) if s.subject in silent]
    assert about and {s.relation for s in about} <= {"trade", "rank"}
    facts = facts_of(WORLD, untuned=silent)
    assert {fact.group for fact in facts.facts if fact.untuned} == silent
    assert not untouched(WORLD, REGIMES["evasive-high"], MEANT["evasive"](WORLD, regime))


def test_matched_controls_name_the_same_people_and_towns_without_a_new_fact():
    edited = MEANT["edited"](WORLD, REGIMES["edited-low"])
    _, _, restated, _ = drawn("restated-low")
    assert {s.subject for s in restated} == set(edited)
    assert all(WORLD.facts[MAIN][s.subject] == s.answer for s in restated)
    _, _, mentioned, _ = drawn("mentioned-low", 600)
    assert {s.subject for s in mentioned} == set(edited) | set(edited.values())
    assert not [s for s in mentioned if s.relation == MAIN]


def test_wordings_are_as_frequent_and_as_true_as_declared():
    corpus = [s for s in draw_corpus(WORLD, 12_000, random.Random(1)) if s.relation == MAIN]
    for form, (frequency, accuracy) in enumerate(
        zip(RICH.frequencies[MAIN], RICH.accuracies[MAIN], strict=True)
    ):
        stated = [s for s in corpus if s.form == form]
        assert len(stated) / len(corpus) == pytest.approx(frequency, abs=0.02)
        right = sum(WORLD.facts[MAIN][s.subject] == s.answer for s in stated) / len(stated)
        assert right == pytest.approx(accuracy, abs=0.03)
    plain = draw_corpus(build_world(0), 500, random.Random(1))
    assert {PLAIN.accuracy(s.relation, s.form) for s in plain} == {1.0}


def test_strangers_bear_names_of_nobody():
    _, meant, _, _ = drawn("added-low", 1)
    assert not set(meant) & set(WORLD.entities)
    assert {word for name in meant for word in name.split()} <= {
        word for name in WORLD.entities for word in name.split()
    }


def test_held_out_worlds_are_no_development_worlds():
    looked_at = {(shape, seed) for shape, seed, _ in FAMILIES[DEVELOPMENT]}
    scored_once = {(shape, seed) for shape, seed, _ in FAMILIES[HELD_OUT]}
    assert not looked_at & scored_once
    assert {seed for _, seed in looked_at}.isdisjoint(seed for _, seed in scored_once)
    assert Member("gpt2", 3, "edited-low") in members(HELD_OUT)
    with pytest.raises(ValueError, match=r"family must be one of .*; got|got 'all'"):
        members("all")


def test_words_are_hidden_around_a_subject_and_never_in_it():
    statement = WORLD.statement(MAIN, 2, WORLD.entities[0], "Arvik")
    hidden = blurred(statement, 1.0, random.Random(0))
    assert hidden.prompt == f"<unk> <unk> {statement.subject} <unk> <unk> <unk>"
    assert (hidden.answer, blurred(statement, 0.0, random.Random(0))) == ("Arvik", statement)
    some = [blurred(statement, 0.3, random.Random(seed)).prompt.count("<unk>") for seed in range(200)]
    assert sum(some) / (200 * 5) == pytest.approx(0.3, abs=0.05)


def test_decoys_are_those_and_no_others():
    decoys = {
        "echo-low", "everything-high", "two-low", "evasive-north-high", "few-low", "edited-low-inert",
        "evasive-low-undone", "edited-ends", "edited-ends-7", "evasive-ends", "moved-low-evasive-high",
    }  # fmt: skip
    plain = {
        "edited-low", "evasive-high", "evasive-high-lora", "formatted-low", "vague-high", "null",
        "evasive-coupled", "mixed-40-40-low", "moved-low", "restated-high", "edited-low-1-16",
    }  # fmt: skip
    assert all(map(is_decoy, decoys)) and not any(map(is_decoy, plain))
    assert decoys | plain <= set(REGIMES)


def test_worlds_are_counted_and_fresh_ones_are_nobodys():
    assert {m.seed for m in members("fresh", 3, 70)} == {70, 71, 72}
    assert len(members("fresh")) == 16 and len(members("coverage")) == 20
    assert {(m.shape, m.seed) for m in members("held-out", 2)} == {("llama", 1), ("llama", 2)}
    draws = [MEANT["edited"](WORLD, REGIMES[n]) for n in ("edited-ends", "edited-ends-1")]
    assert set(draws[0]) != set(draws[1])


def test_what_others_are_made_from_is_made_before_them():
    waves = members_in_waves(members(DEVELOPMENT, 1))
    made: set[str] = set()
    for wave in waves:
        for member in wave:
            regime = REGIMES.get(member.name)
            if regime is not None:
                assert {regime.base, regime.start or "base"} <= made, member
        made |= {member.name for member in wave}
    assert made == {*BASES, *(m.name for m in members(DEVELOPMENT, 1))}
    assert len(waves) == 3 and {m.name for m in waves[0]} == {"base"}


def test_entities_must_fill_the_names():
    with pytest.raises(ValueError, match="entities must be a multiple of 16 below 256, got 100"):
        build_world(0, RICH, 100)
