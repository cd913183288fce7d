"""The recall study on a model whose circuit is known to be short, and on one that knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

import interp
from studies.recalling import Curve, recall


def test_a_curve_finds_its_peak_and_band():
    generator = np.random.default_rng(0)
    shape = np.array([0.0, 0.0, 1.0, 3.0, 1.0, 0.0])
    values = shape + 0.3 * generator.standard_normal((40, 6))
    curve = Curve.of(values)
    assert curve.peak == 3 and set(curve.peaks.tolist()) == {3}
    assert set(curve.band()) >= {2, 3, 4}
    assert ((curve.low < curve.estimate) & (curve.estimate < curve.high)).all()
    flat = Curve.of(generator.standard_normal((40, 6)))
    assert len(flat.band()) <= 2 and len(set(flat.peaks.tolist())) > 1


@pytest.fixture(scope="module")
def found():
    return recall(interp.load_model("organism-base"), "world")


def test_the_organism_looks_facts_up_at_the_entity_and_moves_them_late(found):
    assert found.known == 128
    assert (found.handover.estimate, found.handover.high) == (5, 5)
    assert found.knockout.low.max() > 1
    assert found.mlp.peak < found.attention.peak and found.earlier > 0.95
    assert "known facts" in str(found) and "handover" in str(found)


def test_effects_are_differences_of_the_evidence_behind_them(found):
    table = found.evidence.where(method="knockout")
    baseline = table[table["condition"] == "baseline"]["value"].mean()
    cut = table[(table["condition"] == "knocked_out") & (table["layer"] == 3)]["value"].mean()
    assert found.knockout.estimate[3] == pytest.approx(baseline - cut, abs=1e-4)
    # Means over entities and noise draws of a balanced table: the difference of the two means.
    traced = found.evidence.where(method="trace", condition="restored", kind="mlp_out", layer=2)
    corrupted = found.evidence.where(method="trace", condition="corrupted", kind="mlp_out")
    gained = traced["value"].mean() - corrupted["value"].mean()
    assert found.mlp.estimate[2] == pytest.approx(gained, abs=1e-4)


def test_a_model_that_knows_nothing_is_named():
    with pytest.raises(
        ValueError, match="no fact of 'capitals' can be asked: .* is not in the tokenizer's vocabulary"
    ):
        recall(interp.load_model("organism-base"), "capitals")
