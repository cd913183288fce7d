"""The gate two models pass before they are compared: what makes it meaningless, what cautions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp.tokens import encode


@dataclass(frozen=True)
class Mismatch:
    """One difference between base and tuned; a fatal one makes the comparison meaningless."""

    what: str
    base: str
    tuned: str
    fatal: bool

    def __str__(self) -> str:
        """Got and expected on one line."""
        return f"{self.what}: base {self.base}, tuned {self.tuned}"


_FATAL = {
    "architecture": lambda m: type(m.bridge.original_model).__name__,
    "depth (blocks)": lambda m: m.n_layers,
    "width (d_model)": lambda m: m.d_model,
    "attention heads": lambda m: getattr(m.config, "num_attention_heads", None),
    "key-value heads": lambda m: getattr(m.config, "num_key_value_heads", None),
    "head width": lambda m: m.bridge.cfg.d_head,
    "computing dtype": lambda m: m.dtype,
}

_CAUTION = {
    "chat template": lambda m: _short(getattr(m.tokenizer, "chat_template", None)),
    "vocabulary rows": lambda m: m.unembedding[0].shape[0],
    "special tokens": lambda m: sorted(map(str, m.tokenizer.all_special_tokens)),
    "stored dtype": lambda m: m.stored_dtype,
    "rope settings": lambda m: getattr(m.config, "rope_parameters", None),
    "soft-cap": lambda m: getattr(m.config, "final_logit_softcapping", None),
    "weight processing": lambda m: getattr(m.bridge, "compatibility_mode", False),
}


def compare(base: Any, tuned: Any) -> tuple[Mismatch, ...]:
    """Every difference between two `Model`s that bears on comparing them."""
    found = []
    for table, fatal in ((_FATAL, True), (_CAUTION, False)):
        for what, read in table.items():
            left, right = read(base), read(tuned)
            if left != right:
                found.append(Mismatch(what, str(left), str(right), fatal))
    ours, theirs = base.tokenizer.get_vocab(), tuned.tokenizer.get_vocab()
    moved = [t for t, i in ours.items() if theirs.get(t, i) != i]
    if moved:
        example = min(moved, key=lambda token: ours[token])
        found.append(
            Mismatch(
                f"ids of {len(moved)} shared tokens, such as {example!r}",
                str(ours[example]),
                str(theirs[example]),
                fatal=False,
            )
        )
    return tuple(found)


def require_same_ids(
    base: Any, tuned: Any, texts: list[str], *, add_special_tokens: bool = True
) -> None:
    """Refuse texts that the two tokenizers turn into different ids.

    Args:
        base: the base's tokenizer.
        tuned: the tuned model's.
        texts: the prompts.
        add_special_tokens: False for text that already carries them (a chat template).

    Raises:
        ValueError: naming the first such text.
    """
    for text in texts:
        ours, theirs = (encode(t, text, special=add_special_tokens) for t in (base, tuned))
        if ours != theirs:
            raise ValueError(
                f"base and tuned tokenise {text!r} differently, {ours} and {theirs}; the same ids "
                "are needed in both; give a pair that shares its tokenizer"
            )


def _short(template: str | None) -> str:
    if template is None:
        return "none"
    return template if len(template) <= 60 else f"{template[:57]}… ({len(template)} characters)"
