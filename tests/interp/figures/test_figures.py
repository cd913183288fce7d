"""Figures draw exactly the tables they are given; tables hold numbers known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from verdict_cases import fake_case

from interp import figures
from interp.evidence import Evidence
from interp.figures import probes as probe_figures, tables as summaries
from interp.figures.captions import caption_of
from interp.figures.style import SINGLE, panels
from interp.figures.text import plain, room, visible
from interp.report import gallery
from interp.report.figure_tables import number_table
from interp.verdict.outcomes import Outcomes

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def case() -> tuple[Outcomes, Evidence, Evidence]:
    return fake_case("evasive_high", n_groups=24, n_layers=6)


def curves(**keys: list) -> pd.DataFrame:
    """Rows of three boundaries for every combination given, with numbers that are all different."""
    table = pd.DataFrame(keys).merge(pd.DataFrame({"layer": [0, 1, 2]}), how="cross")
    value = np.linspace(0.11, 0.89, len(table))
    return table.assign(estimate=value, low=value - 0.07, high=value + 0.05, n=20)


def drawn(figure, kind: str = "scatter") -> list[np.ndarray]:
    """The y values of every drawn line (bands left out)."""
    lines = [t for t in figure.data if t.type == kind and t.hoverinfo != "skip"]
    return [np.array(t.y, dtype=float) for t in lines]


def bands(figure) -> list[np.ndarray]:
    return [np.array(t.y, dtype=float) for t in figure.data if t.hoverinfo == "skip"]


def test_curves_carry_the_table_and_its_intervals():
    table = curves(condition=["sufficiency", "persistence"])
    figure = figures.shared_shift_curves(table, boundary=1, handover=2, low=0.3, high=0.5)
    expected = table.groupby("condition", sort=False)
    for line, band, (_, rows) in zip(drawn(figure), bands(figure), expected, strict=True):
        np.testing.assert_array_equal(line, rows["estimate"])
        np.testing.assert_array_equal(band[:3], rows["high"])
        np.testing.assert_array_equal(band[3:][::-1], rows["low"])


def test_every_row_of_every_curve_figure_is_drawn_once():
    probes = curves(
        kind=["resid_pre"] * 4, span=["last"] * 4, model=["base", "base", "base", "tuned"],
        condition=["probe", "shuffled", "surface_letters", "probe"],
    )  # fmt: skip
    transfer = curves(span=["last"] * 3, condition=["frozen", "aligned", "cosine"])
    handover = curves(span=["last", "subject"])
    stitch = curves(panel=["output", "output"], series=["U", "V"])
    crossed = curves(model=["base", "tuned"], span=["all", "last"])
    made = [
        (probes, probe_figures.probe_curves(probes, attribute="truth")),
        (transfer, probe_figures.transfer_curves(transfer, attribute="truth")),
        (handover, figures.handover_curves(handover, handover=1)),
        (stitch, figures.stitch_curves(stitch, cut=1, handover=None)),
        (crossed, figures.cross_patch_curves(crossed, handover=1)),
    ]
    for table, figure in made:
        values = np.sort(np.concatenate(drawn(figure)))
        np.testing.assert_array_equal(values, np.sort(table["estimate"]))
        assert figure.layout.width in (321, 673)


def test_the_generalisation_map_has_a_cell_for_every_pair_and_chance_at_its_centre():
    names = ["cities", "neg_cities", "capitals"]
    estimate = np.array([[0.9, 0.3, 0.6], [0.2, 0.9, 0.4], [0.8, 0.3, 0.8]])
    rows = [
        {"train": train, "test": test, "condition": condition, "estimate": estimate[i, j] - shift,
         "low": 0.1, "high": 0.95}
        for condition, shift in (("probe", 0.0), ("recentred", 0.1))
        for i, train in enumerate(names)
        for j, test in enumerate(names)
    ]  # fmt: skip
    for condition, shift in (("probe", 0.0), ("recentred", 0.1)):
        figure = probe_figures.generalisation_heatmap(pd.DataFrame(rows), condition=condition)
        (cells,) = figure.data
        np.testing.assert_allclose(np.array(cells.z, dtype=float), estimate - shift - 0.5)
        assert (cells.zmid, cells.zmin, cells.zmax) == (0, -0.5, 0.5)
        assert figure.layout.annotations[1].text == f"{100 * (0.3 - shift):.0f}"
        assert list(figure.layout.yaxis.ticktext) == names


def test_responsibility_bars_carry_shares_and_bounds():
    table = pd.DataFrame(
        {"part": ["embedding", "0", "1", "unembedding"], "share": [0.0, 0.3, 0.8, -0.1],
         "low": [0.0, 0.2, 0.7, -0.2], "high": [0.0, 0.5, 0.9, 0.0]}
    )  # fmt: skip
    (bar,) = figures.responsibility_bars(table, span=[0, 1], handover=1).data
    np.testing.assert_array_equal(bar.y, table["share"])
    np.testing.assert_allclose(np.add(bar.y, bar.error_y.array), table["high"])
    np.testing.assert_allclose(np.subtract(bar.y, bar.error_y.arrayminus), table["low"])


def test_patch_heatmap_has_one_cell_per_row_and_keeps_equal_tokens_apart():
    tokens = ["of", "of", HOSTILE]
    table = pd.DataFrame(
        [(k, p, t, t, k + p / 10) for k in range(4) for p, t in enumerate(tokens)],
        columns=["layer", "position", "clean", "corrupted", "value"],
    )
    figure = figures.patch_heatmap(table, pair=f"{HOSTILE} & co")
    grid = np.array(figure.data[0].z, dtype=float)
    assert grid.shape == (3, 4)
    np.testing.assert_allclose(grid, table.pivot(index="position", columns="layer", values="value"))
    assert figure.data[0].zmid == 0 and figure.data[0].zmin == -figure.data[0].zmax


def test_model_text_is_text_in_labels_and_cannot_close_a_script():
    tokens = [HOSTILE, "&lt;"]
    table = pd.DataFrame({"layer": 0, "position": [0, 1], "clean": tokens, "corrupted": tokens,
                          "value": 0.5})  # fmt: skip
    figure = figures.patch_heatmap(table, pair=HOSTILE)
    labels = [
        figure.layout.title.text,
        figure.layout.yaxis.ticktext[0],
        figure.data[0].customdata[0][0],
    ]
    for label in labels:
        assert "<script" not in label and "&lt;script" in label
    assert figure.layout.yaxis.ticktext[1] == "&amp;lt;", (
        "a token that spells an entity must not be read as one"
    )
    text = figures.figure_json(figure)
    assert "<" not in text and ">" not in text
    assert json.loads(text)["layout"]["title"]["text"] == figure.layout.title.text


def test_a_caption_gives_the_values_of_the_lines_that_are_drawn():
    table = curves(panel=["output"] * 2, series=["U", "V"])
    table.attrs = {"intervals": "95%, BCa bootstrap over groups", "seed": 5}
    told = caption_of(figures.stitch_curves(table, cut=2, handover=1.0))
    assert "the cut between lower and upper blocks at boundary 2, the handover κ at boundary 1." in told
    assert "Shaded bands are 95% intervals (BCa bootstrap over groups, seed 5). n = 20 groups." in told
    bare = caption_of(figures.stitch_curves(table, cut=None, handover=None))
    assert "Dotted" not in bare and "κ" not in bare
    shift = curves(condition=["sufficiency"])
    told = caption_of(figures.shared_shift_curves(shift, boundary=2, handover=None, low=0.3, high=0.7))
    assert "k* at boundary 2, the upper bound of low at 0.3, the lower bound of high at 0.7." in told


def test_escaping_control_an_unescaped_label_would_fail():
    # The check above must notice a label that was not escaped.
    assert "<script" in HOSTILE and "<script" not in plain(HOSTILE)


def test_unseen_characters_become_visible():
    assert visible(" a\n") == "·a↵"
    assert visible("\u202eabc\x00") == "\\u202eabc\\u0000"


def test_empty_intervals_and_single_points_are_drawn_without_a_band():
    table = curves(span=["last"]).iloc[:1].assign(low=np.nan, high=np.nan)
    figure = figures.handover_curves(table, handover=None)
    assert not bands(figure) and figure.data[0].mode == "markers"


def test_recovery_of_known_pairs():
    rows = []
    for pair, (one, two) in enumerate([("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")]):
        for condition, layer, value in (
            ("clean", None, 4.0 + pair), ("corrupted", None, -4.0 - pair),
            ("patched", 0, -4.0 - pair), ("patched", 1, 0.0), ("patched", 2, 4.0 + pair),
        ):  # fmt: skip
            rows.append((condition, layer, pair, f"{one} -> {two}", value))
    table = pd.DataFrame(rows, columns=["condition", "layer", "example", "group", "value"])
    columns = {k: list(table[k].astype(object).where(table[k].notna(), None)) for k in table}
    evidence = Evidence.build(columns.pop("value"), method="handover", span="last", metric="pair",
                              unit="logits", **columns)  # fmt: skip
    table = summaries.handover_curves(evidence)
    np.testing.assert_allclose(table["estimate"], [0.0, 0.5, 1.0], atol=1e-6)
    pairs = summaries.handover_pairs(evidence, smallest=9.0)
    assert pairs.groupby("pair")["value"].apply(lambda v: v.isna().all()).sum() == 1
    # Two wordings of the same pair are two rows of the map, named by their letters.
    worded = evidence.table.assign(template=["AB"[e % 2] for e in evidence.table["example"]],
                                   group="a -> b")  # fmt: skip
    of_forms = summaries.handover_pairs(Evidence(worded[worded["example"] < 2]), smallest=0.0)
    assert list(dict.fromkeys(of_forms["pair"])) == ["B · a ← b", "A · a ← b"]
    drawn_pairs = figures.handover_heatmap(of_forms, handover=None)
    assert np.array(drawn_pairs.data[0].z).shape == (2, 3)
    caption = caption_of(drawn_pairs)
    assert "n = 2 pairs. No interval: single measurements." in caption
    alone = worded[worded["example"] == 1]
    assert set(summaries.handover_pairs(Evidence(alone), smallest=0.0)["pair"]) == {"a ← b"}


def test_balanced_accuracy_is_over_classes_not_rows():
    # Nine right answers of class 0, one wrong of class 1: half, not nine tenths.
    evidence = Evidence.build(
        [1.0] * 9 + [0.0], label=[0.0] * 9 + [1.0], group=[f"g{i}" for i in range(10)],
        method="probe", condition="probe", metric="truth", kind="resid_pre", span="last", layer=3,
        model="base", unit="accuracy",
    )  # fmt: skip
    assert summaries.probe_curves(evidence)["estimate"].tolist() == [0.5]


def test_intervals_cover_the_mean_and_shrink_with_groups():
    rng = np.random.default_rng(0)
    widths = []
    for n in (20, 320):
        hits = 0
        for draw in range(40):
            values = rng.normal(1.0, 2.0, (n, 1))
            _, low, high = summaries.intervals(lambda w, v=values: w @ v / w.sum(1)[:, None], n, draw)
            hits += bool(low[0] <= 1.0 <= high[0])
        widths.append(high[0] - low[0])
        assert hits >= 33
    assert widths[1] < widths[0] / 2


def test_last_block_output_is_the_last_boundary_however_it_is_counted():
    common = {"method": "probe", "condition": "probe", "metric": "m", "span": "last",
              "unit": "accuracy", "model": "base", "group": ["a", "b"] * 3}  # fmt: skip
    for last in (1, 2):
        kinds = ["resid_pre"] * 4 + ["resid_post"] * 2
        evidence = Evidence.build([1.0] * 6, kind=kinds, layer=[0, 0, 1, 1, last, last], **common)
        table = summaries.probe_curves(evidence)
        assert table["layer"].tolist() == [0, 1, 2] and set(table["kind"]) == {"resid_pre"}


def test_stitch_panels_never_pool_changed_and_unchanged(case):
    outcomes, _, causal = case
    table = summaries.stitch_curves(causal, outcomes)
    ends = table[table["layer"].isna()].set_index(["panel", "series"])["estimate"]
    moved = ends["output contrast, changed groups"]
    assert moved["tuned"] < 0 < moved["base"]
    calm = ends["fact contrast, unchanged groups"][["base", "tuned"]].tolist()
    assert calm[0] == pytest.approx(calm[1], abs=1e-6)


def test_the_shaded_blocks_are_named_in_a_line_of_their_own():
    parts = ["embedding", "0", "1", "2", "unembedding"]
    table = pd.DataFrame({"part": parts, "share": [0.0, 0.6, 0.4, 0.0, 0.0], "low": 0.0, "high": 1.0})
    shaded = figures.responsibility_bars(table, span=(0, 1), handover=None)
    (text,) = shaded.layout.annotations
    assert text.text == "shaded: blocks 0–1, the middle 90%"
    bare = figures.responsibility_bars(table, span=None, handover=None)
    assert not bare.layout.annotations
    # Its line is added to the margin, below the figure's title.
    assert shaded.layout.margin.t >= bare.layout.margin.t + 15


def test_long_titles_are_cut_on_both_sides_and_short_ones_stand():
    grid = pd.DataFrame(
        {"layer": [0], "position": [0], "clean": ["a"], "corrupted": ["b"], "value": [1]}
    )
    left, right = (
        "France met the king of Spain in the year of the fair",
        "Japan met the king of Egypt in the year of the fair",
    )
    long = figures.patch_heatmap(grid, pair=f"{left} ← {right}").layout.title.text
    assert len(long) < 105 and "Patching: France met" in long and "… ← Japan met" in long
    assert "France ← Japan" in figures.patch_heatmap(grid, pair="France ← Japan").layout.title.text


def test_wide_characters_get_the_room_they_take():
    assert room(["東京都庁"]) == room(["abcdefgh"]) > room(["abcd"])


def test_probe_rows_stand_in_one_order_whatever_the_tables():
    spans = ["last", "subject_last"]
    for given in (spans, spans[::-1]):
        table = curves(span=given).assign(kind="resid_pre", model="base", condition="probe")
        figure = probe_figures.probe_curves(table, attribute="x")
        titles = [a.text for a in figure.layout.annotations]
        assert titles == ["base, subject's last token", "base, last token"]


def test_a_claim_that_was_read_and_not_tried_has_its_dot():
    verdict = {"claims": [
        {"attribute": "truth", "site": "resid_pre.4", "position": "last", "grade": "not measured",
         "p_adjusted": None, "selectivity": {"estimate": 0.25, "low": 0.1, "high": 0.4},
         "effect": None, "controls": None},
    ]}  # fmt: skip
    figure = figures.claim_dots(gallery.claims(verdict), margin=0.05)
    dots = [trace for trace in figure.data if trace.name == "not measured"]
    assert [list(trace.x) for trace in dots] == [[0.25], [None]]


def test_a_caption_of_what_the_verdict_holds_tells_n_and_the_kind_of_interval():
    share = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 38}
    bars = gallery.responsibility({"responsibility": {"embedding": share, "blocks": [share],
                                                      "unembedding": share}})  # fmt: skip
    told = caption_of(figures.responsibility_bars(bars, span=None, handover=None))
    assert told.endswith("Bars are 95% intervals (Fieller's interval over groups). n = 38 groups.")
    named = {"attribute": "truth", "site": "resid_pre.4", "position": "last", "p_adjusted": None}
    tried = {"grade": "null", "selectivity": {**share, "n": 128}, "effect": {**share, "n": 12},
             "controls": {"control_task": share}}  # fmt: skip
    read = {"grade": "null", "selectivity": {**share, "n": 128}, "effect": None, "controls": None}
    graded = gallery.claims({"claims": [{**named, **tried}, {**named, **read}]})
    told = caption_of(figures.claim_dots(graded, margin=0.05))
    assert told.endswith("control-task directions). n = 12 to 128 groups.") and "±0.05" in told
    assert [row[-2] for row in number_table(graded).rows] == ["12", "–"]


def test_a_legend_beside_long_labels_has_a_row_for_every_line_it_takes():
    entries = ["supported", "undetermined", "not measured", "control task"]
    given = {"title": "t", "x": "x", "y": [""], "entries": entries}
    wide, narrow = (panels([["", ""]], left=left, **given) for left in (52, 330))
    assert narrow.layout.margin.b == wide.layout.margin.b + 18
    assert (
        "Handover from subject to last token"
        in panels(
            [[""]], title="Handover from subject to last token", x="x", y=[""], width=SINGLE
        ).layout.title.text
    )
