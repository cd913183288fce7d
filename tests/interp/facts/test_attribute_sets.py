"""Attribute sets: complete cards, known values, spans that hold the subject, classes large enough."""

from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from interp.facts.attributes import EntityAttributes, attribute_sets, entity_attributes

NAMES = tuple(attribute_sets())


def test_there_are_enough_of_them():
    kinds = Counter(card.kind for card in attribute_sets().values())
    assert kinds["class"] >= 6 and kinds["quantity"] >= 2


@pytest.mark.parametrize("name", NAMES)
def test_sets_are_well_formed_and_cards_complete(name: str):
    found, card = entity_attributes(name), attribute_sets()[name]
    assert len(found) == card.items == len(set(found.groups)) == card.entities >= 90
    assert found == entity_attributes(name)
    assert card.name == name and card.source and card.confounds and all(card.confounds)
    for form in range(2):
        for prompt, (start, end), subject in zip(
            found.prompts(form), found.subject_spans(form), found.subjects, strict=True
        ):
            assert prompt[start:end] == subject and end == len(prompt)
    if found.quantity:
        assert card.kind == "quantity" and not card.balance and found.classes == ()
        assert card.majority is None and found.labels == found.values
    else:
        counts = Counter(found.values)
        assert min(counts.values()) >= 10 and len(counts) >= 2
        assert sum(card.balance.values()) == pytest.approx(1)
        assert tuple(found.classes[int(label)] for label in found.labels) == found.values


@pytest.mark.parametrize(
    ("name", "subject", "value"),
    [
        ("country_continent", "Kenya", "Africa"),
        ("country_currency", "Germany", "euro"),
        ("country_language", "Brazil", None),
        ("country_language", "Peru", "es"),
        ("city_country", "Osaka", "Japan"),
        ("city_continent", "Lagos", "Africa"),
        ("city_hemisphere", "Sydney", "southern"),
        ("us_city_state", "Houston", "Texas"),
        ("element_period", "potassium", "period 4"),
        ("element_number", "iron", 26.0),
    ],
)
def test_known_values(name: str, subject: str, value: str | float | None):
    found = entity_attributes(name)
    assert dict(zip(found.subjects, found.values, strict=True)).get(subject) == value


@pytest.mark.parametrize("name", [name for name in NAMES if attribute_sets()[name].from_letters])
def test_letters_tell_where_the_card_says_so(name: str):
    found = entity_attributes(name)
    letters = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(found.subjects)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    labels = np.array(found.labels)
    if found.quantity:
        labels = (labels > np.median(labels)).astype(float)
    reader = LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
    chance = 1 / len(set(labels))

    def held_out(labels: np.ndarray) -> float:
        guess = cross_val_predict(reader, letters, labels, cv=folds)
        return float(balanced_accuracy_score(labels, guess))

    assert held_out(labels) > 1.2 * chance
    # Control: shuffled labels.
    assert held_out(np.random.default_rng(0).permutation(labels)) < 1.2 * chance + 0.05


def test_populations_are_logarithms():
    found = entity_attributes("country_population")
    size = dict(zip(found.subjects, found.values, strict=True))
    assert size["China"] > 9 > size["France"] > 7 > size["Malta"]


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="got 'colour': choose one"):
        entity_attributes("colour")
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        EntityAttributes("x", ("a", "b"), ("c",), ("a", "b"), ("{subject}",), "own")
    with pytest.raises(ValueError, match="exactly once"):
        EntityAttributes("x", ("a",), ("c",), ("a",), ("no slot",), "own")
