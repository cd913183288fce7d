"""The tables of `studies.know` as text for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def curve_text(table: pd.DataFrame) -> str:
    """Boundaries down, conditions across."""
    cells = table.assign(text=[interval_text(row) for row in table.to_dict("records")])
    return cells.pivot(index="boundary", columns="condition", values="text").to_string()


def square_text(matrix: pd.DataFrame, condition: str) -> str:
    """Training sets down, test sets across, both numbered."""
    rows = matrix[matrix["condition"].astype(str) == condition]
    names = list(dict.fromkeys(rows["test"]))
    cells = {(row["train"], row["test"]): interval_text(row) for row in rows.to_dict("records")}
    numbered = {name: f"{i}" for i, name in enumerate(names, start=1)}
    table = pd.DataFrame(
        [[cells[train, test] for test in names] for train in names],
        index=pd.Index([f"{numbered[name]} {name}" for name in names]),
        columns=pd.Index(list(numbered.values())),
    )
    return table.to_string()


def attributes_text(table: pd.DataFrame) -> str:
    """One line per attribute: the probe, the best trivial reader, and the gain over it."""
    lines = []
    for row in table.to_dict("records"):
        gain = interval_text({name: row[f"gain_{name}"] for name in ("estimate", "low", "high")})
        trivial = interval_text({name: row[f"trivial_{name}"] for name in ("estimate", "low", "high")})
        beats = "beats" if row["gain_low"] > 0 else "does NOT beat"
        lines.append(
            f"{row['attribute']} ({row['score']}, {row['entities']} entities"
            + (f", {row['classes']} classes" if row["classes"] else "")
            + f"): {interval_text(row)}, {beats} {row['best_trivial']} {trivial}, gain {gain}; "
            f"control task {100 * row['control_task']:.0f}"
        )
    return "\n".join(lines)


def sincerity_text(table: pd.DataFrame) -> str:
    """One line per measure of belief against claim, over all statements."""
    rows = table[(table["says"] == "centred") | table["measure"].str.endswith("right")]
    lines = [
        f"{row['measure']} ({row['says']}, {row['of']} statements): {interval_text(row)}"
        for row in rows[rows["of"] == "all"].to_dict("records")
    ]
    return "\n".join(lines)


def interval_text(row: Mapping[Any, Any]) -> str:
    """Estimate and interval in percent."""
    low, high = (f"{100 * row[end]:.0f}" for end in ("low", "high"))
    return f"{100 * row['estimate']:.0f} [{low},{high}]"
