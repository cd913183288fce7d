"""Circuits written and read again, files of EAP-IG's own shape, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from interp.untrusted import limits
from patching.circuits import (
    Circuit,
    Graph,
    read_circuit,
    read_mib,
    write_circuit,
    write_mib,
    write_tracer,
)
from patching.circuits.formats.mib import SIZES

PLAIN, GROUPED, PARALLEL = Graph(2, 2, 2), Graph(2, 6, 2), Graph(2, 2, 2, parallel=True)


def circuit(graph: Graph = PLAIN, seed: int = 0) -> Circuit:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(graph.n_edges, generator=generator)
    return Circuit(graph, scores > 0.2, scores)


def same(found: Circuit, expected: Circuit) -> bool:
    assert found.scores is not None and expected.scores is not None
    return (
        found.graph == expected.graph
        and torch.equal(found.mask, expected.mask)
        and torch.allclose(found.scores, expected.scores, atol=1e-6)
    )


@pytest.mark.parametrize("graph", [PLAIN, GROUPED, PARALLEL])
@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_edges_and_scores_come_back(tmp_path: Path, graph: Graph, ending: str):
    whole = circuit(graph)
    path = write_circuit(whole, tmp_path / f"mine{ending}", d_model=8)
    assert same(read_circuit(path, graph=graph), whole)
    assert not same(read_circuit(path, graph=graph), circuit(graph, seed=1)), "the control"
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "nothing temporary is left"


@pytest.mark.parametrize("graph", [PLAIN, GROUPED, PARALLEL])
def test_a_list_by_hand_comes_back_without_scores(tmp_path: Path, graph: Graph):
    path = write_circuit(circuit(graph), tmp_path / "mine.yaml")
    back = read_circuit(path)
    assert back == Circuit(graph, circuit(graph).mask) == read_circuit(path, graph=graph)


def test_the_json_is_what_eap_ig_writes(tmp_path: Path):
    chosen = Circuit.from_names(PLAIN, ["input->a0.h1<k>", "a0.h1->logits"], {"a0.h1->logits": 0.5})
    content = json.loads(write_circuit(chosen, tmp_path / "x.json", d_model=8).read_text())
    assert content["cfg"] == {
        "n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8,
    }  # fmt: skip
    inside = {name for name, node in content["nodes"].items() if node["in_graph"]}
    assert inside == {"input", "a0.h1", "logits"} and len(content["nodes"]) == 8
    assert content["edges"]["a0.h1->logits"] == {"score": 0.5, "in_graph": True}
    assert content["edges"]["input->a0.h1<k>"] == {"score": 0.0, "in_graph": True}
    assert len(content["edges"]) == PLAIN.n_edges


def test_heads_that_share_keys_are_added_up_and_divided(tmp_path: Path):
    names = {f"input->a1.h{head}<k>": {"score": head + 1.0, "in_graph": head == 1} for head in range(6)}
    cfg = {"n_layers": 2, "n_heads": 6, "parallel_attn_mlp": False, "d_model": 8}
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"cfg": cfg, "nodes": {}, "edges": names}))
    read = read_circuit(path, graph=GROUPED)
    assert read.scores is not None and read.names == ("input->a1.g0<k>",)
    assert read.scores[GROUPED.index("input->a1.g0<k>")] == 1 + 2 + 3
    assert read.scores[GROUPED.index("input->a1.g1<k>")] == 4 + 5 + 6
    assert read_circuit(path).names == ("input->a1.h1<k>",), "without the model every head is its own"


def pt(folder: Path, **changes: Any) -> Path:
    whole = circuit()
    scores = torch.zeros(PLAIN.n_forward, len(PLAIN.destinations))
    chosen = torch.zeros_like(scores)
    assert whole.scores is not None
    scores[PLAIN.source, PLAIN.destination] = whole.scores
    chosen[PLAIN.source, PLAIN.destination] = whole.mask.float()
    content = {
        "cfg": {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8},
        "src_nodes": list(PLAIN.sources), "dst_nodes": list(PLAIN.destinations),
        "edges_scores": scores, "edges_in_graph": chosen.bool(),
    }  # fmt: skip
    torch.save({**content, **changes}, folder / "x.pt")
    return folder / "x.pt"


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harmed"),)


def test_pt_files_of_tensors_are_read_and_others_run_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert same(read_circuit(pt(tmp_path)), circuit())
    with pytest.raises(ValueError, match="no file of tensors alone"):
        read_circuit(pt(tmp_path, more=Harm()))
    assert not Path("harmed").exists()
    for wrong, told in (
        ({"edges_scores": torch.zeros(2, 2)}, "7 sources and 15 destinations"),
        ({"edges_scores": torch.zeros(1).expand(7, 14)}, "7 sources"),
        ({"cfg": {"n_layers": 10**9, "n_heads": 2}}, "whole numbers up to 1,024"),
        ({"neurons_in_graph": torch.ones(7, 8)}, "chooses neurons"),
    ):
        with pytest.raises(ValueError, match=told):
            read_circuit(pt(tmp_path, **wrong))
    (tmp_path / "y.pt").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="no file of tensors alone"):
        read_circuit(tmp_path / "y.pt")


EDGES = {"input->logits": {"score": 1.0, "in_graph": True}}
CFG = {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.json", {"cfg": CFG, "edges": EDGES}, "got no nodes"),
        ("x.json", {"cfg": {**CFG, "n_layers": 3}, "nodes": {}, "edges": EDGES},
         "of a model with 3 layers of 2 heads; expected 2 of 2"),
        ("x.json", {"cfg": {**CFG, "parallel_attn_mlp": True}, "nodes": {}, "edges": EDGES},
         "attention and MLP in parallel; expected 2 of 2: "),
        ("x.json", {"cfg": CFG, "nodes": {}, "edges": {"m9->logits": True}}, "no such node"),
        ("x.json", {"cfg": CFG, "nodes": {}, "edges": {"m1->m0": True}}, "closes a cycle"),
        ("x.json", {"cfg": CFG, "nodes": {}, "edges": {"input->m0": {"in_graph": 1}}}, "true or"),
        ("x.json", {"cfg": CFG, "nodes": {"m0": {"neurons": [1]}}, "edges": {}}, "chooses neurons"),
        ("x.json", "[" * 2000, "nested deeper"),
        ("x.yaml", "edges: [m1->m0]", "closes a cycle: m1 is computed after what m0 reads"),
        ("x.yaml", "edges: [mo->logits]", "no such node"),
        ("x.yaml", "edges: input->m0", "got str; write edges"),
        ("x.yaml", "model: {n_layers: 3, n_heads: 2}\nedges: []", r"is of Graph\(n_layers=3.*expected"),
        ("x.yaml", "model: {n_layers: 0, n_heads: 2}\nedges: []", "expected n_layers and n_heads"),
        ("x.yaml", "edges: &a [b]\nmore: *a", "it has anchors"),
        ("x.yaml", "edges: [", "no YAML that is read"),
        ("x.yaml", "!!python/object/apply:os.getcwd []", "no YAML that is read"),
        ("x.csv", "edge,in_circuit\nm1->m0,1\n", "line 2: .*closes a cycle"),
        ("x.csv", "edge,in_circuit\ninput->m0,1\ninput->m0,0\n", "comes twice"),
        ("x.csv", "edge,in_circuit,score\ninput->m0,1,high\n", "could not convert"),
        ("x.csv", "edge\ninput->m0\n", "must have the columns edge and in_circuit"),
        ("x.txt", "", "must end in .json, .pt, .csv, .yaml or .yml"),
    ],
)  # fmt: skip
def test_what_is_no_circuit_of_this_model_is_one_line(
    tmp_path: Path, name: str, content: Any, told: str
):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=told) as error:
        read_circuit(path, graph=PLAIN)
    assert "\n" not in str(error.value)


def test_files_beyond_the_limit_and_missing_ones_are_refused(tmp_path: Path, monkeypatch):
    path = write_circuit(circuit(), tmp_path / "x.json", d_model=8)
    monkeypatch.setattr("patching.circuits.formats.eap_ig.CIRCUIT", 1000)
    for file, told in (
        (path, "too large"),
        (pt(tmp_path), "too large"),
        (tmp_path / "no.json", "existing"),
    ):
        with pytest.raises(ValueError, match=told):
            read_circuit(file)
    assert limits.CIRCUIT > 10**8


def test_what_is_missing_of_a_call_is_told(tmp_path: Path):
    (tmp_path / "x.csv").write_text("edge,in_circuit\n")
    (tmp_path / "x.yaml").write_text("edges: []")
    for call, told in (
        (lambda: read_circuit(tmp_path / "x.csv"), "expected graph="),
        (lambda: read_circuit(tmp_path / "x.yaml"), "neither model nor a graph"),
        (lambda: write_circuit(circuit(), tmp_path / "x.json"), "give d_model=model.d_model"),
        (lambda: write_circuit(circuit(), tmp_path / "x.pt"), "choose one of these"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_a_folder_of_the_benchmark_comes_back_smallest_first(tmp_path: Path):
    whole = circuit()
    order = torch.argsort(circuit().scores, descending=True)  # pyright: ignore[reportArgumentType]
    cut = {}
    for share in SIZES:
        mask = torch.zeros(PLAIN.n_edges, dtype=torch.bool)
        mask[order[: int(share * PLAIN.n_edges)]] = True
        cut[f"circuit_{share}"] = Circuit(PLAIN, mask)
    back = read_mib(write_mib(cut, tmp_path / "ioi_tiny", d_model=8))
    assert [len(c) for c in back.values()] == [int(share * PLAIN.n_edges) for share in SIZES]
    single = read_mib(write_mib({"importances": whole}, tmp_path / "all_tiny", d_model=8), graph=PLAIN)
    assert list(single) == ["importances"] and same(single["importances"], whole)
    with pytest.raises(ValueError, match="new or empty folder"):
        write_mib({"importances": whole}, tmp_path / "all_tiny", d_model=8)
    with pytest.raises(ValueError, match="importances alone or 9 circuits; got 2"):
        write_mib({"a": whole, "b": whole}, tmp_path / "two", d_model=8)
    with pytest.raises(ValueError, match="holds no circuit"):
        read_mib(tmp_path)
    write_circuit(circuit(PARALLEL), tmp_path / "all_tiny" / "other.json", d_model=8)
    with pytest.raises(ValueError, match="circuits of 2 models"):
        read_mib(tmp_path / "all_tiny")


def test_the_page_of_attribution_graphs_gets_every_edge_once(tmp_path: Path):
    whole = circuit(GROUPED)
    path = write_tracer(whole, tmp_path / "my-slug.json", tokens=["A", "\nb"], answer=" c", name="tiny")
    page = json.loads(path.read_text())
    assert page["metadata"]["slug"] == "my-slug" and page["metadata"]["prompt_tokens"] == ["A", "⏎b"]
    assert set(page["qParams"]) == {"pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"}
    identities = {node["node_id"]: node["clerp"] for node in page["nodes"]}
    assert len(identities) == len(page["nodes"]) == len(whole.nodes)
    expected: dict[tuple[str, str], float] = {}
    assert whole.scores is not None
    for number in whole.mask.nonzero()[:, 0].tolist():
        source, _, into = GROUPED.names[number].partition("->")
        head, _, slot = into.partition("<")
        layer, _, group = head.partition(".g")
        heads = [f"{layer}.h{3 * int(group) + i}" for i in range(3)] if group else [head]
        for name in heads:
            key = (source, 'Output " c"' if name == "logits" else name)
            expected[key] = expected.get(key, 0.0) + float(whole.scores[number])
    found = {
        (identities[link["source"]], identities[link["target"]]): link["weight"]
        for link in page["links"]
    }
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="0 tokens"):
        write_tracer(whole, path, tokens=[], answer="")


def test_a_name_that_comes_twice_is_refused(tmp_path: Path):
    file = write_circuit(circuit(), tmp_path / "c.json", d_model=8)
    file.write_text(
        file.read_text().replace('"edges": {', '"edges": {"input->m0": {"score": 1.0}, ', 1)
    )
    with pytest.raises(ValueError, match="'input->m0' comes twice"):
        read_circuit(file)
    hand = tmp_path / "c.yaml"
    hand.write_text("edges: [input->m0]\nedges: [m0->logits]\n")
    with pytest.raises(ValueError, match="'edges' comes twice"):
        read_circuit(hand, graph=PLAIN)
    hand.write_text("edges: [input->m0]\nscores: [1.0]\n")
    with pytest.raises(ValueError, match="must hold edges and, if you like, model"):
        read_circuit(hand, graph=PLAIN)


def test_a_table_without_columns_is_no_empty_circuit(tmp_path: Path):
    for content in ("", "sender,score\n"):
        (tmp_path / "c.csv").write_text(content)
        with pytest.raises(ValueError):
            read_circuit(tmp_path / "c.csv", graph=PLAIN)


def test_a_score_beyond_all_numbers_is_refused(tmp_path: Path):
    file = write_circuit(circuit(), tmp_path / "c.json", d_model=8)
    content = json.loads(file.read_text())
    content["edges"]["input->m0"]["score"] = 10**400
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="beyond all numbers"):
        read_circuit(file)


def test_names_of_a_benchmark_folder_stay_in_it(tmp_path: Path):
    names = [f"../x{i}" for i in range(len(SIZES))]
    with pytest.raises(ValueError, match="becomes a file's"):
        write_mib(dict.fromkeys(names, circuit()), tmp_path / "f", d_model=8)
    assert not list(tmp_path.glob("*.json"))
    (tmp_path / "g").write_text("precious")
    with pytest.raises(ValueError, match="new or empty folder"):
        write_mib({"importances": circuit()}, tmp_path / "g", d_model=8)


def test_an_edge_without_a_score_is_written_with_none(tmp_path: Path):
    scores = torch.full((PLAIN.n_edges,), float("nan"))
    made = Circuit(PLAIN, PLAIN.mask(["input->m0", "m0->logits"]), scores)
    file = write_tracer(made, tmp_path / "c.json", tokens=["The", " end"], answer=" is")
    assert [link["weight"] for link in json.loads(file.read_text())["links"]] == [0.0, 0.0]


def test_sources_in_another_order_are_refused(tmp_path: Path):
    for changes, told in (
        ({"src_nodes": list(reversed(PLAIN.sources))}, "must list its src_nodes as input, a0.h0"),
        ({"dst_nodes": list(reversed(PLAIN.destinations))}, "must list its dst_nodes"),
        ({"src_nodes": torch.ones(7)}, "must list its src_nodes"),
        ({"edges_scores": torch.zeros(7, 15, dtype=torch.complex64)}, "must hold numbers as scores"),
        ({"edges_in_graph": torch.full((7, 15), 0.5)}, "true or false for what is in the graph"),
    ):
        with pytest.raises(ValueError, match=told):
            read_circuit(pt(tmp_path, **changes))
    named = pt(tmp_path, src_nodes=dict.fromkeys(PLAIN.sources, True))
    assert read_circuit(named).graph == PLAIN, "the control: names with a truth value each"
