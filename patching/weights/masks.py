"""Resolving sets of parameters to masks: the largest changes, random draws, heads, names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from patching.weights.parameters import Parameters, Slot


def top_entries(parameters: Parameters, share: float) -> dict[int, Tensor | None]:
    """The `share` of block weights with the largest |ΔW| = |tuned - base|, over all blocks at once.

    Ties at the threshold are broken by order, so that the size is exact.
    """
    slots = parameters.of_blocks()
    total = sum(parameters.slots[i].entries for i in slots)
    wanted = max(1, round(share * total))
    best = None
    for i in slots:
        change = _change(parameters.slots[i]).flatten()
        pool = change if best is None else torch.cat([best, change])
        best = pool.topk(min(wanted, len(pool))).values
    assert best is not None
    threshold = best[-1]
    spare = wanted - int((best > threshold).sum())
    selection: dict[int, Tensor | None] = {}
    for i in slots:
        change = _change(parameters.slots[i])
        mask = change > threshold
        ties = (change == threshold).flatten()
        taken = ties & (ties.cumsum(0) <= spare)
        spare -= int(taken.sum())
        mask |= taken.reshape(mask.shape)
        if bool(mask.any()):
            selection[i] = mask
    return selection


def random_entries(parameters: Parameters, count: int, seed: int) -> dict[int, Tensor | None]:
    """`count` block weights: tensors in proportion to their size, uniform within each."""
    slots = parameters.of_blocks()
    sizes = torch.tensor([parameters.slots[i].entries for i in slots], dtype=torch.float64)
    exact = sizes * count / sizes.sum()
    drawn = exact.floor().long()
    for tensor in (exact - drawn).argsort(descending=True, stable=True)[: count - int(drawn.sum())]:
        drawn[tensor] += 1
    generator = torch.Generator().manual_seed(seed)
    selection: dict[int, Tensor | None] = {}
    for i, size in zip(slots, drawn.tolist(), strict=True):
        value = parameters.slots[i].value("base")
        mask = torch.zeros(value.numel(), dtype=torch.bool)
        mask[torch.randperm(value.numel(), generator=generator)[:size]] = True
        if size:
            selection[i] = mask.reshape(value.shape).to(value.device)
    return selection


def head_entries(
    parameters: Parameters, heads: Sequence[tuple[int, int]], *, shared: bool
) -> dict[int, Tensor | None]:
    """Rows of Q, K, V (with biases) and columns of O of some heads; see `Heads`.

    Raises:
        ValueError: for a head that does not exist, or projections not laid out head by head.
    """
    model = parameters.pair.base
    cfg = model.bridge.cfg
    n_heads, width = int(cfg.n_heads), int(cfg.d_head)
    n_keys = int(getattr(cfg, "n_key_value_heads", None) or n_heads)
    selection: dict[int, Tensor | None] = {}
    slots_of: dict[int, list[int]] = {}
    for i, slot in enumerate(parameters.slots):
        slots_of.setdefault(id(slot.base_module), []).append(i)
    for layer in sorted({block for block, _ in heads}):
        chosen = sorted({head for block, head in heads if block == layer})
        if not 0 <= layer < model.n_layers or not 0 <= chosen[0] <= chosen[-1] < n_heads:
            raise ValueError(
                f"heads {chosen} of block {layer} do not all exist: {model.name} has blocks "
                f"0..{model.n_layers - 1} with heads 0..{n_heads - 1}; give (block, head) pairs"
            )
        keys = _key_value_heads(chosen, n_heads, n_keys, shared)
        attention = model.bridge.blocks[layer].attn
        for name, units, count in (
            ("q", chosen, n_heads),
            ("k", keys, n_keys),
            ("v", keys, n_keys),
            ("o", chosen, n_heads),
        ):
            module = getattr(attention, name).original_component
            for i in slots_of[id(module)] if units else ():
                slot = parameters.slots[i]
                if name == "o" and slot.value("base").ndim == 1:
                    continue  # the output's bias belongs to no head
                # Linear holds [out, in], GPT-2's Conv1D [in, out].
                axis = 1 if name == "o" and isinstance(module, nn.Linear) else 0
                selection[i] = _head_mask(slot, units, count, width, axis)
    return selection


def _key_value_heads(heads: Sequence[int], n_heads: int, n_keys: int, shared: bool) -> list[int]:
    """Key-value heads that only these query heads read; with `shared`, that any of them reads."""
    per_key = n_heads // n_keys
    readers = [sum(head // per_key == key for head in heads) for key in range(n_keys)]
    return [key for key, n in enumerate(readers) if n == per_key or (shared and n)]


def _head_mask(
    slot: Slot, heads: Sequence[int], count: int, width: int, axis: int
) -> Bool[Tensor, "..."]:
    """True at the entries of some of a projection's heads, which lie along an axis.

    Raises:
        ValueError: for a projection that is not laid out head by head.
    """
    value = slot.value("base")
    if value.shape[axis] != count * width:
        raise ValueError(
            f"{slot.path} must have {count} heads of {width} along axis {axis}; got "
            f"{tuple(value.shape)}; graft the whole attention of this model instead"
        )
    mask = torch.zeros(value.shape, dtype=torch.bool, device=value.device)
    for head in heads:
        mask.narrow(axis, head * width, width).fill_(True)
    return mask


def named_slots(parameters: Parameters, patterns: Sequence[str]) -> dict[int, Tensor | None]:
    """Whole parameters whose dotted name contains a pattern as complete components.

    Raises:
        ValueError: for a pattern that matches nothing.
    """
    selection: dict[int, Tensor | None] = {}
    for pattern in patterns:
        here = parameters.where(
            lambda s, p=f"*.{pattern}.*": fnmatchcase(f".{s.name}.", p) or fnmatchcase(f".{s.path}.", p)
        )
        if not here:
            names = [s.name for s in parameters.slots if s.layer in (0, None)]
            raise ValueError(
                f"no parameter matches {pattern!r}; expected part of a name such as {names[:3]}; "
                "give whole dotted components, e.g. 'q_proj' or 'layers.3.mlp'"
            )
        selection |= here
    return selection


def _change(slot: Slot) -> Float[Tensor, "..."]:
    """|tuned - base| of one parameter."""
    return (slot.value("tuned").float() - slot.value("base").float()).abs()
