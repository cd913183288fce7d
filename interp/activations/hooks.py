"""Sites' activations as forwards pass by: TransformerLens hooks that live inside a `with`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from interp.sites import Kind, Site

if TYPE_CHECKING:
    from interp.models.model import Model


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
    """Record copies of the sites' activations on the model's device during forwards in the `with`.

    A head site keeps only its head. Hooks are removed on leaving, however it is left.
    """
    copies: dict[Site, Tensor] = {}
    home = model.device

    def see(site: Site, value: Tensor) -> None:
        copies[site] = value.to(home, copy=True)

    with observed(model, sites, see):
        yield copies


@contextmanager
def observed(
    model: Model, sites: Sequence[Site], see: Callable[[Site, Tensor], None]
) -> Iterator[None]:
    """Show `see` each site's activation, [row, position, *d], during forwards inside the `with`.

    It is the model's own tensor, on the device of its block: copy what is to be kept. Hooks are
    removed on leaving.
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
