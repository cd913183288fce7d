"""The numbers behind the verdict, as rows and as text for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from interp.verdict.summary import interval as interval, number as number

_MEANS = {
    "share_differing": "share of known facts on which the first differing token differs",
    "log_p_gain": "mean change of log p(right answer), nats; negative: less likely",
    "share_lower_fact": "the same as share lower, by the right answer's own contrast",
    "share_lower": "share of the change installed below the middle boundary",
    "share_before_handover": "share of the change installed before the handover",
    "handover_layer": "first boundary at which the last position carries the answer",
    "sufficiency": "given the predicted shift, the base says what the tuned model says",
    "retention": "without the shared shift, the base's upper blocks still answer right",
    "persistence": "without the shared shift, the tuned model still says its own answer",
}

_DRIVEN = {
    "shared push": "outputs that another entity's push brings about and that vanish without it",
    "item by item": "outputs that stay without the push, and that no push brings about",
    "either": "outputs that the push brings about and that stay without it",
    "neither": "outputs that the push does not bring about and that vanish without it",
}


def headline_numbers(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Numbers behind the verdict, one row each; what is undefined is left out.

    A share stands beside its floor (no effect: what the base itself does) and its ceiling (the full
    effect: what the tuned model itself does; for retention the two change places).

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        Columns quantity, estimate, low, high, floor, ceiling, n, meaning.
    """
    shift, change = verdict.get("shared_shift") or {}, verdict.get("change") or {}
    words = {row["word"]: row for row in shift.get("output_words") or []}
    cells = {
        "share_differing": change.get("share_differing"),
        "log_p_gain": change.get("log_p_gain"),
        **{k: verdict.get(k) for k in ("share_lower", "share_before_handover")},
        "share_lower_fact": (verdict.get("fact_contrast") or {}).get("share_lower"),
        "handover_layer": verdict.get("handover_layer"),
        **{k: shift.get(k) for k in ("sufficiency", "retention", "persistence")},
        **{word: words[word] for word in _DRIVEN if word in words},
    }
    rows = [
        {
            "quantity": name.replace("_", " "),
            **{key: cell.get(key) for key in ("estimate", "low", "high", "floor", "ceiling", "n")},
            "meaning": {**_MEANS, **_DRIVEN}[name],
        }
        for name, cell in cells.items()
        if cell is not None and cell.get("estimate") is not None
    ]
    return pd.DataFrame(
        rows, columns=["quantity", "estimate", "low", "high", "floor", "ceiling", "n", "meaning"]
    )
