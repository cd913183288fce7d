"""Every word that a verdict can say is in the glossary, and every home that it names exists."""

from importlib.util import find_spec

import pytest

from interp.glossary.lookup import GLOSSARY, by_group, define
from interp.verdict.answers import SHARES, TABLE
from interp.verdict.output_words import WORDS

ASKED = (
    "stitching", "boundary", "U/V", "handover", "organism", "null tune", "control task", "selectivity",
    "S/F/R", "foil", "donor", "nats", "form", "group", "layer-token", "place", "content", "persistence",
    "shared shift", "changed", "unchanged", "undetermined", "lower", "upper", "distributed", "mixed",
    "depth of a change", "hidden", "suppressed", "overwritten", "recited", "relearning",
    "supported", "decodable-inert", "causal-uncharacterised", "null", "not measured",
)  # fmt: skip


def test_words_that_a_verdict_says_are_defined():
    for word in (*ASKED, *WORDS.values(), *SHARES, *(row[-1] for row in TABLE)):
        assert define(word).meaning.endswith(".")


def test_every_word_has_one_entry_and_a_home_that_exists():
    names = [name for term in GLOSSARY for name in (term.word, *term.also)]
    assert len(names) == len(set(names))
    assert [term.home for term in GLOSSARY if find_spec(term.home) is None] == []
    assert sum(map(len, by_group().values())) == len(GLOSSARY)
    assert all(1 <= term.meaning.count(". ") + 1 <= 3 for term in GLOSSARY)


@pytest.mark.parametrize(
    ("written", "word"),
    [("S", "sufficiency"), ("Layer_tokens", "layer-token"), ("shared-shift test", "shared shift"),
     ("κ", "handover"), ("share_lower", "share lower"), ("null_tune", "null tune")],
)  # fmt: skip
def test_a_word_is_found_however_it_is_written(written: str, word: str):
    assert define(written).word == word


def test_an_unknown_word_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="no word 'sufficency' .* such as sufficiency"):
        define("sufficency")
