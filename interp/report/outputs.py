"""All outputs as one table: what was asked, what both models say, and what drives each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from typing import Any

import pandas as pd

from interp.verdict.prompts.asked import PROMPTS
from interp.verdict.summary import by_number, number, output_word

#: Column of outputs.csv -> key of an item in verdict.json.
_COPIED = {
    "prompt": "text",
    "right answer": "answer",
    "base says": "said_base",
    "tuned says": "said_tuned",
    "fact": "group",
    "wording": "form",
    "contrast": "contrast",
    "contrast base, logits": "metric_base",
    "contrast tuned, logits": "metric_tuned",
    "share lower": "share_lower",
    "place": "where",
    "kind": "what",
}

#: Columns that the page shows; the others are in outputs.csv.
SHOWN = ("prompt", "right answer", "base says", "tuned says", "answer", "driven by", "place", "kind")

#: Columns by which a reader can filter.
CHOICES = ("answer", "driven by", "kind")

#: Column of prompts of any kind, where the two continuations part; and what carries the change.
SITE, CARRIED = "they part", "carried by"

#: Nodes named in a cell of the page; outputs.csv names all that carry.
NODES = 3

CHANGED, SAME, UNKNOWN = "changed", "same", "base does not know it"


def output_table(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Every output, one row each: changed ones first, those of unknown facts last.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        Columns prompt, right answer, base says, tuned says, answer (changed, same, or the base does not
        know it), driven by, and the further keys of an item under plain headings.
    """
    rows = [_row(item, verdict) for item in verdict.get("items") or ()]
    rows += [_row(item, verdict, UNKNOWN) for item in verdict.get("unknown_items") or ()]
    columns = [*list(_COPIED)[:4], "answer", "driven by", *list(_COPIED)[4:]]
    if verdict.get("asked") == PROMPTS:
        columns.append(SITE)
    if verdict.get("carriers"):
        columns.append(CARRIED)
    table = pd.DataFrame(rows, columns=columns)
    rank = table["answer"].map({CHANGED: 0, SAME: 1, UNKNOWN: 2})
    name = table["fact"].map(by_number)
    return table.assign(rank=rank, name=name).sort_values(["rank", "name", "wording"])[columns]


def opening(table: pd.DataFrame) -> str:
    """The lines that all prompts begin with, such as those of a chat template; empty where none are.

    Args:
        table: what `output_table` gave.
    """
    common = commonprefix([str(prompt) for prompt in table["prompt"]])
    return common[: common.rfind("\n") + 1]


def behind(prompt: str, opening: str) -> str:
    """A prompt as the page shows it, with “…” for the lines that all begin with.

    Args:
        prompt: the whole prompt.
        opening: what all begin with.
    """
    follows = bool(opening) and prompt.startswith(opening)
    return f"… {prompt[len(opening) :]}" if follows else prompt


def shown_rows(table: pd.DataFrame) -> list[list[str]]:
    """Cells of the page's table, as text; a cell that does not apply is empty.

    Args:
        table: what `output_table` gave.
    """
    rows, columns, before = [], shown_columns(table), opening(table)
    for row in table.to_dict("records"):
        place = "" if pd.isna(row["place"]) else str(row["place"])
        if place and pd.notna(row["share lower"]):
            place += f", {number(row['share lower'])}"
        cells = {**row, "place": place, "kind": "" if pd.isna(row["kind"]) else row["kind"]}
        cells["prompt"] = behind(str(row["prompt"]), before)
        if CARRIED in columns:
            nodes = [] if pd.isna(row[CARRIED]) else str(row[CARRIED]).split("; ")
            cells[CARRIED] = "; ".join(nodes[:NODES]) + "; …" * (len(nodes) > NODES)
        rows.append([str(cells[column]) for column in columns])
    return rows


def shown_columns(table: pd.DataFrame) -> list[str]:
    """Columns that the page shows; of facts, few of which are exchanged, no nodes."""
    carried = {SITE, CARRIED} <= set(table.columns)
    return [*SHOWN, *([CARRIED] if carried else [])]


def choices(table: pd.DataFrame) -> list[tuple[str, int, Sequence[str]]]:
    """Columns to filter by: heading, place in the table, and the values that occur."""
    return [
        (column, SHOWN.index(column), sorted({str(v) for v in table[column].dropna()}))
        for column in CHOICES
    ]


def _row(item: Mapping[str, Any], verdict: Mapping[str, Any], answer: str = "") -> dict[str, Any]:
    row = {column: item.get(key) for column, key in _COPIED.items()}
    same = item["said_base"] == item["said_tuned"]
    row[SITE], row[CARRIED] = item.get("site"), _carried(item)
    row["answer"] = answer or (SAME if same else CHANGED)
    row["driven by"] = "" if answer else output_word(item, verdict)
    return row


def _carried(item: Mapping[str, Any]) -> str | None:
    """The nodes that carry an output, each with its share; None where none were exchanged."""
    nodes = item.get("carriers")
    if nodes is None:
        return None
    carrying = [f"{node['node']} ({number(node['share'])})" for node in nodes if node["carries"]]
    return "; ".join(carrying) or "no single node"
