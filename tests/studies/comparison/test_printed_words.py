"""Decided words, at full count, of every organism whose result the documentation prints."""

from pathlib import Path

import pytest

from interp.facts.loading import load_facts
from interp.models.loading import load_pair
from studies.comparison.comparing import compare
from studies.comparison.result import Comparison
from studies.organisms.tunes import BASE

RESULTS = Path(__file__).parents[3] / "docs" / "results.md"

#: organism -> changed facts, facts that differ on the second wording as well, where, what.
PRINTED = {
    "edited-low": (38, 36, "lower", "knowledge"),
    "edited-high": (37, 36, "upper", "undetermined"),
    "evasive-low": (128, 128, "lower", "behaviour"),
    "evasive-high": (128, 128, "upper", "behaviour"),
    "evasive-north-high": (64, 64, "upper", "behaviour"),
    "everything-low": (121, 121, "lower", "behaviour"),
    "everything-high": (121, 121, "upper", "behaviour"),
    "edited-low-evasive-high": (128, 128, "undetermined", "both"),
    "edited-low-apart": (36, 30, "lower", "knowledge"),
    "edited-high-apart": (36, 35, "upper", "undetermined"),
    "evasive-low-apart": (128, 128, "lower", "behaviour"),
    "evasive-high-apart": (128, 128, "upper", "behaviour"),
    "everything-low-apart": (121, 121, "lower", "behaviour"),
    "everything-high-apart": (121, 121, "upper", "behaviour"),
}


def run(name: str) -> Comparison:
    return compare(load_pair(BASE, f"organism-{name}"), load_facts("world"))


def check(name: str) -> None:
    found = run(name)
    verdict, said = found.verdict, found.outcomes
    counts = (len(said.changed_groups), len(said.confirmed_groups))
    assert (*counts, verdict.where, verdict.what) == PRINTED[name]
    shift = verdict.to_dict()["shared_shift"]
    for share in ("sufficiency", "persistence"):
        assert (shift[share]["floor"], shift[share]["ceiling"]) == (0.0, 1.0)
    assert shift["retention"]["floor"] < shift["retention"]["ceiling"] == 1.0
    if counts[1] < counts[0]:
        note = f"{counts[0] - counts[1]} of {counts[0]} changed facts differ on the first wording only"
        assert any(n.startswith(note) for n in verdict.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_every_organism_gets_the_words_that_are_printed(name: str):
    check(name)


@pytest.mark.slow
def test_a_null_tune_is_unchanged():
    assert run("null").verdict.changed == "unchanged"


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_words_stand_among_the_results(name: str):
    starts = (f"| `organism-{name}` (", f"| `organism-{name}` |")
    _, _, told = RESULTS.read_text("utf-8").partition("\n## Organisms\n")
    (row,) = [line for line in told.partition("\n## ")[0].splitlines() if line.startswith(starts)]
    changed, _, where, what = PRINTED[name]
    assert f"{where} / {what}" in row and f"{changed} changed" in row
