"""Grades of claims: every row of the table, and placebos that must not pass."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from verdict_cases import fake_case

from interp.evidence import Evidence
from interp.verdict.answers import word
from interp.verdict.claims import Claim, grade_claims
from interp.verdict.claims.readable import difference
from interp.verdict.thresholds import Thresholds

LAYERS = 12


@cache
def evidence() -> tuple[Evidence, Evidence]:
    _, probes, causal = fake_case("evasive_high", 60, LAYERS)
    return probes, Evidence(causal.where(method="claim"))


def grades(probes: Evidence, causal: Evidence) -> dict[str, Claim]:
    return {c.attribute: c for c in grade_claims(probes, causal, Thresholds())}


@cache
def graded() -> dict[str, Claim]:
    return grades(*evidence())


@pytest.mark.parametrize(
    ("attribute", "grade"),
    [
        ("continent", "supported"),
        ("has a coast", "decodable-inert"),
        ("currency", "causal-uncharacterised"),
        ("shuffled", "null"),
        ("initial A-M", "undetermined"),
    ],
)
def test_every_row_of_the_table(attribute: str, grade: str):
    assert graded()[attribute].grade == grade


def test_a_readable_placebo_without_use_is_never_supported():
    """Read at .95 and swapped with the effect of a control-task direction: not supported."""
    probes, causal = evidence()
    rows = probes.table.copy()
    for attribute in ("continent", "initial A-M"):
        mine = rows["metric"] == attribute
        source = rows[rows["metric"] == "continent"]
        rows.loc[mine, "value"] = source["value"].to_numpy()
    claim = grades(Evidence(rows), causal)["initial A-M"]
    assert claim.pieces["readable"] is True and claim.pieces["used"] is False
    assert claim.grade != "supported"


def test_the_swap_must_beat_the_largest_control_direction():
    probes, causal = evidence()
    rows = causal.table.copy()
    mine = rows["metric"] == "continent"
    swap = rows[mine & (rows["condition"] == "swap")].set_index("example")["value"]
    strong = mine & (rows["condition"] == "swap_control_task") & (rows["draw"] < 10)
    rows.loc[strong, "value"] = swap.loc[rows.loc[strong, "example"]].to_numpy() + 1.0
    claim = grades(probes, Evidence(rows))["continent"]
    assert claim.use.p is not None and claim.use.p > 0.05
    assert claim.grade == "undetermined"


def test_every_trivial_reader_must_be_beaten():
    probes, causal = evidence()
    rows = probes.table.copy()
    surface = (rows["condition"] == "surface") & (rows["metric"] == "continent")
    named = rows[surface].assign(condition="surface_tokens")
    letters = rows[(rows["condition"] == "probe") & (rows["metric"] == "continent")]
    letters = letters.assign(condition="surface_letters")
    rest = rows[~surface]
    weak = grades(Evidence(pd.concat([rest, named])), causal)["continent"]
    assert weak.grade == "supported"
    strong = grades(Evidence(pd.concat([rest, named, letters])), causal)["continent"]
    assert strong.reading.readable is False and strong.grade != "supported"


def test_removal_must_agree_in_sign():
    probes, causal = evidence()
    rows = causal.table.copy()
    mine = (rows["metric"] == "continent") & (rows["condition"] == "project_out")
    rows.loc[mine, "value"] = 2 * 4.0 - rows.loc[mine, "value"] + 1.0
    assert grades(probes, Evidence(rows))["continent"].grade == "undetermined"


def test_shuffled_labels_are_never_above_null():
    """Probe correctness and permutation statistics redrawn at chance for every attribute."""
    probes, causal = evidence()
    rng = np.random.default_rng(1)
    rows = probes.table.copy()
    read = (rows["method"] == "probe").to_numpy()
    rows.loc[read, "value"] = rng.integers(0, 2, read.sum()).astype(np.float32)
    seen = ((rows["method"] == "readable") & (rows["condition"] == "observed")).to_numpy()
    rows.loc[seen, "value"] = (0.5 + 0.05 * rng.normal(size=seen.sum())).astype(np.float32)
    found = grades(Evidence(rows), causal)
    assert {c.grade for c in found.values()} <= {"null", "undetermined"}


@pytest.mark.parametrize(
    ("gone", "attribute", "named"),
    [
        ({"condition": "control_task"}, "continent", "control task"),
        ({"condition": "surface"}, "continent", "surface baseline"),
        ({"condition": "permutation"}, "continent", "label permutations"),
        ({"condition": "planted"}, "shuffled", "planted"),
        ({"condition": "swap"}, "continent", "swap"),
        ({"condition": "swap_control_task"}, "continent", "swap_control_task"),
        ({"condition": "project_out"}, "continent", "project_out"),
        ({"condition": "project_out_later"}, "has a coast", "project_out_later"),
        ({"condition": "whole_state"}, "shuffled", "whole_state"),
    ],
)
def test_missing_evidence_leaves_a_claim_undetermined(gone: dict, attribute: str, named: str):
    kept = [Evidence(e.table.drop(e.where(**gone).index)) for e in evidence()]
    claim = grades(kept[0], kept[1])[attribute]
    assert claim.grade == "undetermined"
    assert any(named in note for note in claim.notes)


def test_absence_needs_a_plant_that_is_found():
    probes, causal = evidence()
    rows = probes.table.copy()
    rows.loc[rows["condition"] == "planted", "value"] = 0.02
    assert grades(Evidence(rows), causal)["shuffled"].grade == "undetermined"


def test_attributes_without_interventions_get_one_claim_per_model_at_the_best_site():
    probes, _ = evidence()
    claims = grade_claims(probes, Evidence.concat([]), Thresholds())
    assert sorted((c.attribute, c.model) for c in claims) == sorted(
        (a, m) for a in graded() for m in ("base", "tuned")
    )
    assert {c.grade for c in claims} == {"not measured"}
    assert all("not measured" in note for c in claims for note in c.notes if "swap" in note)


def test_difference_is_balanced_over_unequal_classes():
    """A probe that always says the common class is at chance, however common that class is."""
    label = np.r_[np.zeros(90), np.ones(10)]
    rows = pd.DataFrame(
        {"group": [f"g{i}" for i in range(100)], "draw": 0, "label": label,
         "value": (label == 0).astype(float)}
    )  # fmt: skip
    other = rows.assign(value=1.0)
    gap = difference(rows, other, Thresholds(), 0)
    assert gap is not None and gap.estimate == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("levels", "what"),
    [
        (("high", "high", "low"), "behaviour"),
        (("high", "high", "undetermined"), "behaviour"),
        (("high", "low", "high"), "both"),
        (("low", "low", "high"), "knowledge"),
        (("low", "high", "high"), "knowledge"),
        (("low", "low", "low"), "undetermined"),
        (("low", "high", "undetermined"), "undetermined"),
        (("undetermined", "high", "high"), "undetermined"),
        (("high", "undetermined", "low"), "undetermined"),
    ],
)
def test_the_table_of_words(levels: tuple[str, str, str], what: str):
    assert word(*levels) == what
