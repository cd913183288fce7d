"""The pages keep their word: their code gives what they show, and no capability lacks a page."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import verdict_cases
from doc_pages import ROOT, Block, blocks, differs, expected, output, pages

from interp.verdict.judging import judge

PAGES = pages()
TEXTS = {address: file.read_text("utf-8") for address, file in PAGES.items()}
WITH_CODE = [a for a, text in TEXTS.items() if any(not b.mark for b in blocks(text))]
WITH_REAL = [a for a, text in TEXTS.items() if any(b.mark == "real" for b in blocks(text))]
PACKAGES = ("interp", "probes", "patching", "patching.circuits", "studies")
WORDS_OF_README = 900


def check(address: str, marks: tuple[str, ...]) -> None:
    """Run the blocks of a page that bear one of these marks, in order, and compare what they print."""
    names = {"__name__": "__main__"}
    for block in blocks(TEXTS[address]):
        if block.mark in marks:
            wrong = differs(expected(block), output(block, names))
            assert not wrong, f"{address}\n{block.code}\n{wrong}"


@pytest.mark.parametrize("address", WITH_CODE)
def test_the_code_of_a_page_gives_what_the_page_shows(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    check(address, ("",))


@pytest.mark.real
@pytest.mark.parametrize("address", WITH_REAL)
def test_the_code_about_the_real_model_gives_what_the_page_shows(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    check(address, ("", "real"))


def test_every_block_of_python_is_seen():
    for address, text in TEXTS.items():
        assert len(blocks(text)) == len(re.findall(r"(?m)^```(?:python|console)\b", text)), address


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("share 0.91 of 12", "share  0.912 of 12", True),
        ("share 0.91 of 12", "share 0.81 of 12", False),
        ("lower", "upper", False),
        ("[-0.00 .5]", "[0.00 .51]", True),
        ("one of …", "one of many", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a", "a\nb", False),
        ("", "a", False),
    ],
)
def test_what_is_shown_is_compared_with_what_is_printed(shown: str, printed: str, agree: bool):
    assert (not differs(shown, printed)) == agree


def test_a_block_that_shows_something_else_is_caught():
    block = Block("python", "", "print(2 + 2)\n", "5\n")
    assert differs(expected(block), output(block, {}))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_capability_is_named_on_a_page(package: str):
    """As `package.name`, which the site links to its reference; aliases by what they stand for."""
    told = "\n".join(TEXTS.values())
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value) or getattr(value, "__name__", name) != name:
            continue
        if not (inspect.getdoc(value) or "").startswith("Alias of"):
            assert re.search(rf"\b{package}\.{name}\b", told), f"{package}.{name} has no page"


def test_the_readme_fits_one_screen():
    assert len(TEXTS["README.md"].split()) <= WORDS_OF_README


def test_links_of_the_root_pages_lead_to_files():
    for address in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", TEXTS[address]):
            assert (ROOT / target).exists(), target
        for named in re.findall(
            r"`((?:interp|probes|patching|studies|tests|docs)/[\w./-]+)`", TEXTS[address]
        ):
            assert (ROOT / named).exists(), named


def test_every_key_of_verdict_json_is_told():
    outcomes, readable, causal = verdict_cases.fake_case()
    keys = set(judge(outcomes, readable, causal).to_dict())
    text = TEXTS["docs/reference/verdict-json.md"]
    told = {
        key for row in re.findall(r"(?m)^\| (`.*?) \|", text) for key in re.findall(r"`(\w+)`", row)
    }
    assert told == keys


def test_the_pages_need_no_network():
    """No page or setting of the site names a script, a font or a picture of another host."""
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in settings and "- offline" in settings
    for address, text in {**TEXTS, "mkdocs.yml": settings}.items():
        assert not re.search(r"(?:src=\"|!\[[^\]]*\]\()https?:", text), address


def test_public_functions_without_their_sections_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))
    reference = import_module("reference")
    try:
        assert list(reference.undocumented()) == []

        def bare(argument):
            """Do something."""

        monkeypatch.setattr(import_module("interp"), "collect", bare)
        assert [line.rsplit(" ", 1)[1] for line in reference.undocumented()] == [
            "Returns",
            "Example",
            "Args",
        ]
    finally:
        sys.modules.pop("reference", None)
