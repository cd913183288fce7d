"""Tiny random language models, a word-level tokenizer, and prompts given as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from interp.contrasts import Contrast
from interp.examples import Examples
from interp.facts.types import Fact, FactSet
from interp.models.model import Model

VOCABULARY = 96
LAYERS = 3
WIDTH = 32

#: Subjects, answers and the words of a few templates; the rest of the vocabulary is filler.
COUNTRIES = tuple(f"land{i}" for i in range(24))
CITIES = tuple(f"city{i}" for i in range(24))
WORDS = ("The", "the", "In", "of", "is", "in", "capital", "city", "not", ",", ".", "new", "old")
WORDS += COUNTRIES + CITIES

_COMMON: dict[str, Any] = {
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
_GROUPED: dict[str, Any] = {**_COMMON, "intermediate_size": 64, "num_key_value_heads": 2}
_WINDOWED: dict[str, Any] = {**_GROUPED, "head_dim": 8, "sliding_window": 4}
_SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]


#: Ways of asking for the capitals of these countries.
TEMPLATES = ("The capital of {subject} is", "In {subject} , the capital is", "{subject} is in")


def facts(n: int = 6, answer=lambda i: f"city{i}", templates=TEMPLATES) -> FactSet:
    """The capitals of the first countries."""
    rows = tuple(Fact(f"land{i}", answer(i), f"land{i}") for i in range(n))
    return FactSet("tiny", templates, rows, "The capital of {subject} is {answer} .", "test")


def config(family: str, **changes: Any) -> Any:
    """The configuration of a family: three blocks of width 32, four heads, untied."""
    make, given = {
        "gpt2": (
            GPT2Config,
            {
                "n_layer": LAYERS,
                "n_embd": WIDTH,
                "n_head": 4,
                "n_positions": 64,
                "vocab_size": VOCABULARY,
                "tie_word_embeddings": False,
            },
        ),
        "neox": (GPTNeoXConfig, {**_COMMON, "intermediate_size": 64}),
        "llama": (LlamaConfig, _GROUPED),
        "gemma2": (Gemma2Config, _WINDOWED),
        "gemma3": (Gemma3TextConfig, {**_WINDOWED, "layer_types": _SLIDING}),
        "qwen2": (Qwen2Config, _GROUPED),
        "qwen3": (Qwen3Config, {**_GROUPED, "head_dim": 8}),
        "mistral": (MistralConfig, {**_GROUPED, "sliding_window": 4}),
        "opt": (OPTConfig, {**_COMMON, "ffn_dim": 64, "word_embed_proj_dim": WIDTH}),
        "phi3": (Phi3Config, {**_GROUPED, "pad_token_id": 0}),
    }[family]
    return make(**{**given, **changes})


FAMILIES = (
    "gpt2", "neox", "llama", "gemma2", "gemma3", "qwen2", "qwen3", "mistral", "opt", "phi3",
)  # fmt: skip


def hf_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """A random transformers model whose blocks all matter: weights of order one, biases too.

    The library's own initialisation is so small that most interventions would hardly move a logit.
    """
    model = AutoModelForCausalLM.from_config(
        config(family, **changes), attn_implementation="eager"
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.2 * noise)
            else:
                parameter.copy_(noise * 1.5 / WIDTH**0.5)
    return model


def save_tokenizer(folder: Path) -> Any:
    """The word-level tokenizer, written to the folder and read back."""
    vocabulary = {"<unk>": 0, "<pad>": 1, "<eos>": 2}
    for word in WORDS:
        vocabulary[word] = len(vocabulary)
    for i in range(VOCABULARY - len(vocabulary)):
        vocabulary[f"filler{i}"] = len(vocabulary)
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>"
    ).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def token_rows(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Random prompts as token ids, one of each length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


def examples(
    rows: Sequence[Sequence[int]],
    *,
    subject: Sequence[tuple[int, int]] | None = None,
    pad: str = "right",
    groups: Sequence[str] | None = None,
) -> Examples:
    """Prompts given as ids; `subject` in each prompt's own coordinates; padding on either side."""
    width = max(map(len, rows))
    tokens = torch.ones(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    spans: dict[str, list[tuple[int, int]]] = {"all": [], "last": []}
    if subject is not None:
        spans["subject"] = []
    for i, ids in enumerate(rows):
        start = width - len(ids) if pad == "left" else 0
        stop = start + len(ids)
        tokens[i, start:stop] = torch.tensor(ids)
        mask[i, start:stop] = True
        spans["all"].append((start, stop))
        spans["last"].append((stop - 1, stop))
        if subject is not None:
            spans["subject"].append((start + subject[i][0], start + subject[i][1]))
    names = tuple(f"e{i}" for i in range(len(rows))) if groups is None else tuple(groups)
    return Examples(
        tokens,
        mask,
        tuple(" ".join(map(str, ids)) for ids in rows),
        names,
        {name: torch.tensor(span) for name, span in spans.items()},
        ("A",) * len(rows),
    )


def contrast(*lengths: int, seed: int = 0, pad: str = "right") -> Contrast:
    """Random pairs, one of each length, with a two-token subject in the middle."""
    subject = [(1, 3) for _ in lengths]
    n = len(lengths)
    return Contrast(
        examples(token_rows(*lengths, seed=seed), subject=subject, pad=pad),
        examples(token_rows(*lengths, seed=seed + 1), subject=subject, pad=pad),
        torch.arange(5, 5 + n),
        torch.arange(50, 50 + n),
    )


def one_position(like: Examples, position: int) -> Tensor:
    """True at one column of every example."""
    where = torch.zeros_like(like.mask)
    where[:, position] = True
    return where


def rounding(*values: Tensor) -> float:
    """How far equal quantities of this size may lie apart when sums are taken in another order.

    For logits and activations of these models, computed in single precision: a thousand units in the
    last place, some hundred roundings that three blocks pass on.
    """
    size = max(1.0, *(float(value.nan_to_num(0.0).abs().max()) for value in values))
    return 1000 * torch.finfo(torch.float32).eps * size


def same(found: Tensor, expected: Tensor) -> bool:
    """Whether two computations of one quantity agree but for rounding."""
    apart = (found.double() - expected.double()).nan_to_num(0.0).abs().max()
    return torch.equal(found.isnan(), expected.isnan()) and float(apart) <= rounding(found, expected)


def hooks_left(model: Model) -> int:
    """Hooks of any kind that hang on the model's hook points, blocks included."""
    points = [len(p.fwd_hooks) + len(p.bwd_hooks) for p in model.bridge.hook_dict.values()]
    modules = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.bridge.blocks.modules()]
    return sum(points) + sum(modules)
