"""What a reader sees of a verdict first: its sentence, its words with their shares, three outputs.

Reads the keys of verdict.json, so that a verdict in memory and one on disk look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from interp.verdict.output_words import EITHER, ITEM_BY_ITEM, NEITHER, SHARED_PUSH
from interp.verdict.prompts.asked import PROMPTS, told_of

#: How many outputs stand side by side.
SHOWN = 3

NOT_ASKED, NOT_JUDGED, SAME = "not asked again", "not judged", "unchanged"

#: Word of an output -> what it says of that output.
MEANS = {
    SHARED_PUSH: "a push that other facts predict brings it about, and without the push it is gone",
    ITEM_BY_ITEM: "it stays when the push is taken away, and no push brings it about",
    EITHER: "a push that other facts predict brings it about, and it stays without the push",
    NEITHER: "no push brings it about, and without the push it is gone",
    NOT_ASKED: "what drives it was not asked: it differs on the first wording only, or was held out",
    NOT_JUDGED: "too few outputs differ for the verdict to speak of a change",
    SAME: "both models say the same",
}


@dataclass(frozen=True)
class Word:
    """One word of the verdict, with the numbers that it rests on.

    Attributes:
        heading: what the word is about.
        word: the word itself.
        rests_on: its shares with their intervals; empty where there are none. Of an undetermined word,
            before them, the first reason.
    """

    heading: str
    word: str
    rests_on: str


@dataclass(frozen=True)
class Output:
    """One prompt with what both models say to it.

    Attributes:
        prompt: what was asked.
        answer: the right answer.
        base: what the base says.
        tuned: what the tuned model says.
        word: what drives the output.
        share: how common that word is, with its interval.
        means: the word in a sentence.
    """

    prompt: str
    answer: str
    base: str
    tuned: str
    word: str
    share: str
    means: str


@dataclass(frozen=True)
class Summary:
    """The top of a report.

    Attributes:
        sentence: the verdict in one sentence.
        words: its words with their numbers.
        outputs: up to three outputs; empty where none is known.
        notes: sentences on what is missing and what to do.
    """

    sentence: str
    words: tuple[Word, ...]
    outputs: tuple[Output, ...]
    notes: tuple[str, ...]


def summary(verdict: Mapping[str, Any]) -> Summary:
    """What a reader sees first.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        The sentence, the words, three outputs and the notes.
    """
    return Summary(
        str(verdict["sentence"]),
        tuple(_words(verdict)),
        tuple(_output(item, verdict) for item in _chosen(verdict)),
        tuple(str(note) for note in verdict.get("notes") or ()),
    )


#: Words of a verdict without which it says nothing there: key, what its reasons stand under, heading.
_DECIDED = (
    ("where", "output_contrast", "place, by what is said"),
    ("where_fact", "fact_contrast", "place, by the right answer"),
    ("what", "shared_shift", "kind of change"),
)
#: The two words of the depth of a change: key, what its reasons stand under.
DEPTH = (("old", "the old facts"), ("new", "the new facts"))
_NO_ROWS = (
    "the evidence holds no rows from which it could be judged; run interp compare again with more facts"
)


def open_points(verdict: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What a verdict leaves undetermined, each with its reasons, of which there is at least one.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        (heading, reasons): a reason is a sentence without its full stop that ends with what would
        decide the matter, behind a semicolon.
    """
    points = []
    if verdict["changed"] == "undetermined":
        points.append(("whether anything changed", _reasons(verdict, "change")))
    points += [
        (heading, _reasons(verdict, part))
        for key, part, heading in _DECIDED
        if verdict.get(key) == "undetermined"
    ]
    why = (verdict.get("handover") or {}).get("reason")
    asked_of_facts = verdict["changed"] == "changed" and verdict.get("asked") != PROMPTS
    if asked_of_facts and verdict.get("handover_layer") is None and why:
        points.append(("handover", [str(why)]))
    depth = verdict.get("depth") or {}
    told = depth.get("reasons") or {}
    points += [
        (heading, [str(told.get(key) or _NO_ROWS)])
        for key, heading in DEPTH
        if depth.get(key) == "undetermined"
    ]
    return points


def _reasons(verdict: Mapping[str, Any], part: str) -> list[str]:
    reasons = (verdict.get(part) or {}).get("reasons") or [_NO_ROWS]
    return [told_of(str(reason), verdict.get("asked")) for reason in reasons]


