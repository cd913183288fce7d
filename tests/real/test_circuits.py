"""Circuits of the real language model, SmolLM2-135M: exact edges, and a screen above chance."""

from __future__ import annotations

import pytest
import torch

import interp
from benchmarks import plain_edges
from benchmarks.circuits import pairs
from patching import circuits
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model():
    return interp.load_model("smollm2")


@pytest.fixture(scope="module")
def contrast(model):
    return pairs(model)["second subject"]


def test_exact_edges_equal_one_forward_for_each(model, contrast):
    setting = Setting.of(model, contrast, interp.logit_difference(contrast))
    names = ["m0->a1.g0<v>", "a3.h2->m20", "input->a12.h4<q>", "m25->a29.g2<k>", "a28.h1->logits"]
    mask = setting.parts.graph.mask(names)
    found = exact_scores(setting, mask)
    expected = plain_edges.scores(model, contrast, names)
    numbers = [setting.parts.graph.index(name) for name in names]
    assert (found[numbers] - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))
    assert (expected[0] - expected[4]).abs().max() > 1e-3, "the control: another edge's score"


def test_a_screen_carries_more_than_chance_and_the_whole_graph_is_the_model(model, contrast):
    metric = interp.logit_difference(contrast)
    area = {}
    for method in ("eap_ig", "random"):
        scores = circuits.score_edges(model, contrast, metric, method=method)
        runs = circuits.evaluate(model, contrast, scores, metric, sizes=(0.02, 0.1, 0.5, 1.0))
        curve = circuits.faithfulness(runs)
        whole = torch.tensor(curve.loc[curve["share"] == 1, "estimate"].to_numpy(float))
        assert torch.allclose(whole, torch.ones(2, dtype=whole.dtype), atol=1e-3)
        areas = circuits.benchmark_areas(runs).set_index("measure")
        area[method] = areas.loc["CPR", ["low", "high"]].tolist()
    assert area["eap_ig"][0] > area["random"][1]
