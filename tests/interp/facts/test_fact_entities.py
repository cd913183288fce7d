"""The entity of a statement from its words: all that is said of one stays together."""

from collections import defaultdict

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from interp.facts.entities import entities, naming_another
from interp.facts.own_statements import load_statements
from interp.facts.truth import truth_statements

#: Statements by the entity they are about: in the shapes of the published files and of users'.
SHAPES = {
    "companies, and people": {
        "Acme": ["Acme engages in the sale of steel.", "Acme engages in the production of films."],
        "Beta": ["Beta engages in the sale of food.", "Beta engages in the making of cars."],
        "Carol": ["Carol lived in the U.S.", "Carol lived in Norway."],
    },
    "one verb each": {
        "Acme": ["Acme yodels in Oslo.", "Acme sings of glory.", "Acme's owner wept."],
        "Beta": ["Beta yodels in Rome.", "Beta was founded in the north of Italy."],
    },
    "names of several words": {
        "New York": ["New York is a city in the U.S.", "New York is a lake in Peru."],
        "New Delhi": ["New Delhi is a city in India.", "New Delhi is an island."],
        "Edwin Herbert Hall": [
            "Edwin Herbert Hall lived in Peru.",
            "Edwin Herbert Hall lived in the U.S.",
        ],
    },
    "a frame before the name": {
        "Paris": ["The city of Paris is in France.", "The city of Paris is not in the Congo."],
        "Rome": ["The city of Rome is in Italy.", "The city of Rome is in the United States."],
    },
    "quoted words": {
        word: [f"The Spanish word '{word}' means 'to {a}'.", f"The Spanish word '{word}' means '{b}'."]
        for word, a, b in [
            ("con", "speak", "with"),
            ("uno", "go", "one"),
            ("un", "a", "b"),
            ("ir", "c", "d"),
        ]
    },
    "lower case": {
        "salmon": ["The salmon is a fish.", "The salmon isn't a bird of the sea."],
        "frog": ["The frog is a bird.", "A frog can live in water."],
    },
    "conjunctions": {
        "raccoon": [
            f"It is the case both that the raccoon is a mammal and that {x}" for x in ("a.", "b c.")
        ],
        "bison": [f"It is the case both that the bison is a bird and that {x}" for x in ("d.", "e f.")],
    },
    "German": {
        "Lachs": ["Der Lachs ist ein Fisch.", "Der Lachs ist kein Vogel der Meere."],
        "Frosch": ["Der Frosch ist ein Vogel.", "Der Frosch hat vier Beine."],
    },
    "Chinese": {
        "巴": ["巴黎是法国的首都。", "巴黎在亚洲。"],
        "东": ["东京是日本的首都。", "东京是河。"],
    },
    "Persian": {
        "تهران": ["تهران در ایران است.", "تهران شهر بزرگی است."],
        "رم": ["رم در ایتالیا است.", "رم دور است."],
    },
    "one opening": {
        "Acme": ["The company Acme sells steel.", "The company Acme makes old cars."],
        "Beta": ["The company Beta sells food.", "The company Beta bakes."],
    },
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_entity_is_one_group_and_no_two_share_one(shape: dict[str, list[str]]):
    texts = [(text, entity) for entity, said in shape.items() for text in said]
    frame = pd.DataFrame(
        {"statement": [t for t, _ in texts], "label": [i % 2 for i in range(len(texts))]}
    )
    said = load_statements(frame)
    assert said.blocks == said.groups
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for (_, entity), group in zip(texts, said.groups, strict=True):
        groups[entity].add(group)
    assert all(len(found) == 1 for found in groups.values())
    assert len(set.union(*groups.values())) == len(shape)
    # Control: all but the last word, as the entity, splits what belongs together.
    naive = {entity: {t.rpartition(" ")[0] or t for t in said} for entity, said in shape.items()}
    assert any(len(found) > 1 for found in naive.values())


@pytest.mark.parametrize("name", ["cities", "capitals", "currencies", "us_cities", "neg_cities"])
def test_entities_of_the_shipped_sets_are_never_torn(name: str):
    said = truth_statements(name, n=100)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for group, entity in zip(said.groups, entities(said.texts), strict=True):
        found[group].add(entity)
    assert all(len(names) == 1 for names in found.values())
    assert len(set.union(*found.values())) >= 80


def test_sentences_that_name_two_entities_are_counted():
    pairs = [("dog", "cat"), ("cat", "cow"), ("cow", "dog"), ("hen", "elk")]
    texts = [f"It is true that the {a} is old and that the {b} is big." for a, b in pairs]
    names = entities(texts)
    assert names == ("dog", "cat", "cow", "hen") and naming_another(texts, names) == 3
    frame = pd.DataFrame({"statement": texts, "label": [1, 0, 1, 0]})
    assert "3 of 4 statements also name the entity of another group" in load_statements(frame).notes[0]
    assert naming_another(["The dog is old.", "The cat is old."], ["dog", "cat"]) == 0


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=8))
def test_any_text_has_an_entity_that_its_last_word_does_not_change(texts: list[str]):
    names = entities(texts)
    assert len(names) == len(texts) and all(names)
    twins = [f"{text} of {end}" for text in texts for end in ("tin", "gold")]
    found = entities(twins)
    assert found[::2] == found[1::2]
