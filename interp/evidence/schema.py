"""The columns of evidence: what each means, its type, and what older files called it.

Every column has one meaning in every method, and is null where it does not apply. Which columns vary
in which method is told in docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

#: Name -> meaning, in the order of the table.
MEANINGS = {
    "model": "role of the model that was run: base or tuned",
    "donor": "role of the model whose activations or weights were written in, or what else gave them",
    "method": "the measurement",
    "condition": "the measured case or the control",
    "direction": "which run of a pair was patched: denoise the corrupted one, noise the clean one",
    "metric": "what the value measures: a metric, a contrast, an attribute",
    "kind": "kind of the site",
    "layer": "block, or boundary in evidence by boundary",
    "head": "attention head",
    "neuron": "neuron or feature of the site",
    "position": "token position that was read or written",
    "span": "named positions that were read or written",
    "source_span": "named positions that attention was kept from",
    "sender": "node from which an edge starts",
    "receivers": "nodes at which a path ends",
    "parameters": "set of parameters that was moved, or name of a circuit",
    "example": "row of the examples",
    "group": "entity, the unit of resampling",
    "template": "form of the prompt",
    "question": "number of the question that was asked about a statement",
    "train_set": "set that a probe was trained on",
    "test_set": "set that it was scored on",
    "label": "class or quantity of the example",
    "n_classes": "number of classes that were told apart",
    "fold": "held-out fold",
    "draw": "number of a random draw: of a control, a placebo, a permutation, or noise",
    "window": "number of layers that were written together",
    "share": "share of the parameters that was moved, or of the edges that are in a circuit",
    "strength": "factor of a vector that was added",
    "seed": "as older files had it: draw or fold",
    "unit": "unit of the value",
    "value": "one raw number for one example",
}  # fmt: skip
COLUMNS = tuple(MEANINGS)
INTEGER = (
    "layer", "head", "neuron", "position", "example", "n_classes", "fold", "draw", "window", "seed",
)  # fmt: skip
REAL = ("label", "share", "strength")
TEXT = tuple(c for c in COLUMNS if c not in (*INTEGER, *REAL, "value"))

#: Columns of earlier versions and what they also held. For one release they are filled so again.
FORMER = {
    "seed": ("draw", "fold"),
    "strength": ("label", "window", "share", "n_classes"),
    "donor": ("sender", "train_set"),
    "template": ("test_set", "question"),
    "head": ("neuron",),
    "span": ("receivers", "parameters"),
}

#: Method -> new name: the column that held it in files of earlier versions.
_RENAMED = {
    "probe": {"label": "strength", "draw": "seed"},
    "margin": {"label": "strength", "draw": "seed"},
    "erasure": {"label": "strength", "draw": "seed"},
    "quantity": {"label": "strength", "draw": "seed"},
    "code": {"n_classes": "strength", "draw": "seed"},
    "readable": {"draw": "seed"},
    "transfer": {"label": "strength", "draw": "seed"},
    "transfer_control": {"draw": "seed"},
    "generalisation": {"label": "strength", "train_set": "donor", "test_set": "template"},
    "belief": {"label": "strength", "fold": "seed"},
    "claim": {"label": "strength", "question": "template", "draw": "seed"},
    "patch": {"draw": "seed"},
    "cross_patch": {"draw": "seed"},
    "ablate": {"draw": "seed"},
    "steer": {"draw": "seed"},
    "trace": {"window": "strength", "draw": "seed"},
    "knockout": {"window": "strength", "source_span": "span", "draw": "seed"},
    "path_patch": {"receivers": "span"},
    "attribute": {"neuron": "head"},
    "attribute_edges": {"sender": "donor"},
    "shift": {"draw": "seed"},
    "graft": {"share": "strength", "parameters": "span", "draw": "seed"},
}


def renamed(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Table of an earlier version with today's columns, and in words what was renamed ("" for nothing).

    Args:
        table: as read from a file or made by hand. Rows of a method are left as they are where the
            table has any of the columns that the method's were renamed to.
    """
    new = [name for name in COLUMNS if name not in table]
    if not new or "method" not in table:
        return table, ""
    table, told = table.copy(), []
    for method in table["method"].dropna().unique():
        names = _RENAMED.get(str(method), {})
        if not {*names} <= {*new}:
            continue
        rows = (table["method"] == method).fillna(False).to_numpy(dtype=bool)
        for name, former in names.items():
            if former not in table:
                continue
            held = rows & table[former].notna().to_numpy(dtype=bool)
            if name == "question":  # tested claims share the method, and their template is a form
                numbered = table[former].astype("string").str.isdigit()
                held &= numbered.fillna(False).to_numpy(dtype=bool)
            if name == "neuron":  # of other kinds the head is an attention head
                held &= (table["kind"] == "mlp_post").fillna(False).to_numpy(dtype=bool)
            if held.any():
                column = table.get(
                    name, pd.Series([None] * len(table), index=table.index, dtype=object)
                )
                table[name] = column.mask(held, table[former].astype(object))
                told.append(f"{former} of {method} is now {name}")
    return table, "; ".join(told)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Table with every column in its order and type, and the former columns filled.

    Args:
        table: has any of `COLUMNS`; the others become null.
    """
    columns = {}
    for name in COLUMNS:
        if name not in table:
            columns[name] = pd.Series(_null(name, len(table)), index=table.index)
            continue
        column = table[name]
        if name in TEXT:
            columns[name] = column if _is_text(column) else column.astype("string").astype("category")
        elif name in INTEGER:
            columns[name] = column.astype("Int64")
        elif name in REAL:
            columns[name] = column.astype("Float64")
        else:
            columns[name] = np.asarray(column, dtype=np.float32)
    for former, sources in FORMER.items():
        for source in sources:
            if columns[source].notna().any():
                columns[former] = _filled(former, columns[former], columns[source])
    return pd.DataFrame(columns)


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables that `typed` made, one under the other."""
    filled = [table for table in tables if len(table)]
    if not filled:
        return typed(pd.DataFrame())
    columns = {}
    for name in COLUMNS:
        parts = [table[name] for table in filled]
        if name in TEXT:
            columns[name] = union_categoricals(parts)
        else:
            columns[name] = pd.concat(parts).array
    return pd.DataFrame(columns)


def _null(name: str, n: int) -> Any:
    """A column of nulls."""
    if name in INTEGER:
        return pd.arrays.IntegerArray(np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool))
    if name in REAL:
        return pd.arrays.FloatingArray(np.zeros(n), np.ones(n, dtype=bool))
    no_words = pd.CategoricalDtype(pd.Index([], dtype="string"))
    return pd.Categorical.from_codes(np.full(n, -1, dtype=np.int8), dtype=no_words)


def _filled(former: str, column: pd.Series, source: pd.Series) -> pd.Series:
    """A former column whose nulls are filled from one of today's."""
    if former in TEXT:
        text = column.astype("string").fillna(source.astype("string"))
        return text.astype("category")
    return column.fillna(source.astype(column.dtype))


def _is_text(column: pd.Series) -> bool:
    """Whether a column is already a category of strings, of the one dtype that `astype` gives."""
    kind = column.dtype
    return isinstance(kind, pd.CategoricalDtype) and kind.categories.dtype == pd.StringDtype()
