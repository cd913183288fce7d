"""The words of the report, each with its meaning, and links to them where they are first used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup, escape

from interp.glossary.lookup import GLOSSARY


@dataclass(frozen=True)
class Entry:
    """One word of the glossary.

    Attributes:
        name: the word.
        others: further ways to write it.
        means: what it means, and how it is computed where that is a formula.
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


#: Ways to write a word of the house that prose mostly means otherwise: they are not linked.
_EVERYDAY = frozenset({"where", "what", "both", "either", "neither", "position", "null", "left out"})


@lru_cache(maxsize=1)
def glossary() -> tuple[Entry, ...]:
    """Every word of the house with its meaning, in the alphabet's order."""
    entries = (
        Entry(term.word, term.also, " ".join((term.meaning, term.formula)).strip()) for term in GLOSSARY
    )
    return tuple(sorted(entries, key=lambda entry: entry.name.lower()))


class FirstUses:
    """Text as markup in which the first use of each word of the glossary links to its meaning."""

    def __init__(self) -> None:
        self._entries = {way.lower(): e for e in glossary() for way in _ways(e)}
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


def _ways(entry: Entry) -> Iterator[str]:
    """The ways to write a word that prose uses, and their plurals: no names of columns, no letters."""
    for way in (entry.name, *entry.others):
        if (
            way.lower() in _EVERYDAY
            or "_" in way
            or way.startswith("-")
            or (len(way) == 1 and way.isascii())
        ):
            continue
        yield from (way, f"{way}s")
