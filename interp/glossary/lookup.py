"""The whole table of words, and the look-up of one."""

from __future__ import annotations

from difflib import get_close_matches

from interp.glossary import measure_words, method_words, verdict_words
from interp.glossary.term import Term

#: Every word, in the order in which a reader of a verdict meets them.
GLOSSARY: tuple[Term, ...] = (*verdict_words.WORDS, *measure_words.WORDS, *method_words.WORDS)


def by_group() -> dict[str, tuple[Term, ...]]:
    """What the words are words of -> the words, in the order of the table."""
    groups = dict.fromkeys(term.group for term in GLOSSARY)
    return {group: tuple(term for term in GLOSSARY if term.group == group) for group in groups}


def define(word: str) -> Term:
    """The entry of a word, however it is written.

    Args:
        word: in any case, with spaces, hyphens or underscores.

    Raises:
        ValueError: for a word that is not in the table, with the nearest that are.
    """
    exact = {name: term for term in GLOSSARY for name in (term.word, *term.also)}
    if word in exact:
        return exact[word]
    known = {_plain(name): term for name, term in exact.items()}
    if _plain(word) in known:
        return known[_plain(word)]
    near = get_close_matches(_plain(word), list(known), n=3)
    nearest = ", ".join(dict.fromkeys(known[name].word for name in near))
    raise ValueError(
        f"no word {word!r} in the glossary; expected one that `interp explain` lists"
        + (f", such as {nearest}" if nearest else "")
        + ", or the folder of a run"
    )


def _plain(word: str) -> str:
    return word.casefold().replace("_", " ").replace("-", " ").strip()
