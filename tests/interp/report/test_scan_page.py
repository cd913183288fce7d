"""The page of a scan: numbers as a reader writes them, texts of models escaped, regions told apart."""

import re

import pandas as pd

from interp.report.scan_page import SECTIONS, scan_page


def page() -> str:
    tables = dict.fromkeys(SECTIONS, pd.DataFrame({"what": []}))
    tables["amplified"] = pd.DataFrame(
        {"text": ["<script>x</script>", "b", "c"], "alpha": [1.0, 2.0, 4.0], "p": [1e-9, 0.2, 1.0]}
    )
    tables["lens"] = pd.DataFrame({"count": [1.0, None, 2.0]})
    sources = {"tuned": {"source": "t"}, "base": {"source": "b"}}
    return scan_page("They part.", tables, sources)


def test_whole_numbers_have_no_point_and_small_ones_are_no_zero():
    cells = re.findall(r'<td class="model">(.*?)</td>', page())
    assert cells[1:3] == ["1", "below 0.001"] and cells[4:6] == ["2", "0.200"]
    assert cells[-3:] == ["1", "–", "2"]


def test_texts_are_escaped_and_every_region_has_a_name_of_its_own():
    text = page()
    assert "<script>" not in text and "&lt;script&gt;" in text
    names = re.findall(r'aria-label="(.*?)"', text) + re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert len(names) == len(set(names)) > len(SECTIONS)
