"""Edits on hook points: how a change of an activation meets the rows and positions of a forward.

What an edit does is for `patching.interventions` to say; here it is anything with a site, a mask
[example, position] and `apply(act, example)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from interp.sites import Kind, Site

if TYPE_CHECKING:
    from interp.models.model import Model


@runtime_checkable
class SiteEdit(Protocol):
    """A change of one site's activation at some positions of some examples."""

    @property
    def site(self) -> Site:
        """The site that is changed."""
        ...

    @property
    def where(self) -> Tensor:
        """True at the positions written, [example, position]."""
        ...

    def apply(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation of these examples, [row, position, *d], with the edit written."""
        ...


@dataclass(frozen=True)
class Window:
    """An edit seen through the positions being computed, placed back in the examples' columns.

    Attributes:
        edit: what is written.
        columns: column of each position computed.
        keys: column of each key that attention sees.
        width: how many columns keys have; those of the edit when None.
    """

    edit: Any
    columns: Int[Tensor, "row position"]
    keys: Int[Tensor, "row key"]
    width: int | None = None

    def apply(self, act: Tensor, rows: Int[Tensor, " row"]) -> Tensor:
        """The activation of these rows with the edit written where it belongs."""
        width = self.edit.where.shape[1]
        key_width = width if self.width is None else self.width
        if self.keys.shape[1] == key_width and width == self.columns.shape[1]:
            return self.edit.apply(act, rows)
        index = torch.arange(act.shape[0], device=act.device)[:, None]
        pattern = self.edit.site.kind is Kind.PATTERN
        if pattern:
            keyed = act.new_zeros(*act.shape[:3], key_width)
            keyed[index, :, :, self.keys] = act.permute(0, 3, 1, 2)
            act = keyed
        full = act.new_zeros(act.shape[0], width, *act.shape[2:])
        full[index, self.columns] = act
        edited = self.edit.apply(full, rows)[index, self.columns]
        return edited[index, :, :, self.keys].permute(0, 2, 3, 1) if pattern else edited


@contextmanager
def rewritten(
    model: Model, changes: Sequence[tuple[Site, Callable[[Tensor], Tensor]]]
) -> Iterator[Model]:
    """Change sites' activations, [row, position, *d], in the forwards inside the `with`.

    A change is given all heads, on the model's device. Hooks are removed on leaving, however it is
    left.
    """
    home = model.device

    def hook_for(site: Site, change: Callable[[Tensor], Tensor]):
        # Patterns come as [row, head, query, key]; a query is the position they are edited at.
        heads_first = site.kind is Kind.PATTERN

        def hook(act: Tensor, hook: object) -> Tensor:
            here = act.to(home)
            changed = change(here.transpose(1, 2) if heads_first else here).to(act.device)
            return changed.transpose(1, 2) if heads_first else changed

        return hook

    hooks = [(site.hook_name, hook_for(site, change)) for site, change in changes]
    with model.bridge.hooks(fwd_hooks=hooks):
        yield model
