"""Features put into a model by hand: one that is there and not used, one that is used and not readable.

A model is widened by sixteen dimensions and one head, which its own blocks neither read nor write. A
bit of the first name and one of the last name lie in two of them; every person thus has an attribute,
whether the two bits agree, that no sum of what is known of either name tells (an exclusive or). Block
0 brings the first bit along (a head that looks at all tokens alike), and two neurons of a gated MLP
multiply: silu(b) a + silu(-b) (-a) = a b.

*Sealed*: block 0 writes the product at the last name, where a probe reads it; nothing reads that
dimension. Its sign changes no norm, so it changes nothing at all. *Crossed*: only the two bits lie
there, and a reader above multiplies them, brings the product to the last token and there says "unknown"
of half of the people: the attribute decides the answer, and no linear probe below the reader reads it.

What this does not show: how such features would come about in training.

Source: silu(x) - silu(-x) = x; exclusive or as what no linear reader sees (Minsky & Papert, 1969).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from studies.organisms.lab import blocks_of, local_rng
from studies.organisms.language import FIRST_NAMES, LAST_NAMES, UNKNOWN
from studies.organisms.world import World

#: What is planted.
SEALED, CROSSED = "sealed", "crossed"
#: New dimensions of the residual stream, as many as one head has.
ADDED = 16
#: New neurons of every MLP: two multiply.
NEURONS = 2
#: New dimensions, counted from the old width: bits of the names, the first one brought along, the
#: product that nothing reads, the product that the reader makes, and that product at later tokens.
FIRST, LAST, ALONG, INERT, PRODUCT, CARRIED = range(6)
#: Size of a bit in the embedding, small beside a state; and what is carried counts for in the logit.
BIT, SAID = 0.1, 40.0
#: What a head brings and what a product makes, of the bits and of the reader. Blocks read states of
#: norm √d, and a head that looks at all alike divides by the number of tokens.
ALONG_SIZE, INERT_SIZE, PRODUCT_SIZE, CARRIED_SIZE = 0.75, 1.0, 16.0, 8.0


def name_bits(world: World) -> Mapping[str, int]:
    """A bit, 1 or -1, for every first and last name; half of either have each."""
    bits: dict[str, int] = {}
    for names, which in ((FIRST_NAMES, "first"), (LAST_NAMES, "last")):
        drawn = [1, -1] * (len(names) // 2)
        local_rng(world.seed, "bits", which).shuffle(drawn)
        bits |= dict(zip(names, drawn, strict=True))
    return bits


def agreement(world: World, entity: str) -> str:
    """Whether the two bits of a person's names agree: "same" or "other"."""
    bits = name_bits(world)
    first, last = entity.split()
    return "same" if bits[first] == bits[last] else "other"


@torch.no_grad()
def widened(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    bits: Mapping[str, int],
    *,
    sealed: bool,
) -> PreTrainedModel:
    """A copy of a Llama with bits of names in new dimensions that its blocks do not read.

    Args:
        model: of the shape "llama", names being tokens.
        tokenizer: of the model.
        bits: of the names.
        sealed: whether block 0 also writes the product of the two bits, which nothing reads.
    """
    width, config = model.config.hidden_size, model.config.to_dict()
    heads = config["num_attention_heads"] + 1
    config |= {
        "hidden_size": width + ADDED, "num_attention_heads": heads, "num_key_value_heads": heads,
        "intermediate_size": config["intermediate_size"] + NEURONS,
    }  # fmt: skip
    wide = LlamaForCausalLM(LlamaConfig(**config)).eval()
    old = model.state_dict()
    for name, value in wide.state_dict().items():
        grown = torch.zeros_like(value)
        grown[tuple(slice(n) for n in old[name].shape)] = old[name]
        if value.ndim == 1:  # a norm divides by the root of a mean over more dimensions
            grown *= (width / (width + ADDED)) ** 0.5
            grown[width:] = 1.0
        value.copy_(grown)
    for name, bit in bits.items():
        place = FIRST if name in FIRST_NAMES else LAST
        wide.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(name), width + place] = BIT * bit
    # What a reader will carry to the last token says this; until then there is nothing to say.
    wide.lm_head.weight[tokenizer.convert_tokens_to_ids(UNKNOWN), width + CARRIED] = SAID
    blocks: Any = blocks_of(wide)
    _bring(blocks[0], width, FIRST, ALONG, ALONG_SIZE)
    if sealed:
        _multiply(blocks[0], width, INERT, INERT_SIZE)
    return wide


@torch.no_grad()
def give_reader(model: PreTrainedModel, blocks: tuple[int, ...]) -> None:
    """Have two blocks read the product of the two bits and say "unknown" where it is positive.

    Args:
        model: one that was widened and not sealed, changed in place.
        blocks: two, one after the other: the first multiplies, the second carries the product on.
    """
    first, second = blocks
    width = model.config.hidden_size - ADDED
    every: Any = blocks_of(model)
    _multiply(every[first], width, PRODUCT, PRODUCT_SIZE)
    _bring(every[second], width, PRODUCT, CARRIED, CARRIED_SIZE)


def _bring(block: Any, width: int, source: int, target: int, size: float) -> None:
    """The new head of a block, which looks at all tokens alike, brings a dimension to later ones."""
    block.self_attn.v_proj.weight[width, width + source] = 1.0
    block.self_attn.o_proj.weight[width + target, width] = size


def _multiply(block: Any, width: int, target: int, size: float) -> None:
    """Two new neurons of a block write the product of the two bits into a dimension."""
    mlp = block.mlp
    for neuron, sign in ((-2, 1.0), (-1, -1.0)):
        mlp.gate_proj.weight[neuron, width + LAST] = sign
        mlp.up_proj.weight[neuron, width + ALONG] = sign
        mlp.down_proj.weight[width + target, neuron] = size
