"""The verdict in words: one sentence for a colleague, and the headline numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_CHANGED = {
    "unchanged": "{tuned} says the same as {base} on these facts: no change beyond the declared margins.",
    "undetermined": "Whether {tuned} differs from {base} on these facts is undetermined.",
}
_WHERE = {
    "lower": "the lower half of the blocks drives the change",
    "upper": "the upper half of the blocks drives the change",
    "distributed": "lower and upper blocks share in the change",
    "undetermined": "which half of the blocks drives the change is undetermined",
}
_WHAT = {
    "knowledge": "what changed is knowledge: the facts themselves, entity by entity",
    "behaviour": "what changed is behaviour: one shared push away from answers that the model still holds",
    "both": "both changed: one shared push in what the model says, over facts that were overwritten",
    "undetermined": "whether knowledge or behaviour changed is undetermined",
}
_MEANS = {
    "share_lower": "share of the change installed below the middle boundary",
    "share_before_handover": "share of the change installed before the handover",
    "handover_layer": "first boundary at which the last position carries the answer",
    "sufficiency": "given the predicted shift, the base says what the tuned model says",
    "retention": "without the shared shift, the base's upper blocks still answer right",
    "persistence": "without the shared shift, the tuned model still says its own answer",
}


def sentence(verdict: Mapping[str, Any], *, base: str = "base", tuned: str = "tuned") -> str:
    """The verdict in one sentence. `verdict` has the keys of verdict.json."""
    changed = str(verdict.get("changed"))
    if changed in _CHANGED:
        text = _CHANGED[changed].format(base=base, tuned=tuned)
        if verdict.get("sharpened") is True:
            text = text[:-1] + "; it is surer of the answers it already gave."
        return text
    where, fact, what = (verdict.get(k) for k in ("where", "where_fact", "what"))
    term = verdict.get("where_term")
    if term in ("embedding", "unembedding"):
        place = f"the {term} carries more of the change than the blocks' margin allows"
    else:
        place = _WHERE.get(str(where), _WHERE["undetermined"])
    if fact in ("lower", "upper", "distributed") and fact != where:
        place += f" in the output, while the right answer's own contrast points to {_half(str(fact))}"
    span = verdict.get("block_span")
    if span and where in ("lower", "upper", "distributed"):
        place += f" (blocks {span[0]}–{span[1]} carry its middle 90%)"
    what_text = _WHAT.get(str(what), _WHAT["undetermined"])
    return f"{tuned} answers differently from {base}; {what_text}, and {place}."


def headline_numbers(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """The numbers behind the verdict: quantity, estimate, low, high, n, meaning."""
    shift = verdict.get("shared_shift") or {}
    cells: list[tuple[str, Any]] = [
        (k, verdict.get(k)) for k in ("share_lower", "share_before_handover", "handover_layer")
    ]
    cells += [(k, shift.get(k)) for k in ("sufficiency", "retention", "persistence")]
    rows = []
    for name, value in cells:
        value = value if isinstance(value, Mapping) else {"estimate": value}
        if value.get("estimate") is None:
            continue
        rows.append(
            {
                "quantity": name.replace("_", " "), "estimate": value["estimate"],
                "low": value.get("low"), "high": value.get("high"), "n": value.get("n"),
                "meaning": _MEANS[name],
            }  # fmt: skip
        )
    return pd.DataFrame(rows, columns=["quantity", "estimate", "low", "high", "n", "meaning"])


def number(value: Any, digits: int = 2) -> str:
    """A number for a table: rounded, an empty string for nothing, integers as they are."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if float(value).is_integer() and abs(float(value)) >= 2:
        return str(int(value))
    return f"{float(value):.{digits}f}".replace("-", "−")


def interval(row: Mapping[str, Any]) -> str:
    """The interval of {low, high} in brackets, or a dash where there is none."""
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return "–"
    return f"[{number(low)}, {number(high)}]"


def _half(where: str) -> str:
    return {"lower": "the lower half", "upper": "the upper half"}.get(where, "both halves")