def as_html(shown: Summary) -> str:
    """The summary for a notebook: no script, no style sheet, every text escaped.

    Args:
        shown: what `summary` gave.
    """
    cell = "text-align:left;vertical-align:top;padding:4px 12px 4px 0"
    words = "".join(
        f'<tr><th scope="row" style="{cell}">{escape(word.heading)}</th>'
        f'<td style="{cell}"><b>{escape(word.word)}</b></td>'
        f'<td style="{cell}">{escape(word.rests_on)}</td></tr>'
        for word in shown.words
    )
    heads = ("prompt", "base says", "tuned says", "right answer", "driven by", "share")
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{cell}">{escape(text)}</td>'
            for text in (out.prompt, out.base, out.tuned, out.answer, out.word, out.share)
        )
        + "</tr>"
        for out in shown.outputs
    )
    head = "".join(f'<th scope="col" style="{cell}">{name}</th>' for name in heads)
    outputs = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return (
        f'<div style="max-width:60em"><p style="font-size:1.2em">{escape(shown.sentence)}</p>'
        f"<table><tbody>{words}</tbody></table>{outputs}</div>"
    )


def output_word(item: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """Word of one output; every output has one.

    Args:
        item: one of the verdict's items.
        verdict: has the keys of verdict.json.
    """
    if item.get("contrast") != "output":
        return SAME
    if verdict.get("changed") != "changed":
        return NOT_JUDGED
    return str(item.get("word") or NOT_ASKED)


def number(value: Any, digits: int = 2) -> str:
    """Number for a reader: rounded, a dash for nothing, integers as they are.

    Args:
        value: a number, text, or nothing.
        digits: after the point.
    """
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if float(value).is_integer() and abs(float(value)) >= 2:
        return str(int(value))
    # Adding zero turns a rounded minus zero into zero.
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(row: Mapping[Any, Any]) -> str:
    """Interval of {low, high} in brackets, or a dash where there is none."""
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return "–"
    return f"[{number(low)}, {number(high)}]"


def share(cell: Mapping[str, Any] | None) -> str:
    """Estimate with its interval; empty where nothing was measured."""
    if not cell or cell.get("estimate") is None:
        return ""
    bounds = interval(cell)
    return number(cell["estimate"]) + ("" if bounds == "–" else f" {bounds}")


def _words(verdict: Mapping[str, Any]) -> list[Word]:
    """Rows of the table under the sentence."""
    counts, change = verdict.get("counts") or {}, verdict.get("change") or {}
    facts = told_of(f"{counts.get('changed')} of {counts.get('known')} facts", verdict.get("asked"))
    differing = share(change.get("share_differing"))
    why = {heading: f"{reasons[0]}. " for heading, reasons in open_points(verdict)}
    unsure = why.get("whether anything changed", "")
    rows = [Word("answers", str(verdict["changed"]), f"{unsure}{facts} differ, a share of {differing}")]
    for key, contrast, heading in _DECIDED[:2]:
        if verdict.get(key):
            where = verdict.get(contrast) or {}
            below = share(where.get("share_lower"))
            text = f"{below} of the change is made below boundary {where.get('cut')}" if below else ""
            coupled = share(where.get("coupling")) if verdict[key] == "coupled" else ""
            text += f"; by the two orders the shares differ by {coupled}" if coupled else ""
            rows.append(Word(heading, str(verdict[key]), (why.get(heading, "") + text).strip()))
    if verdict.get("labels"):
        rows.append(_label_word(verdict["labels"]))
    if verdict.get("what"):
        shift = verdict.get("shared_shift") or {}
        shares = {name: share(shift.get(name)) for name in ("sufficiency", "retention", "persistence")}
        told = ", ".join(f"{name} {text}" for name, text in shares.items() if text)
        rests_on = (why.get("kind of change", "") + told).strip()
        rows.append(Word("kind of change", str(verdict["what"]), rests_on))
    depth = verdict.get("depth") or {}
    rests = depth.get("reasons") or {}
    rows += [Word(heading, str(depth[key]), str(rests.get(key, ""))) for key, heading in DEPTH if depth]
    return rows


def _label_word(labels: Mapping[str, Any]) -> Word:
    """What probes read of the labels of prompts, at the boundary that was declared."""
    k = labels["boundary"]
    at = next(row for row in labels["boundaries"] if row["boundary"] == k)
    told = {
        "base": share(at["base"]),
        "tuned": share(at["tuned"]),
        "accuracy of the base's probe on the tuned model": share(at["frozen"]),
        "of a fresh one": share(at["refit"]),
    }
    shares = ", ".join(f"{name} {text}" for name, text in told.items() if text)
    return Word("label, by probes", labels["word"], f"at boundary {k}, selectivity: {shares}")


def _chosen(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Up to three outputs: one of each word, the most common word first, then more of the same.

    They are read on the second wording, on which effects are estimated, of different facts.
    """
    items = list(verdict.get("items") or ())
    forms = sorted({item["form"] for item in items})
    read = [item for item in items if item["form"] == forms[min(1, len(forms) - 1)]]
    changed = [item for item in read if item["said_base"] != item["said_tuned"]] or read
    by_word: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(changed, key=lambda item: by_number(item["group"])):
        by_word.setdefault(output_word(item, verdict), []).append(item)
    asked = [word for word in by_word if word not in (NOT_ASKED, SAME)]
    words = sorted(asked or by_word, key=lambda word: -len(by_word[word]))
    chosen = [by_word[word].pop(0) for word in words[:SHOWN]]
    more = [item for word in words for item in by_word[word]]
    more += [item for word in by_word if word not in words for item in by_word[word]]
    return (chosen + more)[:SHOWN]


def _output(item: Mapping[str, Any], verdict: Mapping[str, Any]) -> Output:
    word = output_word(item, verdict)
    counts = verdict.get("counts") or {}
    cells = (verdict.get("shared_shift") or {}).get("output_words") or []
    cell = next((cell for cell in cells if cell["word"] == word), None)
    if cell is not None:
        common = f"{share(cell)} of {cell['n']} changed outputs"
    elif word == SAME:
        common = f"{counts.get('known', 0) - counts.get('changed', 0)} of {counts.get('known')} facts"
    else:
        common = f"{counts.get('changed')} of {counts.get('known')} facts differ"
    return Output(
        *(str(item[key]) for key in ("text", "answer", "said_base", "said_tuned")),
        word=word,
        share=told_of(common, verdict.get("asked")),
        means=told_of(MEANS[word], verdict.get("asked")),
    )


#: Numbers of a row, and the keys under which verdict.json has them.
NUMBERS = {
    "share_differing": ("change", "share_differing"),
    "log_p_gain": ("change", "log_p_gain"),
    "share_lower": ("share_lower",),
    "share_lower_fact": ("fact_contrast", "share_lower"),
    "handover_layer": ("handover_layer",),
    "sufficiency": ("shared_shift", "sufficiency"),
    "retention": ("shared_shift", "retention"),
    "persistence": ("shared_shift", "persistence"),
}

#: What a number says beside its estimate.
ENDS = ("low", "high", "floor", "ceiling", "n")


def row_of(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """One flat row of what verdict.json holds: words, numbers with their intervals, counts.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        base, tuned and facts (or prompts) where they are known; changed, where, where_fact and what;
        each number of `NUMBERS` under its name with NAME_low, NAME_high, NAME_floor, NAME_ceiling and
        NAME_n; known and changed_facts. What is undefined is None.
    """
    provenance = verdict.get("provenance") or {}
    row: dict[str, Any] = {
        name: (provenance.get(name) or {}).get("name" if name == "facts" else "source")
        for name in ("base", "tuned", "facts")
    }
    row["facts"] = row["facts"] or (provenance.get("prompts") or {}).get("name")
    row |= {name: verdict.get(name) for name in ("changed", "where", "where_fact", "what")}
    for name, keys in NUMBERS.items():
        cell: Any = verdict
        for key in keys:
            cell = (cell or {}).get(key)
        cell = cell or {}
        row[name] = cell.get("estimate")
        row |= {f"{name}_{end}": cell.get(end) for end in ENDS}
    counts = verdict.get("counts") or {}
    return {**row, "known": counts.get("known"), "changed_facts": counts.get("changed")}


def by_number(name: str) -> tuple[int, str]:
    """A key that sorts names as a reader counts them, "2: …" before "10: …".

    Args:
        name: of a fact, or a prompt's number and text.
    """
    number = name.partition(":")[0]
    return int(number) if number.isdecimal() else 0, name
