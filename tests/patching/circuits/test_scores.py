"""First-order scores equal a few lines of hooks; baselines and ablations are what they say."""

import pytest
import tiny
import torch

from benchmarks import plain_edges
from interp.metrics import closed_set_correct, logit_difference
from patching.circuits import Graph, score_edges, score_nodes
from patching.circuits.running.passes import circuit_values
from patching.circuits.running.setting import Setting

FAMILIES = ("gpt2", "llama", "gemma3", "neox")
PAIRS = tiny.contrast(5, 5)
METRIC = logit_difference(PAIRS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("method", "weights"),
    [("eap", (1.0,)), ("eap_ig", (0.25, 0.75)), ("clean_corrupted", (1.0, 0.0))],
)
def test_first_order_scores_equal_a_few_lines_of_hooks(tiny_model, family, method, weights):
    model = tiny_model(family)
    found = score_edges(model, PAIRS, METRIC, method=method, steps=2)
    expected = plain_edges.first_order(model, PAIRS, Graph.of(model), weights)
    assert tiny.same(found.values, expected)
    assert not tiny.same(found.values, plain_edges.first_order(model, PAIRS, Graph.of(model), (0.5,)))


def test_integrated_gradients_of_activations_average_over_each_node_between_its_ends(tiny_model):
    model = tiny_model("gpt2")
    graph = Graph.of(model)
    with plain_edges.split_inputs(model):
        own, other = (plain_edges.outputs(model, e.tokens) for e in (PAIRS.clean, PAIRS.corrupted))
        runs = []
        for layer in range(-1, model.n_layers):
            for kind in ("input",) if layer < 0 else ("attn.hook_result", "hook_mlp_out"):
                names = {
                    "input": ["input"],
                    "attn.hook_result": [f"a{layer}.h{h}" for h in range(graph.n_heads)],
                    "hook_mlp_out": [f"m{layer}"],
                }[kind]
                halfway = [other[n] + 0.5 * (own[n] - other[n]) for n in names]
                at = "blocks.0.hook_resid_pre" if layer < 0 else f"blocks.{layer}.{kind}"
                value = torch.stack(halfway, 2) if len(halfway) > 1 else halfway[0]
                start = value if layer < 0 else own["input"]
                with model.bridge.hooks(fwd_hooks=[(at, lambda act, hook, v=value: act * 0 + v)]):
                    runs.append(plain_edges.gradients(model, PAIRS, start, graph))
    expected = []
    for name in graph.names:
        source, destination = name.split("->")
        slope = torch.stack([run[destination] for run in runs]).mean(0)
        expected.append(((own[source] - other[source]) * slope).sum((1, 2)))
    found = score_edges(model, PAIRS, METRIC, method="eap_ig_activations", steps=1)
    assert tiny.same(found.values, torch.stack(expected))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_relevance_is_conserved_where_every_rule_is_linear(tiny_model, family):
    """Through held norms, lines and half gates, an MLP's relevance is that of its inputs."""
    model = tiny_model(family)
    zero = score_edges(model, PAIRS, METRIC, method="relp", ablation="zero").values
    graph = Graph.of(model)
    last = graph.n_layers - 1
    into = graph.edges_into(graph.destinations.index(f"m{last}"))
    out = zero[graph.index(f"m{last}->logits")]
    assert tiny.same(zero[into].sum(0), out)
    plain = score_edges(model, PAIRS, METRIC, method="eap", ablation="zero").values
    assert not tiny.same(plain[into].sum(0), out), "the control: gradients are not conserved"


def test_relevance_changes_no_value_and_leaves_no_hook(tiny_model):
    model = tiny_model("gemma3")
    before, hooks = model.logits(PAIRS.clean.tokens), tiny.hooks_left(model)
    score_edges(model, PAIRS, METRIC, method="relp")
    assert torch.equal(model.logits(PAIRS.clean.tokens), before)
    assert tiny.hooks_left(model) == hooks


def test_information_flows_in_shares_of_one(tiny_model):
    model = tiny_model("llama")
    scores = score_edges(model, PAIRS, METRIC, method="information_flow")
    graph = scores.graph
    assert scores.unit == "share"
    assert float(scores.values.min()) >= 0
    for destination in range(len(graph.reads)):
        total = scores.values[graph.edges_into(destination)].sum(0)
        assert tiny.same(total, torch.ones(2))


def test_the_size_of_weights_is_that_of_their_product(tiny_model):
    model = tiny_model("gpt2")
    scores = score_edges(model, PAIRS, METRIC, method="weights")
    block = model.bridge.blocks
    writes = block[0].attn.o.original_component.weight[8:16]  # head 1: Conv1D, [in, out]
    reads = block[2].attn.k.original_component.weight[16:24] * block[2].ln1.original_component.weight
    expected = torch.linalg.matrix_norm(reads @ writes.T)
    found = scores.values[scores.graph.index("a0.h1->a2.h2<k>"), 0]
    assert tiny.same(found, expected)
    read_by = dict(block[1].mlp.original_component.named_parameters())
    reads = next(w for w in read_by.values() if w.shape == (32, 128)).T  # Conv1D, [in, out]
    reads = reads * block[1].ln2.original_component.weight
    expected = torch.linalg.matrix_norm(reads @ model.bridge.embed.original_component.weight.T)
    assert tiny.same(scores.values[scores.graph.index("input->m1"), 0], expected)


