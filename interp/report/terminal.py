"""A finished run in a terminal: the verdict, three outputs, the place, the content, and the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interp.report.depth import relearned
from interp.verdict.prompts.asked import PROMPTS, told_of

#: Cells of the bar on which a share stands between its floor and its ceiling.
BAR = 24
#: The three shares that decide what kind of change it is, and what each says.
SHARES = {
    "sufficiency": "base + push says the tuned answer",
    "retention": "tuned − mean shift, base above: right answer",
    "persistence": "tuned − mean shift still says its answer",
}
PLACES = {"output_contrast": "by what is said", "fact_contrast": "by the right answer"}


def telling_outputs(verdict: Mapping[str, Any], most: int = 3) -> list[Mapping[str, Any]]:
    """The outputs to show first: changed ones of each word, those with a word before those without.

    Args:
        verdict: has the keys of verdict.json.
        most: how many at most.
    """
    items = verdict.get("items") or []
    changed = [item for item in items if item.get("contrast") == "output" and item.get("what")]
    ranked = sorted(
        changed, key=lambda item: (item.get("word") is None, item["what"] == "undetermined")
    )
    chosen: list[Mapping[str, Any]] = []
    for key in ("word", "group", "text"):
        for item in ranked:
            if len(chosen) < most and item.get(key) not in {c.get(key) for c in chosen}:
                chosen.append(item)
    return (chosen or list(items))[:most]


def shown(verdict: Mapping[str, Any]) -> RenderableType:
    """The run as it is printed.

    Args:
        verdict: has the keys of verdict.json.
    """
    parts: list[RenderableType] = [Text(str(verdict["sentence"]), style="bold"), Text("")]
    parts += [_heading("Outputs"), _outputs(verdict), Text("")]
    if verdict.get("where") is not None:
        parts += [_heading("Place"), *_place(verdict), Text("")]
    if verdict.get("what") is not None:
        parts += [_heading(f"Content: {verdict['what']}"), *_content(verdict), Text("")]
    if verdict.get("depth"):
        parts += [_heading("Depth"), *_depth(verdict["depth"]), Text("")]
    notes = [*verdict.get("notes", []), *(verdict.get("provenance") or {}).get("warnings", [])]
    if notes:
        parts += [_heading("Notes"), *(_hanging(str(note)) for note in notes)]
    return Group(*parts)


def _heading(text: str) -> Text:
    return Text(text, style="bold cyan")


def _hanging(text: str) -> RenderableType:
    """A note with its mark in the margin."""
    row = Table.grid(padding=(0, 1))
    row.add_row("•", Text(text))
    return row


def _outputs(verdict: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    asked = verdict.get("asked")
    for name in (
        "prompt",
        "base's token" if asked == PROMPTS else "right",
        "base says",
        "tuned says",
        "word",
        "share lower",
    ):
        table.add_column(name, overflow="fold", justify="right" if name == "share lower" else "left")
    for item in telling_outputs(verdict):
        word, share = item.get("word") or item.get("what") or "same", item.get("share_lower")
        table.add_row(
            Text(str(item["text"])), Text(str(item["answer"])), Text(str(item["said_base"])),
            Text(str(item["said_tuned"])), word, "" if share is None else f"{share:.2f}",
        )  # fmt: skip
    counts = verdict.get("counts") or {}
    total = (
        f"{counts.get('changed', 0)} of {counts.get('known', 0)} known facts changed; "
        f"{len(verdict.get('items') or [])} outputs in the report."
    )
    total = told_of(total, asked)
    return Group(table, Text(total, style="dim"))


def _place(verdict: Mapping[str, Any]) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    for key, name in PLACES.items():
        found = verdict.get(key)
        if not found:
            continue
        blocks = found.get("block_span")
        where = found.get("term") or found.get("where") or ""
        share = found.get("share_lower")
        table.add_row(
            name, Text(str(where), style="bold"),
            f"blocks {blocks[0]}–{blocks[-1]}" if blocks else "",
            f"{_interval(share)} below the middle" if _measured(share) else "",
        )  # fmt: skip
    if verdict.get("asked") == PROMPTS:
        return [table]
    handover = verdict.get("handover_layer")
    if _measured(handover):
        text = f"boundary {handover['estimate']} [{handover.get('low')}, {handover.get('high')}]"
    else:
        text = (verdict.get("handover") or {}).get("reason") or "not found"
    return [table, Text(f"handover to the last position: {text}")]


def _content(verdict: Mapping[str, Any]) -> list[RenderableType]:
    shift = verdict.get("shared_shift") or {}
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    levels = shift.get("levels") or {}
    for name, meaning in SHARES.items():
        share = shift.get(name)
        if not _measured(share):
            continue
        table.add_row(
            name, f"{_end(share.get('floor'))} {_bar(share)} {_end(share.get('ceiling'))}",
            _interval(share), Text(str(levels.get(name, "")), style="bold"),
        )  # fmt: skip
        table.add_row("", Text(meaning, style="dim"), "", "")
    parts: list[RenderableType] = [table]
    words = [w for w in shift.get("output_words") or [] if w["groups"]]
    if words:
        told = ", ".join(f"{w['word']} {w['estimate']:.2f}" for w in words)
        parts.append(Text(f"outputs: {told} (n = {words[0].get('n')})"))
    parts += [_hanging(str(reason)) for reason in shift.get("reasons") or []]
    return parts


def _depth(depth: Mapping[str, Any]) -> list[RenderableType]:
    """Both words with what they rest on, and every reading of old and new answers."""
    reasons = depth.get("reasons") or {}
    words = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    for key in ("old", "new"):
        words.add_row(key, Text(str(depth[key]), style="bold"), Text(str(reasons.get(key, ""))))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for name in ("reading", "old, tuned", "new, tuned", "old, base", "new, base"):
        table.add_column(name)
    for reading in depth.get("readings") or ():
        cells = (reading.get(key) for key in ("old", "new", "base_old", "base_new"))
        shown_cells = (_interval(cell) if _measured(cell) else "–" for cell in cells)
        table.add_row(str(reading["reading"]).replace("_", " "), *shown_cells)
    parts: list[RenderableType] = [words, table]
    told = relearned(depth)
    return [*parts, Text(told)] if told else parts


def _bar(share: Mapping[str, Any]) -> str:
    """A share on a line from floor (left) to ceiling (right), its interval as ═, itself as ●."""
    low, high = share.get("floor"), share.get("ceiling")
    if low is None or high is None or low == high:
        low, high = 0.0, 1.0
    start, length = float(low), float(high) - float(low)

    def cell(value: float) -> int:
        return round(min(1.0, max(0.0, (value - start) / length)) * (BAR - 1))

    ends = (share.get(end) for end in ("low", "high"))
    first, last = sorted(cell(share["estimate"] if end is None else end) for end in ends)
    marks = ["═" if first <= i <= last else "─" for i in range(BAR)]
    marks[cell(share["estimate"])] = "●"
    return "".join(marks)


def _measured(share: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return bool(share) and share.get("estimate") is not None


def _end(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _interval(share: Mapping[str, Any]) -> str:
    if share.get("low") is None or share.get("high") is None:
        return f"{share['estimate']:.2f}"
    return f"{share['estimate']:.2f} [{share['low']:.2f}, {share['high']:.2f}]"


def summary(verdict: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is shown, as plain data.

    Args:
        verdict: has the keys of verdict.json.
        outputs: of `telling_outputs`.
    """
    shift = verdict.get("shared_shift") or {}
    kept = ("sentence", "changed", "where", "where_fact", "what", "block_span", "share_lower")
    return {
        **{key: verdict.get(key) for key in kept},
        "handover_layer": verdict.get("handover_layer"),
        **{name: shift.get(name) for name in SHARES},
        "counts": verdict.get("counts"),
        "outputs": list(outputs),
        "depth": verdict.get("depth"),
        "notes": verdict.get("notes"),
    }
