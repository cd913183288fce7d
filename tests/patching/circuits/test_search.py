"""Circuits chosen, pruned and found again."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from interp.metrics import logit_difference
from patching.circuits import (
    Circuit,
    Cutoffs,
    EdgeScores,
    Graph,
    above,
    discover,
    greedy,
    prune,
    score_edges,
    stability,
    verify,
)
from patching.circuits.running.passes import circuit_values
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores

PAIRS = tiny.contrast(5, 5, 5, 5)
METRIC = logit_difference(PAIRS)


def made(graph: Graph, values: torch.Tensor) -> EdgeScores:
    """Scores given by hand, each pair a group of its own."""
    groups = tuple(f"g{i}" for i in range(values.shape[1]))
    return EdgeScores(graph, values, "zero", "all", "m", "logits", groups, groups, "base", "eap")


def test_the_best_edges_are_taken_and_loose_ones_left_out():
    graph = Graph(1, 1, 1)
    values = dict.fromkeys(graph.names, 0.0)
    values |= {"input->m0": -3.0, "m0->logits": 2.0, "input->a0.h0<q>": 1.0, "a0.h0->m0": 0.5}
    scores = made(graph, torch.tensor([[values[name]] for name in graph.names]))
    assert scores.top(2).names == ()
    assert scores.top(2, prune=False).names == ("input->a0.h0<q>", "m0->logits")
    assert scores.top(2, absolute=True).names == ("input->m0", "m0->logits")
    assert above(scores, 0.5).names == ("input->a0.h0<q>", "input->m0", "a0.h0->m0", "m0->logits")
    assert above(scores, 0.6).names == ("input->m0", "m0->logits")
    grown = greedy(scores, 4)
    assert set(grown.names) == {"m0->logits", "input->m0", "a0.h0->m0", "input->a0.h0<q>"}


def test_growing_takes_no_edge_into_a_node_that_leads_nowhere():
    graph = Graph(2, 2, 2)
    values = dict.fromkeys(graph.names, 0.0)
    values |= {"input->a0.h0<q>": 9.0, "m1->logits": 5.0, "input->m1": 4.0}
    scores = made(graph, torch.tensor([[values[name]] for name in graph.names]))
    assert greedy(scores, 2).names == ("input->m1", "m1->logits")
    assert scores.top(2, prune=False).names != greedy(scores, 2).names


def removed_one_by_one(setting: Setting, threshold: float, mask: torch.Tensor) -> torch.Tensor:
    """ACDC as it is written: one edge at a time, each time the whole circuit."""
    graph, mask = setting.parts.graph, mask.clone()
    current = float(circuit_values(setting, mask[None]).mean())
    for destination in reversed(range(len(graph.destinations))):
        for source in reversed(range(graph.reads[destination])):
            edge = graph.starts[destination] + source
            if not mask[edge]:
                continue
            mask[edge] = False
            value = float(circuit_values(setting, mask[None]).mean())
            if current - value < threshold:
                current = value
            else:
                mask[edge] = True
    return mask


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_pruning_in_chains_is_pruning_one_by_one(tiny_model, family):
    model = tiny_model(family)
    setting = Setting.of(model, PAIRS, METRIC)
    start = score_edges(model, PAIRS, METRIC, method="eap").top(50, absolute=True)
    found = prune(model, PAIRS, METRIC, threshold=0.2, start=start)
    expected = removed_one_by_one(setting, 0.2, start.mask)
    assert found.names == Circuit(start.graph, expected).pruned().names
    assert 0 < len(found) < len(start)
    assert bool(found.scores[~start.mask].isnan().all())
    other = removed_one_by_one(setting, 2.0, start.mask)
    assert not torch.equal(other, expected), "the control: another threshold"


def test_a_screen_is_verified_exactly(tiny_model):
    model = tiny_model("gpt2")
    screen = score_edges(model, PAIRS, METRIC, method="eap")
    exact = verify(model, PAIRS, screen, METRIC, n=6, sample=3)
    done = exact.mean.isfinite()
    assert int(done.sum()) == 9
    assert bool(done[screen.order(absolute=True)[:6]].all())
    assert tiny.same(exact.values[done], exact_scores(Setting.of(model, PAIRS, METRIC), done)[done])


def test_edges_that_all_prompts_agree_on_are_core_and_those_of_one_prompt_are_not():
    graph = Graph(2, 2, 2)
    values = 0.001 * torch.rand(graph.n_edges, 12, generator=torch.Generator().manual_seed(0))
    for name in ("input->m0", "m0->logits"):
        values[graph.index(name)] = 5.0
    values[graph.index("input->logits"), 0] = 30.0  # one prompt's: absent from about a third of draws
    found = stability(made(graph, values), n=3, resamples=100, absolute=True)
    assert found.circuit().names == ("input->m0", "m0->logits")
    words = dict(zip(graph.names, found.words, strict=True))
    assert words["input->logits"] == "contingent"
    assert words["m1->logits"] == "noise"
    assert set(found.table()["edge"].tolist()[:2]) == {"input->m0", "m0->logits"}
    assert 0 < found.null_mean < found.null_high < 0.3
    assert float(np.nanmean(found.jaccard)) > 0.5
    edge = replace(found, frequency=torch.full_like(found.frequency, found.cutoffs.core))
    assert set(edge.words) == {"core"} and edge.circuit().mask.all(), "at the cut-off is core"


def test_halves_of_noise_are_no_more_alike_than_chance():
    graph = Graph(3, 4, 4)
    values = torch.randn(graph.n_edges, 20, generator=torch.Generator().manual_seed(1))
    found = stability(made(graph, values), n=60, resamples=60)
    assert float(np.nanmean(found.jaccard)) < found.null_high + 0.05
    assert len(found.circuit()) < 30


def test_discovery_on_a_model_tells_words_and_needs_groups(tiny_model):
    found = discover(tiny_model("gpt2"), PAIRS, METRIC, n=30, method="eap", resamples=20)
    assert set(found.words) <= {"core", "contingent", "noise"}
    assert found.frequency.shape == (found.graph.n_edges,)
    with pytest.raises(ValueError, match="two groups"):
        stability(made(found.graph, found.scores.values[:, :1]), n=3)
    with pytest.raises(ValueError, match="noise < core"):
        Cutoffs(core=0.1, noise=0.5)
