"""Which parts of two models are the same function: what tuning has left as it was.

Blocks that tuning did not touch map equal states to equal states. So a hybrid of the two models is
the same whichever of them such a block is taken from, and below the first block that differs so are
the models' own states. Equal means every bit of every weight: nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from interp.models.identity import ORIGIN, own_hooks
from interp.sites import Kind, Site, block_of_hook

#: What a configuration says beside where it came from that no block reads.
OUTSIDE_BLOCKS = (
    *ORIGIN, "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id", "torch_dtype",
    "use_cache", "vocab_size",
)  # fmt: skip


#: Tensor -> addresses and versions of it and of the one it was compared with, that one, and the result.
_COMPARED: Any = WeakIdKeyDictionary()


@dataclass(frozen=True)
class Alike:
    """The parts of a base and of a tuned model that are the same.

    Attributes:
        embedding: whether what enters block 0 is the same.
        blocks: whether each block is.
    """

    embedding: bool
    blocks: tuple[bool, ...]

    @classmethod
    def nothing(cls, n_layers: int) -> Alike:
        """Two models of so many blocks that may differ everywhere."""
        return cls(False, (False,) * n_layers)

    @property
    def below(self) -> int:
        """The highest boundary up to which all states are the same; −1 where not even the first are."""
        if not self.embedding:
            return -1
        return next((k for k, same in enumerate(self.blocks) if not same), len(self.blocks))

    def same_at(self, site: Site) -> bool:
        """Whether an activation there, of the same prompt, is the same in both models."""
        return site.layer + (site.kind not in (Kind.EMBED, Kind.RESID_PRE)) <= self.below

    def same_above(self, boundary: int) -> int:
        """The highest boundary with none but same blocks between it and this one.

        A hybrid of the two models that changes over at one of the two is the one that does at the
        other.
        """
        blocks = self.blocks[boundary:]
        return boundary + next((k for k, same in enumerate(blocks) if not same), len(blocks))


def alike(base: Any, tuned: Any) -> Alike:
    """Compare two models of one architecture, part by part.

    Args:
        base: a `Model`.
        tuned: another.

    Returns:
        What is the same; nothing where their configurations differ in anything that a block may read.
    """
    ours, theirs = (_Parts.of(model) for model in (base, tuned))
    if _settings(base) != _settings(tuned) or not ours.around.same_as(theirs.around):
        return Alike.nothing(base.n_layers)
    blocks = zip(ours.blocks, theirs.blocks, strict=True)
    return Alike(ours.embedding.same_as(theirs.embedding), tuple(a.same_as(b) for a, b in blocks))


@dataclass(frozen=True, eq=False)
class _Part:
    """What determines what a part of a model computes.

    Attributes:
        tensors: its weights and buffers.
        hooks: those of one's own, with their places.
    """

    tensors: Sequence[Tensor]
    hooks: Sequence[tuple[str, Any]]

    def same_as(self, other: _Part) -> bool:
        """Whether every bit is the same, and the very same hooks are attached."""
        if len(self.tensors) != len(other.tensors) or self.hooks != other.hooks:
            return False
        return all(_equal(a, b) for a, b in zip(self.tensors, other.tensors, strict=True))


@dataclass(frozen=True, eq=False)
class _Parts:
    """A model by the parts that read its weights, the readout left out.

    Attributes:
        embedding: what is read before block 0; a matrix that the unembedding shares is among it.
        blocks: each block.
        around: what is neither, such as the frequencies of rotary positions, which every block reads.
    """

    embedding: _Part
    blocks: Sequence[_Part]
    around: _Part

    @classmethod
    def of(cls, model: Any) -> _Parts:
        """Sort what a model holds."""
        bridge, hooks = model.bridge, list(own_hooks(model.bridge))
        named = (getattr(bridge, name, None) for name in ("embed", "pos_embed"))
        embedding = [t for part in named if part is not None for t in _held(part)]
        blocks = [
            _Part(list(_held(block)), [hook for hook in hooks if block_of_hook(hook[0]) == k])
            for k, block in enumerate(bridge.blocks)
        ]
        readout = chain(_held(bridge.ln_final), _held(bridge.unembed))
        elsewhere = chain(embedding, readout, *(block.tensors for block in blocks))
        sorted_out = {id(tensor) for tensor in elsewhere}
        around = [t for t in _held(bridge.original_model) if id(t) not in sorted_out]
        outside = [hook for hook in hooks if block_of_hook(hook[0]) is None]
        return cls(_Part(embedding, outside), blocks, _Part(around, outside))


def _held(part: nn.Module) -> Iterator[Tensor]:
    """A module's parameters and buffers."""
    return chain(part.parameters(), part.buffers())


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit by bit; remembered until one of them is written to."""
    state = a.data_ptr(), a._version, b.data_ptr(), b._version
    known, partner, same = _COMPARED.get(a, (None, None, False))
    if known != state or partner() is not b:
        placed = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
        same = placed and torch.equal(a, b)
        _COMPARED[a] = state, ref(b), same
    return same


def _settings(model: Any) -> dict[str, Any]:
    """What of a model's configuration a block may read."""
    settings = {k: v for k, v in model.config.to_dict().items() if k not in OUTSIDE_BLOCKS}
    return {**settings, "attention": getattr(model.config, "_attn_implementation", None)}
