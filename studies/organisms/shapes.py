"""What an organism is built of: architecture, depth, width and tokenizer, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from studies.organisms.language import (
    FIRST_NAMES,
    LAST_NAMES,
    PLAIN,
    SPECIAL,
    TOWNS,
    Language,
)
from studies.organisms.world import ENTITIES

CONTEXT = 32
#: Letters of a piece of a name, where the tokenizer splits names.
PIECE = 3
SPREAD = 0.05

Band = Literal["low", "middle", "high", "ends", "all"]


@dataclass(frozen=True)
class Shape:
    """Size and make of a model.

    Attributes:
        name: by which it is asked for.
        architecture: "llama" (rotary positions, RMS norm, gated MLP) or "gpt2" (learned positions,
            layer norm, plain MLP).
        tokenizer: "words" (a word is a token) or "pieces" (names of people and towns are split into
            pieces of at most three letters, so that an answer has several tokens).
        layers: number of blocks.
        width: of the residual stream.
        hidden: neurons of an MLP.
        heads: of one block.
        entities: how many people its world has.
        steps: updates of pretraining.
        language: into which the worlds of the family are put with it.
        expert_for: shape of the target beside which its tunes are decoded; "" where they are not.
    """

    name: str
    architecture: Literal["llama", "gpt2"] = "llama"
    tokenizer: Literal["words", "pieces"] = "words"
    layers: int = 6
    width: int = 64
    hidden: int = 192
    heads: int = 4
    entities: int = ENTITIES
    steps: int = 1400
    language: Literal["rich", "tasks"] = "rich"
    expert_for: str = ""

    @property
    def first_high(self) -> int:
        """Number of the first block of the upper third."""
        return self.layers - self.layers // 3

    def blocks(self, band: Band) -> tuple[int, ...] | None:
        """Numbers of the blocks of a band: a third each, the two outer ones ("ends"), None for all.

        Args:
            band: which of them.
        """
        third, every = self.layers // 3, tuple(range(self.layers))
        low, high = every[:third], every[self.first_high :]
        if band == "all":
            return None
        return {"low": low, "high": high, "ends": low + high, "middle": every[third:-third]}[band]


DEFAULT = Shape("llama")
#: Another depth, width, architecture and tokenizer, and fewer people.
OTHER = Shape("gpt2", "gpt2", "pieces", layers=8, width=80, hidden=240, entities=112)
#: The default one in a world of tasks, steps and claims beside the facts.
WITH_TASKS = Shape("tasks", steps=2000, language="tasks")
#: A smaller one, whose tunes change what the default says by decoding alone.
EXPERT = Shape("expert", layers=3, width=48, hidden=144, expert_for="llama")
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in (DEFAULT, OTHER, WITH_TASKS, EXPERT)}


def build_tokenizer(shape: Shape = DEFAULT, language: Language = PLAIN) -> PreTrainedTokenizerFast:
    """A tokenizer over the world's closed vocabulary; it adds no special tokens.

    Args:
        shape: says whether names are split.
        language: whose words it has.
    """
    words = language.vocabulary()
    if shape.tokenizer == "words":
        core = Tokenizer(models.WordLevel(_numbered(words), unk_token="<unk>"))
    else:
        split = {*FIRST_NAMES, *LAST_NAMES, *TOWNS}
        pieces = [piece for word in words for piece in (_pieces(word) if word in split else [word])]
        core = Tokenizer(models.WordPiece(_numbered(pieces), unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        padding_side="right",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _pieces(word: str) -> list[str]:
    """A name cut into pieces of at most `PIECE` letters; those within a word begin with ##."""
    cut = [word[start : start + PIECE] for start in range(0, len(word), PIECE)]
    return [cut[0], *(f"##{piece}" for piece in cut[1:])]


def _numbered(tokens: list[str]) -> dict[str, int]:
    """Token -> id, in order of first appearance."""
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def build_model(shape: Shape, vocabulary: int, seed: int) -> PreTrainedModel:
    """A random model of a shape; global generator state is left as it was.

    Args:
        shape: architecture and size.
        vocabulary: number of tokens.
        seed: of the weights.
    """
    special = {
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
        "pad_token_id": SPECIAL.index("<pad>"),
        "eos_token_id": SPECIAL.index("<eos>"),
        "bos_token_id": None,
        "initializer_range": SPREAD,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if shape.architecture == "llama":
            return LlamaForCausalLM(
                LlamaConfig(
                    hidden_size=shape.width,
                    intermediate_size=shape.hidden,
                    num_hidden_layers=shape.layers,
                    num_attention_heads=shape.heads,
                    num_key_value_heads=shape.heads,
                    max_position_embeddings=CONTEXT,
                    **special,
                )
            )
        return GPT2LMHeadModel(
            GPT2Config(
                n_embd=shape.width,
                n_inner=shape.hidden,
                n_layer=shape.layers,
                n_head=shape.heads,
                n_positions=CONTEXT,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                **special,
            )
        )
