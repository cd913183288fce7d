"""Pairs of models, and the gate two pass to be one: what makes comparing meaningless, what cautions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp._doors import held
from interp.display.html import Shown
from interp.models.tokens import encode

if TYPE_CHECKING:
    from interp.models.model import Model


@dataclass(frozen=True)
class Mismatch:
    """One difference between base and tuned model.

    Attributes:
        what: what differs.
        base: as the base has it.
        tuned: as the tuned model has it.
        fatal: whether it makes a comparison meaningless; the others are cautions.
    """

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
    "device": lambda m: m.device,
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


@held
@dataclass(frozen=True, eq=False)
class ModelPair(Shown):
    """A base model and a tuned version of it that can be compared.

    Construction runs the comparability gate: differing architecture, depth, width or head layout is
    an error; chat template, appended vocabulary, special tokens, stored dtype and rope scaling are
    cautions kept in `warnings`.

    Attributes:
        base: the model before tuning; its role becomes "base".
        tuned: the model tuned from it; its role becomes "tuned".

    Raises:
        ValueError: naming every mismatch that makes a comparison meaningless.
    """

    base: Model
    tuned: Model

    def __post_init__(self) -> None:
        """Name the roles and refuse what cannot be compared."""
        object.__setattr__(self, "base", replace(self.base, role="base"))
        object.__setattr__(self, "tuned", replace(self.tuned, role="tuned"))
        errors = [m for m in self.mismatches if m.fatal]
        if errors:
            raise ValueError(
                f"{self.base.name} and {self.tuned.name} cannot be compared: "
                + "; ".join(str(m) for m in errors)
                + "; give a base and a version tuned from it"
            )

    @property
    def device(self) -> torch.device:
        """Where the base takes its tokens; the tuned model lies with it."""
        return self.base.device

    def __repr__(self) -> str:
        """Both models, a line each."""
        return f"ModelPair(\n  {self.base!r},\n  {self.tuned!r},\n)"

    def sayable(self, tokens: Int[Tensor, "*token"]) -> Bool[Tensor, "*token"]:
        """Which tokens both models have a row for.

        A difference of logits between a token and one that a model never says is infinite; shares
        and differences of it are undefined, so such items are left out of contrasts.
        """
        return self.base.sayable(tokens) & self.tuned.sayable(tokens)

    @cached_property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Every difference found between the two, fatal or not."""
        return compare(self.base, self.tuned)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Cautions that belong beside the numbers."""
        loaded = [*self.base.warnings, *self.tuned.warnings]
        return tuple(dict.fromkeys([*loaded, *(str(m) for m in self.mismatches if not m.fatal)]))

    def require_same_ids(self, texts: list[str], *, add_special_tokens: bool = True) -> None:
        """Refuse texts that the two tokenizers turn into different ids.

        Args:
            texts: the prompts.
            add_special_tokens: False for text that already carries them (a chat template).

        Raises:
            ValueError: naming the first such text.
        """
        require_same_ids(
            self.base.tokenizer, self.tuned.tokenizer, texts, add_special_tokens=add_special_tokens
        )


def compare(base: Any, tuned: Any) -> tuple[Mismatch, ...]:
    """Every difference between two `Model`s that bears on comparing them."""
    mismatches = []
    for table, fatal in ((_FATAL, True), (_CAUTION, False)):
        for what, read in table.items():
            left, right = read(base), read(tuned)
            if left != right:
                mismatches.append(Mismatch(what, str(left), str(right), fatal))
    base_ids, tuned_ids = base.tokenizer.get_vocab(), tuned.tokenizer.get_vocab()
    moved = [token for token, i in base_ids.items() if tuned_ids.get(token, i) != i]
    if moved:
        example = min(moved, key=lambda token: base_ids[token])
        mismatches.append(
            Mismatch(
                f"ids of {len(moved)} shared tokens, such as {example!r}",
                str(base_ids[example]),
                str(tuned_ids[example]),
                fatal=False,
            )
        )
    return tuple(mismatches)


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
        base_ids, tuned_ids = (encode(t, text, special=add_special_tokens) for t in (base, tuned))
        if base_ids != tuned_ids:
            raise ValueError(
                f"base and tuned tokenise {text!r} differently, {base_ids} and {tuned_ids}; the same "
                "ids are needed in both; give a pair that shares its tokenizer"
            )


def _short(template: str | None) -> str:
    if template is None:
        return "none"
    return template if len(template) <= 60 else f"{template[:57]}… ({len(template)} characters)"
