"""Outcomes hold their table to its shape and say which groups count."""

from dataclasses import replace

import numpy as np
import pytest
from verdict_cases import fake_case

from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds


@pytest.fixture
def outcomes() -> Outcomes:
    return fake_case("evasive_high", 20, 3, claims=False)[0]


def test_groups(outcomes: Outcomes):
    assert len(outcomes.known_groups) == 20 and len(outcomes.unknown_groups) == 6
    assert len(outcomes.changed_groups) == 12 and len(outcomes.unchanged_groups) == 8
    assert outcomes.differing(outcomes.known_groups) == 12
    assert outcomes.forms == ("A", "B")
    assert (outcomes.choosing_form, outcomes.estimating_form) == ("A", "B")
    assert outcomes.closed_set_accuracy("base", outcomes.known_groups) == 1.0
    assert outcomes.closed_set_accuracy("tuned", outcomes.known_groups) == pytest.approx(0.4)


def test_changed_is_decided_on_the_first_form_and_only_for_known_groups(outcomes: Outcomes):
    table = outcomes.table.assign(differs=outcomes.table["form"] == "B")
    assert replace(outcomes, table=table).changed_groups == ()
    table = outcomes.table.assign(differs=True)
    assert replace(outcomes, table=table).changed_groups == outcomes.known_groups


def test_forms_are_averaged_within_a_group(outcomes: Outcomes):
    table = outcomes.table.assign(logp_base=-1.0)
    table["logp_tuned"] = np.where(table["form"] == "A", -1.0, -3.0)
    change = replace(outcomes, table=table).logp_change(outcomes.known_groups)
    assert change == pytest.approx(np.full(20, -1.0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="known"), "missing \\['known'\\]"),
        (lambda t: t.assign(extra=1), "unknown \\['extra'\\]"),
        (lambda t: t[:0], "at least one row"),
        (lambda t: t.assign(form="A"), "one row per group and form"),
        (lambda t: t[~((t["group"] == "Country 003") & (t["form"] == "A"))], "lacks it"),
        (lambda t: t.assign(known=t["form"] == "A"), "varies within"),
        (lambda t: t.assign(logp_tuned=np.nan), "finite"),
        (lambda t: t.assign(logp_base=-np.inf), "finite"),
        (lambda t: t.assign(answer_token=None), "empty one"),
    ],
)
def test_malformed_tables_are_refused(outcomes: Outcomes, spoil, message: str):
    with pytest.raises(ValueError, match=message):
        Outcomes(spoil(outcomes.table))


def test_thresholds_keep_their_order():
    assert Thresholds().to_dict()["min_groups"] == 12
    with pytest.raises(ValueError, match="must be below"):
        Thresholds(upper_share=0.9)
