"""Boundaries of the residual stream: boundary k lies before block k, boundary L behind the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

#: Key of provenance under which `Evidence.by_boundary` notes the number of the last boundary.
NOTE = "boundaries"


def behind_block(table: pd.DataFrame) -> Bool[np.ndarray, " row"]:
    """Whether each row was read or written behind its block rather than before it."""
    return (table["kind"].astype("string") == "resid_post").to_numpy(dtype=bool, na_value=False)


def boundary_numbers(table: pd.DataFrame, *, counted: int | None = None) -> pd.Series:
    """Boundary of every row: k + 1 for what lies behind block k, the layer itself for the rest.

    Args:
        table: with the columns `kind` and `layer`.
        counted: number that rows behind the last block bear where they are counted by boundary
            already; those keep it.
    """
    behind = behind_block(table)
    if counted is not None:
        behind &= ~(table["layer"] == counted).to_numpy(dtype=bool, na_value=False)
    return table["layer"] + behind.astype(int)


def last_boundary(table: pd.DataFrame, provenance: Mapping[str, Any]) -> int | None:
    """Number of the last boundary, as noted, or where the steps of the boundaries before lead to.

    None where neither says so.
    """
    if provenance.get(NOTE) is not None:
        return int(provenance[NOTE])
    before = table.loc[(table["kind"].astype("string") == "resid_pre").fillna(False), "layer"]
    last_two = sorted(int(layer) for layer in before.dropna().unique())[-2:]
    if not last_two:
        return None
    return last_two[-1] + (last_two[1] - last_two[0] if len(last_two) > 1 else 1)
