"""The page of a scan: numbers as a reader writes them, texts of models escaped, regions told apart."""

import json
import re

import pandas as pd

from interp.report.packing import unpacked
from interp.report.scan_page import FIGURES, SECTIONS, scan_page

#: Small tables with the columns of a scan's, as far as figures draw them.
DRAWN = {
    "prompts": pd.DataFrame(
        {
            "prompt": ["</script><b>x", "b"], "score": [9.0, 0.1], "changed": [True, False],
            "kl_base": [4.0, 0.1], "kl_tuned": [5.0, 0.1],
        }
    ),
    "tokens": pd.DataFrame(
        {
            "kind": ["promoted", "suppressed"], "token": [" unknown", "<b>"], "mean": [7.0, -2.0],
            "low": [6.0, -3.0], "high": [8.0, -1.0],
        }
    ),
    "scales": pd.DataFrame({"scale": [0.0, 1.0], "mean": [5.0, -6.0], "low": 4.0, "high": 6.0}),
    "lens": pd.DataFrame({"boundary": [3, 6], "token": ["a", "b"], "logit": [3.0, 1.0], "random": 2.0}),
    "weights": pd.DataFrame(
        {"layer": [4, 5], "matrix": ["q", "k"], "relative": 0.1, "effective_rank": 7.0, "top": 0.3}
    ),
}  # fmt: skip


def page(**more: pd.DataFrame) -> str:
    tables = dict.fromkeys(SECTIONS, pd.DataFrame({"what": []}))
    tables["amplified"] = pd.DataFrame(
        {"text": ["<script>x</script>", "b", "c"], "alpha": [1.0, 2.0, 4.0], "p": [1e-9, 0.2, 1.0]}
    )
    tables["findings"] = pd.DataFrame({"count": [1.0, None, 2.0]})
    sources = {"tuned": {"source": "t"}, "base": {"source": "b"}}
    return scan_page("They part.", tables | more, sources)


def test_whole_numbers_have_no_point_and_small_ones_are_no_zero():
    cells = re.findall(r'<td class="model">(.*?)</td>', page())
    assert cells[:3] == ["1", "–", "2"], "findings come first"
    assert cells[4:6] == ["1", "below 0.001"] and cells[7:9] == ["2", "0.200"]


def test_texts_are_escaped_and_every_region_has_a_name_of_its_own():
    text = page()
    assert "<script>" not in text and "&lt;script&gt;" in text
    names = re.findall(r'aria-label="(.*?)"', text) + re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert len(names) == len(set(names)) > len(SECTIONS)


def test_every_table_that_can_be_drawn_is_drawn_above_its_numbers():
    text = page(**DRAWN)
    assert set(DRAWN) == set(FIGURES)
    packed = re.search(r'id="packed-figures">(.*?)</script>', text)
    assert packed is not None
    figures = json.loads(unpacked(packed[1]))
    assert set(figures) == set(FIGURES)
    for name in FIGURES:
        assert text.index(f'data-figure="{name}"') < text.index(
            f'aria-label="table: {SECTIONS[name][0]}'
        )
        assert figures[name]["data"], name
    # The control: without rows nothing is drawn, and no script is needed.
    assert "data-figure" not in page() and "packed-plotly" not in page()
