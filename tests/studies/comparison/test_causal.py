"""Which rows the causal half rests on: targets on the form that is read, and pairs from few facts."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from interp.facts.loading import load_facts
from interp.models.loading import load_pair
from interp.verdict.thresholds import Thresholds
from studies.comparison.answers import ask_both
from studies.comparison.causal import CROSS_PATCHED, HANDOVER_PAIRS, RowPlan, gridded
from studies.comparison.comparing import compare
from studies.comparison.known_questions import base_pairs, known_questions
from studies.comparison.outcome_table import outcomes_of
from studies.comparison.representational import asked_facts, attributes, on_few

FACTS = 24
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "own-facts.md"


@pytest.fixture(scope="module")
def asked():
    """An evasion, in which two entities answer as before on form B, and one another word there."""
    pair = load_pair("organism-base", "organism-evasive-high")
    answers = ask_both(pair, load_facts("world").subset(list(range(FACTS))))
    queries, base = answers.queries, answers.base
    tokens = list(answers.tuned.tokens)
    on_b = [i for i, form in enumerate(queries.examples.templates) if form == "B"]
    for i in on_b[:2]:
        tokens[i] = base.tokens[i]
    tokens[on_b[2]] = base.tokens[on_b[3]]
    answers = replace(answers, tuned=replace(answers.tuned, tokens=tuple(tokens)))
    outcomes = outcomes_of(pair, answers)
    return known_questions(pair, answers, outcomes), outcomes, answers


def test_the_target_is_what_the_tuned_model_says_on_the_form_that_is_read(asked):
    known, outcomes, answers = asked
    queries, tuned = answers.queries, answers.tuned
    own = {
        (g, form): tokens[0]
        for g, form, tokens in zip(
            queries.examples.groups, queries.examples.templates, tuned.tokens, strict=True
        )
    }
    rows = zip(known.examples.groups, known.examples.templates, strict=True)
    assert known.target.tolist() == [own[row] for row in rows]
    assert outcomes.estimating_form == "B" and len(outcomes.changed_groups) == FACTS
    # Contrasts stay chosen on A: the odd word of B is a target and no contrast.
    i = known.examples.groups.index(queries.examples.groups[2])
    assert int(known.minus[i]) == own[known.examples.groups[i], "A"] != int(known.target[i])


def test_what_differs_on_one_form_only_is_counted_and_not_asked(asked):
    known, outcomes, _ = asked
    assert len(outcomes.confirmed_groups) == FACTS - 2
    shifted = {known.examples.groups[i] for i in known.shifted_rows.nonzero()[:, 0].tolist()}
    assert shifted == set(outcomes.confirmed_groups)
    assert known.output_rows.sum() == FACTS, "its place is still read"


def test_twenty_facts_form_the_pairs_a_handover_needs(asked):
    known, *_ = asked
    rows = known.examples.groups[:20]
    few = base_pairs(known, most=40, groups=rows)
    many = base_pairs(known, most=10)
    assert few is not None and many is not None and len(few) >= Thresholds().handover_pairs
    pairs = set(zip(few.clean.groups, few.corrupted.groups, strict=True))
    assert len(pairs) == len(few) and all(a != b for a, b in pairs)
    assert {a for a, _ in pairs} == set(rows), "every entity takes part"
    assert len(many) == 10 and len(set(many.clean.groups)) == 10, "enough facts: each pairs once"


def test_every_intervention_runs_on_the_rows_it_is_defined_on(asked):
    known, *_ = asked
    plan = RowPlan.of(known, Thresholds(), 0)
    assert set(plan.stitched) == {"output", "fact", "said"}
    assert plan.stitched["said"].equal(known.shifted_rows)
    assert not (plan.stitched["said"] & ~plan.stitched["output"]).any(), "what is said is an output"
    assert plan.paired is not None and len(plan.paired) <= HANDOVER_PAIRS
    assert known.output_rows[plan.crossed].all() and len(plan.crossed) == CROSS_PATCHED
    assert plan.shifted[plan.pushed].tolist() == known.shifted_rows.nonzero()[:, 0].tolist()


def test_fewer_changed_rows_are_shifted_where_fewer_are_allowed_and_every_unchanged_one(asked):
    known, *_ = asked
    calm = replace(known, changed=known.changed & (torch.arange(len(known.changed)) % 2 == 0))
    some, again, other = (RowPlan.of(calm, Thresholds(shifted_groups=5), seed) for seed in (0, 0, 1))
    assert int(some.pushed.sum()) == 5 and some.shifted.tolist() == sorted(some.shifted.tolist())
    assert some.shifted.tolist() == again.shifted.tolist() != other.shifted.tolist()
    unchanged = (known.estimating & known.plain & ~calm.changed).nonzero()[:, 0].tolist()
    assert some.shifted[~some.pushed].tolist() == unchanged
    none = RowPlan.of(replace(known, changed=torch.zeros_like(known.changed)), Thresholds(), 0)
    assert set(none.stitched) == {"output", "fact"} and not len(none.crossed) and not none.pushed.any()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "what"), [(20, "behaviour"), (12, "undetermined")])
def test_the_least_numbers_are_those_that_the_thresholds_name(count: int, what: str):
    """A place from 12 changed facts; a kind from 20 known facts, and the note says so otherwise."""
    facts = load_facts("world").subset(list(range(count)))
    found = compare(load_pair("organism-base", "organism-evasive-high"), facts).verdict
    assert (found.where, found.what) == ("upper", what)
    needs = [note for note in found.notes if Thresholds().needs in note]
    assert bool(needs) == (what == "undetermined")


def test_the_page_on_facts_and_the_plan_say_the_numbers_of_the_thresholds():
    for number in (12, 20, 30, 59):
        assert f" {number} " in Thresholds().needs
    assert Thresholds().needs in PAGE.read_text("utf-8")


def columns(**cells) -> pd.DataFrame:
    table = pd.DataFrame(
        {"subject": list("abcdefghijklmnopqrst"), "answer": list("ABCDEFGHIJKLMNOPQRST")}
    )
    table.attrs["templates"] = ["The answer of {subject} is", "We know {subject} has"]
    return table.assign(**cells)


def test_every_column_is_probed_or_the_note_says_why_not():
    even, names = ["x", "y"] * 10, [f"n{i}" for i in range(20)]
    rare = ["z"] * 3 + ["w"] * 17
    found, reasons = attributes(load_facts(columns(even=even, names=names, rare=rare)))
    assert [a.name for a in found] == ["even = x"]
    assert sum(found[0].label.values()) == 10
    assert len(reasons) == 2 and all("either side needs 8" in r for r in reasons)
    assert any("'rare'" in r and "3" in r and "17" in r for r in reasons)


def test_an_attribute_with_a_small_side_is_named_in_a_note():
    facts = load_facts(columns(rare=["z"] * 3 + ["w"] * 17, even=["x", "y"] * 10))
    (even,), _ = attributes(facts)
    _, rare = attributes(facts, Thresholds(attribute_side=3))[0]
    assert "'rare = w' was probed on 20 entities of which 3" in on_few(rare)
    assert on_few(even) == "", "the control: sides of ten"
    found, reasons = attributes(asked_facts(facts, facts.groups[:14]))
    assert found == () and "'even'" in reasons[0] and "into 7 and 7" in reasons[0]


def test_a_column_is_split_alike_whatever_the_order_of_its_rows():
    table = columns(kind=["p"] * 8 + ["q"] * 8 + ["r"] * 4)
    turned = table.iloc[::-1]
    turned.attrs = table.attrs
    first, again = (attributes(load_facts(t))[0] for t in (table, turned))
    assert [a.name for a in first] == [a.name for a in again]
    assert first[0].label == again[0].label


def test_the_number_behind_unchanged_is_the_exact_bound():
    for alpha, share, least in ((0.05, 0.05, 59), (0.05, 0.1, 29), (0.01, 0.05, 90)):
        thresholds = Thresholds(alpha=alpha, change_share=share)
        assert thresholds.unchanged_facts == least
        assert (1 - share) ** least <= alpha < (1 - share) ** (least - 1)


def test_a_full_grid_has_fewer_pairs_where_they_are_long_and_one_at_least():
    short, long, longest = (tiny.contrast(*[n] * 6) for n in (9, 25, 80))
    for pairs in (short, long, longest):
        pairs.corrupted.tokens[:, 0] = (pairs.clean.tokens[:, 0] + 1) % tiny.VOCABULARY
    assert [len(gridded(pairs)) for pairs in (short, long, longest)] == [4, 2, 1]
    late = tiny.contrast(*[80] * 6)
    late.corrupted.tokens[:] = late.clean.tokens
    late.corrupted.tokens[:, -5:] += 1
    assert len(gridded(late)) == 4, "what a template has in front of them counts for nothing"
