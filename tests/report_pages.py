"""What tests look for in a page: what a browser would load, run and show."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from interp.report.packing import unpacked

HOSTILE = "<script>alert(1)</script>"
ATTRIBUTE = '" onmouseover="alert(2)'

VOID = {"meta", "input", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """What a browser would load and run, and what it would show as text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.loads: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.shown: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: str | None = None
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.inside = tag if tag in ("script", "style") else None
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "src" or (name == "href" and tag == "link"):
                self.loads.append(str(value))
            if name == "href" and tag == "a":
                self.links.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside is None:
            self.shown.append(data)

    @property
    def told(self) -> str:
        """All text, in single spaces."""
        return " ".join("".join(self.shown).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a tag."""
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def identifiers(self) -> list[str]:
        """Every id, in order."""
        return [str(attrs["id"]) for _, attrs in self.tags if attrs.get("id")]

    @property
    def figures(self) -> dict[str, dict]:
        """The figures that the page carries packed."""
        places = [attrs.get("id") for name, attrs in self.tags if name == "script"]
        if "packed-figures" not in places:
            return {}
        return json.loads(unpacked(self.scripts[places.index("packed-figures")]))
