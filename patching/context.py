"""`intervened`: run a model with edits attached, for anything the sweeps do not cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from interp.activations import check_sites
from interp.models.editing import rewritten
from interp.models.model import Model
from patching.interventions.cells import Edit


@contextmanager
def intervened(model: Model, edits: Edit | Sequence[Edit]) -> Iterator[Model]:
    """Attach edits to the model for the forwards inside the `with`.

    Rows of a forward are examples 0, 1, … of the edits. On leaving, however it is left, every hook
    is gone and the model is as it was.

    Args:
        model: the model that runs.
        edits: one or several, each with a mask [example, position] of the forward's shape; edits at
            one site act in the order given.

    Yields:
        The model itself, with the edits attached.

    Raises:
        ValueError: for a site the model lacks, or a forward whose shape is not the edits'.

    Note:
        For many edits of the same prompts `patching.sweep` is exact too, and much faster.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
        >>> silent = patching.Edit(interp.Site(interp.Kind.MLP_OUT, 3), prompts.mask, patching.Zero())
        >>> before = model.logits(prompts.tokens)
        >>> with patching.intervened(model, silent) as edited:
        ...     during = edited.logits(prompts.tokens)
        >>> bool((during - before).abs().max() > 1e-3)
        True
        >>> bool((model.logits(prompts.tokens) - before).abs().max() < 1e-3)
        True
    """
    edits = [edits] if isinstance(edits, Edit) else list(edits)
    check_sites(model, [edit.site for edit in edits])

    def change(edit: Edit, act: Tensor) -> Tensor:
        if act.shape[:2] != edit.where.shape:
            raise ValueError(
                f"the edit at {edit.site} names positions of shape {tuple(edit.where.shape)}; the "
                f"forward has {tuple(act.shape[:2])}; expected the same: run the examples it was made "
                "for, or interp.generate"
            )
        return edit.apply(act, torch.arange(act.shape[0], device=act.device))

    with rewritten(model, [(edit.site, partial(change, edit)) for edit in edits]):
        yield model
