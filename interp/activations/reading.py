"""Forwards over the examples, batch by batch, of which only the wanted tokens are handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations.hooks import in_columns, observed, without_logits
from interp.examples import Examples
from interp.progress import tracked
from interp.sites import Kind, Site, last_layer

if TYPE_CHECKING:
    from interp.models.model import Model

#: What becomes a row: a name, one number for all, or one column per example.
Positions = str | int | Sequence[int] | Int[Tensor, " example"]


class Wanted:
    """The tokens that are read: pairs (example, column), each of which is one row.

    Attributes:
        example: the example of each row, ascending.
        column: its column in `Examples.tokens`.
        single: whether each example has exactly one row.
        name: what the positions are called.
    """

    def __init__(self, examples: Examples, positions: Positions) -> None:
        """Look the positions up.

        Raises:
            ValueError: for unknown names, or numbers that name no token.
        """
        self.examples = examples
        self.example, self.column, self.single = _tokens(examples, positions)
        self.name = str(positions) if isinstance(positions, str | int) else "given"

    def per_row(self) -> tuple[tuple[str, ...], Tensor | None, Tensor | None, Tensor | None]:
        """Group, label, example and column of each row; the last two None where row i is example i."""
        examples = self.examples
        if self.single:
            return examples.groups, examples.labels, None, None
        groups = tuple(examples.groups[i] for i in self.example.tolist())
        labels = None if examples.labels is None else examples.labels[self.example]
        return groups, labels, self.example, self.column

    def begin(self, rows: Int[Tensor, " row"]) -> Int[Tensor, "row position"]:
        """Turn to a batch of examples of one length; their real columns.

        Afterwards `chosen` are the numbers of the wanted rows among them, ascending.
        """
        self.columns = self.examples.columns(rows)
        in_batch = torch.full((len(self.examples),), -1, device=rows.device)
        in_batch[rows] = torch.arange(len(rows), device=rows.device)
        batch_row = in_batch[self.example]
        self.chosen = (batch_row >= 0).nonzero()[:, 0]
        self.batch_row = batch_row[self.chosen]
        self.token = self.column[self.chosen] - self.columns[self.batch_row, 0]
        return self.columns

    def of(self, site: Site, value: Float[Tensor, "row position *d"]) -> Float[Tensor, "chosen ..."]:
        """A copy of the wanted tokens of the batch out of a site's activation."""
        index = (part.to(value.device) for part in (self.batch_row, self.token))
        wanted = value[*index].to(self.column.device)
        if site.kind is Kind.PATTERN:
            width = self.examples.tokens.shape[1]
            wanted = in_columns(wanted, self.columns[self.batch_row], width)
        return wanted


def batches(examples: Examples, size: int, among: Int[Tensor, " chosen"] | None = None) -> list[Tensor]:
    """Examples of one length, so many at once.

    Args:
        examples: the prompts.
        size: of a batch at most.
        among: numbers of those that are read, ascending; by default all.
    """
    parts = examples.by_length()
    if among is not None:
        parts = [part[torch.isin(part, among.to(part.device))] for part in parts]
    return [batch for part in parts if len(part) for batch in part.split(size)]


def forwards(
    model: Model,
    wanted: Wanted,
    sites: Sequence[Site],
    parts: Sequence[Tensor],
    see: Callable[[Site, Tensor], None],
) -> Iterator[Tensor]:
    """Run the batches and show `see` the wanted rows of each site; yields each batch behind it.

    The pass stops after the last layer needed; logits are never computed.
    """
    stop = last_layer(sites) + 1
    for rows in tracked(parts, "activations"):
        columns = wanted.begin(rows)
        tokens = wanted.examples.tokens[rows].gather(1, columns)
        with (
            torch.no_grad(),
            observed(model, sites, lambda site, value: see(site, wanted.of(site, value))),
        ):
            run_up_to(model, tokens, stop)
        yield rows


def run_up_to(model: Model, tokens: Int[Tensor, "row position"], stop: int) -> None:
    """A forward through the blocks before `stop`; no logits are computed."""
    if stop < model.n_layers:
        model.bridge(tokens, use_cache=False, stop_at_layer=stop)
    else:
        with without_logits(model):
            model.bridge(tokens, use_cache=False, logits_to_keep=1)


def _tokens(
    examples: Examples, positions: str | int | Sequence[int] | Int[Tensor, " example"]
) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"], bool]:
    """(example, column) of each token that is read, and whether it is one of each example.

    Raises:
        ValueError: for unknown names, or numbers that name no token.
    """
    several = isinstance(positions, str) and (
        positions in ("all", "each") or (positions in examples.spans and positions != "last")
    )
    if not several:
        try:
            column = examples.columns_at(positions)
        except ValueError as error:
            if not isinstance(positions, str):
                raise
            spans = sorted(set(examples.spans) - {"all", "last"})
            raise ValueError(
                f"{error}, a span of {spans}, 'each' for a row per token, or 'all' for "
                "[example, position, d]"
            ) from error
        return torch.arange(len(examples), device=column.device), column, True
    mask = examples.mask if positions in ("all", "each") else examples.span_mask(str(positions))
    example, column = mask.nonzero(as_tuple=True)
    return example, column, False
