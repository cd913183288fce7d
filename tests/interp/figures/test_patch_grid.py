"""The grid of patched places shows every cell, whatever was patched and however many pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from interp import figures
from interp.evidence import Evidence
from interp.evidence.recovery import recovery_table
from interp.figures.captions import caption_of
from interp.figures.paper.tables import table

LAYERS = 3


def measured(
    places: list[dict], n_pairs: int = 1, tokens: bool = False, layers: int = LAYERS, **columns
) -> Evidence:
    """Rows of every place at every layer; recovery is all different, the same in every pair."""
    parts = []
    for pair in range(n_pairs):
        both = {"example": pair, "group": f"land{pair} -> land{pair + 1}", "method": "patch"}
        both |= {"metric": "pair", "model": "base", "unit": "logits"} | columns
        parts.append(Evidence.build([2.0 + pair, 0.0], condition=["clean", "corrupted"], **both))
        values = np.linspace(0.0, 1.0, layers * len(places)) * (2.0 + pair)
        for i, place in enumerate(places):
            part = values[i * layers : (i + 1) * layers]
            row = {"kind": "resid_pre", **place, "layer": list(range(layers))}
            parts.append(Evidence.build(part, condition="patched", **both, **row))
    words = {"clean": ["The", " land0", " <b>"], "corrupted": ["The", " land1", " <b>"]}
    noted = {str(pair): {**words, "differs": ["land0", "land1"]} for pair in range(n_pairs)}
    return Evidence.concat(parts).with_provenance(**({"grid_tokens": noted} if tokens else {}))


def cells(figure) -> list[np.ndarray]:
    return [np.array(trace.z, dtype=float) for trace in figure.data]


POSITIONS = [{"position": p} for p in range(3)]


def test_one_pair_has_its_tokens_on_the_axis_and_its_name_in_the_title():
    figure = figures.patch_grid(measured(POSITIONS, tokens=True))
    (grid,) = cells(figure)
    np.testing.assert_allclose(grid, np.linspace(0, 1, 9).reshape(3, 3), atol=1e-6)
    assert list(figure.layout.yaxis.ticktext) == ["The", "·land0 | ·land1", "·&lt;b&gt;"]
    assert figure.layout.title.text == "<b>Patching the base: land0 ← land1</b>"
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.xaxis.title.text == "layer (block input)"


def test_pairs_of_several_lengths_have_numbers_on_the_axis():
    evidence = measured(POSITIONS, n_pairs=2, tokens=True)
    noted = evidence.provenance["grid_tokens"]
    noted["1"] = {**noted["1"], "clean": ["The", "The", " land0", " <b>"]}
    figure = figures.patch_grid(evidence.with_provenance(grid_tokens=noted))
    assert list(figure.layout.yaxis.ticktext) == ["0", "1", "2"]


def test_several_pairs_have_the_tokens_of_the_first_and_their_pooled_recovery():
    evidence = measured(POSITIONS, n_pairs=4, tokens=True)
    noted = evidence.provenance["grid_tokens"]
    noted["2"] = {**noted["2"], "clean": ["The", " land7", " <b>"]}
    evidence = evidence.with_provenance(grid_tokens=noted)
    figure = figures.patch_grid(evidence)
    assert list(figure.layout.yaxis.ticktext) == ["The", "·land0 | ·land1, …", "·&lt;b&gt;"]
    assert "4 pairs" in figure.layout.title.text
    table = recovery_table(evidence).sort_values(["position", "layer"])
    np.testing.assert_allclose(cells(figure)[0].ravel(), table["estimate"])
    assert "4 pairs, 95% [" in figure.data[0].customdata[0][0]


def test_the_data_hold_every_token_that_the_axis_bears():
    one = figures.patch_grid(measured(POSITIONS, tokens=True)).source.table
    assert one.drop_duplicates("position")[["clean", "corrupted"]].to_numpy().tolist() == [
        ["The", "The"], [" land0", " land1"], [" <b>", " <b>"],
    ]  # fmt: skip
    evidence = measured(POSITIONS, n_pairs=2, tokens=True)
    noted = evidence.provenance["grid_tokens"]
    noted["1"] = {**noted["1"], "clean": ["The", " land7", " <b>"]}
    many = figures.patch_grid(evidence.with_provenance(grid_tokens=noted)).source.table
    assert many[many["position"] == 1]["clean"].unique().tolist() == [" land0, …"]
    assert many[many["position"] == 1]["corrupted"].unique().tolist() == [" land1"]
    assert "clean" not in figures.patch_grid(measured(POSITIONS)).source.table


def test_a_table_of_a_grid_is_laid_out_as_its_picture():
    evidence = measured(POSITIONS, tokens=True, metric="p_city", unit="probability")
    made = table(evidence)
    heads = ["layer", "0 The", "1 ·land0 | ·land1", "2 ·<b>"]
    assert list(made.frame) == heads
    picture = cells(figures.patch_grid(evidence))[0]
    shown = made.frame[heads[1:]].astype(float).to_numpy()
    np.testing.assert_allclose(shown, np.round(picture.T, 2))
    assert made.note == "Recovery of p_city (probability); n = 1 pair; no interval: one pair."
    assert made.markdown.endswith(f"\n\n{made.note}\n") and r"n = 1 pair" in made.latex
    assert r"1 $\cdot$land0 \textbar{} $\cdot$land1" in made.latex
    kinds = [{"kind": k, **p} for k in ("attn_out", "resid_pre") for p in POSITIONS]
    many = table(measured(kinds, n_pairs=4))
    assert list(many.frame) == ["kind", "layer", "0", "1", "2"] and len(many.frame) == 2 * LAYERS
    assert "n = 4 pairs; 95% intervals." in many.note and "[" in many.frame["1"][0]
    long = table(evidence, columns=["layer", "position", "estimate"])
    assert len(long.frame) == 9 and not long.note
    heads = [{"kind": "z", "head": h, "position": 0} for h in range(2)]
    assert "head" in table(measured(heads)).frame, "the control: heads are rows"


def test_heads_are_drawn_by_layers_with_the_position_above():
    heads = [{"kind": "z", "head": h, "span": "last"} for h in range(4)]
    figure = figures.patch_grid(measured(heads, n_pairs=2))
    (grid,) = cells(figure)
    assert grid.shape == (4, LAYERS) and figure.layout.yaxis.title.text == "head"
    assert [a.text for a in figure.layout.annotations] == ["last token"]
    both = heads + [{**place, "span": "subject"} for place in heads]
    titles = [a.text for a in figures.patch_grid(measured(both)).layout.annotations]
    assert titles == ["subject tokens", "last token"]


def test_spans_are_rows_in_their_usual_order():
    spans = [{"span": span} for span in ("last", "all", "subject")]
    figure = figures.patch_grid(measured(spans))
    assert list(figure.layout.yaxis.ticktext) == ["all positions", "subject tokens", "last token"]
    np.testing.assert_allclose(cells(figure)[0][2], np.linspace(0, 1, 9)[:3], atol=1e-6)


def test_each_kind_has_a_panel_the_stream_first():
    kinds = [{"kind": k, **p} for k in ("attn_out", "resid_pre") for p in POSITIONS]
    figure = figures.patch_grid(measured(kinds, tokens=True))
    assert [a.text for a in figure.layout.annotations] == ["resid_pre", "attn_out"]
    stream, attention = cells(figure)
    assert stream.min() > attention.max()
    assert [trace.showscale for trace in figure.data] == [False, True], "one scale for all"


def test_boundaries_of_the_stream_are_one_map():
    rows = measured([{"span": "last"}]).table
    end = rows[rows["layer"] == LAYERS - 1].assign(kind="resid_post")
    figure = figures.patch_grid(Evidence(Evidence.concat([Evidence(rows), Evidence(end)]).table))
    (grid,) = cells(figure)
    assert grid.shape == (1, LAYERS + 1) and grid[0, -1] == pytest.approx(1.0)
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "2", "3"]


def test_places_that_were_not_patched_stay_blank():
    table = measured(POSITIONS).table
    gone = ((table["layer"] == 1) & (table["position"] == 2)).fillna(False)
    figure = figures.patch_grid(Evidence(table[~gone]))
    assert np.isnan(cells(figure)[0][2, 1]) and np.isfinite(cells(figure)[0]).sum() == 8
    assert "not patched" in figure.data[0].customdata[2][1]


@pytest.mark.parametrize(("largest", "limit"), [(1.0, 1.0), (0.6, 1.0), (0.3, 0.3), (0.12, 0.15)])
def test_colours_reach_to_one_unless_all_is_small(largest: float, limit: float):
    table = measured([{"kind": "z", "head": h, "span": "last"} for h in range(2)]).table
    edited = table["condition"] == "patched"
    table = table.assign(value=table["value"].where(~edited, table["value"] * largest))
    figure = figures.patch_grid(Evidence(table))
    assert figure.data[0].zmax == pytest.approx(limit) and figure.data[0].zmin == -figure.data[0].zmax


def test_what_does_not_fit_into_one_figure_is_refused_with_a_way_out():
    mixed = measured([{"kind": "z", "head": 0, "span": "last"}, {"span": "last"}])
    with pytest.raises(ValueError, match="heads and whole sites are drawn apart, got both among"):
        figures.patch_grid(mixed)
    assert len(cells(figures.patch_grid(mixed.select(kind=["z", None])))) == 1
    heads = [{"kind": "z", "head": 0, "position": p} for p in range(9)]
    with pytest.raises(ValueError, match="at most 8 panels, got 9 by position; choose some"):
        figures.patch_grid(measured(heads))
    few = measured(heads).select(position=[0, 1, None])
    assert len(cells(figures.patch_grid(few))) == 2
    with pytest.raises(ValueError, match="made by patching.patch_sites"):
        figures.patch_grid(Evidence.build([1.0], method="stitch"))


def test_a_grid_made_by_corrupting_shows_what_is_lost_and_says_so():
    evidence = measured(POSITIONS, tokens=True)
    edited = evidence.table["condition"] == "patched"
    noise = Evidence(
        evidence.table.assign(direction=np.where(edited, "noise", None)), evidence.provenance
    )
    lost = figures.patch_grid(noise)
    (kept,), (gone,) = cells(figures.patch_grid(evidence)), cells(lost)
    np.testing.assert_allclose(gone, 1 - kept, atol=1e-6)
    assert lost.layout.title.text.startswith("<b>Corrupting the base")
    assert lost.data[0].colorbar.title.text == "effect lost"
    np.testing.assert_allclose(lost.source.table["estimate"], 1 - recovery_table(evidence)["estimate"])
    with pytest.raises(ValueError, match="drawn apart, got both directions"):
        figures.patch_grid(Evidence.concat([evidence.select(condition=["patched"]), noise]))


def test_a_caption_tells_model_metric_site_direction_prompts_and_n(tmp_path):
    named = {"base": {"source": "/models/mine"}, "pair_prompts": [["It is land0 .", "It is land1 ."]]}
    grid = measured(POSITIONS, tokens=True, metric="p_city", unit="probability", direction="denoise")
    figure = grid.with_provenance(**named).plot()
    *_, about, caption = (path.read_text() for path in figure.save(tmp_path / "g.svg"))
    for told in (
        "Patching mine: land0 ← land1.", "Metric: p_city (probability).", "Kind of site: resid_pre.",
        "Direction: denoising.", "“It is land0 .”; corrupted: “It is land1 .”", "n = 1 pair.",
        "No interval: one pair.",
    ):  # fmt: skip
        assert told in caption
    assert "the base" not in caption
    told = json.loads(about)
    assert told["n"] == {"smallest": 1, "largest": 1} and told["intervals"] == "none: one pair"
    assert told["seed"] is None and told["about"]["metric"] == "p_city (probability)"
    many = measured(POSITIONS, n_pairs=4, tokens=True, direction="denoise").with_provenance(**named)
    several = caption_of(many.plot(seed=3))
    assert "(BCa bootstrap over entities, seed 3)" in several and "n = 4 pairs." in several
    assert "It is land0" not in several and "No interval" not in several


def test_evidence_draws_itself_as_its_method_is_drawn():
    grid = measured(POSITIONS, tokens=True)
    figure = grid.plot(seed=1)
    assert figure.source.function == "patch_grid" and figure.source.arguments["seed"] == 1
    assert figure.layout == figures.patch_grid(grid, seed=1).layout
    both = Evidence.concat([grid, Evidence.build([1.0], method="steer")])
    with pytest.raises(ValueError, match="evidence of one of the methods .* got patch, steer; choose"):
        both.plot()
