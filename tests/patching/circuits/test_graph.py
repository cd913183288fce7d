"""Nodes and edges of models, their names, and what lies on a path."""

import pytest
import torch

from patching.circuits import Circuit, Graph

SERIAL = Graph(3, 4, 2)


def test_gpt2_small_has_the_edges_that_the_literature_counts():
    graph = Graph(12, 12, 12)
    assert (graph.n_edges, graph.n_forward) == (32_491, 157)
    assert Graph(12, 12, 12, parallel=True).n_edges == 32_491 - 12 * 12


@pytest.mark.parametrize(
    ("family", "graph"),
    [("gpt2", Graph(3, 4, 4)), ("llama", SERIAL), ("neox", Graph(3, 4, 4, parallel=True))],
)
def test_a_model_has_the_graph_of_its_architecture(tiny_model, family, graph):
    assert Graph.of(tiny_model(family)) == graph


@pytest.mark.parametrize("graph", [SERIAL, Graph(2, 3, 3, parallel=True)])
def test_every_edge_is_found_by_its_name_and_runs_upwards(graph):
    assert [graph.index(name) for name in graph.names] == list(range(graph.n_edges))
    assert len(set(graph.names)) == graph.n_edges
    for number, (source, destination) in enumerate(zip(graph.source, graph.destination, strict=True)):
        name = f"{graph.sources[source]}->{graph.destinations[destination]}"
        assert graph.names[number] == name
        assert int(source) < graph.nodes_of(int(destination)).start


def test_heads_of_one_layer_do_not_read_each_other_and_its_mlp_reads_them_unless_parallel():
    names = set(SERIAL.names)
    assert {"a1.h3->m1", "a0.h3->a1.h0<q>", "m0->a1.g1<k>", "input->logits"} <= names
    assert not {"a1.h0->a1.h1<q>", "m1->m1", "a1.h0->m0"} & names
    assert "a1.h3->m1" not in Graph(3, 4, 2, parallel=True).names


@pytest.mark.parametrize(
    ("edge", "told"),
    [
        ("a0.h1->a2.h9<q>", r"a2\.h"),
        ("a0.h9->m2", r"a0\.h"),
        ("a0.h1->a2.h0<k>", "groups, g0 to g1"),
        ("m2->m1", "cycle"),
        ("m2", "source->destination"),
    ],
)
def test_a_name_that_is_no_edge_is_answered_in_one_line_with_the_nearest(edge, told):
    with pytest.raises(ValueError, match=told) as error:
        SERIAL.index(edge)
    assert "\n" not in str(error.value)


def test_edges_on_no_path_from_input_to_logits_are_pruned():
    whole = ["input->a0.h1<q>", "a0.h1->m1", "m1->logits"]
    loose = ["a0.h2->m1", "input->m2", "input->a1.h0<q>"]
    circuit = Circuit.from_names(SERIAL, [*whole, *loose])
    assert circuit.pruned().names == tuple(sorted(whole, key=SERIAL.index))
    assert len(Circuit.from_names(SERIAL, ["m0->logits", "input->m1"]).pruned()) == 0
    full = Circuit(SERIAL, SERIAL.mask())
    assert full.pruned() == full


def test_keys_of_a_group_feed_all_of_its_heads():
    edges = ["input->a1.g1<k>", "a1.h2->logits"]
    assert len(Circuit.from_names(SERIAL, edges).pruned()) == 2
    assert not len(Circuit.from_names(SERIAL, ["input->a1.g1<k>", "a1.h1->logits"]).pruned())
    assert Circuit.from_names(SERIAL, edges).nodes == ("input", "a1.h2", "a1.h3", "logits")


def test_ancestors_and_descendants_follow_the_edges_given():
    edges = ["input->a0.h1<v>", "a0.h1->m1", "m1->logits", "a0.h0->m2"]
    edges[0] = "input->a0.g0<v>"
    assert SERIAL.ancestors("m1", edges) == ("input", "a0.h1")
    assert SERIAL.descendants("a0.h1", edges) == ("m1", "logits")
    assert SERIAL.ancestors("logits") == SERIAL.sources
    with pytest.raises(ValueError, match="m2"):
        SERIAL.ancestors("m7")


def test_circuits_are_equal_when_graph_edges_and_scores_are():
    first = Circuit.from_names(SERIAL, ["input->m0"], {"input->m0": 2.0})
    assert first == Circuit.from_names(SERIAL, ["input->m0"], {"input->m0": 2.0})
    assert first != Circuit.from_names(SERIAL, ["input->m0"])
    assert first != Circuit.from_names(SERIAL, ["input->m0"], {"input->m0": 3.0})
    assert first != first.complement()
    assert first.complement().complement() == first
    assert "input->m0" in first
    assert "m0->logits" not in first


def test_a_mask_of_another_model_is_refused():
    with pytest.raises(ValueError, match="another model"):
        Circuit(SERIAL, torch.ones(7, dtype=torch.bool))
