"""Models whose circuit is known: they do what they are said to, and every edge was tried."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

import interp
import studies
from patching.circuits import Graph, edge_auroc, score_edges
from studies.circuit_truth.alignment import HEADS, Alignment, build, run
from studies.circuit_truth.brute_force import SMALLEST, PlainGPT2
from studies.circuit_truth.cases import CASES
from studies.circuit_truth.catalogue import HOME

COMPILED = [name for name in studies.known_circuit_names() if name.startswith("tracr-")]
SMALL = [
    "tracr-histogram",
    pytest.param("tracr-reverse", marks=pytest.mark.slow),
    pytest.param("tracr-fraction", marks=pytest.mark.slow),
]


def plain(name: str) -> tuple[PlainGPT2, Tensor, Tensor]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, truth = HOME / "models" / name, studies.known_circuit(name)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    longest = max(len(item.clean.split()) for item in truth.items)
    alike = [item for item in truth.items if len(item.clean.split()) == longest]
    sides = [[tokenizer(getattr(i, side)).input_ids for i in alike] for side in ("clean", "corrupted")]
    return PlainGPT2(model, truth.circuit.graph), torch.tensor(sides[0]), torch.tensor(sides[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", studies.known_circuit_names())
def test_every_model_answers_its_prompts(name: str):
    truth, model = studies.known_circuit(name), interp.load_model(name)
    assert Graph.of(model) == truth.circuit.graph
    task = interp.load_task(model, truth.items)
    assert len(task) == len(truth.items) and not task.dropped
    found = task.performance(model)
    numeric = truth.items[0].foils == ("nothing",)
    assert numeric or found["says"].mean() >= 0.99


@pytest.mark.parametrize("name", SMALL)
def test_the_plain_run_is_the_models_own(name: str):
    truth, clean, _ = plain(name)
    with torch.no_grad():
        expected = truth.model(clean).logits[:, -1]
    assert torch.allclose(truth.run(clean)[0], expected, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_exact_patching_finds_the_true_edges_and_no_other(name: str):
    truth, model = studies.known_circuit(name), interp.load_model(name)
    task = interp.load_task(model, truth.items)
    scores = score_edges(model, task.contrast, _all_answers(task), method="exact")
    largest = scores.values.abs().max(1).values
    assert torch.equal(largest > SMALLEST, truth.circuit.mask)
    chance = score_edges(model, task.contrast, task.metric, method="random")
    assert edge_auroc(chance, truth.circuit) < 0.9, "the control"


def _all_answers(task: interp.Task) -> interp.Metric:
    """The logit of what is said of the clean prompt: what any edge changes of it is seen."""
    said = task.contrast.answers

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return logits.gather(1, said[example][:, None])[:, 0]

    return interp.metric(read, task.contrast.clean, unit="logits")


def test_the_edits_of_one_program_say_the_same_and_differ_where_they_should():
    from safetensors.torch import load_file

    weights = {
        name: load_file(HOME / "models" / f"tracr-reverse{name}" / "model.safetensors")
        for name in ("", "-upper", "-lower")
    }
    changed = {
        name: {key for key, value in weights[""].items() if not torch.equal(value, weights[name][key])}
        for name in ("-upper", "-lower")
    }
    assert changed == {
        "-upper": {"transformer.h.2.attn.c_proj.weight"}, "-lower": {"transformer.wte.weight"},
    }  # fmt: skip
    upper, lower = (interp.load_model(f"tracr-reverse{name}") for name in ("-upper", "-lower"))
    tokens = torch.tensor([upper.tokenizer("BOS a b c ? ?").input_ids])
    assert torch.allclose(upper.logits(tokens)[:, -1], lower.logits(tokens)[:, -1], atol=1e-4)
    control = interp.load_model("tracr-reverse").logits(tokens)[:, -1]
    assert not torch.allclose(upper.logits(tokens)[:, -1], control, atol=1e-2)


@pytest.mark.parametrize("name", COMPILED)
def test_effects_of_compiled_edges_leave_a_gap(name: str):
    told = json.loads((HOME / "truths" / f"{name}.json").read_text())
    assert told["least_true"] > 10 * SMALLEST > 100 * told["largest_other"]
    assert told["edges"] and told["pairs"] > 100


@pytest.mark.parametrize("name", CASES)
def test_a_case_keeps_its_variables_at_nodes_and_its_edges_between_them(name: str):
    case = CASES[name]
    graph = Graph(case.layers, HEADS, HEADS)
    nodes = {"input", "logits", *case.nodes.values()}
    for edge in case.edges:
        graph.index(edge)
        sender, _, receiver = edge.partition("->")
        assert sender in nodes and receiver.partition("<")[0] in nodes
    work = Alignment(case, build(case, 0), 0)
    tokens = work.inputs(64, torch.Generator().manual_seed(0))
    values, answers = case.run(tokens)
    assert int(answers.min()) >= 0 and int(answers.max()) < case.answers
    for variable in case.nodes:
        _, same = case.run(tokens, {variable: values[variable]})
        assert torch.equal(same, answers), "a variable set to its own value changes nothing"
        _, other = case.run(tokens, {variable: values[variable].flip(0)})
        assert not torch.equal(other, answers), "the control: another input's value does"


def test_the_training_run_is_the_models_own_and_exchanges_one_node():
    case = CASES["gated"]
    model = build(case, 0).eval()
    work = Alignment(case, model, 0)
    tokens = work.inputs(8, torch.Generator().manual_seed(0))
    logits, wrote = run(model, tokens)
    with torch.no_grad():
        assert torch.allclose(logits, model(tokens + 1).logits[:, -1], atol=1e-5)
    same, _ = run(model, tokens, [("a0.h1", wrote["a0.h1"], slice(None))])
    assert torch.allclose(same, logits, atol=1e-6)
    first = slice(4)
    some, _ = run(model, tokens, [("a0.h1", wrote["a0.h1"][first].flip(0), first)])
    assert torch.allclose(some[4:], logits[4:], atol=1e-6)
    assert not torch.allclose(some[:4], logits[:4], atol=1e-4), "the control: these rows change"


@pytest.mark.parametrize("name", [n for n in studies.known_circuit_names() if n.startswith("aligned-")])
def test_trained_models_pass_their_gate_as_they_are_shipped(name: str):
    from transformers import AutoModelForCausalLM

    case = CASES[name.removeprefix("aligned-")]
    model = AutoModelForCausalLM.from_pretrained(HOME / "models" / name, dtype=torch.float32).eval()
    work = Alignment(case, model, 0)
    shares = work.check()
    assert min(shares.values()) >= 0.995
    off = [key for key in work.off_circuit if key.startswith("a")]
    size = model.config.n_embd // HEADS
    weights = model.transformer.h[0].attn.c_proj.weight.detach()
    heads = [int(key.partition("h")[2]) for key in off if key.startswith("a0.")]
    assert all(float(weights[h * size : (h + 1) * size].abs().max()) > 1e-3 for h in heads)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="must be one of .*tracr-reverse.*; got 'none'"):
        studies.known_circuit("none")
