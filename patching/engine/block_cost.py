"""What a block of a model costs: all that a schedule must know of the model."""

from __future__ import annotations

from dataclasses import dataclass
from sys import maxsize

import torch
from jaxtyping import Int
from torch import Tensor

from interp.models.model import Model
from patching.engine.beginnings import common

#: Work that one call of a block costs whatever its rows, in floating-point operations. This and what
#: follows choose a schedule and change no number.
CALL_FLOPS = 3e8

#: On a CPU, tokens whose activations outgrow the caches gain nothing by sharing a pass.
CPU_PASS_BYTES = 56 * 2**20

#: Calls of a block that leaving tokens out costs, for which it must spare some.
SPARING_CALLS = 2


@dataclass(frozen=True)
class BlockCost:
    """What one block of a model costs, per token unless said: all that the schedule must know.

    Attributes:
        layers: number of blocks.
        block_flops: floating-point operations.
        kept_bytes: of the unedited run that is kept: every block's input, keys and values.
        token_bytes: alive at once inside a block: the residual stream several times, queries, keys,
            values and heads' outputs, and the hidden layer of the MLP with its gate, product and
            temporaries.
        score_bytes: for each key, for scores, mask and weights.
        key_bytes: for each key of a packed token, for its own copies of keys and values.
        past_bytes: keys and values.
        cpu: whether any of the model runs on one.
    """

    layers: int
    block_flops: float
    kept_bytes: int
    token_bytes: int
    score_bytes: int
    key_bytes: int
    past_bytes: int
    cpu: bool

    @classmethod
    def of(cls, model: Model) -> BlockCost:
        """Read it off the configuration and the parameters of the blocks."""
        cfg, blocks = model.bridge.cfg, model.bridge.blocks
        return cls.of_shape(
            layers=model.n_layers,
            d_model=model.d_model,
            heads=int(cfg.n_heads),
            head_width=int(cfg.d_head),
            key_value_heads=model.n_key_value_heads,
            hidden=int(getattr(cfg, "d_mlp", None) or 4 * cfg.d_model),
            parameters=sum(p.numel() for p in blocks[0].parameters()),
            size=torch.empty(0, dtype=model.dtype).element_size(),
            cpu=any(device.type == "cpu" for device in model.placement.devices),
        )

    @classmethod
    def of_shape(
        cls,
        *,
        layers: int,
        d_model: int,
        heads: int,
        head_width: int,
        key_value_heads: int,
        hidden: int,
        parameters: int,
        size: int,
        cpu: bool,
    ) -> BlockCost:
        """What the blocks of a model of this shape cost, whether there is one or not.

        Args:
            layers: number of blocks.
            d_model: width of the residual stream.
            heads: of the queries.
            head_width: of each head.
            key_value_heads: heads of keys and values.
            hidden: width of the hidden layer of the MLP.
            parameters: of one block.
            size: bytes of a number.
            cpu: whether it runs on one.
        """
        keyed = key_value_heads * head_width
        return cls(
            layers=layers,
            block_flops=2.0 * parameters,
            kept_bytes=size * ((layers + 1) * d_model + 2 * layers * keyed),
            token_bytes=size * (6 * d_model + 6 * heads * head_width + 4 * hidden),
            score_bytes=max(size, 4) * 4 * heads,
            key_bytes=size * 2 * (2 * keyed + 2 * heads * head_width),
            past_bytes=size * 2 * keyed,
            cpu=cpu,
        )

    def row_bytes(self, width: int, start: int) -> int:
        """Bytes one edited row of a prompt of `width` tokens needs from `start` on."""
        return (width - start) * (self.token_bytes + self.score_bytes * width)

    def packed_bytes(self, width: int) -> int:
        """Bytes one packed token of a prompt of `width` tokens needs."""
        return self.token_bytes + (self.score_bytes + self.key_bytes) * width

    def shared(self, tokens: Int[Tensor, "row position"]) -> int:
        """How many first tokens of these prompts are run once: all they share, or none if few.

        Args:
            tokens: prompts of one length without padding.
        """
        count = common(tokens)
        return count if self.spares(len(tokens), count) else 0

    def spares(self, rows: int, count: int) -> bool:
        """Whether it pays to run a beginning of `count` tokens once and not for each of the rows."""
        return self.pays((rows - 1) * count)

    def pays(self, tokens: int) -> bool:
        """Whether it pays to leave so many tokens out of a block, at the price of calls."""
        return tokens > SPARING_CALLS * self.call_price

    @property
    def cached(self) -> int:
        """How many tokens gain by sharing a pass."""
        return CPU_PASS_BYTES // self.token_bytes if self.cpu else maxsize

    @property
    def call_price(self) -> float:
        """What one call of a block costs beside its tokens, in tokens."""
        return CALL_FLOPS / self.block_flops
