"""The words of the report, each with its meaning, and links to them where they are first used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup, escape

from interp.report.prose import template


@dataclass(frozen=True)
class Entry:
    """One word of the glossary.

    Attributes:
        name: the word.
        others: further ways to write it.
        means: what it means, one sentence without its full stop.
    """

    name: str
    others: tuple[str, ...]
    means: str

    @property
    def anchor(self) -> str:
        """Identifier of the entry in the page."""
        return "word-" + (re.sub(r"[^a-z0-9]+", "-", self.name.lower().replace("*", "-star"))).strip(
            "-"
        )


@lru_cache(maxsize=1)
def glossary() -> tuple[Entry, ...]:
    """Every word with its meaning, in the alphabet's order."""
    entries = []
    for line in str(template("glossary.txt").render()).splitlines():
        head, _, means = line.partition(": ")
        name, _, others = head.rstrip(")").partition(" (")
        entries.append(Entry(name, tuple(others.split(", ")) if others else (), means))
    return tuple(sorted(entries, key=lambda entry: entry.name.lower()))


class FirstUses:
    """Text as markup in which the first use of each word of the glossary links to its meaning."""

    def __init__(self) -> None:
        self._entries = {way.lower(): e for e in glossary() for way in (e.name, *e.others)}
        ways = sorted(self._entries, key=len, reverse=True)
        self._pattern = re.compile(
            rf"(?<![\w&#*-])({'|'.join(re.escape(way) for way in ways)})(?![\w*;-]|\.\w)", re.IGNORECASE
        )
        self._used: set[str] = set()

    def __call__(self, text: str) -> Markup:
        """The text, escaped, with its links; what stands between backticks becomes code.

        Args:
            text: plain text of ours.
        """
        linked = self._pattern.sub(self._link, str(escape(text)))
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", linked))

    def _link(self, match: re.Match[str]) -> str:
        entry = self._entries[match[0].lower()]
        if entry.name in self._used:
            return match[0]
        self._used.add(entry.name)
        title = escape(f"{entry.name}: {entry.means}")
        return f'<a class="term" href="#{entry.anchor}" title="{title}">{match[0]}</a>'
