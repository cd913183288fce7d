"""Aligned pairs in a table of evidence: how they are named, and their clean, corrupted and edited runs.

Methods that run pairs of prompts write rows of both unedited runs (conditions "clean" and
"corrupted") and rows of every edited run. Here they become one array each, pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

#: The conditions of the two unedited runs of a pair.
UNEDITED = ("clean", "corrupted")

_SEPARATOR = " -> "

Array = np.ndarray


def pair_name(clean: object, corrupted: object) -> str:
    """Name of a pair of entities, as it stands in the column `group`.

    Args:
        clean: entity of the clean prompt.
        corrupted: entity of the corrupted prompt.
    """
    return f"{clean}{_SEPARATOR}{corrupted}"


def split_pair(name: object) -> tuple[str, str]:
    """Clean and corrupted entity of a pair's name; a name of one entity stands for both.

    Args:
        name: as `pair_name` writes it. An entity whose own name holds an arrow must come second.
    """
    clean, _, corrupted = str(name).partition(_SEPARATOR)
    return clean, corrupted or clean


@dataclass(frozen=True)
class PairRuns:
    """The metric of every pair in its two unedited runs and in every edited run.

    Attributes:
        clean_groups: entity of each pair's clean prompt.
        corrupted_groups: entity of each pair's corrupted prompt.
        clean: metric of the clean run, one number for each pair, in the metric's unit.
        corrupted: metric of the corrupted run, likewise.
        edited: metric of the edited runs, indexed by example, one column for each cell; NaN where the
            cell does not exist in the pair.
    """

    clean_groups: tuple[str, ...]
    corrupted_groups: tuple[str, ...]
    clean: Float[Array, " pair"]
    corrupted: Float[Array, " pair"]
    edited: pd.DataFrame

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.clean)

    @property
    def effect(self) -> Float[Array, " pair"]:
        """Clean minus corrupted: what full recovery would amount to."""
        return self.clean - self.corrupted

    @property
    def gained(self) -> Float[Array, "pair cell"]:
        """Edited minus corrupted."""
        return self.edited.to_numpy(float) - self.corrupted[:, None]

    def where(self, keep: Bool[Array, " pair"]) -> PairRuns:
        """The same of the pairs where `keep` is true."""
        rows = np.flatnonzero(keep)
        return PairRuns(
            tuple(self.clean_groups[i] for i in rows),
            tuple(self.corrupted_groups[i] for i in rows),
            self.clean[rows],
            self.corrupted[rows],
            self.edited.iloc[rows],
        )

    def complete(self) -> PairRuns:
        """The same of the pairs in which every cell was measured."""
        return self.where(self.edited.notna().all(axis="columns").to_numpy())

    def recovery(self) -> pd.DataFrame:
        """Recovery of single pairs, (edited - corrupted) / (clean - corrupted), laid out as `edited`.

        Where clean equals corrupted it is infinite or NaN: leave such pairs out first.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.edited.sub(self.corrupted, axis=0).div(self.effect, axis=0)


def pair_runs(rows: pd.DataFrame, cells: Sequence[str]) -> PairRuns:
    """Runs of the pairs whose clean and corrupted runs are both in the table, ordered by example.

    Repeated rows of one pair and cell are averaged first.

    Args:
        rows: of one method, model and metric.
        cells: columns that together name an edited run, such as layer and position. Rows in which
            one of them is null have a column of their own.
    """
    rows = rows.assign(value=rows["value"].astype(float), condition=rows["condition"].astype(object))
    unedited = {name: rows[rows["condition"] == name] for name in UNEDITED}
    clean, corrupted = (part.groupby("example")["value"].mean() for part in unedited.values())
    examples = clean.index.intersection(corrupted.index).sort_values()
    edited = rows[~rows["condition"].isin(UNEDITED)]
    # One number for each cell: groups are then rows and columns of a table, whatever the types.
    number = edited.groupby(list(cells), dropna=False, observed=True, sort=True)
    keys = [name if isinstance(name, tuple) else (name,) for name, _ in number]
    names = pd.MultiIndex.from_arrays(
        [[key[i] for key in keys] for i in range(len(cells))], names=list(cells)
    )
    table = (
        edited.assign(cell=number.ngroup())
        .groupby(["example", "cell"])["value"]
        .mean()
        .unstack("cell")
        .reindex(index=examples, columns=range(len(names)))
    )
    table.columns = names if len(cells) > 1 else names.get_level_values(0)
    sides = [
        part.drop_duplicates("example").set_index("example")["group"].reindex(examples)
        for part in unedited.values()
    ]
    return PairRuns(
        tuple(split_pair(name)[0] for name in sides[0]),
        tuple(split_pair(name)[1] for name in sides[1]),
        clean.loc[examples].to_numpy(),
        corrupted.loc[examples].to_numpy(),
        table,
    )
