"""Activations of one site, in memory or on disk, with what a probe needs beside them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from interp._doors import held
from interp.activations.rows import Rows, chosen_of
from interp.columns import Index, chosen_rows
from interp.display.html import Shown
from interp.sites import Site


@held
@dataclass(frozen=True, eq=False)
class Activations(Shown):
    """What one site held, a row for each example or for each token that was asked for.

    Attributes:
        site: where it was read.
        values: [row, d]; [example, position, d] for "all", with NaN at padding, so that nothing padded
            can pass for data. d is [head, d_head] for q, k, v and z without a head, and [head, key]
            for attention patterns, whose positions are queries.
        groups: the entity of each row.
        labels: a number per row, where the task has labels.
        position: the name of the position or span that was read.
        model: the role of the model, base or tuned.
        example_index: the example of each row; None where row i is example i.
        token_index: the column of each row's token in `Examples.tokens`; None where row i is example i.

    Raises:
        ValueError: if the parts disagree in length.
    """

    site: Site
    values: Float[Tensor, " example *d"]
    groups: tuple[str, ...]
    labels: Shaped[Tensor, " example"] | None = None
    position: str = "last"
    model: str = "base"
    example_index: Int[Tensor, " example"] | None = None
    token_index: Int[Tensor, " example"] | None = None

    def __repr__(self) -> str:
        """What was read where, in which shape, on one line."""
        shape = " × ".join(map(str, self.shape))
        place = f"{self.site} of {self.model} at {self.position!r}"
        labelled = "" if self.labels is None else ", labelled"
        return f"{type(self).__name__}({place}: {shape}, {len(set(self.groups))} groups{labelled})"

    def __post_init__(self) -> None:
        """Check the lengths."""
        n = len(self)
        if len(self.groups) != n or (self.labels is not None and len(self.labels) != n):
            raise ValueError(
                f"activations of {n} examples need {n} groups and labels; got {len(self.groups)} "
                f"and {None if self.labels is None else len(self.labels)}"
            )
        for name, index in (("example_index", self.example_index), ("token_index", self.token_index)):
            if index is not None and len(index) != n:
                raise ValueError(f"{name} must have one entry per row, {n}; got {len(index)}")

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def rows(self) -> Rows:
        """The rows as a tensor; of a store without reading them: asked for some, it reads these."""
        return self.values

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`, known without reading them."""
        return tuple(self.rows.shape)

    def columns(self) -> dict[str, str | int | None]:
        """The columns of evidence that say where this was read, by name."""
        return {
            "model": self.model,
            "kind": str(self.site.kind),
            "layer": self.site.layer,
            "head": self.site.head,
            "span": self.position,
        }

    def subset(self, rows: Index) -> Activations:
        """The chosen rows, in this order.

        Args:
            rows: row numbers, or a mask with one truth value per row.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        chosen = chosen_rows(rows, len(self))

        def of_chosen(column: Tensor | None) -> Tensor | None:
            return None if column is None else column[chosen.to(column.device)]

        return self._changed(
            values=chosen_of(self.rows, chosen),
            groups=tuple(self.groups[i] for i in chosen.tolist()),
            labels=of_chosen(self.labels),
            example_index=of_chosen(self.example_index),
            token_index=of_chosen(self.token_index),
        )

    def with_labels(self, labels: Shaped[Tensor, " example"] | None) -> Activations:
        """The same rows under other labels.

        Args:
            labels: a number per row, or None for none.

        Raises:
            ValueError: for another number of labels than rows.
        """
        return self._changed(labels=labels)

    def _changed(self, **changes: Any) -> Activations:
        """A copy with other parts, of the same kind; rows on disk stay there."""
        parts = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name != "values"
        }
        return type(self)(**{**parts, "values": self.rows, **changes})


class StoredActivations(Activations):
    """Activations whose rows are on disk, read when they are asked for and never kept.

    Everything that takes `Activations` takes these. `values` reads the whole site at each use, in the
    dtype of the model; `rows` reads as many as are asked for, and so do probes that work by blocks.
    """

    def __init__(
        self,
        site: Site,
        values: Rows,
        groups: tuple[str, ...],
        labels: Shaped[Tensor, " example"] | None = None,
        position: str = "last",
        model: str = "base",
        example_index: Int[Tensor, " example"] | None = None,
        token_index: Int[Tensor, " example"] | None = None,
    ) -> None:
        """Take the parts of `Activations`, the rows as they stand on disk."""
        parts = {"site": site, "_rows": values, "groups": groups, "labels": labels}
        parts |= {"position": position, "model": model}
        parts |= {"example_index": example_index, "token_index": token_index}
        for name, part in parts.items():
            object.__setattr__(self, name, part)
        self.__post_init__()

    @property
    def rows(self) -> Rows:
        """The rows on disk; asked for some, such as `rows[:10]`, it reads these."""
        return self._rows  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def values(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All rows, read anew."""
        return self.rows[:]


def activations_of(rows: Rows, site: Site, *parts: Any) -> Activations:
    """Activations of rows wherever they are.

    Args:
        rows: in memory or on disk.
        site: where they were read.
        *parts: the others of `Activations`, in their order.
    """
    if isinstance(rows, Tensor):
        return Activations(site, rows, *parts)
    return StoredActivations(site, rows, *parts)
