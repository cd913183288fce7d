"""A model run as a circuit equals one in which every other edge is patched by hooks."""

from dataclasses import replace

import pytest
import tiny
import torch

from benchmarks import plain_edges
from interp.metrics import logit_difference
from patching.circuits.running.passes import Below, circuit_values
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma3", "neox", "gemma2", "qwen3", "phi3"])
def setting(request, tiny_model):
    pairs = tiny.contrast(5, 5)
    return Setting.of(tiny_model(request.param), pairs, logit_difference(pairs))


def test_the_whole_graph_is_the_model_and_none_of_it_the_corrupted_run(setting):
    graph, pairs = setting.parts.graph, setting.contrast
    masks = torch.stack([graph.mask(), graph.mask([])])
    found = circuit_values(setting, masks)
    for value, examples in zip(found, (pairs.clean, pairs.corrupted), strict=True):
        logits = setting.model.logits(examples.tokens)[:, -1]
        assert tiny.same(value, plain_edges.difference(logits, pairs))
    assert not tiny.same(found[0], found[1])


def test_any_circuit_equals_a_forward_with_a_hook_at_every_input(setting):
    graph, pairs = setting.parts.graph, setting.contrast
    generator = torch.Generator().manual_seed(3)
    masks = torch.stack([torch.rand(graph.n_edges, generator=generator) < p for p in (0.2, 0.5, 0.9)])
    found = circuit_values(setting, masks)
    expected = []
    with plain_edges.split_inputs(setting.model):
        ablated = plain_edges.outputs(setting.model, pairs.corrupted.tokens)
        for mask in masks:
            inside = {graph.names[i] for i in mask.nonzero()[:, 0].tolist()}
            logits = plain_edges.circuit_logits(
                setting.model, pairs.clean.tokens, inside, graph, ablated
            )
            expected.append(plain_edges.difference(logits, pairs))
    assert tiny.same(found, torch.stack(expected))
    assert not tiny.same(found, torch.stack(expected).roll(1, 0)), "the control: another circuit"


def test_a_circuit_that_differs_above_a_block_may_start_there(setting):
    graph = setting.parts.graph
    mask = graph.mask()
    mask[graph.edges_into(len(graph.destinations) - 2)] = False
    whole = circuit_values(setting, mask[None])
    below = replace(Below.of(setting, graph.mask()), layer=2)
    assert tiny.same(circuit_values(setting, mask[None], below=below), whole)
    assert not tiny.same(circuit_values(setting, graph.mask()[None], below=below), whole)


def test_one_edge_left_out_is_the_edge_patched_alone(setting):
    graph = setting.parts.graph
    edge = graph.index("input->m1")
    mask = graph.mask()
    mask[edge] = False
    lost = circuit_values(setting, torch.stack([graph.mask(), mask]))
    assert tiny.same(exact_scores(setting, ~mask)[edge], lost[0] - lost[1])
