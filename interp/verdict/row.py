"""The verdict as one flat row, for tables of many comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        base, tuned and facts where they are known; changed, where, where_fact and what; each number
        of `NUMBERS` under its name with NAME_low, NAME_high, NAME_floor, NAME_ceiling and NAME_n;
        known and changed_facts. What is undefined is None.
    """
    provenance = verdict.get("provenance") or {}
    row: dict[str, Any] = {
        name: (provenance.get(name) or {}).get("name" if name == "facts" else "source")
        for name in ("base", "tuned", "facts")
    }
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
