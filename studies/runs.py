"""Finished comparisons: read back from their folders, put beside each other, and drawn for a paper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.untrusted.reading import inside
from interp.untrusted.verdict_file import read_verdict
from interp.verdict.outcomes import NUMBERS, TOKENS, Outcomes
from interp.verdict.summary import row_of
from studies.comparison.result import Comparison


def summary(runs: Sequence[Comparison | str | Path]) -> pd.DataFrame:
    """Put many comparisons into one table, a flat row each.

    Args:
        runs: comparisons, or folders that `interp compare` wrote.

    Returns:
        One row for each run, in order: run (tuned ← base), base, tuned, facts, the words changed,
        where, where_fact and what, and each number (share_lower, sufficiency, retention, persistence,
        …) with columns NAME_low, NAME_high, NAME_floor, NAME_ceiling and NAME_n;
        `interp.figures.forest` draws it.

    Raises:
        ValueError: for no runs, or a folder without a finished comparison.

    Example:
        >>> import interp, studies
        >>> pair = interp.load_pair("organism-base", "organism-null")
        >>> run = studies.compare(pair, interp.load_facts("world").subset(list(range(24))))
        >>> table = studies.summary([run])
        >>> table[["run", "known"]].to_dict("records")
        [{'run': 'organism-null ← organism-base', 'known': 24}]
    """
    if not runs:
        raise ValueError(
            "runs got none; expected comparisons or their folders, such as ['interp-runs/001']"
        )
    rows = []
    for run in runs:
        data = verdict_of(run)
        row = row_of(data)
        rows.append({"run": f"{row['tuned']} ← {row['base']}", **row})
    return pd.DataFrame(rows)


def verdict_of(run: Comparison | str | Path) -> dict[str, Any]:
    """What verdict.json holds of a comparison or of its folder.

    Args:
        run: a comparison, or a folder that `interp compare` wrote.

    Raises:
        ValueError: for a folder without a finished comparison.
    """
    if isinstance(run, Comparison):
        data = run.verdict.to_dict()
        return {**data, "provenance": {**data["provenance"], **run.provenance}}
    return read_verdict(run)


def evidence_of(folder: str | Path) -> Evidence:
    """Every measurement of a comparison in a folder.

    Args:
        folder: written by `interp compare`.

    Raises:
        ValueError: for a folder without one.
    """
    folder = Path(os.path.expanduser(folder))
    if not os.path.isfile(folder / "evidence.parquet"):
        raise ValueError(f"{folder} has no evidence.parquet; give a folder that `interp compare` wrote")
    return Evidence.load(inside(folder, "evidence.parquet"))


def outcomes_of(verdict: dict[str, Any]) -> Outcomes:
    """Which groups changed, as far as verdict.json tells it.

    The items tell groups, forms and answers, and by their contrast which groups changed; tokens and
    log-probabilities are not kept there and stand as zeros, so only the groups may be read from it.

    Args:
        verdict: has the keys of verdict.json.

    Raises:
        ValueError: for a verdict without items.
    """
    items = verdict.get("items")
    if not items:
        raise ValueError("the run has no known facts in verdict.json, so there is nothing to draw")
    said = ["text", "group", "form", "answer", "said_base", "said_tuned"]
    table = pd.DataFrame(items)
    if not {*said, "contrast"} <= {*table}:
        raise ValueError("the run's items do not tell their wording and contrast; run it again")
    changed = table["contrast"] == "output"
    absent = dict.fromkeys((*TOKENS, *NUMBERS, "closed_base", "closed_tuned"), 0)
    return Outcomes(table[said].assign(known=True, differs=changed, **absent))
