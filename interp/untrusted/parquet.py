"""Parquet files that others wrote: small files that stand for endless tables are not unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interp.untrusted.limits import COLUMN_BYTES, COLUMNS, MIB, ROWS, ROWS_A_BYTE
from interp.untrusted.reading import reason


def read_parquet(path: Path) -> pd.DataFrame:
    """The table in a parquet file.

    Args:
        path: the file.

    Raises:
        ValueError: one line, if it is no parquet file, or its rows, columns or texts are out of
            all proportion to its size.
    """
    try:
        with pq.ParquetFile(path) as file:
            problem = _outsized(file, path.stat().st_size)
            problem = problem or _long_texts(path, file.schema_arrow)
        table = None if problem else pd.read_parquet(path)
    except MemoryError as error:
        raise ValueError(f"{path.name} does not fit into memory; read a smaller part") from error
    except Exception as error:  # every kind that pyarrow and pandas have
        raise ValueError(
            f"{path.name} must be a parquet file; got something unreadable ({reason(error)}): "
            "write it again with DataFrame.to_parquet"
        ) from error
    if table is None:
        raise ValueError(f"{path.name} {problem}; read it elsewhere and write the part that is needed")
    return table


def _outsized(file: pq.ParquetFile, size: int) -> str:
    """What is wrong with the numbers that the file gives of itself, or nothing."""
    about = file.metadata
    if about.num_columns > COLUMNS:
        return f"has {about.num_columns:,} columns, at most {COLUMNS:,} are read"
    most = ROWS + ROWS_A_BYTE * size
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    rows = max(about.num_rows, sum(group.num_rows for group in groups))
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    entries = max((column.num_values for column in columns), default=0)
    if max(rows, entries) > most:
        return f"says it has {max(rows, entries):,} rows in {size:,} bytes, at most {most:,} are read"
    unpacked = sum(max(0, column.total_uncompressed_size) for column in columns)
    if unpacked > COLUMN_BYTES + 64 * size:
        return f"unpacks to {unpacked / MIB:,.0f} MiB, {unpacked // max(1, size):,} times its size"
    return ""


def _long_texts(path: Path, schema: pa.Schema) -> str:
    """What is wrong with texts that are stored once and repeated, or nothing."""
    names = [f.name for f in schema if _is_text(f.type) and schema.names.count(f.name) == 1]
    with pq.ParquetFile(path, read_dictionary=names) as file:
        for name in names:
            length = 0.0
            for part in file.read(columns=[name]).column(0).chunks:
                if pa.types.is_dictionary(part.type):
                    lengths = pc.call_function("binary_length", [part.dictionary])
                    length += np.nansum(lengths.take(part.indices).to_numpy(zero_copy_only=False))
            if length > COLUMN_BYTES:
                return f"writes out {length / MIB:,.0f} MiB of texts in its column {name!r:.40}"
    return ""


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
