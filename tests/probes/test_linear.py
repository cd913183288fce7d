"""The frozen probe: its type, its held-out predictions, and draws that lack a class."""

import numpy as np
import torch
from probe_toys import planted

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.class_means import MassMean
from probes.linear import LinearProbe, predicted_classes, predictions, weight_dtype

SITE = Site(Kind.RESID_PRE, 1)


def test_weights_of_integers_are_floats_and_others_keep_their_type() -> None:
    # The shape checks of the tests let no integers into a probe; a user's session does.
    for kind in (torch.int64, torch.uint8, torch.bool):
        assert weight_dtype(torch.ones(2, 2, dtype=kind)) == torch.float32
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        assert weight_dtype(torch.ones(2, 2, dtype=kind)) == kind


def test_a_probe_takes_type_place_and_position_of_its_activations():
    values = torch.randn(4, 3, dtype=torch.float64)
    read = Activations(SITE, values, ("a", "b", "c", "d"), None, "subject_last")
    weight, bias = torch.randn(2, 2, 3), torch.randn(2, 2)  # two draws, of which the first counts
    probe = LinearProbe.of(read, (weight, bias), estimator="mine", classes=(0, 1), score=0.5)
    assert probe.site == SITE and probe.position == "subject_last" and probe.score == 0.5
    assert probe.weight.dtype == torch.float64 and torch.equal(probe.weight, weight[0].double())
    assert not torch.equal(probe.weight, weight[1].double())


def test_a_draw_that_lacks_a_class_predicts_among_the_others():
    toy, _ = planted(n_groups=30, per_group=3, classes=3, strength=12.0)
    at = toy[SITE]
    assert at.labels is not None
    labels, half = at.labels.numpy(), np.arange(90) < 45
    splits = [(np.flatnonzero(half), np.flatnonzero(~half))]
    lacking = np.where(half & (labels < 2), labels, -1)[None, None]
    guess = predictions(MassMean(), at.values, lacking, splits, 3)[0]
    assert set(guess[half]) == {-1}, "no split held these out"
    assert set(guess[~half]) == {0, 1}, "the third class was never seen"
    right = guess[~half] == labels[~half]
    assert right[labels[~half] < 2].all() and not right[labels[~half] == 2].any()


def test_a_class_is_predicted_where_its_score_is_largest_and_none_where_there_is_no_score():
    scores = np.array([[0.0, 2.0, 1.0], [0.0, -np.inf, 1.0], [np.nan, np.nan, np.nan]])
    assert predicted_classes(scores).tolist() == [1, 2, -1]


def test_labels_may_be_truth_values():
    toy, _ = planted(n_groups=40)
    numbers = toy[SITE]
    assert numbers.labels is not None
    truth = Activations(SITE, numbers.values, numbers.groups, numbers.labels == 1)
    probe, same = probes.fit(truth), probes.fit(numbers)
    assert probe.classes == (False, True) and torch.equal(probe.weight, same.weight)
    assert probe.predict(truth.values).dtype == torch.bool
    assert probe.direction(True).site == SITE
    other = Activations(SITE, numbers.values, numbers.groups, numbers.labels == 0)
    assert torch.allclose(probes.fit(other).weight, -probe.weight, atol=1e-6)  # the control
    read = [probes.cross_validate(a, controls=(), seed=0) for a in (truth, numbers)]
    assert read[0].table["value"].equals(read[1].table["value"])
    assert read[0].provenance["classes.label"] == [False, True]
    lists = {"x": [bool(i % 2) for i in range(80)]}
    assert probes.fit_labels(numbers, lists)["x"].classes == (False, True)
