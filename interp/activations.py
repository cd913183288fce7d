"""Activations at sites and named positions, pulled with TransformerLens hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from interp._doors import held
from interp.arguments import at_least_one, sites_of
from interp.columns import Index, chosen_rows
from interp.display.html import Shown
from interp.examples import Examples
from interp.progress import tracked
from interp.sites import RESIDUAL_KINDS, Kind, Site, last_layer

if TYPE_CHECKING:
    from interp.models.model import Model


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
        shape = " × ".join(map(str, self.values.shape))
        place = f"{self.site} of {self.model} at {self.position!r}"
        labelled = "" if self.labels is None else ", labelled"
        return f"Activations({place}: {shape}, {len(set(self.groups))} groups{labelled})"

    def __post_init__(self) -> None:
        """Check the lengths."""
        n = len(self.values)
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
        return len(self.values)

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

        return replace(
            self,
            values=self.values[chosen.to(self.values.device)],
            groups=tuple(self.groups[i] for i in chosen.tolist()),
            labels=of_chosen(self.labels),
            example_index=of_chosen(self.example_index),
            token_index=of_chosen(self.token_index),
        )


@torch.no_grad()
def collect(
    model: Model,
    examples: Examples | str | Sequence[str],
    sites: Site | str | Sequence[Site | str],
    *,
    positions: str | int | Sequence[int] | Int[Tensor, " example"] = "last",
    batch_size: int = 64,
) -> dict[Site, Activations]:
    """Collect the activations of many sites in one pass over the examples.

    Only the wanted positions are ever copied, inside the hook, so that memory beside the forward's
    own grows with what is asked for. The pass stops after the last layer needed (no logits are
    computed), and examples are batched by length, so that no padding is. Every kept tensor is a copy.

    Args:
        model: whose activations.
        examples: the prompts, or their texts.
        sites: one or several of any kind, or names of TransformerLens hooks; a head's own slice where
            a site names one.
        positions: what becomes a row. One token of each example: "last", "subject_last",
            "subject_first" (or so of another span); one number for all, which counts each prompt's
            tokens from 0, or from −1, the last; or one column per example. Several tokens of each
            example, a row for each: the name of a span, such as "subject", or "each" for all real
            tokens; `example_index` and `token_index` then tell whose row it is. "all" for the
            rectangle [example, position, d] with NaN at padding.
        batch_size: prompts per forward.

    Returns:
        The activations of each site, in the order of the sites, [row, d] in the model's dtype; rows
        are in the order of the examples, and of the tokens within one.

    Raises:
        ValueError: if a site is not in this model, or `positions` are unknown or of another length.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1, 2])
        >>> site = interp.Site(interp.Kind.RESID_PRE, 1)
        >>> last = interp.collect(model, examples, site)[site]
        >>> tuple(last.values.shape) == (3, model.d_model)
        True
        >>> each = interp.collect(model, examples, "blocks.1.hook_resid_pre", positions="each")[site]
        >>> len(each) == int(examples.lengths.sum()), each.example_index.unique().tolist()
        (True, [0, 1, 2])
    """
    if not isinstance(examples, Examples):
        texts = [examples] if isinstance(examples, str) else list(examples)
        examples = Examples.from_text(model, texts)
    wanted: list[Site] = list(dict.fromkeys(sites_of(sites)))
    check_sites(model, wanted)
    whole = isinstance(positions, str) and positions == "all"
    example_index, token_index, single = _rows(examples, positions)
    kept = _Kept(model, examples, example_index, token_index, whole)
    for site in wanted:
        if site.kind in RESIDUAL_KINDS:
            kept.prepare(site, (model.d_model,))
    stop, size = last_layer(wanted) + 1, at_least_one("batch_size", batch_size)
    batches = [part for same in examples.by_length() for part in same.split(size)]
    for rows in tracked(batches, "activations"):
        columns = kept.begin(rows)
        tokens = examples.tokens[rows].gather(1, columns)
        with observed(model, wanted, kept.see):
            if stop < model.n_layers:
                model.bridge(tokens, use_cache=False, stop_at_layer=stop)
            else:
                with without_logits(model):
                    model.bridge(tokens, use_cache=False, logits_to_keep=1)
    name = str(positions) if isinstance(positions, str | int) else "given"
    if whole or single:
        groups, labels, index = examples.groups, examples.labels, (None, None)
    else:
        groups = tuple(examples.groups[i] for i in example_index.tolist())
        labels = None if examples.labels is None else examples.labels[example_index]
        index = (example_index, token_index)
    return {
        site: Activations(site, kept.values(site), groups, labels, name, model.role, *index)
        for site in wanted
    }


def _rows(
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


class _Kept:
    """The wanted tokens' activations, gathered batch by batch.

    Every wanted token is a pair (example, column) with a row of its own in what is kept; for the whole
    rectangle its row is example · width + column.
    """

    def __init__(
        self,
        model: Model,
        examples: Examples,
        example_index: Int[Tensor, " row"],
        token_index: Int[Tensor, " row"],
        whole: bool,
    ) -> None:
        n, self.width = examples.tokens.shape
        self.model, self.examples = model, examples
        self.example_index, self.token_index = example_index, token_index
        self.shape = (n, self.width) if whole else (len(example_index),)
        every = torch.arange(len(example_index), device=example_index.device)
        self.row = example_index * self.width + token_index if whole else every
        self.kept: dict[Site, Tensor] = {}

    def prepare(self, site: Site, d: Sequence[int]) -> None:
        """Make room for a site before the forwards.

        Kept tensors made between the forwards' passing ones would leave the memory in pieces.
        """
        shape = (math.prod(self.shape), *d)
        self.kept[site] = torch.full(
            shape, float("nan"), dtype=self.model.dtype, device=self.model.device
        )

    def begin(self, rows: Int[Tensor, " row"]) -> Int[Tensor, "row position"]:
        """Turn to a batch of examples of one length; their real columns."""
        self.columns = self.examples.columns(rows)
        in_batch = torch.full((len(self.examples),), -1, device=rows.device)
        in_batch[rows] = torch.arange(len(rows), device=rows.device)
        batch_row = in_batch[self.example_index]
        self.chosen = (batch_row >= 0).nonzero()[:, 0]
        self.batch_row = batch_row[self.chosen]
        self.token = self.token_index[self.chosen] - self.columns[self.batch_row, 0]
        return self.columns

    def see(self, site: Site, value: Float[Tensor, "row position *d"]) -> None:
        """Copy the wanted tokens of a batch out of a site's activation."""
        wanted = value[self.batch_row, self.token]
        if site.kind is Kind.PATTERN:
            wanted = in_columns(wanted, self.columns[self.batch_row], self.width)
        if site not in self.kept:
            self.prepare(site, wanted.shape[1:])
        self.kept[site][self.row[self.chosen]] = wanted

    def values(self, site: Site) -> Float[Tensor, "example *d"]:
        """The activations kept of a site, [row, *d] or [example, position, *d]."""
        return self.kept[site].unflatten(0, self.shape)


