"""Verdict words on fabricated pairs whose place and content are known."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from verdict_cases import UNKNOWN, fake_case

from interp.change import judge_change
from interp.evidence import Evidence
from interp.outcomes import Outcomes
from interp.thresholds import Thresholds
from interp.verdict import Verdict, judge

LAYERS = 15


@cache
def case(kind: str, n_groups: int = 60) -> tuple[Outcomes, Evidence, Evidence]:
    return fake_case(kind, n_groups, LAYERS, claims=kind == "evasive_high")


@cache
def verdict(kind: str) -> Verdict:
    return judge(*case(kind))


def without(evidence: Evidence, **conditions) -> Evidence:
    return Evidence(evidence.table.drop(evidence.where(**conditions).index), evidence.provenance)


@pytest.mark.parametrize(
    ("kind", "where", "where_fact", "what"),
    [
        ("evasive_high", "upper", "upper", "behaviour"),
        ("evasive_low", "lower", "lower", "behaviour"),
        ("edited_low", "lower", "lower", "knowledge"),
        ("edited_low_evasive_high", "upper", "lower", "both"),
        ("edited_middle", "upper", "upper", "knowledge"),
        ("distributed", "distributed", "distributed", "behaviour"),
        ("order_gap", "undetermined", "undetermined", "behaviour"),
        ("embedding", "undetermined", "undetermined", "behaviour"),
        ("mixed_classes", "upper", "upper", "undetermined"),
        ("few_changed", "undetermined", "undetermined", "undetermined"),
        ("weight_noise", "undetermined", "undetermined", "undetermined"),
        ("placebo_wins", "upper", "upper", "undetermined"),
        ("leaky_control", "upper", "upper", "undetermined"),
        # Installed above the handover and no facts declared untouched: no word for knowledge.
        ("edited_high", "upper", "upper", "undetermined"),
    ],
)
def test_words_of_changed_pairs(kind: str, where: str, where_fact: str, what: str):
    found = verdict(kind)
    assert found.changed == "changed"
    assert (found.where, found.where_fact, found.what) == (where, where_fact, what)
    if "undetermined" in (where, what):
        assert any("undetermined" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["null", "sharpened", "identical"])
def test_nothing_is_located_where_nothing_changed(kind: str):
    found = verdict(kind)
    assert found.changed == "unchanged"
    assert (found.where, found.where_fact, found.what) == (None, None, None)
    assert found.sharpened == (kind == "sharpened")
    assert all(i["where"] is None and i["what"] is None for i in found.items)


def test_zero_flips_need_59_groups():
    words = {}
    for n in (58, 59):
        outcomes, _, _ = fake_case("null", n, 3, claims=False)
        words[n] = judge_change(outcomes, Thresholds(), 0).label
    assert words == {58: "undetermined", 59: "unchanged"}


def test_identical_logits_are_unchanged_however_few_the_groups():
    outcomes, _, _ = fake_case("identical", 10, 3, claims=False)
    assert judge_change(outcomes, Thresholds(), 0).label == "unchanged"
    same = replace(outcomes, identical=False)
    assert judge_change(same, Thresholds(), 0).label == "undetermined"


def test_a_loss_of_log_probability_alone_is_a_change_and_a_gain_is_not():
    outcomes, _, _ = fake_case("null", 60, 3, claims=False)
    words = {}
    for shift in (-1.0, -0.02, 1.0):
        table = outcomes.table.assign(logp_tuned=outcomes.table["logp_base"] + shift)
        found = judge_change(replace(outcomes, table=table), Thresholds(), 0)
        words[shift] = (found.label, found.sharpened)
    assert words == {
        -1.0: ("changed", False),
        -0.02: ("unchanged", False),
        1.0: ("unchanged", True),
    }


def test_changes_are_corrected_for_two_ways_to_change():
    """6 of 60: the exact lower bound just misses; one flip more is a change even after Holm."""
    words = []
    for flips in (6, 8):
        outcomes, _, _ = fake_case("null", 60, 3, claims=False)
        table = outcomes.table.copy()
        table["differs"] = table["group"].isin([f"Country {i:03d}" for i in range(flips)])
        words.append(judge_change(replace(outcomes, table=table), Thresholds(), 0).label)
    assert words == ["undetermined", "changed"]


def test_one_query_form_is_marked_selected_and_nothing_rests_on_it():
    outcomes, probes, causal = case("evasive_high")
    table = outcomes.table[outcomes.table["form"] == "A"]
    rows = causal.table.copy()
    rows["template"] = "A"
    found = judge(replace(outcomes, table=table), probes, Evidence(rows, causal.provenance))
    assert found.changed == "changed"
    assert (found.where, found.where_fact, found.what) == ("undetermined",) * 3
    assert any("selected" in note for note in found.notes)


def test_late_knowledge_needs_facts_that_stayed():
    """A late edit is knowledge beside an untouched reference, undetermined beside a touched one."""
    outcomes, probes, causal = case("edited_high")
    words = {}
    for touched in (False, True):
        more = outcomes.table[outcomes.table["group"].str.startswith("Country")].copy()
        more["group"] = "Other " + more["group"]
        more["untuned"] = True
        more["differs"] = touched
        table = pd.concat([outcomes.table, more], ignore_index=True)
        found = judge(replace(outcomes, table=table), probes, causal)
        words[touched] = found.what
        assert found.counts["known"] == 60  # the reference counts nowhere else
    assert words == {False: "knowledge", True: "undetermined"}


def test_missing_evidence_is_named_and_never_decided():
    outcomes, probes, causal = case("evasive_high")
    for method, word in (("stitch", "where"), ("handover", "what"), ("shift", "what")):
        found = judge(outcomes, probes, without(causal, method=method))
        assert getattr(found, word) == "undetermined", method
        assert any(f"{word}" in note and "undetermined" in note for note in found.notes)
    nothing = judge(outcomes, Evidence.concat([]), Evidence.concat([]))
    assert (nothing.changed, nothing.where, nothing.what) == ("changed", *["undetermined"] * 2)
    assert nothing.claims == ()
    json.dumps(nothing.to_dict(), allow_nan=False)


def test_sufficiency_needs_its_placebos():
    outcomes, probes, causal = case("evasive_high")
    assert judge(outcomes, probes, without(causal, condition="placebo")).what == "undetermined"
    few = without(causal, condition="placebo", seed=list(range(50)))
    assert judge(outcomes, probes, few).what == "undetermined"
    # A null tune whose shift does the same takes the word away as well.
    rows = causal.table.copy()
    rows.loc[rows["condition"] == "null_shift", "value"] = 1.0
    assert judge(outcomes, probes, Evidence(rows, causal.provenance)).what == "undetermined"


def test_retention_needs_its_control():
    outcomes, probes, causal = case("evasive_high")
    found = judge(outcomes, probes, without(causal, condition="retention_control"))
    assert found.what == "undetermined"


def test_items_say_where_and_what_one_by_one():
    found = verdict("edited_low_evasive_high")
    rows = pd.DataFrame(found.items)
    changed = rows[rows["contrast"] == "output"]
    assert set(changed["where"]) == {"upper"}
    assert (changed["what"] == "both").mean() > 0.9
    calm = rows[rows["contrast"] == "fact"]
    assert calm["where"].isna().all() and calm["what"].isna().all()
    assert set(rows["group"]) == set(case("edited_low_evasive_high")[0].known_groups)
    assert {r["group"] for r in found.unknown_items} == {f"Unknown {i}" for i in range(6)}


def test_items_of_a_mixed_pair_follow_their_class():
    """Evasions keep their word although the pair as a whole has none; the late edits get none."""
    outcomes, _, _ = case("mixed_classes")
    evasive = {
        g
        for g, t in zip(
            outcomes.changed_groups, outcomes.token_classes(outcomes.changed_groups), strict=True
        )
        if t == UNKNOWN
    }
    words = {r["group"]: r["what"] for r in verdict("mixed_classes").items if r["what"]}
    assert np.mean([words[g] == "behaviour" for g in evasive]) > 0.9
    assert {words[g] for g in set(words) - evasive} == {"undetermined"}


def test_items_whose_orders_disagree_have_no_place():
    places = {r["where"] for r in verdict("order_gap").items if r["contrast"] == "output"}
    assert places == {"undetermined"}


@pytest.mark.parametrize("kind", ["evasive_high", "null", "few_changed", "weight_noise"])
def test_data_is_plain_json_with_every_key(kind: str):
    data = verdict(kind).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {
        "changed", "sharpened", "where", "where_fact", "what", "share_lower",
        "share_before_handover", "handover_layer", "block_span", "responsibility", "shared_shift",
        "claims", "items", "excluded", "thresholds", "provenance",
    } <= set(data)  # fmt: skip
    assert data["thresholds"] == Thresholds().to_dict()
    assert set(data["items"][0]) >= {
        "text", "group", "answer", "said_base", "said_tuned", "contrast", "metric_base",
        "metric_tuned", "share_lower", "where", "what",
    }  # fmt: skip


def test_the_sentence_counts_places_and_explains():
    text = verdict("evasive_high").sentence
    assert "36 of 60" in text and "upper blocks (10-14)" in text and "behaviour" in text
    assert "overwritten" in verdict("edited_low_evasive_high").sentence
    assert "unchanged" in verdict("null").sentence and "surer" in verdict("sharpened").sentence
    assert "embedding" in verdict("embedding").sentence


def test_the_verdict_does_not_depend_on_row_order():
    outcomes, probes, causal = case("edited_low")
    order = np.random.default_rng(3).permutation(len(causal))
    shuffled = Evidence(causal.table.iloc[order].reset_index(drop=True), causal.provenance)
    again, first = judge(outcomes, probes, shuffled).to_dict(), verdict("edited_low").to_dict()
    assert again["share_lower"] == pytest.approx(first["share_lower"])
    assert again["what"] == first["what"]
