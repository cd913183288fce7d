"""What would otherwise be a wrong number or an empty circuit is one line."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from interp.metrics import logit_difference, metric
from patching import circuits
from patching.circuits import Circuit, Graph

PAIRS = tiny.contrast(5, 5, 5, 5)
METRIC = logit_difference(PAIRS)


def nothing(logits):
    return logits[0] * float("nan")


def test_a_metric_of_other_pairs_is_refused(tiny_model):
    model, two = tiny_model("gpt2"), PAIRS.subset([2, 3])
    with pytest.raises(ValueError, match="was made for 4 prompts, got 2"):
        circuits.score_edges(model, two, METRIC)
    with pytest.raises(ValueError, match="was made for 2 prompts, got 4"):
        circuits.score_edges(model, PAIRS, METRIC.subset(torch.tensor([2, 3])))
    circuits.score_edges(model, two, METRIC.subset(torch.tensor([2, 3])), method="eap")


@pytest.mark.parametrize("method", ["exact", "eap"])
def test_a_metric_without_a_number_is_refused(tiny_model, method):
    with pytest.raises(ValueError, match=r"no number \(NaN\) on prompt 0"):
        circuits.score_edges(tiny_model("gpt2"), PAIRS, metric(nothing, PAIRS.clean), method=method)
    with pytest.raises(ValueError, match=r"no number \(NaN\) on prompt"):
        circuits.prune(tiny_model("gpt2"), PAIRS, nothing, threshold=0.1)


def test_a_threshold_without_a_number_is_refused(tiny_model):
    with pytest.raises(ValueError, match="threshold must be above 0, got nan"):
        circuits.prune(tiny_model("gpt2"), PAIRS, METRIC, threshold=float("nan"))
    scores = circuits.score_edges(tiny_model("gpt2"), PAIRS, METRIC, method="eap")
    with pytest.raises(ValueError, match="threshold got nan"):
        circuits.above(scores, float("nan"))


def test_scores_of_some_edges_cut_no_circuit_of_all(tiny_model):
    model = tiny_model("gpt2")
    screen = circuits.score_edges(model, PAIRS, METRIC, method="eap")
    some = circuits.verify(model, PAIRS, screen, METRIC, n=20, sample=0)
    with pytest.raises(ValueError, match=r"a size of 1 takes \d+ edges; got scores of 20"):
        circuits.evaluate(model, PAIRS, some, METRIC)
    circuits.evaluate(model, PAIRS, some, METRIC, sizes=(10 / screen.graph.n_edges,))
    with pytest.raises(ValueError, match="sample got int '-1'"):
        circuits.verify(model, PAIRS, screen, METRIC, n=20, sample=-1)


def test_edges_verified_on_other_pairs_are_of_these(tiny_model):
    model, others = tiny_model("gpt2"), tiny.contrast(4, 4)
    screen = circuits.score_edges(model, PAIRS, METRIC, method="eap")
    exact = circuits.verify(model, others, screen, logit_difference(others), n=5, sample=0)
    assert exact.groups == tuple(others.clean.groups) and exact.method == "exact"
    assert len(exact.evidence().table) == 5 * 2


def test_a_mask_of_numbers_is_refused():
    graph = Graph(2, 2, 2)
    with pytest.raises(ValueError, match=r"mask must be of True and False; got torch.int64"):
        Circuit(graph, torch.ones(graph.n_edges, dtype=torch.int64))


@pytest.mark.parametrize("method", ["random", "weights"])
def test_scores_that_read_no_prompt_tell_nothing_of_stability(tiny_model, method):
    found = circuits.discover(tiny_model("gpt2"), PAIRS, METRIC, n=40, method=method, resamples=5)
    assert "nothing is told of its stability" in repr(found) and "Jaccard" not in repr(found)
    found = circuits.discover(tiny_model("gpt2"), PAIRS, METRIC, n=40, method="eap", resamples=5)
    assert "Jaccard" in repr(found), "the control"


def test_circuits_that_are_all_empty_have_no_overlap(tiny_model):
    found = circuits.discover(tiny_model("gpt2"), PAIRS, METRIC, n=40, method="eap", resamples=5)
    empty = replace(found, jaccard=np.full(5, np.nan))
    assert "of none, all circuits being empty" in repr(empty)


@pytest.mark.parametrize("call", ["completeness", "minimality"])
def test_parts_of_another_models_circuit_are_refused(tiny_model, call):
    other = Graph(2, 2, 2)
    with pytest.raises(ValueError, match="circuit got Graph.*give this model's own"):
        getattr(circuits, call)(tiny_model("gpt2"), PAIRS, Circuit(other, other.mask()), METRIC)


@pytest.mark.parametrize("method", ["eap_ig", "eap_ig_activations", "clean_corrupted"])
def test_a_path_moves_only_where_edges_are_ablated(tiny_model, method):
    """The last tokens of the pairs are one: with positions="last" the input is never ablated."""
    model = tiny_model("gpt2")
    tokens = PAIRS.corrupted.tokens.clone()
    tokens[:, -1] = PAIRS.clean.tokens[:, -1]
    pairs = replace(PAIRS, corrupted=replace(PAIRS.corrupted, tokens=tokens))
    same = circuits.score_edges(model, pairs, METRIC, method=method, positions="last")
    plain = circuits.score_edges(model, pairs, METRIC, method="eap", positions="last")
    if method != "eap_ig_activations":
        assert torch.allclose(same.values, plain.values, atol=1e-5)
    everywhere = circuits.score_edges(model, pairs, METRIC, method=method)
    straight = circuits.score_edges(model, pairs, METRIC, method="eap")
    assert not torch.allclose(everywhere.values, straight.values, atol=1e-4), "the control"
