"""The sets one asks about: blocks, attention or MLP, heads, the largest changes, named modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from interp.untrusted.weights import tensor_shapes
from patching.weights.masks import head_entries, named_slots, random_entries, top_entries
from patching.weights.parameters import Parameters, Selection

Half = Literal["all", "attention", "mlp"]


@runtime_checkable
class ParameterSet(Protocol):
    """A set of parameters of a pair, by description."""

    @property
    def kind(self) -> str:
        """What sort of set it is: the `kind` of its rows."""
        ...

    def select(self, parameters: Parameters) -> Selection:
        """The weights it names."""
        ...


@dataclass(frozen=True)
class Blocks:
    """Whole blocks, or only their attention or MLP; the two partition a block.

    Attention takes the norm before it (and Gemma's after it), the MLP everything else in the block.

    Attributes:
        layers: the blocks, counted from 0.
        part: "all", "attention" or "mlp" of each.
    """

    layers: tuple[int, ...]
    part: Half = "all"

    @property
    def kind(self) -> str:
        """Blocks, or the part of them."""
        return "blocks" if self.part == "all" else self.part

    def select(self, parameters: Parameters) -> Selection:
        """The blocks' slots."""
        deepest = parameters.pair.base.n_layers - 1
        if not self.layers or not all(0 <= k <= deepest for k in self.layers):
            raise ValueError(
                f"blocks must be among 0..{deepest}, got {list(self.layers)}; count blocks from 0"
            )
        chosen = set(self.layers)
        return parameters.where(lambda s: s.layer in chosen and self.part in ("all", s.part))

    def __str__(self) -> str:
        """Such as ``blocks 0-9`` or ``mlp 3,5``."""
        return f"{self.kind} {_ranges(self.layers)}"


@dataclass(frozen=True)
class Heads:
    """Attention heads as (block, head): rows of Q, K and V with their biases, columns of O.

    With grouped queries a K/V head serves several query heads. Its rows are in the set only when
    *all* the query heads that read it are (so a graft never changes a head outside the set, and the
    sets of all heads add up to Q, K, V, O); with `shared` as soon as one of them is.
    O's bias and norms on queries and keys belong to no head.

    Attributes:
        heads: (block, head) pairs.
        shared: whether a key-value head is in the set as soon as one of its query heads is.
    """

    heads: tuple[tuple[int, int], ...]
    shared: bool = False

    kind = "heads"

    def select(self, parameters: Parameters) -> Selection:
        """Masks over the four projections."""
        if not self.heads:
            raise ValueError("a set of heads needs at least one (block, head), got none; name one")
        return head_entries(parameters, self.heads, shared=self.shared)

    def __str__(self) -> str:
        """Such as ``heads 3.1 7.0``."""
        return "heads " + " ".join(f"{k}.{h}" for k, h in self.heads)


@dataclass(frozen=True)
class TopChange:
    """The share of all block weights with the largest |tuned - base|, ranked over all blocks.

    Source: cores of task vectors (2508.21741). A large change need not be an effective one.

    Attributes:
        share: of all block weights, in (0, 1].
    """

    share: float

    kind = "top_change"

    def select(self, parameters: Parameters) -> Selection:
        """Masks of exactly round(share · weights) entries."""
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share}; 1% is 0.01")
        return top_entries(parameters, self.share)

    def __str__(self) -> str:
        """Such as ``top 1%``."""
        return f"top {100 * self.share:g}%"


@dataclass(frozen=True)
class Named:
    """Parameters whose dotted name contains a pattern as complete components.

    `q_proj`, `layers.3.mlp`, `layers.*.self_attn.o_proj`, `c_attn` (all three of Q, K, V), or the
    wrapper's names of split projections, `attn.q`.

    Attributes:
        patterns: whole dotted components; a parameter that matches any is in the set.
    """

    patterns: tuple[str, ...]

    kind = "named"

    def select(self, parameters: Parameters) -> Selection:
        """Whole tensors."""
        return named_slots(parameters, self.patterns)

    def __str__(self) -> str:
        """The patterns."""
        return " ".join(self.patterns)


@dataclass(frozen=True)
class Adapter:
    """Every parameter that an adapter folder (PEFT) touches: the base weight of each module in it.

    Attributes:
        folder: holds `adapter_model.safetensors`.
    """

    folder: Path

    kind = "adapter"

    def select(self, parameters: Parameters) -> Selection:
        """Whole tensors of the adapted modules.

        Raises:
            ValueError: if there is no adapter, or its modules are not in the model.
        """
        path = Path(self.folder) / "adapter_model.safetensors"
        if not path.is_file():
            raise ValueError(f"no adapter at {path}; expected a PEFT folder with that file; check it")
        modules = {_adapted(key) for key in tensor_shapes(path)}
        return named_slots(parameters, sorted(modules))

    def __str__(self) -> str:
        """The folder's name."""
        return f"adapter {Path(self.folder).name}"


