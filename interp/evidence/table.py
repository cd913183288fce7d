"""Evidence: building, joining, filtering, writing and reading the one table of measurements.

Rows are examples, never averages: only `interp.stats` averages. Columns that do not apply are null,
so ragged sweeps need no padding and nothing that was not measured looks like a number.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp._doors import checked, held
from interp._files import write_text
from interp.display.html import ROWS, Shown
from interp.evidence.boundaries import NOTE, behind_block, boundary_numbers
from interp.evidence.exporting import FORMATS, write_parquet
from interp.evidence.schema import COLUMNS, TEXT, joined, renamed, typed
from interp.untrusted.limits import RUN
from interp.untrusted.parquet import read_parquet
from interp.untrusted.reading import inside, read_json, reason


@held
@dataclass(frozen=True)
class Evidence(Shown):
    """A tidy table of measurements and where they came from.

    Attributes:
        table: has the columns in `COLUMNS`; `value` is one raw number for one example, in `unit`.
        provenance: where the rows came from: models, seeds, versions, and what a reader of the table
            needs beside it.
        beside: rows that a reader may need and the table does not show (the margins behind a probe's
            right and wrong answers); not written to files.

    Raises:
        ValueError: if a column is unknown, or there is no value.
    """

    table: pd.DataFrame
    provenance: Mapping[str, Any] = field(default_factory=dict)
    beside: Evidence | None = None

    def __repr__(self) -> str:
        """How many rows of which methods and metrics, on one line."""
        told = []
        for name in ("method", "metric", "model"):
            values = [str(v) for v in self.table[name].dropna().unique()]
            told += [f"{name} {', '.join(values[:4])}{', …' * (len(values) > 4)}"] if values else []
        return f"Evidence({'; '.join([f'{len(self):,} rows', *told])})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        used = [name for name in COLUMNS if self.table[name].notna().any()]
        first = self.table[used].head(ROWS).astype(object)
        return used, first.where(first.notna(), "").to_numpy().tolist(), len(self)

    def __post_init__(self) -> None:
        """Hold the table to its columns and types."""
        unknown = [c for c in self.table.columns if c not in COLUMNS]
        if unknown or "value" not in self.table.columns:
            raise ValueError(
                f"an Evidence table has a value and some of the columns {', '.join(COLUMNS)}; "
                f"unknown {unknown}; use Evidence.build"
            )
        object.__setattr__(self, "table", typed(renamed(self.table)[0]))

    @classmethod
    def build(
        cls, value: Any, *, provenance: Mapping[str, Any] | None = None, **columns: Any
    ) -> Evidence:
        """Evidence from a flat array of values and columns given as arrays or constants.

        Args:
            value: the numbers, flattened.
            provenance: where they came from.
            **columns: any of `COLUMNS`: one entry per value, or one for all; None leaves it null.

        Raises:
            ValueError: if a column is unknown or its length differs from the values', or if these are
                no numbers.
        """
        try:
            values = np.asarray(value, dtype=np.float32).reshape(-1)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"value got {type(value).__name__}: {error}; expected numbers, as a list or an array"
            ) from error
        unknown = set(columns) - set(COLUMNS)
        if unknown:
            raise ValueError(f"unknown Evidence columns {sorted(unknown)}; known: {list(COLUMNS)}")
        data: dict[str, Any] = {}
        for name, entries in columns.items():
            if entries is None:
                continue
            if np.isscalar(entries):
                data[name] = [entries] * len(values)
            elif len(entries) != len(values):
                raise ValueError(
                    f"column {name!r} must have one entry per value, {len(values)}; got {len(entries)}"
                )
            else:
                data[name] = entries
        return cls(pd.DataFrame({**data, "value": values}), dict(provenance or {}))

    @classmethod
    @checked
    def concat(cls, parts: Iterable[Evidence]) -> Evidence:
        """One table of several, in the order given; provenance is merged, later parts winning.

        Args:
            parts: any number of them; none gives an empty table.
        """
        parts = list(parts)
        besides = [part.beside for part in parts if part.beside is not None]
        beside = cls.concat(besides) if besides else None
        provenance: dict[str, Any] = {}
        for part in parts:
            provenance.update(part.provenance)
        return cls(joined(part.table for part in parts), provenance, beside)

    def select(self, **conditions: Any) -> Evidence:
        """Evidence of the rows that `rows` gives, with the same provenance.

        Args:
            **conditions: as for `rows`.

        Raises:
            ValueError: for a column that evidence has not got.
        """
        return Evidence(self.rows(**conditions), self.provenance, self.beside)

    def rows(self, **conditions: Any) -> pd.DataFrame:
        """Table of the rows whose columns equal the given values.

        Args:
            **conditions: column = value; several, such as a list, a range or an array, mean any of
                them, None the null, also among several.

        Raises:
            ValueError: for a column that evidence has not got, or a slice.
        """
        unknown = [name for name in conditions if name not in COLUMNS]
        if unknown:
            raise ValueError(f"evidence has no column {unknown[0]!r}; it has {', '.join(COLUMNS)}")
        keep = np.ones(len(self.table), dtype=bool)
        for name, wanted in conditions.items():
            column = self.table[name]
            if isinstance(wanted, slice):
                raise ValueError(
                    f"{name} got {wanted}; expected a value, or several, as in range(3) or a list"
                )
            if isinstance(wanted, Iterable) and not isinstance(wanted, str):
                wanted = list(wanted)
                values = [value for value in wanted if value is not None]
                match = column.isin([str(value) if name in TEXT else value for value in values])
                match |= column.isna() & (len(values) < len(wanted))
            elif wanted is None:
                match = column.isna()
            else:
                match = column == (str(wanted) if name in TEXT else wanted)
            keep &= match.fillna(False).to_numpy(dtype=bool)
        return self.table[keep]

    def where(self, **conditions: Any) -> pd.DataFrame:
        """The same as `rows`, under its former name."""
        return self.rows(**conditions)

    def needed(self, made_by: str, **conditions: Any) -> pd.DataFrame:
        """Rows as `rows` gives them, for a reader that can do nothing without them.

        Args:
            made_by: the call that makes such rows, to be named where there are none.
            **conditions: as for `rows`.

        Raises:
            ValueError: if there are none, naming the methods that the table holds.
        """
        wanted_rows = self.rows(**conditions)
        if len(wanted_rows):
            return wanted_rows
        methods = self.table["method"].value_counts(sort=False)
        shown = (
            ", ".join(f"{name!r} ({n} rows)" for name, n in methods.items() if n) or "no rows at all"
        )
        wanted = " and ".join(f"{name} {value!r}" for name, value in conditions.items())
        raise ValueError(f"no rows of {wanted}: got a table of {shown}; expected one made by {made_by}")

    def by_boundary(self, n_layers: int) -> Evidence:
        """The same rows with `layer` counting boundaries: the last block's output becomes L.

        Args:
            n_layers: number of blocks L.
        """
        last = behind_block(self.table) & (self.table["layer"] == n_layers - 1).fillna(False)
        layer = self.table["layer"].mask(last, boundary_numbers(self.table))
        beside = None if self.beside is None else self.beside.by_boundary(n_layers)
        return Evidence(self.table.assign(layer=layer), {**self.provenance, NOTE: n_layers}, beside)

    def with_provenance(self, **facts: Any) -> Evidence:
        """The same table with more said about where it came from.

        Args:
            **facts: added to the provenance; they win over what is there.
        """
        return Evidence(self.table, {**self.provenance, **facts}, self.beside)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    def plot(self, **options: Any) -> Any:
        """Draw the evidence as its method is drawn; see `interp.figures.plot`.

        Args:
            **options: of the figure, such as seed.

        Returns:
            An `interp.figures.Figure`, which shows itself in a notebook and which `save` writes.

        Raises:
            ValueError: for evidence of several methods, or of one without a figure.
        """
        # Figures stand above evidence and are imported only where one is asked for.
        return import_module("interp.figures").plot(self, **options)

    def save(self, folder: Path | str, name: str = "evidence", *, csv: bool = False) -> list[Path]:
        """Write NAME.parquet with every row, and beside it what is known about the table.

        Files are written under a temporary name and renamed, so a failure leaves none half-written.
        Equal tables give equal bytes.

        Args:
            folder: made where it does not exist.
            name: of the files, without their ends.
            csv: whether NAME.csv is written too, which is many times larger; see `export`.

        Returns:
            The parquet file, the JSON file with the provenance, and the CSV file if there is one.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        parquet = write_parquet(folder / f"{name}.parquet", self.table)
        notes = json.dumps(self.provenance, indent=1, default=str, sort_keys=True)
        sidecar = write_text(folder / f"{name}.provenance.json", notes)
        return [parquet, sidecar, *([self.export(folder / f"{name}.csv")] if csv else [])]

    def export(self, path: Path | str) -> Path:
        """Write every row to one file for another program: .csv, .jsonl or .parquet.

        It is written as it goes, a few rows in memory at a time. In CSV a text that a spreadsheet
        would take for a formula (it begins with =, +, -, @, a tab or a carriage return) gets an
        apostrophe before it; numbers stay as they are. In JSON lines a row holds only what applies.

        Args:
            path: its ending says the format.

        Returns:
            The file.

        Raises:
            ValueError: for another ending.

        Example:
            >>> import interp, tempfile, pathlib
            >>> rows = interp.Evidence.build([1.5], group=["=1+1"], layer=3)
            >>> file = rows.export(pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl")
            >>> file.read_text().strip()
            '{"layer": 3, "group": "=1+1", "value": 1.5}'
        """
        path = Path(path)
        ending = path.suffix.lower().removeprefix(".")
        if ending not in FORMATS:
            raise ValueError(
                f"{path} must end in {', '.join('.' + end for end in FORMATS)}; got "
                f"{path.suffix or 'no ending'!r}; give one of these"
            )
        return FORMATS[ending](path, self.table)

    @classmethod
    @checked
    def load(cls, parquet: Path | str) -> Evidence:
        """Evidence read back from what `save` wrote.

        A file of an earlier version gets today's columns, and a warning says what was renamed.

        Args:
            parquet: the file; its provenance lies beside it.

        Raises:
            ValueError: one line, if it is no parquet file, holds anything but evidence, or its rows
                are out of all proportion to its size.
        """
        parquet = Path(parquet)
        sidecar = parquet.with_suffix(".provenance.json")
        notes = read_json(inside(parquet.parent, sidecar.name), RUN) if sidecar.exists() else {}
        read = read_parquet(parquet)
        try:
            table, told = renamed(read)
            evidence = cls(table, notes)
        except Exception as error:  # columns of any type, which fail in as many ways
            raise ValueError(
                f"{parquet.name} holds no evidence ({reason(error)}); give a file that Evidence.save "
                "wrote"
            ) from error
        if told:
            warnings.warn(f"{parquet.name} is of an older version: {told}", stacklevel=2)
        return evidence
