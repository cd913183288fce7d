"""The page is one that ears and keyboards can read, and every figure says what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from markupsafe import escape
from report_pages import HOSTILE, Page
from verdict_cases import fake_case

from interp.evidence import Evidence
from interp.report.controls import controls, left_out
from interp.report.figure_tables import number_table
from interp.report.gallery import gallery, told_apart
from interp.report.glossary import FirstUses, glossary
from interp.report.methods import bibtex, command, methods_text
from interp.report.outputs import behind, opening, output_table, shown_rows
from interp.report.packing import packed, packed_plotly, unpacked
from interp.report.page import Written, render
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.summary import NOT_ASKED, NOT_JUDGED, SAME, by_number, summary

MOST_BYTES = 2_500_000


def test_the_page_has_landmarks_one_heading_of_the_first_order_and_a_way_past_them(page: Page):
    assert len(page.of("main")) == len(page.of("header")) == len(page.of("nav")) == 1
    assert len(page.of("h1")) == 1 and page.of("html")[0]["lang"] == "en"
    assert page.links[0] == "#main"
    names = [a.get("aria-labelledby") or a.get("aria-label") for a in page.of("section")]
    assert all(names) and len(set(names)) == len(names)


def test_every_table_heading_says_what_it_heads(page: Page):
    assert len(page.of("th")) > 40 and all(a.get("scope") in ("col", "row") for a in page.of("th"))


def test_identifiers_are_single_and_every_inner_link_has_its_place(page: Page):
    assert len(set(page.identifiers)) == len(page.identifiers)
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert len(inner) > 20 and inner <= set(page.identifiers)


def test_every_file_that_the_page_links_to_lies_beside_it(written: Written, page: Page):
    outer = {link for link in page.links if not link.startswith("#")}
    assert {"outputs.csv", "verdict.json", "figures/stitch.csv", "figures/stitch.html"} <= outer
    assert all((written.report.parent / link).is_file() for link in outer)


def test_every_figure_has_a_title_a_way_to_read_it_intervals_n_and_its_data(drawn, page: Page):
    for shown in drawn:
        assert shown.title and shown.caption.endswith(".") and shown.interval
        assert re.match(r"\d", shown.n), shown.n
        assert {shown.name, f"title-{shown.name}"} <= set(page.identifiers)
        for axis in ("xaxis", "yaxis"):
            assert shown.figure.layout[axis].title.text is not None
    assert page.told.count("How to read:") == page.told.count("Intervals:") == len(drawn)


def test_titles_tell_the_numbers_of_the_run(case, drawn):
    titles = {shown.name: shown.title for shown in drawn}
    boundary = case[0].to_dict()["handover_layer"]["estimate"]
    assert titles["handover"] == f"The fact reaches the last token at boundary {boundary} of the base"
    assert re.match(r"\d+ of \d+ claims (is|are) supported", titles["claims"])


def looks(figure: go.Figure) -> list[tuple[str, str | None]]:
    """Dash and mark of every curve by name."""
    curves = {
        trace.name: (trace.line.dash or "solid", trace.marker.symbol)
        for trace in figure.data
        if trace.type == "scatter" and "lines" in (trace.mode or "") and trace.hoverinfo != "skip"
    }
    return list(curves.values())


def test_curves_are_told_apart_without_their_colours(drawn):
    for shown in drawn:
        assert len(set(looks(shown.figure))) == len(looks(shown.figure)), shown.name
    bare = go.Figure([{"type": "scatter", "mode": "lines", "name": name, "y": [1, 2]} for name in "ab"])
    assert len(set(looks(bare))) == 1, "the control: they are alike before"
    assert len(set(looks(told_apart(bare)))) == 2


def test_the_default_page_is_small_and_carries_its_script_packed(written: Written):
    assert written.report.stat().st_size < MOST_BYTES
    assert "Plotly" in unpacked(packed_plotly())
    assert packed("κ <b>") == packed("κ <b>") and unpacked(packed("κ <b>")) == "κ <b>"


def test_three_outputs_are_of_different_facts_and_words_where_these_occur(case):
    shown = summary(case[0].to_dict())
    assert len(shown.outputs) == len({out.prompt for out in shown.outputs}) == 3
    words = {row["word"] for row in case[0].to_dict()["shared_shift"]["output_words"] if row["groups"]}
    assert len({out.word for out in shown.outputs}) == min(3, len(words))
    for out in shown.outputs:
        assert out.base != out.tuned and re.search(r"\d", out.share) and out.means


@pytest.mark.parametrize(("kind", "word"), [("identical", SAME), ("null", SAME)])
def test_without_a_change_the_outputs_shown_are_unchanged_ones(kind: str, word: str):
    outcomes, probes, causal = fake_case(kind, n_groups=24, n_layers=6, claims=False)
    shown = summary(judge(outcomes, probes, causal).to_dict())
    assert [out.word for out in shown.outputs] == [word] * 3
    assert {out.share for out in shown.outputs} == {"24 of 24 facts"}


def test_every_output_is_in_the_table_with_a_word(case):
    data = case[0].to_dict()
    table = output_table(data)
    assert len(table) == len(data["items"]) + len(data["unknown_items"])
    order = ["changed", "same", "base does not know it"]
    answers = list(table["answer"])
    assert set(answers) == set(order) and answers == sorted(answers, key=order.index)
    assert table[table["answer"] != order[-1]]["driven by"].ne("").all()
    undecided = {**data, "changed": "undetermined"}
    assert NOT_JUDGED in set(output_table(undecided)["driven by"])
    assert NOT_ASKED not in set(output_table(undecided)["driven by"])
    assert all("–" not in row for row in shown_rows(table))


def test_lines_that_all_prompts_begin_with_are_told_once(case):
    verdict, outcomes, _ = case
    data = verdict.to_dict()
    plain = output_table(data)
    assert opening(plain) == "" and shown_rows(plain)[0][0] == plain["prompt"].iloc[0]
    lines = "<|im_start|>system\nBe <brief>.\n<|im_start|>user\n"
    items = ("items", "unknown_items")
    data |= {key: [{**item, "text": lines + item["text"]} for item in data[key]] for key in items}
    table = output_table(data)
    assert opening(table) == lines and table["prompt"].str.startswith(lines).all()
    assert [row[0] for row in shown_rows(table)] == [f"… {text}" for text in plain["prompt"]]
    page = render(data, outcomes, [])
    assert page.count(str(escape(lines))) == 1, "in the page once, escaped"
    assert behind("another", lines) == "another"


def test_numbered_prompts_stand_in_the_order_of_their_numbers(case):
    order = ["Peru", "1: c", "2: a", "3", "10: b"]
    assert sorted(sorted(order), key=by_number) == order != sorted(order)
    data = case[0].to_dict()
    items = [{**item, "group": f"{i}: {item['text']}"} for i, item in enumerate(data["items"], start=1)]
    table = output_table({**data, "items": items, "unknown_items": []})
    for _, part in table.groupby("answer", sort=False):
        numbers = [int(fact.split(":")[0]) for fact in part["fact"]]
        assert len(numbers) > 9 and numbers == sorted(numbers)


def test_what_does_not_count_is_told_and_nothing_is_said_of_none(case):
    verdict, outcomes, _ = case
    data = verdict.to_dict()
    titles = [reason.title for reason in left_out(data, outcomes)]
    assert titles[:2] == ["6 facts the base does not know", "1 prompt with a reason of their own"]
    assert "Everything that was asked counts" not in Page(render(data, outcomes, [])).told
    whole = Outcomes(outcomes.table[outcomes.table["known"]])
    clean = {**data, "excluded": [], "unknown_items": []}
    if set(whole.changed_groups) == set(whole.confirmed_groups):
        assert left_out(clean, whole) == []
        assert "Everything that was asked counts" in Page(render(clean, whole, [])).told


def test_claims_that_were_never_measured_are_no_claims_of_the_figure(case):
    verdict, outcomes, evidence = case
    data = verdict.to_dict()
    data["claims"] = [{**data["claims"][0], "grade": "not measured"}, *data["claims"][1:]]
    (drawn,) = [d for d in gallery(data, outcomes, evidence) if d.name == "claims"]
    assert "not measured" not in set(drawn.data["grade"])
    assert len(drawn.data) == len(data["claims"]) - 1


def test_controls_are_held_against_something(case):
    rows = controls(case[0].to_dict())
    assert len(rows) >= 5 and all(row.value and row.beside and row.reads for row in rows)


def test_the_first_use_of_a_word_links_to_its_meaning_and_the_second_does_not():
    link = FirstUses()
    first = str(link("Stitching at a boundary <b>, `where`"))
    assert 'href="#word-stitching"' in first and 'href="#word-boundary"' in first
    assert "&lt;b&gt;" in first and "<code>where</code>" in first
    assert "href" not in link("stitching at boundaries")
    assert len({entry.anchor for entry in glossary()}) == len(glossary()) > 40
    assert "href" not in FirstUses()("patching.swap_and_remove"), (
        "the control: a name in code is no word"
    )


def test_the_methods_hold_the_numbers_of_the_run(case):
    verdict, outcomes, _ = case
    data = verdict.to_dict()
    told = methods_text(data, outcomes, base="the base", tuned="the tune")
    for part in (
        "We compared the base",
        f"{data['counts']['known']} did, 6 did not, 1 prompts were left out",
        f"{data['thresholds']['draws']} resamples",
        "7 boundaries of their 6 blocks",
        f"n = {data['share_lower']['n']}",
        f"on {data['shared_shift']['n']} facts",
    ):
        assert part in told, part
    assert "{" not in told and "None" not in told and "&" not in told
    thinner = {**data, "thresholds": {**data["thresholds"], "draws": 123}}
    assert "123 resamples" in methods_text(thinner, outcomes, base="a", tuned="b")


def test_the_command_names_what_is_not_usual_and_quotes_it():
    run = {
        "base": {"source": "my base"},
        "tuned": {"source": "tune"},
        "facts": {"name": "world", "source": "the synthetic world"},
        "prompt": "chat",
        "seed": 3,
        "dtype": "torch.float32",
        "device": "cpu",
    }
    assert command(run) == (
        "interp compare --base 'my base' --tuned tune --facts world --prompt chat --seed 3 "
        "--out NEW_FOLDER"
    )
    assert "--facts mine.csv" in command({**run, "facts": {"name": "mine", "source": "mine.csv"}})
    assert command({}) == ""
    entry = bibtex({"packages": {"interp": "9.9"}})
    assert "version = {9.9}" in entry and entry.count("{") == entry.count("}")


def test_the_numbers_of_a_figure_stand_in_few_cells():
    rows = [
        {
            "metric": "a",
            "condition": c,
            "layer": k,
            "estimate": 0.1 * k,
            "low": 0.0,
            "high": 1.0,
            "n": 5,
        }
        for c in ("probe", "control")
        for k in range(3)
    ]
    table = number_table(pd.DataFrame(rows))
    assert table.heads == ("boundary", "probe", "control")
    assert table.rows[2] == ("2", "0.20 [0.00, 1.00]", "0.20 [0.00, 1.00]")


def test_a_verdict_shows_itself_in_a_notebook_as_the_top_of_its_report(case):
    verdict, _, evidence = case
    shown = Page(verdict._repr_html_())
    assert verdict.sentence in shown.told and "retention" in shown.told
    assert summary(verdict.to_dict()).outputs[0].tuned.strip() in shown.told
    assert not shown.scripts and not shown.handlers and HOSTILE not in verdict._repr_html_()
    assert len(repr(verdict).splitlines()) == 1 and isinstance(evidence, Evidence)


def test_a_figure_alone_says_the_same(written: Written):
    for path in Path(written.report.parent / "figures").glob("*.html"):
        alone = Page(path.read_text(encoding="utf-8"))
        assert "How to read:" in alone.told and alone.links == [f"{path.stem}.csv"]
        assert len(alone.of("main")) == len(alone.of("h1")) == 1
