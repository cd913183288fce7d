"""Activations at sites and named positions, pulled with TransformerLens hooks."""

from __future__ import annotations

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
from interp.examples import Examples
from interp.progress import tracked
from interp.sites import RESIDUAL_KINDS, Kind, Site, last_layer

if TYPE_CHECKING:
    from interp.models.model import Model


@held
@dataclass(frozen=True, eq=False)
class Activations:
    """What one site held for each example.

    Attributes:
        site: where it was read.
        values: [example, d] for one position per example; [example, position, d] for "all", with
            NaN at padding, so that nothing padded can pass for data. d is [head, d_head] for q, k, v
            and z without a head, and [head, key] for attention patterns, whose positions are queries.
        groups: the entity of each example.
        labels: a number per example, where the task has labels.
        position: the name of the position.
        model: the role of the model, base or tuned.

    Raises:
        ValueError: if the parts disagree in length.
    """

    site: Site
    values: Float[Tensor, " example *d"]
    groups: tuple[str, ...]
    labels: Shaped[Tensor, " example"] | None = None
    position: str = "last"
    model: str = "base"

    def __post_init__(self) -> None:
        """Check the lengths."""
        n = len(self.values)
        if len(self.groups) != n or (self.labels is not None and len(self.labels) != n):
            raise ValueError(
                f"activations of {n} examples need {n} groups and labels; got {len(self.groups)} "
                f"and {None if self.labels is None else len(self.labels)}"
            )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.values)

    def subset(self, rows: Index) -> Activations:
        """The chosen examples, in this order.

        Args:
            rows: row numbers, or a mask with one truth value per example.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        at = chosen_rows(rows, len(self))
        labels = None if self.labels is None else self.labels[at.to(self.labels.device)]
        groups = tuple(self.groups[i] for i in at.tolist())
        return replace(
            self, values=self.values[at.to(self.values.device)], groups=groups, labels=labels
        )


@torch.no_grad()
def collect(
    model: Model,
    examples: Examples | str | Sequence[str],
    sites: Site | Sequence[Site],
    *,
    positions: str | int | Sequence[int] | Int[Tensor, " example"] = "last",
    batch_size: int = 64,
) -> dict[Site, Activations]:
    """Activations of many sites in one pass over the examples.

    Only the wanted positions are ever copied, inside the hook, so that memory beside the forward's
    own grows with what is asked for. The pass stops after the last layer needed (no logits are
    computed), and examples are batched by length, so that no padding is. Every kept tensor is a copy.

    Args:
        model: whose activations.
        examples: the prompts, or their texts.
        sites: one or several of any kind; a head's own slice where a site names one.
        positions: "last", "subject_last", … or one index per example for [example, d]; one number
            for all counts each prompt's tokens from 0, or from −1, the last; "all" for
            [example, position, d] with NaN at padding.
        batch_size: prompts per forward.

    Raises:
        ValueError: if a site is not in this model, or `positions` has another length.
    """
    if not isinstance(examples, Examples):
        texts = [examples] if isinstance(examples, str) else list(examples)
        examples = Examples.from_text(model, texts)
    sites = list(dict.fromkeys(sites_of(sites)))
    check_sites(model, sites)
    everywhere = isinstance(positions, str) and positions == "all"
    at = None if everywhere else columns_of(examples, positions)
    stop, padded = last_layer(sites) + 1, examples.tokens.shape[1]
    # Made before the forwards where the width is known: kept tensors in between their passing ones
    # would leave the memory in pieces.
    places = (padded,) if at is None else ()
    flat = [site for site in sites if site.kind in RESIDUAL_KINDS]
    kept = {site: _blank(model, (len(examples), *places, model.d_model)) for site in flat}
    size = at_least_one("batch_size", batch_size)
    batches = [part for same in examples.by_length() for part in same.split(size)]
    for rows in tracked(batches, "activations"):
        start = examples.mask[rows].int().argmax(1)
        width = int(examples.lengths[rows[0]])
        columns = start[:, None] + torch.arange(width, device=start.device)
        tokens = examples.tokens[rows].gather(1, columns)
        each = torch.arange(len(rows), device=start.device)

        def see(
            site: Site, value: Tensor, rows: Tensor = rows, columns: Tensor = columns,
            start: Tensor = start, each: Tensor = each,
        ) -> None:  # fmt: skip
            wanted = value if at is None else value[each, at[rows] - start]
            if site.kind is Kind.PATTERN:
                wanted = in_columns(wanted, columns, padded)
            if site not in kept:
                shape = (len(examples), *places, *wanted.shape[1 + len(places) :])
                kept[site] = _blank(model, shape)
            if at is None:
                kept[site][rows[:, None], columns] = wanted
            else:
                kept[site][rows] = wanted

        with observed(model, sites, see):
            if stop < model.n_layers:
                model.bridge(tokens, use_cache=False, stop_at_layer=stop)
            else:
                with without_logits(model):
                    model.bridge(tokens, use_cache=False, logits_to_keep=1)
    name = str(positions) if isinstance(positions, str | int) else "given"
    return {
        site: Activations(site, kept[site], examples.groups, examples.labels, name, model.role)
        for site in sites
    }


def columns_of(
    examples: Examples, positions: str | int | Sequence[int] | Int[Tensor, " example"]
) -> Int[Tensor, " example"]:
    """The column of one token of each example: by name, by number, or given one by one.

    Raises:
        ValueError: for an unknown name, or numbers that name no token.
    """
    if isinstance(positions, str):
        return examples.position(positions)
    device = examples.tokens.device
    if isinstance(positions, int):
        first, lengths = examples.mask.int().argmax(1), examples.lengths
        if not bool(((positions >= -lengths) & (positions < lengths)).all()):
            raise ValueError(
                f"positions got {positions}, the shortest prompt has {int(lengths.min())} tokens; "
                "expected a number that every prompt has"
            )
        return first + positions + (lengths if positions < 0 else torch.zeros_like(lengths))
    at = torch.as_tensor(positions, device=device)
    if at.shape != (len(examples),) or at.dtype.is_floating_point or at.dtype is torch.bool:
        raise ValueError(
            f"positions must hold one index per example, shape ({len(examples)},); "
            f"got {at.dtype} {tuple(at.shape)}; expected columns such as Examples.position gives"
        )
    columns = torch.arange(examples.tokens.shape[1], device=device)
    if not bool(((columns == at[:, None]) & examples.mask).any(1).all()):
        raise ValueError(
            "positions must each be the column of a real token, counted from 0; got "
            f"{at.tolist()[:8]}; expected columns such as Examples.position gives"
        )
    return at


def _blank(model: Model, shape: Sequence[int]) -> Tensor:
    return torch.full(tuple(shape), float("nan"), dtype=model.dtype, device=model.device)


def in_columns(
    pattern: Float[Tensor, "row *place key"], columns: Int[Tensor, "row key"], width: int
) -> Float[Tensor, "row *place column"]:
    """Attention weights with each key in its padded column; NaN where no real token stands."""
    out = pattern.new_full((*pattern.shape[:-1], width), float("nan"))
    at = columns.reshape(len(columns), *[1] * (pattern.ndim - 2), -1).expand_as(pattern)
    return out.scatter(-1, at, pattern)


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
    seen: dict[Site, Tensor] = {}

    def see(site: Site, value: Tensor) -> None:
        seen[site] = value.clone()

    with observed(model, sites, see):
        yield seen


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
            heads = model.n_heads(site.kind)
            if not 0 <= site.head < heads:
                raise ValueError(f"{site} does not exist: {model.name} has heads 0..{heads - 1}")