def in_columns(
    pattern: Float[Tensor, "row *place key"], columns: Int[Tensor, "row key"], width: int
) -> Float[Tensor, "row *place column"]:
    """Attention weights with each key in its padded column; NaN where no real token stands."""
    padded = pattern.new_full((*pattern.shape[:-1], width), float("nan"))
    index = columns.reshape(len(columns), *[1] * (pattern.ndim - 2), -1).expand_as(pattern)
    return padded.scatter(-1, index, pattern)


class _Enough(Exception):
    """Everything that was asked for has been seen."""


@contextmanager
def without_logits(model: Model) -> Iterator[None]:
    """A forward inside the `with` ends before the final norm; the next one runs through again."""

    def stop(*_: object) -> None:
        raise _Enough

    handle = model.bridge.ln_final.register_forward_pre_hook(stop)
    try:
        yield
    except _Enough:
        pass
    finally:
        handle.remove()


@contextmanager
def capture(model: Model, sites: Sequence[Site]) -> Iterator[dict[Site, Tensor]]:
    """Record copies of the sites' activations during forwards inside the `with`.

    A head site keeps only its head. Hooks are removed on leaving, however it is left.
    """
    copies: dict[Site, Tensor] = {}

    def see(site: Site, value: Tensor) -> None:
        copies[site] = value.clone()

    with observed(model, sites, see):
        yield copies


@contextmanager
def observed(
    model: Model, sites: Sequence[Site], see: Callable[[Site, Tensor], None]
) -> Iterator[None]:
    """Show `see` each site's activation, [row, position, *d], during forwards inside the `with`.

    It is the model's own tensor: copy what is to be kept. Hooks are removed on leaving.
    """

    def show(site: Site):
        def hook(value: Tensor, hook: object) -> None:
            # Patterns come as [row, head, query, key]; a query is the position they are read at.
            value = value.transpose(1, 2) if site.kind is Kind.PATTERN else value
            see(site, (value if site.head is None else value[:, :, site.head]).detach())

        return hook

    with model.bridge.hooks(fwd_hooks=[(site.hook_name, show(site)) for site in sites]):
        yield


def check_sites(model: Model, sites: Sequence[Site]) -> None:
    """Refuse sites this model does not have.

    Raises:
        ValueError: naming the site and what exists.
    """
    if not sites:
        raise ValueError("no sites given; expected at least one, such as Site(Kind.RESID_PRE, 0)")
    for site in sites:
        if site.layer >= model.n_layers:
            raise ValueError(
                f"{site} does not exist: {model.name} has blocks 0..{model.n_layers - 1}; "
                "the residual after the last block is Site(Kind.RESID_POST, last)"
            )
        if site.hook_name not in model.bridge.hook_dict:
            raise ValueError(f"{model.name} has no {site.kind} at layer {site.layer}; try another")
        if site.head is not None:
            heads = model.heads_of(site.kind)
            if not 0 <= site.head < heads:
                raise ValueError(f"{site} does not exist: {model.name} has heads 0..{heads - 1}")