@pytest.mark.parametrize("ablation", ["mean", "mean_per_position", "zero"])
def test_means_are_of_the_prompts_given(tiny_model, ablation):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 4, 5)
    setting = Setting.of(
        model, pairs, logit_difference(pairs), ablation=ablation, reference=pairs.clean
    )
    two = next(p for p in setting.prepared() if len(p.batch.rows) == 2)
    with plain_edges.split_inputs(model):
        five = plain_edges.outputs(model, pairs.clean.tokens[[0, 2]])["m1"]
        four = plain_edges.outputs(model, pairs.clean.tokens[[1], :4])["m1"]
    expected = {
        "mean": torch.cat([five.flatten(0, 1), four.flatten(0, 1)]).mean(0).expand(2, 5, -1),
        "mean_per_position": five.mean(0).expand(2, -1, -1),
        "zero": torch.zeros_like(five),
    }
    found = two.ablated[setting.parts.graph.sources.index("m1")]
    assert tiny.same(found, expected.pop(ablation))
    assert not any(tiny.same(found, other) for other in expected.values())


def test_the_mean_of_a_prompt_alone_is_no_mean(tiny_model):
    pairs = tiny.contrast(5, 4, 5)
    metric = logit_difference(pairs)
    with pytest.raises(ValueError, match="prompt 1 is the only one of 4 tokens"):
        Setting.of(tiny_model("gpt2"), pairs, metric, ablation="mean_per_position")


def test_resampling_takes_another_prompt(tiny_model):
    setting = Setting.of(tiny_model("gpt2"), PAIRS, METRIC, ablation="resample")
    prepared = next(setting.prepared())
    assert tiny.same(prepared.ablated, prepared.nodes.outputs.flip(1))


def test_resampling_needs_another_prompt_of_the_length(tiny_model):
    pairs = tiny.contrast(5, 4, 5)
    with pytest.raises(ValueError, match="no other of this length"):
        Setting.of(tiny_model("gpt2"), pairs, logit_difference(pairs), ablation="resample")


def test_edges_ablated_at_some_positions_only(tiny_model):
    model = tiny_model("llama")
    graph = Graph.of(model)
    mask = graph.mask()
    edge = graph.index("input->a1.g0<v>")
    mask[edge] = False
    both = torch.stack([graph.mask(), mask])
    at_last = Setting.of(model, PAIRS, METRIC, positions="last")
    with plain_edges.split_inputs(model):
        own, other = (plain_edges.outputs(model, e.tokens) for e in (PAIRS.clean, PAIRS.corrupted))
        lost = own["input"] - other["input"]
        lost[:, :-1] = 0
        logits = plain_edges.logits(model, PAIRS.clean.tokens, [graph.names[edge]], {"input": lost})
    expected = plain_edges.difference(logits, PAIRS)
    assert tiny.same(circuit_values(at_last, both)[1], expected)
    scores = score_edges(model, PAIRS, METRIC, method="exact", positions="last")
    whole = plain_edges.difference(model.logits(PAIRS.clean.tokens)[:, -1], PAIRS)
    assert tiny.same(scores.values[edge], whole - expected)
    everywhere = Setting.of(model, PAIRS, METRIC)
    assert not tiny.same(circuit_values(everywhere, both)[1], expected)


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_a_node_ablated_is_all_its_edges_ablated(tiny_model, family):
    model = tiny_model(family)
    setting = Setting.of(model, PAIRS, METRIC)
    graph = setting.parts.graph
    nodes = [0, 2, graph.n_heads, 1 + graph.n_heads, graph.n_forward - 1]
    masks = torch.stack([graph.mask(), *(graph.source != node for node in nodes)])
    values = circuit_values(setting, masks)
    found = score_nodes(model, PAIRS, METRIC).values[nodes]
    assert tiny.same(found, values[0] - values[1:])


def test_what_cannot_be_scored_is_said_in_one_line(tiny_model):
    model = tiny_model("gpt2")
    share = closed_set_correct(PAIRS.clean, PAIRS.answers)
    with pytest.raises(ValueError, match="needs? a metric with a gradient"):
        score_edges(model, PAIRS, share, method="eap")
    with pytest.raises(ValueError, match="expected one of 'exact', 'eap'"):
        score_edges(model, PAIRS, METRIC, method="eap_gp")
    with pytest.raises(ValueError, match="expected one of 'counterfactual'"):
        score_edges(model, PAIRS, METRIC, ablation="noise")
    with pytest.raises(ValueError, match="cannot be called alone|add up"):
        score_edges(tiny_model("opt"), PAIRS, METRIC)


def test_evidence_names_the_choices(tiny_model):
    scores = score_edges(tiny_model("gpt2"), PAIRS, METRIC, method="eap")
    rows = scores.evidence(top=7)
    assert len(rows) == 14
    assert rows.provenance["level"] == "edges"
    assert rows.provenance["ablation"] == "counterfactual"
    assert rows.provenance["positions"] == "all"
    assert rows.provenance["patched"] == "one edge at a time"
    first = scores.order(absolute=True)[0]
    mean = rows.table.groupby(["sender", "receivers"], observed=True)["value"].mean().abs().max()
    assert mean == pytest.approx(abs(float(scores.mean[first])), rel=1e-5)