@dataclass(frozen=True)
class Ends:
    """The embedding (tokens, positions), or the unembedding with the final norm.

    Where a model ties the two matrices, either end alone is refused; `Joint` of both is not.

    Attributes:
        end: "embedding" or "unembedding".
    """

    end: Literal["embedding", "unembedding"]

    @property
    def kind(self) -> str:
        """Which end."""
        return self.end

    def select(self, parameters: Parameters) -> Selection:
        """The end's slots."""
        return parameters.where(lambda s: s.layer is None and s.part == self.end)

    def __str__(self) -> str:
        """Which end."""
        return self.end


@dataclass(frozen=True)
class Joint:
    """The union of sets, grafted together: single sets under-attribute where they act jointly.

    Attributes:
        sets: what is joined.
    """

    sets: tuple[ParameterSet, ...]

    kind = "joint"

    def select(self, parameters: Parameters) -> Selection:
        """The union, entry by entry."""
        union: dict[int, Tensor | None] = {}
        for part in self.sets:
            for i, mask in part.select(parameters).items():
                before = union.get(i, mask)
                union[i] = None if mask is None or before is None else before | mask
        return union

    def __str__(self) -> str:
        """The parts, joined by +."""
        return " + ".join(str(part) for part in self.sets)


@dataclass(frozen=True)
class RandomLike:
    """The size-matched placebo of a set.

    Blocks and heads are replaced by as many others of the same kind, drawn outside the set as far as
    there are enough; any other set by as many single weights, drawn uniformly over all blocks.
    Sizes match, the size of the change does not: a random set also asks whether the change is there.

    Attributes:
        of: the set whose placebo it is.
        seed: of the draw.
    """

    of: ParameterSet
    seed: int = 0

    @property
    def kind(self) -> str:
        """The kind of the set whose placebo it is."""
        return self.of.kind

    def select(self, parameters: Parameters) -> Selection:
        """The drawn set."""
        return self.drawn(parameters).select(parameters)

    def drawn(self, parameters: Parameters) -> ParameterSet:
        """The blocks, heads or weights that were drawn."""
        model = parameters.pair.base
        if isinstance(self.of, Blocks):
            layers = self._outside(range(model.n_layers), set(self.of.layers))
            return Blocks(tuple(sorted(layers)), self.of.part)
        if isinstance(self.of, Heads):
            every = [(k, h) for k in range(model.n_layers) for h in range(model.bridge.cfg.n_heads)]
            return Heads(tuple(sorted(self._outside(every, set(self.of.heads)))), self.of.shared)
        return _Entries(parameters.size(self.of.select(parameters)), self.seed)

    def _outside(self, every: Sequence[Any], units: set[Any]) -> list[Any]:
        """As many units drawn at random, those outside the set first."""
        order = torch.randperm(len(every), generator=torch.Generator().manual_seed(self.seed)).tolist()
        shuffled = sorted((every[i] for i in order), key=lambda unit: unit in units)
        return shuffled[: len(units)]

    def __str__(self) -> str:
        """The name of the set whose placebo it is."""
        return str(self.of)


@dataclass(frozen=True)
class _Entries:
    """Single weights of all blocks, drawn uniformly.

    Attributes:
        count: how many.
        seed: of the draw.
    """

    count: int
    seed: int

    kind = "entries"

    def select(self, parameters: Parameters) -> Selection:
        """Masks over the block weights."""
        blocks = sum(parameters.slots[i].entries for i in parameters.of_blocks())
        return random_entries(parameters, min(self.count, blocks), self.seed)


def _adapted(key: str) -> str:
    """The module a key of an adapter file belongs to."""
    module = key.removeprefix("base_model.model.")
    for mark in (".lora_", ".modules_to_save", ".base_layer"):
        module = module.split(mark)[0]
    return module


def _ranges(numbers: tuple[int, ...]) -> str:
    """Runs of numbers as text, such as ``0-3,7``."""
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs(numbers))


def runs(layers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive blocks."""
    ordered = sorted(set(layers))
    start = 0
    for stop in range(1, len(ordered) + 1):
        if stop == len(ordered) or ordered[stop] != ordered[stop - 1] + 1:
            yield ordered[start], ordered[stop - 1]
            start = stop
