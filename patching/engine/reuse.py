"""What of an unedited run a model's blocks can be given again, found by trying.

The engine's fast ways rest on how a family writes its attention: that keys and values of earlier
positions can be handed in as a prefix, and that tokens can be rows of their own because the mask it
is called with is the whole mask. A family that does otherwise runs whole prompts, which is slower
and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import maxsize
from typing import Any
from weakref import WeakKeyDictionary

import torch

from interp.examples import Examples
from interp.models.adapters import probe_tokens
from interp.models.loading import PARITY
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine.running import run_copies
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Zero

#: Kinds of rotary frequencies that change with the length of a prompt that outgrows the first training.
_BY_LENGTH = {"dynamic", "longrope"}

#: Model -> the hooks that hung on it when it was tried, and what was found.
_FOUND: WeakKeyDictionary[Any, tuple[frozenset[int], Reuse]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Reuse:
    """Ways of running edited rows that a model allows.

    Attributes:
        prefix: only positions from the first edited one on are computed.
        packed: every token may be a row of its own; never without `prefix`.
        last: of the last block, positions that nobody reads need their keys and values only; never
            without `prefix`.
        steady: prompts shorter than this are encoded alike where they begin alike, whatever follows.
    """

    prefix: bool
    packed: bool
    last: bool
    steady: int = maxsize


def reuse(model: Model) -> Reuse:
    """Try all ways on two short prompts without an edit.

    What was found is remembered until a hook is added to the model or taken from it.
    """
    hooks = _hooks(model)
    tried, found = _FOUND.get(model.bridge, (None, None))
    if found is None or tried != hooks:
        prefix = _exact(model, [2, 2], packed=False)
        packed = prefix and not _hidden_mask(model) and _exact(model, [1, 3], packed=True)
        last = prefix and _exact(model, [2, 2], packed=False, read_from=4)
        found = Reuse(prefix, packed, last, _steady(model))
        _FOUND[model.bridge] = hooks, found
    return found


def _hooks(model: Model) -> frozenset[int]:
    """The numbers of all hooks on the model's modules; no two hooks of a process share one."""
    return frozenset(
        number
        for module in model.bridge.modules()
        for held in (module._forward_hooks, module._forward_pre_hooks)
        for number in held
    )


@torch.no_grad()
def _exact(model: Model, starts: Sequence[int], *, packed: bool, read_from: int = 0) -> bool:
    """Whether copies that start at these positions end where the unedited run does."""
    ids = probe_tokens(model.bridge.original_model)[0, :6]
    tokens = torch.stack([ids, ids.flip(0)])
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    bounds = torch.tensor([[[0, 6], [0, 6]], [[5, 6], [5, 6]]], device=tokens.device)
    spans = {"all": bounds[0], "last": bounds[1]}
    prompts = Examples(tokens, everywhere, ("a", "b"), ("a", "b"), spans, ("A", "A"))
    nothing = Edit(Site(Kind.RESID_PRE, 0), ~everywhere, Zero())
    rows = torch.arange(2, device=tokens.device)
    try:
        baseline = Baseline.of(model, prompts, rows, keep=True)
        if not baseline.past or (packed and not baseline.packable):
            return False
        cells = [Cell((nothing,))] * len(starts)
        copies, _ = run_copies(
            model, baseline, cells, rows, starts=starts, packed=packed, read_from=read_from
        )
    except Exception:
        return False
    top = baseline.inputs[-1]
    tolerance = PARITY.get(model.dtype, 0.05) * max(1.0, top.abs().max().item())
    return all(
        bool((copies.as_rows(i, copies.tokens) - top[:, start:]).abs().max() <= tolerance)
        for i, start in enumerate(copies.starts[1:], start=1)
    )


def _steady(model: Model) -> int:
    """From how many tokens on rotary frequencies depend on the prompt's length."""
    least = maxsize
    for module in model.bridge.original_model.modules():
        kinds = getattr(module, "rope_type", None)
        if _BY_LENGTH.intersection(kinds.values() if isinstance(kinds, dict) else [kinds]):
            config: Any = getattr(module, "config", None)
            given = getattr(config, "rope_parameters", None) or {}
            given = [given, *(part for part in given.values() if isinstance(part, dict))]
            told = [part.get("original_max_position_embeddings") for part in given]
            # Of a module that does not tell from when, nothing is known.
            longest = getattr(config, "max_position_embeddings", 0)
            least = min(least, longest, *filter(None, told))
    return least


def _hidden_mask(model: Model) -> bool:
    """Whether attention keeps a mask of its own that hides more than what is to come.

    It is cut by the last position's row, so a token alone would get another token's.
    """
    for name, mask in model.bridge.blocks.named_buffers():
        square = mask.ndim == 4 and mask.dtype == torch.bool and mask.shape[-1] == mask.shape[-2]
        if square and name.endswith("bias") and not torch.equal(mask, torch.ones_like(mask).tril()):
            return True
    return False
