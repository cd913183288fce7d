"""Evidence for other programs: CSV, JSON lines or parquet, written as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from interp._files import write_atomically, write_csv
from interp.evidence.schema import COLUMNS, INTEGER, REAL, TEXT

#: Rows that are made into text at once.
_ROWS = 50_000

#: Type of every column in a file, the same in all files, so that many can be read as one table.
_TEXTS = pa.dictionary(pa.int32(), pa.string())
_TYPES = {**dict.fromkeys(TEXT, _TEXTS), **dict.fromkeys(INTEGER, pa.int64())}
_TYPES |= {**dict.fromkeys(REAL, pa.float64()), "value": pa.float32()}
_SCHEMA = pa.schema([(name, _TYPES[name]) for name in COLUMNS])


def stored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as parquet keeps it: each text that occurs once, sorted, and rows that name them.

    Equal tables give equal bytes, whatever they were joined and selected from.

    Args:
        table: of an Evidence.
    """
    kept = table.reset_index(drop=True)
    for name in TEXT:
        words = kept[name].cat.remove_unused_categories().cat
        kept[name] = words.reorder_categories(sorted(words.categories))
    return kept


def write_parquet(path: Path, table: pd.DataFrame) -> Path:
    """Write every row and column, texts as dictionaries.

    Args:
        path: the file.
        table: of an Evidence.
    """
    kept = stored(table)
    return write_atomically(path, lambda p: kept.to_parquet(p, index=False, schema=_SCHEMA))


def write_jsonl(path: Path, table: pd.DataFrame) -> Path:
    """Write one JSON object a row; a column that does not apply to a row is left out of it.

    Args:
        path: the file.
        table: of an Evidence.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as file:
            for start in range(0, len(table), _ROWS):
                part = table.iloc[start : start + _ROWS]
                cells = [[_plain(cell) for cell in part[name].astype(object)] for name in part.columns]
                for row in zip(*cells, strict=True):
                    told = {k: v for k, v in zip(part.columns, row, strict=True) if v is not None}
                    file.write(json.dumps(told, ensure_ascii=False) + "\n")

    return write_atomically(path, write)


#: Format -> what writes it.
FORMATS: dict[str, Callable[[Path, pd.DataFrame], Path]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "jsonl": write_jsonl,
}


def _plain(cell: Any) -> Any:
    """A cell as JSON has it; nothing for what is not there or no finite number."""
    if pd.isna(cell) or cell in (float("inf"), float("-inf")):
        return None
    return cell.item() if hasattr(cell, "item") else cell
