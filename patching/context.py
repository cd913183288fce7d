"""`intervened`: run a model with edits attached, for anything the sweeps do not cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from interp.activations import check_sites
from interp.models import Model
from interp.sites import Kind
from patching.interventions import Edit


@contextmanager
def intervened(model: Model, edits: Sequence[Edit]) -> Iterator[Model]:
    """Attach edits to the model for the forwards inside the `with`.

    Rows of a forward are examples 0, 1, … of the edits. On leaving, however it is left, every hook
    is gone and the model is as it was.

    Raises:
        ValueError: for a site the model lacks, or a forward whose shape is not the edits'.
    """
    check_sites(model, [edit.site for edit in edits])

    def hook_for(edit: Edit):
        # Patterns come as [row, head, query, key]; a query is the position they are edited at.
        turned = edit.site.kind is Kind.PATTERN

        def hook(act: Tensor, hook: object) -> Tensor:
            act = act.transpose(1, 2) if turned else act
            if act.shape[:2] != edit.where.shape:
                raise ValueError(
                    f"the edit at {edit.site} names positions of shape {tuple(edit.where.shape)}; "
                    f"the forward has {tuple(act.shape[:2])}; run the examples it was made for"
                )
            out = edit.apply(act, torch.arange(act.shape[0], device=act.device))
            return out.transpose(1, 2) if turned else out

        return hook

    with model.bridge.hooks(fwd_hooks=[(e.site.hook_name, hook_for(e)) for e in edits]):
        yield model
