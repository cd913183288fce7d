"""Figures of circuits: everything of the table is drawn, on the screen and on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp import figures
from interp.figures.captions import READINGS, caption_of

EDGES = pd.DataFrame(
    {
        "sender": ["input", "a0.h1", "m0", "input", "a1.h0"],
        "receivers": ["a0.h1<v>", "m0", "a1.h0<q>", "logits", "logits"],
        "score": [0.9, -0.5, 0.4, 0.05, 0.3],
        "word": ["core", "core", "contingent", "core", "core"],
    }
)
CURVES = pd.DataFrame(
    {
        "condition": ["signed", "signed", "absolute", "absolute", "signed_complement"],
        "share": [0.01, 1.0, 0.01, 1.0, 0.01],
        "estimate": [0.2, 1.0, 0.3, 1.0, 0.0],
        "low": [0.1, 1.0, 0.2, 1.0, 0.0],
        "high": [0.3, 1.0, 0.4, 1.0, 0.0],
        "n": 8,
    }
)
EXACT = pd.DataFrame(
    {"edge": ["input->m0", "m0->logits"], "screen": [0.5, 0.1], "exact": [0.4, -0.2], "kind": "highest"}
)
NODES = pd.DataFrame(
    {
        "node": ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"],
        "difference": [9.0, 0.1, -0.2, 0.4, 0.0, 0.3, -0.5],
        "low": [8.0, 0.0, -0.3, 0.3, -0.1, 0.2, -0.6],
        "high": [9.5, 0.2, -0.1, 0.5, 0.1, 0.4, -0.4],
    }
)
PATTERN = pd.DataFrame(
    {"head": ["a0.h1", "a0.h1", "a0.h1"], "query": [0, 1, 1], "key": [0, 0, 1], "weight": [1, 0.3, 0.7]}
)
DRAWN = {
    "circuit_graph": lambda: figures.circuit_graph(EDGES),
    "edge_heatmap": lambda: figures.edge_heatmap(EDGES),
    "circuit_graph, compared": lambda: figures.circuit_graph(EDGES, compared=True),
    "edge_heatmap, compared": lambda: figures.edge_heatmap(EDGES, compared=True),
    "node_heatmap": lambda: figures.node_heatmap(NODES),
    "faithfulness_curves": lambda: figures.faithfulness_curves(CURVES),
    "score_scatter": lambda: figures.score_scatter(EXACT, screen="eap", unit="logits"),
    "attention_patterns": lambda: figures.attention_patterns(PATTERN, tokens=["<s>", " a & b"]),
}


def segments(figure: figures.Figure) -> dict[tuple[float, float], tuple[float, float]]:
    """Start -> end of every drawn edge."""
    found = {}
    for trace in figure.data:
        if trace.mode == "lines" and trace.x[0] is not None:
            for i in range(0, len(trace.x), 3):
                found[trace.x[i], trace.y[i]] = (trace.x[i + 1], trace.y[i + 1])
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_each_is_written_for_a_paper_with_its_data_and_caption(name: str, tmp_path: Path):
    figure = DRAWN[name]()
    written = figure.save(tmp_path / f"{name}.svg", columns=2)
    assert [path.suffix for path in written] == [".svg", ".csv", ".json", ".txt"]
    assert READINGS[name].how.split(":")[0] in caption_of(figure)
    assert len(pd.read_csv(written[1])) == len(figure.source.table) > 0
    again = DRAWN[name]().save(tmp_path / "again" / f"{name}.svg", columns=2)
    assert again[0].read_bytes() == written[0].read_bytes()


def test_edges_lead_upwards_and_enter_heads_by_their_slot():
    figure = figures.circuit_graph(EDGES)
    ends = segments(figure)
    assert len(ends) == 4, "two of five start at the input"
    assert all(y1 > y0 for (_, y0), (_, y1) in ends.items())
    dots = figure.data[-1]
    assert list(figure.layout.yaxis.ticktext) == ["input", "a0", "m0", "a1", "m1", "logits"]
    assert sorted(zip(dots.x, dots.y, strict=True)) == [(0, 3), (0.5, 0), (0.5, 5), (1, 1), (2.25, 2)]
    assert ends[1.0, 1.0] == (2.25, 1.88), "from a0.h1 to m0"
    assert ends[2.25, 2.0][0] < 0, "queries enter a1.h0 at its left"
    colours = {
        trace.line.color for trace in figure.data if trace.mode == "lines" and trace.x[0] is not None
    }
    dashes = {
        trace.line.dash for trace in figure.data if trace.mode == "lines" and trace.x[0] is not None
    }
    assert len(colours) == 2 and dashes == {"solid", "dot"}
    alone = figures.circuit_graph(EDGES.assign(word="core", score=1.0))
    assert {t.line.dash for t in alone.data if t.mode == "lines"} <= {"solid", None}, "the control"


def test_an_edge_into_a_group_is_drawn_to_each_of_its_heads():
    table = pd.DataFrame(
        {"sender": ["input", "a1.h2", "a1.h3"], "receivers": ["a1.g1<k>", "logits", "logits"]}
    )
    drawn = [
        t
        for t in figures.circuit_graph(table, heads_per_group=2).data
        if t.mode == "lines" and t.x[0] is not None
    ]
    assert sum(len(t.x) // 3 for t in drawn) == 4


def test_a_map_adds_up_what_it_draws_together():
    small = figures.edge_heatmap(EDGES)
    assert np.nansum(np.array(small.data[0].z, float)) == pytest.approx(EDGES["score"].sum())
    many = pd.DataFrame(
        {
            "sender": [f"a0.h{i}" for i in range(60)] * 2,
            "receivers": ["a1.h0<q>"] * 60 + ["m1"] * 60,
            "score": 0.5,
        }
    )
    large = figures.edge_heatmap(many)
    assert np.array(large.data[0].z, float).tolist() == [[30.0, 30.0]]
    assert list(large.layout.xaxis.ticktext) == ["a1", "m1"]


def test_a_map_of_nodes_has_a_row_for_each_head_and_one_for_mlps():
    figure = figures.node_heatmap(NODES)
    assert list(figure.layout.yaxis.ticktext) == ["h0", "h1", "MLP"]
    assert list(figure.layout.xaxis.ticktext) == ["0", "1"]
    assert np.array(figure.data[0].z, float).tolist() == [[0.1, 0.0], [-0.2, 0.3], [0.4, -0.5]]


def test_differences_of_two_models_are_not_told_as_scores():
    for draw in (figures.circuit_graph, figures.edge_heatmap):
        assert "lower the metric" in caption_of(draw(EDGES)) or "lowers" in caption_of(draw(EDGES))
        told = caption_of(draw(EDGES, compared=True))
        assert "the tuned model" in told and "ablat" not in told
    names = {trace.name for trace in figures.circuit_graph(EDGES, compared=True).data}
    assert {"scores higher in the tuned model", "lower"} <= names


def test_curves_leave_complements_out_and_stand_at_equal_distances():
    figure = figures.faithfulness_curves(CURVES)
    lines = {
        t.name: (list(t.x), list(t.y)) for t in figure.data if t.mode == "lines" and t.fill is None
    }
    assert lines == {"signed": ([0, 1], [0.2, 1.0]), "absolute": ([0, 1], [0.3, 1.0])}


@pytest.mark.parametrize(
    ("draw", "told"),
    [
        (lambda: figures.circuit_graph(EDGES.head(0)), "got 0 rows"),
        (lambda: figures.circuit_graph(EDGES.assign(sender="a0_h1")), "node 'a0_h1' is none"),
        (lambda: figures.edge_heatmap(EDGES.drop(columns="score")), r"without \['score'\]"),
        (lambda: figures.node_heatmap(NODES.assign(node="x")), "7 rows without any"),
        (lambda: figures.node_heatmap(NODES.drop(columns="difference")), r"without \['difference'\]"),
        (lambda: figures.faithfulness_curves(CURVES.assign(condition="full")), "got 0"),
        (lambda: figures.score_scatter(EXACT.assign(exact=np.nan)), "got 0"),
        (lambda: figures.attention_patterns(PATTERN, tokens=["a"]), "more positions than the 1 tokens"),
        (
            lambda: figures.attention_patterns(PATTERN.assign(head=range(3)).head(0), tokens=["a"]),
            "0 heads",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_line(draw, told: str):
    with pytest.raises(ValueError, match=told) as error:
        draw()
    assert "\n" not in str(error.value)


def test_attention_is_laid_out_token_by_token(tiny_model):
    from interp.activations.collecting import collect
    from interp.sites import Kind, Site

    model, sites = tiny_model("llama"), [Site(Kind.PATTERN, 1, 2), Site(Kind.PATTERN, 0, 0)]
    prompts = ["The capital of land1 is", "The capital of the new land2 is"]
    read = collect(model, prompts, sites, positions="all")
    table = figures.attention_table(read, example=0)
    assert list(table["head"].unique()) == ["a1.h2", "a0.h0"] and len(table) == 2 * 15
    for site in sites:
        part = table[table["head"] == f"a{site.layer}.h{site.head}"].pivot(
            index="query", columns="key", values="weight"
        )
        expected = read[site].values[0, :5, :5].numpy()
        assert np.nan_to_num(part.to_numpy()) == pytest.approx(np.tril(expected), abs=1e-6)
    assert len(figures.attention_table(read, example=1)) == 2 * 28
    with pytest.raises(ValueError, match="expected 0 to 1, of those read"):
        figures.attention_table(read, example=2)
    with pytest.raises(ValueError, match="single heads at all positions"):
        figures.attention_table(collect(model, prompts, sites))
