"""Faithfulness by the benchmark's definitions, and circuits of two models."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from interp import Evidence
from interp.metrics import logit_difference
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from patching.circuits import (
    Circuit,
    Cutoffs,
    Graph,
    benchmark_areas,
    completeness,
    diff,
    edge_auroc,
    evaluate,
    faithfulness,
    hybrid_circuits,
    minimality,
    run_circuits,
    score_edges,
)
from patching.circuits.measures.differences import differences
from patching.circuits.measures.runs import SIZES

PAIRS = tiny.contrast(5, 5, 5, 5)
METRIC = logit_difference(PAIRS)


@pytest.fixture(scope="module")
def runs(tiny_model):
    model = tiny_model("gpt2")
    scores = score_edges(model, PAIRS, METRIC, method="eap")
    return evaluate(model, PAIRS, scores, METRIC, complement=True)


@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_the_whole_graph_is_faithful_and_its_complement_is_nothing(runs):
    table = faithfulness(runs).set_index(["condition", "share"])["estimate"]
    for ranking in ("signed", "absolute"):
        assert table[ranking, 1.0] == pytest.approx(1, abs=1e-4)
        assert table[f"{ranking}_complement", 1.0] == pytest.approx(0, abs=1e-4)
        assert abs(table[ranking, 0.1] - 1) > 1e-3


@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_faithfulness_and_areas_are_those_of_the_benchmark(runs):
    table = runs.table
    mean = table.groupby(["condition", "share"], observed=True)["value"].mean()
    full = table.loc[table["condition"] == "full", "value"].mean()
    empty = table.loc[table["condition"] == "empty", "value"].mean()
    f = {r: [(mean[r, s] - empty) / (full - empty) for s in SIZES] for r in ("signed", "absolute")}
    areas = benchmark_areas(runs).set_index("measure")["estimate"]
    cpr = sum((SIZES[i + 1] - SIZES[i]) * (f["signed"][i] + f["signed"][i + 1]) / 2 for i in range(9))
    apart = [abs(1 - x) for x in f["absolute"]]
    cmd = sum((SIZES[i + 1] - SIZES[i]) * (apart[i] + apart[i + 1]) / 2 for i in range(9))
    assert areas["CPR"] == pytest.approx(cpr, abs=1e-4)
    assert areas["CMD"] == pytest.approx(cmd, abs=1e-4)
    assert areas["CPR"] != pytest.approx(cmd, abs=1e-3)


def test_sizes_are_floors_of_the_edge_count_and_circuits_are_pruned(tiny_model):
    model = tiny_model("gpt2")
    scores = score_edges(model, PAIRS, METRIC, method="eap")
    graph = scores.graph
    runs = evaluate(model, PAIRS, scores, METRIC, sizes=(0.05, 1.0))
    n = int(0.05 * graph.n_edges)
    by_hand = run_circuits(model, PAIRS, scores.top(n, absolute=False), METRIC, complement=False)
    found = runs.rows(condition="signed", share=0.05)["value"].to_numpy()
    assert np.allclose(found, by_hand.rows(condition="circuit")["value"].to_numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        evaluate(model, PAIRS, scores, METRIC, sizes=(0.0,))


def test_a_circuit_of_another_model_is_refused(tiny_model):
    other = Graph(2, 2, 2)
    with pytest.raises(ValueError, match="circuit 'circuit' got Graph.*give this model's own"):
        run_circuits(tiny_model("gpt2"), PAIRS, Circuit(other, other.mask()), METRIC)
    scores = score_edges(tiny_model("llama"), PAIRS, METRIC, method="random")
    with pytest.raises(ValueError, match="scores got Graph.*give this model's own"):
        evaluate(tiny_model("gpt2"), PAIRS, scores, METRIC)


def test_faithfulness_needs_both_ends():
    rows = Evidence.build([1.0], condition="signed", share=0.5, method="circuit", group="a")
    with pytest.raises(ValueError, match="no rows of empty and full"):
        faithfulness(rows)


def circuit_runs(full, empty, circuit, groups, share=0.1):
    """Evidence of one circuit, made by hand."""
    n = len(full)
    return Evidence.build(
        [*full, *empty, *circuit],
        condition=["full"] * n + ["empty"] * n + ["circuit"] * n,
        share=[None] * (2 * n) + [share] * n,
        method="circuit",
        group=list(groups) * 3,
        provenance={"edges": 190},
    )


def test_what_is_divided_by_nothing_has_no_interval():
    full, empty = [5.02, -3.27, -6.61, 4.10], [4.44, -2.76, -5.20, 2.81]
    with pytest.warns(UserWarning, match="all edges and none differ by .* has no interval"):
        table = faithfulness(circuit_runs(full, empty, [6.0, -1.0, -6.0, 4.0], "abcd"))
    assert table[["low", "high"]].isna().all(axis=None) and np.isfinite(table["estimate"]).all()
    table = faithfulness(circuit_runs([4, 5, 6, 5], [0, 1, 0, 1], [2, 3, 3, 2], "abcd"))
    assert table[["low", "high"]].notna().all(axis=None), "the control: a behaviour"


def test_the_mean_is_over_prompts_and_resampling_over_groups():
    runs = circuit_runs([4, 4, 4, 8], [0, 0, 0, 0], [4, 4, 4, 0], "xxxy")
    assert faithfulness(runs)["estimate"].tolist() == pytest.approx([12 / 20])
    assert faithfulness(runs)["n"].tolist() == [2]


@pytest.mark.parametrize("edges", [7, 14, 28, 56, 189, 190])
def test_a_circuit_tells_its_own_number_of_edges(edges: int):
    runs = circuit_runs([4, 5], [0, 1], [2, 3], "ab", share=edges / 190)
    assert faithfulness(runs)["edges"].tolist() == [edges]


def test_runs_without_parts_are_no_circuits_of_their_own(tiny_model):
    model = tiny_model("gpt2")
    circuit = score_edges(model, PAIRS, METRIC, method="eap").top(20)
    for runs in (
        completeness(model, PAIRS, circuit, METRIC, draws=2),
        minimality(model, PAIRS, circuit, METRIC),
    ):
        with pytest.raises(ValueError, match="faithfulness is of whole circuits"):
            faithfulness(runs)


def test_a_behaviour_that_points_the_other_way_is_reversed(tokenizer):
    turned = tiny.hf_model("llama", 0)
    with torch.no_grad():
        turned.model.norm.weight.neg_()
    pair = ModelPair(wrap(tiny.hf_model("llama", 0), tokenizer), wrap(turned, tokenizer))
    whole = Circuit(graph := Graph.of(pair.base), graph.mask())
    table = run_circuits(pair.base, PAIRS, whole, METRIC).table.pivot_table(
        index="example", columns="condition", values="value", observed=True
    )
    shown = torch.tensor((table["full"] > table["empty"]).to_numpy())
    answers = torch.where(shown, PAIRS.answers, PAIRS.foils)
    foils = torch.where(shown, PAIRS.foils, PAIRS.answers)
    pairs = replace(PAIRS, answers=answers, foils=foils)
    found = diff(pair, pairs, logit_difference(pairs), n=60, method="eap")
    assert found.verdict.size.estimate == pytest.approx(-1, abs=1e-3)
    assert found.verdict.word == "same circuit reversed"


@pytest.fixture(scope="module")
def tuned_head(tokenizer):
    """A pair whose only difference are the weights of one MLP."""
    changed = tiny.hf_model("llama", 0)
    with torch.no_grad():
        changed.model.layers[1].mlp.down_proj.weight.mul_(-1.5)
    models = (wrap(tiny.hf_model("llama", 0), tokenizer), wrap(changed, tokenizer))
    return ModelPair(*models)


@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_exchanged_nodes_find_the_one_mlp_that_was_changed(tuned_head):
    found = diff(tuned_head, PAIRS, METRIC, n=60, method="eap")
    table = found.exchanged.set_index("node")
    assert set(table.index[table["in_base"] != 0]) == {"m1"}
    whole = METRIC(
        tuned_head.tuned.logits(PAIRS.clean.tokens)[:, -1][:, METRIC.tokens], torch.arange(4)
    )
    own = METRIC(tuned_head.base.logits(PAIRS.clean.tokens)[:, -1][:, METRIC.tokens], torch.arange(4))
    assert table.loc["m1", "in_base"] == pytest.approx(float((whole - own).mean()), abs=1e-3)
    assert table.loc["m1", "in_tuned"] == pytest.approx(float((own - whole).mean()), abs=1e-3)
    assert found.share_inside([1], exchanged=True).estimate == pytest.approx(1, abs=1e-3)
    assert found.share_inside([0], exchanged=True).high < 0.01
    assert 0 < found.share_inside([0]).estimate < 1, "an ablation's effect changes elsewhere too"
    assert set(found.cells["circuit"]) == set(found.cells["model"]) == {"base", "tuned"}


@pytest.mark.filterwarnings("ignore:all edges and none differ")
def test_a_model_beside_itself_has_one_circuit_and_no_difference(tokenizer):
    same = ModelPair(*(wrap(tiny.hf_model("gpt2", 0), tokenizer) for _ in range(2)))
    found = diff(same, PAIRS, METRIC, n=60, method="eap", cutoffs=Cutoffs(same=0.9))
    assert not found.nodes["changed"].any()
    assert not found.edges["changed"].any()
    assert found.circuits["base"].names == found.circuits["tuned"].names
    assert found.verdict.word in ("same circuit reused", "no behaviour")


def test_differences_within_the_noise_of_halves_are_no_change():
    rng = torch.Generator().manual_seed(0)
    groups = [f"g{i}" for i in range(24)]
    base = torch.randn(3, 24, generator=rng)
    tuned = base.clone()
    tuned[0] += 3.0
    tuned[1] += 0.05
    table = differences(["a", "b", "c"], {"base": base, "tuned": tuned}, groups, Cutoffs(), 0)
    table = table.set_index("name")
    assert table["changed"].to_dict() == {"a": True, "b": False, "c": False}
    assert table.loc["b", "low"] > 0, "the control: its interval alone excludes zero"
    assert isinstance(table, pd.DataFrame)


def test_parts_are_taken_out_of_the_circuit_and_of_the_model(tiny_model):
    model = tiny_model("gpt2")
    circuit = score_edges(model, PAIRS, METRIC, method="eap").top(40, absolute=True)
    runs = completeness(model, PAIRS, circuit, METRIC, draws=3, share=0.5)
    left = runs.table.groupby("condition", observed=True)["share"].mean() * circuit.graph.n_edges
    taken = int(0.5 * len(circuit))
    assert left["circuit_without"] == pytest.approx(len(circuit) - taken, abs=1e-2)
    assert left["model_without"] == pytest.approx(circuit.graph.n_edges - taken, abs=1e-2)
    one = minimality(model, PAIRS, circuit, METRIC)
    edge = circuit.names[5]
    mask = circuit.mask.clone()
    mask[circuit.graph.index(edge)] = False
    by_hand = run_circuits(model, PAIRS, Circuit(circuit.graph, mask), METRIC, complement=False)
    sender, receivers = edge.split("->")
    found = one.rows(condition="circuit_without", sender=sender, receivers=receivers)["value"]
    assert np.allclose(found, by_hand.rows(condition="circuit")["value"], atol=1e-4)
    assert not np.allclose(found, one.rows(condition="circuit")["value"], atol=1e-6)


def test_the_area_under_the_curve_counts_pairs_and_a_missing_true_edge_as_a_miss():
    graph = Graph(1, 1, 1)
    truth = Circuit.from_names(graph, ["input->m0", "m0->logits"])
    perfect = Circuit.from_names(graph, [], {name: float(name in truth) for name in graph.names})
    assert edge_auroc(perfect, truth) == 1
    scores = {name: 1.0 for name in graph.names} | {"input->m0": 2.0, "a0.h0->m0": 3.0}
    # Of 2 × 6 pairs: input->m0 beats 5 and loses 1; m0->logits ties with 5 and loses 1.
    tied = Circuit.from_names(graph, [], scores)
    assert edge_auroc(tied, truth) == pytest.approx((5 + 2.5) / 12)
    missing = Circuit.from_names(graph, [], {name: 1.0 for name in graph.names if name not in truth})
    assert edge_auroc(missing, truth) == 0
    with pytest.raises(ValueError, match="expected some, not all"):
        edge_auroc(perfect, Circuit(graph, graph.mask()))


def test_hybrids_turn_from_one_models_circuit_into_the_others(tuned_head):
    table = hybrid_circuits(tuned_head, PAIRS, METRIC, boundaries=[1, 2], n=60, method="eap")
    table = table.set_index(["below", "boundary"])
    assert table.loc[("base", 0), "like_base"] == table.loc[("tuned", 0), "like_tuned"] == 1
    # Block 1 alone was changed: with it the hybrid is the tuned model, without it the base.
    for below, boundary, like in (
        ("tuned", 1, "base"),
        ("tuned", 2, "tuned"),
        ("base", 1, "tuned"),
        ("base", 2, "base"),
    ):
        row = table.loc[(below, boundary)]
        assert row[f"like_{like}"] == 1
        assert row["metric"] == pytest.approx(table.loc[(like, 0), "metric"], abs=1e-3)
    assert table.loc[("base", 0), "like_tuned"] < 1
    with pytest.raises(ValueError, match="expected 1 to 2"):
        hybrid_circuits(tuned_head, PAIRS, METRIC, boundaries=[3])
