"""Verdict words on fabricated pairs whose place and content are known."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from verdict_cases import UNKNOWN, fake_case

from interp.evidence import Evidence
from interp.verdict.answers import chance_by_part
from interp.verdict.boundaries import installed_boundary, record
from interp.verdict.changed import judge_change
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict
from interp.verdict.thresholds import Thresholds

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
        ("mixed_classes", "upper", "upper", "mixed"),
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
    few = without(causal, condition="placebo", draw=list(range(50)))
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


def test_each_output_of_a_mixed_pair_has_its_own_word():
    outcomes, _, _ = case("mixed_classes")
    evasive = {
        g
        for g, t in zip(
            outcomes.changed_groups, outcomes.token_classes(outcomes.changed_groups), strict=True
        )
        if t == UNKNOWN
    }
    rows = {r["group"]: r for r in verdict("mixed_classes").items if r["what"]}
    assert {rows[g]["word"] for g in evasive} == {"shared push"}
    assert {rows[g]["word"] for g in set(rows) - evasive} == {"item by item"}
    assert np.mean([rows[g]["what"] == "behaviour" for g in evasive]) > 0.9
    assert {rows[g]["what"] for g in set(rows) - evasive} == {"knowledge"}
    shown = {w["word"]: w for w in verdict("mixed_classes").to_dict()["shared_shift"]["output_words"]}
    assert set(shown["shared push"]["groups"]) == evasive
    assert sum(w["estimate"] for w in shown.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("pushed", "neither", "kind"),
    [
        (4, 0, "knowledge"),
        (14, 0, "mixed"),
        (40, 0, "mixed"),
        (14, 5, "mixed"),
        (14, 16, "undetermined"),
    ],
)
def test_a_change_is_mixed_when_both_shares_are_certainly_a_tenth(pushed: int, neither: int, kind: str):
    """Of 54 edited outputs so many follow a push, or neither: 4 or 5 may be chance, 14 or 16 not."""
    outcomes, probes, causal = fake_case("edited_middle", 60, LAYERS, claims=False)
    table = outcomes.table.copy()
    table["differs"] = table["known"] & table["group"].isin([f"Country {i:03d}" for i in range(36)])
    rows = causal.table.astype({"condition": str, "group": str, "metric": str})
    changed = sorted(outcomes.changed_groups)
    first, lost = (round(n * len(changed) / 54) for n in (pushed, pushed + neither))
    said = rows["metric"] == "said"
    suffices, persists = (rows["condition"] == name for name in ("sufficiency", "persistence"))
    rows.loc[said & rows["group"].isin(changed[:first]) & suffices, "value"] = 1.0
    rows.loc[said & rows["group"].isin(changed[:lost]) & persists, "value"] = 0.0
    found = judge(outcomes, probes, Evidence(rows, causal.provenance))
    assert found.what == kind
    told = any("neither follow a push nor stay with their own fact" in note for note in found.notes)
    assert told == (kind == "undetermined")


def test_what_the_two_halves_were_read_at_is_taken_from_the_measurement():
    """With the record, another seed of the judge changes nothing; without it the halves move."""
    outcomes, probes, causal = case("evasive_high")
    form = outcomes.estimating_form
    halves = installed_boundary(causal, outcomes.changed_groups, seed=7, form=form)
    recorded = Evidence.concat([causal, record(halves, form)])
    for seed in (0, 1):
        found = judge(outcomes, probes, recorded, seed=seed).content
        assert found is not None and found.installed == halves
    without_record = judge(outcomes, probes, causal, seed=0).content
    assert without_record is not None and without_record.installed != halves


def test_k_star_waits_until_the_tuned_state_makes_the_base_say_the_token():
    """A contrast that has moved is not yet an answer: no word before the tuned token wins."""
    outcomes, _, causal = case("evasive_low")
    groups, form = outcomes.changed_groups, outcomes.estimating_form
    early = installed_boundary(causal, groups, form=form).last
    assert early is not None and early < LAYERS
    rows = causal.where(method="stitch", metric="output").astype({"metric": str})
    rows["metric"] = "said"
    rows["value"] = (rows["layer"].isna() | (rows["layer"] >= LAYERS)).astype(float)
    said = Evidence.concat([causal, Evidence(rows)])
    assert installed_boundary(said, groups, form=form).last == LAYERS


def test_shares_stand_beside_their_floor_and_ceiling():
    outcomes, probes, causal = case("evasive_high")
    ends = {("said", "base"): 0.0, ("said", "tuned"): 1.0, ("closed_set", "base"): 1.0}
    ends[("closed_set", "tuned")] = 0.25
    groups = list(outcomes.changed_groups)
    rows = [
        Evidence.build(
            [value] * len(groups), method="shift", condition="baseline", metric=metric, model=model,
            group=groups, template=outcomes.estimating_form, unit="share",
        )
        for (metric, model), value in ends.items()
    ]  # fmt: skip
    shift = judge(outcomes, probes, Evidence.concat([causal, *rows])).to_dict()["shared_shift"]
    found = {n: (shift[n]["floor"], shift[n]["ceiling"]) for n in ("sufficiency", "retention")}
    assert found == {"sufficiency": (0.0, 1.0), "retention": (0.25, 1.0)}


@pytest.mark.parametrize("name", sorted(Thresholds().to_dict()))
def test_every_threshold_is_read_where_something_is_decided(name: str):
    sources = [
        path.read_text()
        for package in ("interp", "patching", "studies")
        for path in Path(__file__).parents[3].joinpath(package).rglob("*.py")
        if path.name != "thresholds.py"
    ]
    assert any(f"thresholds.{name}" in text or f'limits["{name}"]' in text for text in sources)


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


def test_chance_knows_the_part_of_a_group_and_nothing_else():
    towns = [i % 20 for i in range(60)]
    north_south = [int(town < 10) for town in towns]
    assert chance_by_part([0] * 60, towns, 8) == pytest.approx(1 / 20), "one answer for all"
    assert chance_by_part(north_south, towns, 8) == pytest.approx(1 / 10), "a part's ten towns"
    assert chance_by_part(list(range(60)), towns, 8) == pytest.approx(1 / 20), "no part is large enough"
    assert chance_by_part(towns, towns, 3) == 1, "the control: a part that is the answer"
