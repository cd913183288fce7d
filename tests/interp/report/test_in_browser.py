"""The page in a headless Chromium: it runs, filters, shows values, prints, and fits a telephone."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

from headless import Tab, browse

from interp.report.page import Written

DRAWN = "document.documentElement.dataset.drawn === 'yes'"

SHOWN_ROWS = "document.querySelectorAll('#outputs-table tbody tr:not([hidden])').length"


def test_the_report_runs_filters_and_shows_values_without_a_complaint(written: Written):
    async def visit(tab: Tab) -> None:
        await tab.open(written.report.as_uri())
        await tab.until(DRAWN)
        plots = await tab.run("document.querySelectorAll('.plot').length")
        assert (
            plots
            == await tab.run("document.querySelectorAll('.plot .main-svg:first-child').length")
            > 8
        )
        await _filter(tab)
        await _hover(tab)
        await tab.run("document.querySelector('button[data-copy]').click()")
        assert await tab.run("getSelection().toString().includes('We compared')")
        assert tab.complaints == []
        await tab.run("console.error('the control')")
        await tab.until("true")
        assert "the control" in str(tab.complaints)

    browse(visit)


async def _filter(tab: Tab) -> None:
    """Search, choose, and sort the table of outputs."""
    whole = await tab.run(SHOWN_ROWS)
    look = "(s => {{ s.value = {value!r}; s.dispatchEvent(new Event({event!r})); }})({place})"
    search = "document.getElementById('search')"
    choose = "document.querySelector('.tools select')"
    await tab.run(look.format(value="country 003", event="input", place=search))
    assert await tab.run(SHOWN_ROWS) == 2, "its two wordings"
    assert await tab.run("document.getElementById('count').textContent") == f"2 of {whole} outputs"
    await tab.run(look.format(value="", event="input", place=search))
    await tab.run(look.format(value="changed", event="change", place=choose))
    assert 0 < await tab.run(SHOWN_ROWS) < whole
    await tab.run(look.format(value="", event="change", place=choose))
    assert await tab.run(SHOWN_ROWS) == whole
    first = "document.querySelector('#outputs-table tbody tr').textContent"
    before = await tab.run(first)
    for _ in range(2):
        await tab.run("document.querySelector('#outputs-table thead button').click()")
    assert await tab.run(first) != before
    assert await tab.run("document.querySelector('#outputs-table th').ariaSort") == "descending"


async def _hover(tab: Tab) -> None:
    """Point at a mark of the first figure, and read its value."""
    await tab.run("document.querySelector('#stitch .plot').scrollIntoView({block: 'center'})")
    place = await tab.run(
        "(r => ({x: r.x + r.width / 2, y: r.y + r.height / 2}))"
        "(document.querySelector('#stitch .scatterlayer .points path').getBoundingClientRect())"
    )
    values = "document.querySelectorAll('#stitch .hoverlayer .hovertext').length"
    assert await tab.run(values) == 0
    for shift in (-3, 0):
        await tab.send(
            "Input.dispatchMouseEvent", type="mouseMoved", x=place["x"] + shift, y=place["y"]
        )
    await tab.until(f"{values} > 0", seconds=10)


def test_the_report_fits_a_telephone_and_turns_dark(written: Written):
    async def visit(tab: Tab) -> None:
        await tab.open(written.report.as_uri(), width=390, scheme="dark")
        await tab.until(DRAWN)
        assert await tab.run("document.scrollingElement.scrollWidth") <= 390
        colours = "getComputedStyle(document.body).backgroundColor"
        assert await tab.run(colours) == "rgb(18, 18, 18)"
        assert "invert" in await tab.run(
            "getComputedStyle(document.querySelector('.js-plotly-plot')).filter"
        )
        await tab.run("document.querySelector('main').style.width = '500px'")
        assert await tab.run("document.scrollingElement.scrollWidth") > 390, "the control"

    browse(visit)


def test_the_report_prints_on_few_pages_of_paper(written: Written, tmp_path: Path):
    async def visit(tab: Tab) -> bytes:
        await tab.open(written.report.as_uri(), scheme="dark")
        await tab.until(DRAWN)
        await tab.send("Emulation.setEmulatedMedia", media="print")
        hidden = "getComputedStyle(document.querySelector({})).display"
        assert (
            await tab.run(hidden.format("'.tools'")) == await tab.run(hidden.format("'nav'")) == "none"
        )
        assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        printed = await tab.send("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    pdf = browse(visit)
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF") and 4 < pages < 25
    if shutil.which("pdftotext"):
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf)
        text = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True).stdout
        for part in (
            "Three outputs side by side",
            "How to read:",
            "Glossary",
            "boundary (before block",
        ):
            assert part in text, part


def test_without_scripts_the_page_still_tells_its_numbers(written: Written):
    async def visit(tab: Tab) -> None:
        await tab.send("Emulation.setScriptExecutionDisabled", value=True)
        await tab.open(written.report.as_uri())
        assert await tab.run("document.querySelectorAll('.plot .fallback').length") > 8
        assert await tab.run(SHOWN_ROWS) > 20
        assert await tab.run("document.querySelector('.tools').hidden")
        assert await tab.run("document.querySelectorAll('figure details td').length") > 100

    browse(visit)
