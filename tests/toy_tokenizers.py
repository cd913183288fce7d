"""Small tokenizers of the kinds that are about: what they do at the start of a text differs."""

from __future__ import annotations

from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

CORPUS = [
    "The capital of France is the city of Paris . The capital of Spain is the city of Madrid .",
    '{"France": "Paris", "Spain": "Madrid"} France -> (Paris), Spain -> (Madrid)',
    "True False true false Yes No yes no Answer : post-war",
    "法国的首都是巴黎 。 日本的首都是东京 。",
    "In the land or Land 0 1 2 3 4 5 6 7 8 9 it is so",
    "It began in 1914 and ended in 1918 , or in 1945 .",
] * 50
SIZE = 400
#: How GPT-2 and how Llama 3 and Qwen cut a text into words.
GPT2 = r"'s|'t| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _trained(tokenizer: Tokenizer, alphabet: list[str], special: list[str]) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def prepending() -> Any:
    """As Mistral's and Phi-3's: a space is put before every text, and <s> before that."""
    words = Tokenizer(models.BPE(byte_fallback=True))
    words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    letters = sorted({c for text in CORPUS for c in text} - {" "} | {"▁", "\n"})
    _trained(words, letters, ["<unk>", "<s>", "</s>"])
    words.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    words.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def bytewise(pattern: str = GPT2, *, appended: bool = False) -> Any:
    """As GPT-2's or Qwen's: bytes, a space belongs to the word behind it; or with an end appended."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    _trained(words, pre_tokenizers.ByteLevel.alphabet(), ["<bos>", "<eos>"])
    words.decoder = decoders.ByteLevel()
    if appended:
        words.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<bos>", eos_token="<eos>")


class Slow(PreTrainedTokenizer):
    """Written in Python, without character offsets: a known word with its space, or its letters."""

    def __init__(self) -> None:
        """Learn the words and letters of the corpus."""
        letters = sorted({letter for text in CORPUS for letter in text})
        words = sorted({f" {word}" for text in CORPUS for word in text.split()})
        self.pieces = {piece: i for i, piece in enumerate(dict.fromkeys(["<unk>", *letters, *words]))}
        super().__init__(unk_token="<unk>")

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return len(self.pieces)

    def get_vocab(self) -> dict[str, int]:
        """Pieces and their ids."""
        return dict(self.pieces)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        found = []
        for word in text.replace(" ", "\0 ").split("\0"):
            found += [word] if word in self.pieces else list(word)
        return found

    def _convert_token_to_id(self, token: str) -> int:
        return self.pieces.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return list(self.pieces)[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of some pieces."""
        return "".join(tokens)


KINDS = {
    "prepending": prepending,
    "GPT-2": bytewise,
    "Qwen": lambda: bytewise(QWEN),
    "appending": lambda: bytewise(appended=True),
    "slow": Slow,
}
