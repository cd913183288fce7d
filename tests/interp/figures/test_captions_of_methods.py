"""A caption names the models and the metric, whatever method the numbers are of."""

from __future__ import annotations

import pytest

import interp
import patching
from interp import Evidence
from interp.figures.captions import caption_of


@pytest.fixture(scope="module")
def pair():
    return interp.load_pair("organism-base", "organism-evasive-high")


@pytest.fixture(scope="module")
def pairs(pair):
    facts = interp.load_facts("world").subset([0, 1, 2, 4])
    texts, answers = facts.prompts(0), facts.answers
    return interp.Contrast.from_text(
        pair.base, texts[:3], texts[1:], answers[:3], answers[1:],
        clean_groups=["a", "b", "c"], corrupted_groups=["b", "c", "d"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def stitched(pair, pairs):
    return patching.stitch(pair, pairs.clean, interp.logit_difference(pairs))


def test_of_one_model(pair, pairs):
    heads = interp.every_head(interp.Kind.Z, pair.base.n_layers, pair.base.n_heads())
    metric = interp.logit_difference(pairs)
    for measured in (
        patching.ablate(pair.base, pairs.clean, heads[:2], metric, how="zero"),
        patching.attribute(pair.base, pairs, heads[:2], metric),
    ):
        caption = caption_of(measured.plot())
        assert "Model: organism-base. Metric: logit_difference (logits)." in caption
        assert "Tuned" not in caption


def test_of_two_models(stitched):
    caption = caption_of(stitched.plot())
    assert "Base: organism-base. Tuned: organism-evasive-high." in caption
    assert "Metric: logit_difference (logits)." in caption


def test_a_name_that_was_not_noted_is_told_by_its_role(stitched):
    assert "Base: the base. Tuned: the tuned." in caption_of(Evidence(stitched.table).plot())


def test_curves_of_a_metric_of_ones_own_are_drawn(pair, pairs):
    own = interp.logit_difference(pairs)
    crossed = patching.cross_patch(pair, pairs.clean, {"mine": own}, positions="all")
    assert set(crossed.plot().source.table["span"]) == {"all"}
    both = patching.cross_patch(pair, pairs.clean, {"mine": own, "other": own}, positions="all")
    with pytest.raises(ValueError, match="show one metric, got mine, other; choose"):
        both.plot()


def test_one_group_has_no_intervals(stitched):
    with pytest.raises(ValueError, match="over groups of prompts, got 1 group; give prompts of two"):
        stitched.select(group="a").plot()
