"""What mkdocs calls while it builds the site: pages made from code, and the order of all pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import notebooks

ROOT = Path(__file__).parents[2]
NAMES = reference.public_names()


def made_pages() -> dict[str, str]:
    """Address -> text of every page that no file under docs/ holds."""
    tutorials = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return {
        "index.md": _rooted("README.md"),
        "contributing.md": _rooted("CONTRIBUTING.md"),
        "security.md": _rooted("SECURITY.md"),
        **{f"tutorials/{file.stem}.md": notebooks.page(file) for file in tutorials},
        **reference.api_pages(),
        "reference/names.md": reference.api_index(),
        "reference/cli.md": reference.cli_page(),
        "reference/thresholds.md": reference.thresholds_page(),
        "glossary.md": reference.glossary_page(),
    }


def _rooted(name: str) -> str:
    """A page of the repository's root, with its links as the site has them."""
    text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
    text = text.replace("](CONTRIBUTING.md)", "](contributing.md)")
    return text.replace("](SECURITY.md)", "](security.md)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Refuse public functions that are not documented; add what the sections' folders hold."""
    lacks = list(reference.undocumented())
    if lacks:
        raise PluginError("\n".join(lacks))
    made = list(made_pages())
    here = Path(config.docs_dir)
    written = [str(file.relative_to(here)) for file in sorted(here.rglob("*.md"))]
    for section in config.nav or []:
        ((title, pages),) = section.items()
        folder = title.lower()
        if isinstance(pages, list):
            known = set(_addresses(pages))
            pages += [
                a
                for a in sorted({*made, *written})
                if Path(a).parts[:-1] == (folder,) and a not in known
            ]
            if folder == "reference":
                pages += [
                    {package: [a for a in made if a.startswith(f"reference/{package}/")]}
                    for package in reference.PACKAGES
                ]
    return config


def _addresses(pages: list[Any]) -> list[str]:
    """Addresses of a section, however deep."""
    found = []
    for page in pages:
        inner = list(page.values())[0] if isinstance(page, dict) else page
        found += _addresses(inner) if isinstance(inner, list) else [inner]
    return found


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the pictures that notebooks show beside them."""
    for address, text in made_pages().items():
        files.append(File.generated(config, address, content=text))
    for picture in sorted((ROOT / "notebooks").glob("*.svg")):
        address = f"tutorials/{picture.name}"
        files.append(File.generated(config, address, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Link every public name that stands alone in code to its page of reference."""
    parts = re.split(r"(?ms)^(```.*?^```)$", markdown)
    return "".join(part if part.startswith("```") else _linked(part) for part in parts)


def _linked(text: str) -> str:
    def link(found: re.Match[str]) -> str:
        return f"[{found[0]}][{found[1]}]" if found[1] in NAMES else found[0]

    return re.sub(r"(?<!\[)`([a-z]+(?:\.[A-Za-z_]+)+)`", link, text)
