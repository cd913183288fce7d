"""Compiled programs as GPT-2 folders: the same function, in an architecture that every tool loads.

GPT-2 has a layer norm where tracr has none, and it is made to change nothing. Its ε is 2⁴⁰ and its
weight 2²⁰, so that (x − mean) / √(var + ε) · 2²⁰ = x − mean to the last bit; and every vector that is
written to the residual stream has one more entry, which makes its mean zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from studies.circuit_truth.words import POSITIONS, word_tokenizer

EPSILON, GAIN = 2.0**40, 2.0**20

#: What tracr calls the entries of the residual stream that hold the output, before ":" and a value.
_OUTPUT = re.compile(r"output(_\d+)?")

#: What a program says where its answer is a number: the logit of the first word is the number.
VALUE, NOTHING = "value", "nothing"


@dataclass(frozen=True)
class Compiled:
    """A program as tracr compiled it.

    Attributes:
        weights: of every part.
        settings: sizes, names of the residual stream's entries, tokens.
        said: prompt -> its answer, a token or a number.
    """

    weights: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    said: Mapping[str, str | float]

    @classmethod
    def read(cls, path: Path) -> Compiled:
        """What `programs` wrote of a program."""
        with safe_open(path, "np") as file:
            settings = json.loads(file.metadata()["settings"])
            weights = {name: file.get_tensor(name) for name in file.keys()}
        return cls(weights, settings, settings.pop("said"))

    @property
    def numeric(self) -> bool:
        """Whether its answers are numbers that one entry of the residual stream holds."""
        return any(_OUTPUT.fullmatch(label) for label in self.settings["residual"])

    @property
    def answers(self) -> dict[str, int]:
        """Answer as a word -> entry of the residual stream that says it."""
        entries = {}
        for entry, label in enumerate(self.settings["residual"]):
            name, _, word = label.partition(":")
            if _OUTPUT.fullmatch(name):
                entries[word or VALUE] = entry
        return entries

    def word(self, prompt: str) -> str:
        """The answer to a prompt as a word."""
        said = self.said[prompt]
        return said if isinstance(said, str) else VALUE if self.numeric else f"{said:g}"


def as_gpt2(compiled: Compiled) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """A program as a model and its tokenizer, a token to a word.

    Args:
        compiled: the program.
    """
    settings, weights = compiled.settings, compiled.weights
    width, heads, key = len(settings["residual"]), settings["heads"], settings["key_size"]
    size = max(key, ceil((width + 1) / heads))
    inputs = [token for token in settings["tokens"] if token != "compiler_pad"]
    said = [*compiled.answers, NOTHING] if compiled.numeric else list(compiled.answers)
    tokenizer = word_tokenizer([*inputs, *(word for word in said if word not in inputs)])
    model = _blank(len(tokenizer), settings, size)
    body = model.transformer

    def written(matrix: np.ndarray) -> Tensor:
        """Vectors that go to the residual stream, [..., width], with the entry that balances them."""
        made = torch.zeros(*matrix.shape[:-1], heads * size)
        made[..., :width] = torch.from_numpy(np.asarray(matrix))
        made[..., width] = -made[..., :width].sum(-1)
        return made

    with torch.no_grad():
        for token in inputs:
            row = written(weights["token_embed.embeddings"][settings["tokens"][token]])
            body.wte.weight[tokenizer.convert_tokens_to_ids(token)] = row
        positions = written(weights["pos_embed.embeddings"])
        body.wpe.weight[: len(positions)] = positions
        for word, entry in compiled.answers.items():
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(word), entry] = 1.0
        blocks: Any = body.h
        for layer, block in enumerate(blocks):
            part = f"transformer/layer_{layer}"
            _fill_attention(block.attn, weights, part, (heads, key, size, width))
            block.attn.c_proj.bias.copy_(written(weights[f"{part}/attn/linear.b"]))
            out = written(weights[f"{part}/attn/linear.w"]).reshape(heads, key, -1)
            block.attn.c_proj.weight.view(heads, size, -1)[:, :key] = out
            block.mlp.c_fc.weight[:width] = torch.from_numpy(weights[f"{part}/mlp/linear_1.w"])
            block.mlp.c_fc.bias.copy_(torch.from_numpy(weights[f"{part}/mlp/linear_1.b"]))
            block.mlp.c_proj.weight.copy_(written(weights[f"{part}/mlp/linear_2.w"]))
            block.mlp.c_proj.bias.copy_(written(weights[f"{part}/mlp/linear_2.b"]))
    return model, tokenizer


def _blank(vocabulary: int, settings: Mapping[str, Any], size: int) -> GPT2LMHeadModel:
    """A GPT-2 of zeros whose layer norms change nothing."""
    config = GPT2Config(
        n_layer=settings["layers"],
        n_embd=settings["heads"] * size,
        n_head=settings["heads"],
        n_inner=settings["hidden"],
        n_positions=max(settings["longest"], POSITIONS),
        vocab_size=vocabulary,
        layer_norm_epsilon=EPSILON,
        activation_function="relu",
        tie_word_embeddings=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = ".ln_" in name and name.endswith("weight")
            parameter.fill_(GAIN if norm else 0.0)
    return model


def _fill_attention(
    attention: Any, weights: Mapping[str, np.ndarray], part: str, sizes: tuple[int, int, int, int]
) -> None:
    """Queries, keys and values of a layer; GPT-2 divides scores by the root of its own head's size."""
    heads, key, size, width = sizes
    columns = attention.c_attn.weight.view(-1, 3, heads, size)
    biases = attention.c_attn.bias.view(3, heads, size)
    for slot, name in enumerate(("query", "key", "value")):
        scale = sqrt(size / key) if name == "query" else 1.0
        matrix = torch.from_numpy(weights[f"{part}/attn/{name}.w"]).reshape(width, heads, key)
        columns[:width, slot, :, :key] = scale * matrix
        bias = torch.from_numpy(weights[f"{part}/attn/{name}.b"]).reshape(heads, key)
        biases[slot, :, :key] = scale * bias
