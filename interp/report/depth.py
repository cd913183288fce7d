"""The depth of a change as a table: every reading of old and new answers beside floor and ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.verdict.depth.readings import MEANS, SAID
from interp.verdict.summary import share

#: What a level says of a reading in which an answer is said.
_SAID = {"kept": "said", "lost": "not said"}


@dataclass(frozen=True)
class DepthTable:
    """What the page shows of the depth of a change.

    Attributes:
        sentence: both words.
        rows: reading, what it asks, old and new answers in the tuned model, what that says of them, the
            base's old answers (ceiling) and new ones (floor), exchanged answers.
        relearning: on the short tune; empty where it was not done.
        not_asked: readings that were not asked, each with its reason.
    """

    sentence: str
    rows: tuple[tuple[str, ...], ...]
    relearning: str
    not_asked: tuple[str, ...]


def depth_table(verdict: Mapping[str, Any]) -> DepthTable | None:
    """The table of a verdict's depth; None where it was not asked.

    Args:
        verdict: has the keys of verdict.json.
    """
    depth = verdict.get("depth")
    if not depth:
        return None
    why = depth.get("reasons") or {}
    sentence = (
        f"Of {depth.get('facts')} changed facts the old ones are {depth['old']} ({why.get('old')}), "
        f"the new ones {depth['new']} ({why.get('new')})."
    )
    missing = (f"{name}: {reason}" for name, reason in (depth.get("not_asked") or {}).items())
    rows = tuple(_row(reading) for reading in depth.get("readings") or ())
    return DepthTable(sentence, rows, relearned(depth), tuple(missing))


def relearned(depth: Mapping[str, Any]) -> str:
    """What the short tune gave, in a sentence; empty where it was not done.

    Args:
        depth: as verdict.json holds it.
    """
    found = depth.get("relearning")
    if not found:
        return ""
    told = (
        f"A short low-rank tune has old answers said after {share(found['old'])} steps, answers of "
        f"other facts after {share(found['control'])}: {share(found['saved'])} of the steps are saved"
    )
    if found.get("recovered"):
        told += (
            f"; of facts that were not taught {share(found['recovered'])} get the old answer back "
            f"(behind the control {share(found.get('recovered_control'))})"
        )
    return told + "."


def _row(reading: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(reading["reading"])
    cells = [share(reading.get(key)) or "–" for key in ("old", "new")]
    ends = [share(reading.get(key)) or "–" for key in ("base_old", "base_new", "permuted")]
    levels = [_level(name, reading, key) for key in ("old", "new")]
    return (name.replace("_", " "), MEANS.get(name, ""), *cells, " / ".join(levels), *ends)


def _level(name: str, reading: Mapping[str, Any], key: str) -> str:
    """What the reading says of one kind of answer."""
    level = (reading.get(key) or {}).get("level")
    if not reading.get("counts") or level is None:
        return "–"
    return _SAID.get(str(level), str(level)) if name in SAID else str(level)
