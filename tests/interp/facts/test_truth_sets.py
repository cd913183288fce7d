"""Truth sets: balanced, no leak, the same on every run, a complete card, words alone tell nothing."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from interp.facts.comparisons import number_word
from interp.facts.loading import SOURCES, load_facts
from interp.facts.pairing import deck_of
from interp.facts.truth import STATEMENT_NAMES, truth_sets, truth_statements
from interp.facts.types import Statements

DECKS = 24


def by_words(said: Statements, split: tuple[str, ...]) -> float:
    """Held-out accuracy of a logistic regression on counts of words and pairs of words."""
    counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"[^\s]+").fit_transform(said.texts)
    folds = GroupKFold(5)
    reader = LogisticRegression(C=0.1, max_iter=500)
    labels = np.array(said.labels)
    return float(np.mean(cross_val_predict(reader, counts, labels, groups=split, cv=folds) == labels))


def test_there_are_enough_of_them_each_with_a_complete_card():
    cards = truth_sets()
    assert len(STATEMENT_NAMES) >= 8 and set(cards) == {
        prefix + name for name in STATEMENT_NAMES for prefix in ("", "neg_")
    }
    for name, card in cards.items():
        assert card.name == name and card.kind == "truth"
        assert card.entities >= 80 and card.items >= 200
        assert card.balance == {"true": 0.5, "false": 0.5} and card.majority == 0.5
        assert card.source and card.confounds and all(card.confounds)
        assert card.example in truth_statements(name).texts
        assert str(card).startswith(f"{name}: {card.entities} entities")
    against = "truth runs against the plausibility of the pair of words"
    assert against in cards["neg_cities"].confounds and against not in cards["cities"].confounds


@pytest.mark.parametrize("name", STATEMENT_NAMES)
def test_a_reader_of_words_is_at_chance_as_the_card_says(name: str):
    said, card = truth_statements(name, seed=2), truth_sets()[name]
    found = by_words(said, said.blocks)
    margin = 2.6 * 0.5 / len(set(said.blocks)) ** 0.5  # whole blocks are right or wrong together
    assert not card.from_letters and abs(found - 0.5) < margin
    # Control: wrong answers from a list of their own are found out.
    naive = tuple(
        text if label else text.replace(value, "Oz")
        for text, value, label in zip(said.texts, said.values, said.labels, strict=True)
    )
    leaky = Statements(name, naive, said.labels, said.groups, said.values, said.blocks)
    assert by_words(leaky, said.blocks) > 0.9


@pytest.mark.parametrize("name", ["capitals", "currencies", "us_cities", "more_people"])
def test_decks_hold_an_entity_out_of_every_set(name: str):
    said = truth_statements(name, decks=DECKS, seed=1)
    other = truth_statements("continents", decks=DECKS, seed=1)
    assert sum(said.labels) * 2 == len(said) > 100
    for set_ in (said, other):
        deck = {f"deck {deck_of(group, DECKS, 1):02d}" for group in set_.groups}
        assert deck == set(set_.blocks) and len(deck) > DECKS - 3
    place = dict(zip(other.groups, other.blocks, strict=True))
    assert all(place.get(g, b) == b for g, b in zip(said.groups, said.blocks, strict=True))
    claimed: dict[str, Counter] = defaultdict(Counter)
    for block, value, label in zip(said.blocks, said.values, said.labels, strict=True):
        claimed[block][value] += 1 if label else -1
    assert all(not any(count.values()) for count in claimed.values())
    # Control: without decks the exchanging pairs of two sets run across each other.
    loose = truth_statements("continents", seed=1)
    assert set(loose.blocks) - set(truth_statements("capitals", seed=1).blocks)


def test_cities_are_dealt_by_their_country():
    homes = {
        fact.subject: fact.answer.removeprefix("the ") for fact in load_facts("city_country").facts
    }
    said = truth_statements("cities", decks=DECKS, n=200)
    known = [(g, b) for g, b in zip(said.groups, said.blocks, strict=True) if g in homes]
    assert len(known) > 100
    assert all(block == f"deck {deck_of(homes[city], DECKS, 0):02d}" for city, block in known)


@pytest.mark.parametrize("name", STATEMENT_NAMES)
@pytest.mark.parametrize("decks", [None, DECKS])
def test_the_seed_decides_everything(name: str, decks: int | None):
    first = truth_statements(name, decks=decks, seed=3)
    assert first == truth_statements(name, decks=decks, seed=3)
    assert first != truth_statements(name, decks=decks, seed=4)
    turned = truth_statements(f"neg_{name}", decks=decks, seed=3)
    assert turned == truth_statements(name, negated=True, decks=decks, seed=3)
    assert turned.labels == tuple(not label for label in first.labels)
    assert (turned.groups, turned.blocks) == (first.groups, first.blocks)


@pytest.mark.parametrize(("name", "word"), [("larger_than", "larger"), ("smaller_than", "smaller")])
def test_numbers_compare_as_they_should(name: str, word: str):
    value = {number_word(i): i for i in range(100)}
    said = truth_statements(name, seed=0)
    for text, x, y, label in zip(said.texts, said.groups, said.values, said.labels, strict=True):
        assert f" is {word} than {y}." in text
        assert label == ((value[x] > value[y]) == (word == "larger"))


def test_countries_and_atoms_compare_as_they_should():
    atom = dict(
        zip(load_facts("atomic_numbers").answers, load_facts("atomic_numbers").subjects, strict=True)
    )
    said = truth_statements("heavier_atoms")
    for text, a, b, label in zip(said.texts, said.groups, said.values, said.labels, strict=True):
        assert label == ((int(atom[a]) > int(atom[b])) == ("heavier" in text))
    people = truth_statements("more_people")
    size = {"China": 9, "India": 9, "Laos": 1, "Malta": 0}
    told = zip(people.texts, people.groups, people.values, people.labels, strict=True)
    checked = [
        label == ((size[a] > size.get(b, 5)) == ("larger" in text)) for text, a, b, label in told
        if a in size and size.get(a) != size.get(b) and a in ("China", "India", "Malta")
    ]  # fmt: skip
    assert len(checked) >= 4 and all(checked)
    for said in (people, truth_statements("heavier_atoms")):
        first = Counter()
        for group, label in zip(said.groups, said.labels, strict=True):
            first[group] += 1 if label else -1
        assert not any(first.values()), "who stands first does not tell"


def test_new_facts_are_true():
    known = {
        "us_cities": {"Chicago": "Illinois", "Houston": "Texas", "Seattle": "Washington"},
        "calling_codes": {"France": "+33", "Japan": "+81", "Brazil": "+55"},
        "domains": {"Germany": ".de", "Switzerland": ".ch", "Spain": ".es"},
    }
    for name, pairs in known.items():
        facts = SOURCES[name]()
        assert pairs.items() <= dict(zip(facts.subjects, facts.answers, strict=True)).items()
    assert not {"Brooklyn", "Springfield"} & set(SOURCES["us_cities"]().groups)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: truth_statements("neg_towns"), "got 'neg_towns'"),
        (lambda: truth_statements("neg_cities", negated=True), "negated already"),
        (lambda: truth_statements("more_people", n=7), "n must be even"),
        (lambda: truth_statements("larger_than", decks=0), "got 0"),
        (lambda: truth_statements("capitals", decks=-1), "got -1"),
    ],
)
def test_errors_are_one_line(call, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
