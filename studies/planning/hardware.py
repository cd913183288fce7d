"""Declared tables: shapes of real models, and what real cards do.

Shapes are those of the models' published config.json; rates are dense peaks of the makers' data
sheets, sparsity left out. How much of a peak a sweep reaches is declared too, and printed beside
every number that rests on it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from patching.engine.block_cost import BlockCost
from patching.engine.planning import BlockTime

#: Share of a card's peak that a sweep's matrix products are taken to reach. On the CPU of the
#: benchmarks the engine reaches .48 of the fastest product; cards are farther from their peak at the
#: few thousand tokens of a pass.
SHARE = 0.3

#: Share of a card's bandwidth at which weights are taken to be read, once in each call of a block.
BANDWIDTH_SHARE = 0.7

#: Seconds that a call of a block is taken to cost beside: its kernels and hooks are launched.
LAUNCH = 1e-3

#: Share of a card's memory that may be planned with; the rest is the driver's and fragments.
USABLE = 0.9

#: Bytes of a number in each dtype that cards are planned with.
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

#: Sizes that can be planned, in parameters.
SMALLEST, LARGEST = 1e6, 2e12


@dataclass(frozen=True)
class Shape:
    """The shape of a language model of the Llama family or one like it.

    Attributes:
        name: of the real model.
        source: whose config.json it is.
        layers: number of blocks.
        d_model: width of the residual stream.
        heads: of the queries.
        key_value_heads: heads of keys and values.
        head_width: of each head.
        hidden: width of the MLP's hidden layer.
        vocabulary: number of tokens.
        tied: whether embedding and unembedding are one matrix.
    """

    name: str
    source: str
    layers: int
    d_model: int
    heads: int
    key_value_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    tied: bool = False

    @property
    def block_parameters(self) -> int:
        """Of one block: queries, output, keys, values, the gated MLP and two norms."""
        attention = 2 * self.d_model * self.head_width * (self.heads + self.key_value_heads)
        return attention + 3 * self.d_model * self.hidden + 2 * self.d_model

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        ends = (1 if self.tied else 2) * self.vocabulary * self.d_model
        return self.layers * self.block_parameters + ends + self.d_model

    def cost(self, scale: float, size: int) -> BlockCost:
        """What a block costs on a card, with its parameters scaled."""
        return BlockCost.of_shape(
            layers=self.layers,
            d_model=self.d_model,
            heads=self.heads,
            head_width=self.head_width,
            key_value_heads=self.key_value_heads,
            hidden=self.hidden,
            parameters=round(self.block_parameters * scale),
            size=size,
            cpu=False,
        )


SHAPES = (
    Shape("SmolLM2 135M", "HuggingFaceTB/SmolLM2-135M", 30, 576, 9, 3, 64, 1536, 49152, tied=True),
    Shape("SmolLM2 360M", "HuggingFaceTB/SmolLM2-360M", 32, 960, 15, 5, 64, 2560, 49152, tied=True),
    Shape("Llama 3.2 1B", "meta-llama/Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128256, tied=True),
    Shape("SmolLM2 1.7B", "HuggingFaceTB/SmolLM2-1.7B", 24, 2048, 32, 32, 64, 8192, 49152, tied=True),
    Shape("Llama 3.2 3B", "meta-llama/Llama-3.2-3B", 28, 3072, 24, 8, 128, 8192, 128256, tied=True),
    Shape("Llama 2 7B", "meta-llama/Llama-2-7b-hf", 32, 4096, 32, 32, 128, 11008, 32000),
    Shape("Llama 3.1 8B", "meta-llama/Llama-3.1-8B", 32, 4096, 32, 8, 128, 14336, 128256),
    Shape("Llama 2 13B", "meta-llama/Llama-2-13b-hf", 40, 5120, 40, 40, 128, 13824, 32000),
    Shape("Qwen2.5 32B", "Qwen/Qwen2.5-32B", 64, 5120, 40, 8, 128, 27648, 152064),
    Shape("Llama 2 70B", "meta-llama/Llama-2-70b-hf", 80, 8192, 64, 8, 128, 28672, 32000),
    Shape("Llama 3.1 405B", "meta-llama/Llama-3.1-405B", 126, 16384, 128, 8, 128, 53248, 128256),
)


@dataclass(frozen=True)
class Card:
    """One accelerator.

    Attributes:
        name: of the product.
        source: the data sheet.
        half: dense peak in bfloat16 or float16, in TFLOP/s.
        single: peak in float32, in TFLOP/s.
        memory: in bytes.
        bandwidth: of its memory, in bytes per second.
    """

    name: str
    source: str
    half: float
    single: float
    memory: float
    bandwidth: float

    def flops(self, dtype: str) -> float:
        """The peak in a dtype, in FLOP/s."""
        return 1e12 * {4: self.single, 2: self.half}[BYTES[dtype]]

    def takes(self, cost: BlockCost, dtype: str) -> BlockTime:
        """A block's time: its weights are read once a call, its products made for each token."""
        weights = cost.block_flops / 2 * BYTES[dtype]
        return BlockTime(
            per_call=LAUNCH + weights / (self.bandwidth * BANDWIDTH_SHARE),
            per_token=cost.block_flops / (self.flops(dtype) * SHARE),
        )


CARDS = {
    "h200": Card("NVIDIA H200 SXM", "NVIDIA H200 data sheet", 989.0, 67.0, 141e9, 4.8e12),
    "h100": Card("NVIDIA H100 SXM", "NVIDIA H100 data sheet", 989.0, 67.0, 80e9, 3.35e12),
    "a100": Card("NVIDIA A100 80GB SXM", "NVIDIA A100 data sheet", 312.0, 19.5, 80e9, 2.039e12),
    "l40s": Card("NVIDIA L40S", "NVIDIA L40S data sheet", 362.0, 91.6, 48e9, 0.864e12),
}


def parameters_of(text: str) -> float:
    """The number of parameters that a size names.

    Args:
        text: such as "7b", "1.7b" or "135m".

    Raises:
        ValueError: for anything else, or a size beyond what can be planned.
    """
    number = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([mb])", text.strip().lower(), re.ASCII)
    count = float(number[1]) * {"m": 1e6, "b": 1e9}[number[2]] if number else 0.0
    if not SMALLEST <= count <= LARGEST:
        raise ValueError(
            f"--model-size must be a number of parameters from 1m to 2000b, such as 7b, 1.7b or 135m; "
            f"got {text[:20]!r}"
        )
    return count


def nearest(parameters: float) -> Shape:
    """The declared shape whose size is nearest by ratio."""
    return min(SHAPES, key=lambda shape: abs(math.log(parameters / shape.parameters)))
