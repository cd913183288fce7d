"""Where tokens stand in padded prompts: lengths, named tokens and spans, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Placed:
    """Prompts in a rectangle [example, position], padded on either side; a column is a place in it.

    Attributes:
        tokens: ids.
        mask: True where a token is real.
        spans: name -> half-open [start, stop) per example, in padded coordinates.
    """

    tokens: Int[Tensor, "example position"]
    mask: Bool[Tensor, "example position"]
    spans: Mapping[str, Int[Tensor, "example 2"]]

    @property
    def lengths(self) -> Int[Tensor, " example"]:
        """Number of real tokens of each example."""
        return self.mask.sum(1)

    @property
    def starts(self) -> Int[Tensor, " example"]:
        """Column of the first real token of each example: 0 where padding stands on the right."""
        return self.mask.int().argmax(1)

    def columns(self, rows: Int[Tensor, " row"]) -> Int[Tensor, "row position"]:
        """Columns of the real tokens of some examples of one length, in their order.

        Args:
            rows: numbers of the examples, such as `by_length` gives.

        Raises:
            ValueError: if the examples differ in length.
        """
        lengths, starts = self.lengths[rows], self.starts[rows]
        if bool((lengths != lengths[:1]).any()):
            raise ValueError(
                f"columns are of examples of one length, got lengths {lengths.unique().tolist()}; "
                "take rows from Examples.by_length"
            )
        return starts[:, None] + torch.arange(int(lengths[0]), device=starts.device)

    def position(self, name: str) -> Int[Tensor, " example"]:
        """Column of a named token of each example: "last", "subject_last" or "subject_first" of a span.

        Raises:
            ValueError: if no span bears the name.
        """
        name = str(name)
        if name == "last":
            return self.spans["last"][:, 0]
        span, _, end = name.rpartition("_")
        if span in self.spans and end in ("first", "last"):
            return self.spans[span][:, 0] if end == "first" else self.spans[span][:, 1] - 1
        raise ValueError(
            f"no position {name!r}{_undeclared(name, self.spans)}; expected 'last' or one of "
            f"{[f'{s}_{e}' for s in self.spans for e in ('first', 'last') if s != 'last']}"
        )

    def columns_at(
        self, positions: str | int | Sequence[int] | Int[Tensor, " example"]
    ) -> Int[Tensor, " example"]:
        """Column of one token of each example: by name, by number, or given one by one.

        Args:
            positions: a name that `position` knows; one number for all, which counts each prompt's
                tokens from 0, or from −1, the last; or one column per example.

        Raises:
            ValueError: for an unknown name, or numbers that name no token.
        """
        if isinstance(positions, str):
            return self.position(positions)
        device = self.tokens.device
        if isinstance(positions, int):
            lengths = self.lengths
            if not bool(((positions >= -lengths) & (positions < lengths)).all()):
                raise ValueError(
                    f"positions got {positions}, the shortest prompt has {int(lengths.min())} tokens; "
                    "expected a number that every prompt has"
                )
            return self.starts + positions + (lengths if positions < 0 else 0)
        column = torch.as_tensor(positions, device=device)
        if (
            column.shape != self.lengths.shape
            or column.dtype.is_floating_point
            or column.dtype is torch.bool
        ):
            raise ValueError(
                f"positions must hold one index per example, shape ({len(self.mask)},); "
                f"got {column.dtype} {tuple(column.shape)}; expected columns such as "
                "Examples.position gives"
            )
        every = torch.arange(self.tokens.shape[1], device=device)
        if not bool(((every == column[:, None]) & self.mask).any(1).all()):
            raise ValueError(
                "positions must each be the column of a real token, counted from 0; got "
                f"{column.tolist()[:8]}; expected columns such as Examples.position gives"
            )
        return column

    def span_mask(self, name: str) -> Bool[Tensor, "example position"]:
        """True at the positions of a named span.

        Raises:
            ValueError: if no span bears the name.
        """
        if not isinstance(name, str) or name not in self.spans:
            raise ValueError(
                f"no span {name!r}{_undeclared(name, self.spans)}; expected one of {sorted(self.spans)}"
            )
        columns = torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]
        return (columns >= self.spans[name][:, :1]) & (columns < self.spans[name][:, 1:])

    def by_length(self) -> list[Int[Tensor, " chosen"]]:
        """Indices of the examples, grouped so that each group needs no padding."""
        lengths = self.lengths
        return [(lengths == n).nonzero()[:, 0] for n in lengths.unique()]


def _undeclared(name: object, spans: Mapping[str, Any]) -> str:
    """How a subject is declared, for the message on a place that is named after one."""
    if str(name) not in ("subject", "subject_first", "subject_last") or "subject" in spans:
        return ""
    return (
        " (no subject was declared: give subjects= to Examples.from_text, clean_subjects= and "
        "corrupted_subjects= to Contrast.from_text)"
    )
