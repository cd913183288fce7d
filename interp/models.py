"""Models and pairs of models: loading, wrapping, and the check that two can be compared.

The only module that imports TransformerLens. A `Model` keeps the raw weights (nothing is folded),
stays in evaluation mode with frozen parameters, and never moves between devices by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module

from interp import comparability, sources
from interp.sites import Kind, Site

#: Largest difference between wrapped and bare logits, relative to the largest logit.
PARITY = {torch.float32: 1e-4, torch.float64: 1e-6}


@dataclass(frozen=True, eq=False)
class Model:
    """One language model behind TransformerLens hooks, with its tokenizer.

    Attributes:
        bridge: the `TransformerBridge`, raw weights, in evaluation mode, parameters frozen.
        tokenizer: the Hugging Face tokenizer; text is tokenised by it, with its own defaults.
        name: the source it was loaded from.
        role: "base" or "tuned", the name its numbers bear in evidence.
        stored_dtype: the dtype named by the files, before conversion.
        warnings: what a reader of its numbers should know.
    """

    bridge: TransformerBridge
    tokenizer: Any
    name: str = "model"
    stored_dtype: str = "unknown"
    warnings: tuple[str, ...] = ()
    role: str = "base"

    @property
    def n_layers(self) -> int:
        """Number of blocks L."""
        return len(self.bridge.blocks)

    @property
    def config(self) -> Any:
        """The Hugging Face configuration."""
        return cast(Any, self.bridge.original_model).config.get_text_config()

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    def n_heads(self, kind: Kind = Kind.Z) -> int:
        """Attention heads of a layer; for keys and values those that queries share."""
        shared = getattr(self.bridge.cfg, "n_key_value_heads", None)
        return int((shared if kind in (Kind.K, Kind.V) else None) or self.bridge.cfg.n_heads)

    @property
    def context(self) -> int | None:
        """Longest prompt in tokens, or None where the configuration names none."""
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def device(self) -> torch.device:
        """Where the parameters are; results follow them."""
        return next(self.bridge.original_model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype computations run in."""
        return next(self.bridge.original_model.parameters()).dtype

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every parameter: equal exactly when the weights are bit-identical."""
        digest = hashlib.blake2b(digest_size=16)
        for name, parameter in sorted(self.bridge.original_model.named_parameters()):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def unembedding(self) -> tuple[Tensor, Tensor | None]:
        """Rows of the unembedding, [vocabulary, d_model], and its bias where it has one."""
        weight = self.bridge.unembed.W_U.T
        bias = getattr(self.bridge.unembed.original_component, "bias", None)
        return weight, bias

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "example position"] | str, mask: Tensor | None = None
    ) -> Float[Tensor, "example position vocabulary"]:
        """Logits of the unmodified model, run through TransformerLens; of token ids or one text.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(tokens, str) and tokens:
            tokens = torch.tensor([self.tokenizer(tokens).input_ids], device=self.device)
        if not isinstance(tokens, Tensor):
            raise ValueError(
                f"tokens got {type(tokens).__name__} {str(tokens)[:40]!r}; expected ids [example, "
                "position] or one text; for several take Examples.from_text and its tokens and mask"
            )
        if mask is not None:
            return self.bridge(tokens, attention_mask=mask.long(), use_cache=False)
        return self.bridge(tokens, use_cache=False)

    def readout(
        self, residual: Float[Tensor, "*rows d_model"], tokens: Int[Tensor, " token"] | None = None
    ) -> Float[Tensor, "*rows token"]:
        """Logits of the given vocabulary rows from the residual stream after the last block.

        softcap(W_U[tokens] · norm(h) + b_U[tokens]); all rows when `tokens` is None. Checked
        against the whole model's logits when the model is wrapped.
        """
        weight, bias = self.unembedding
        if tokens is not None:
            weight, bias = weight[tokens], None if bias is None else bias[tokens]
        hidden = self.bridge.ln_final(residual)
        scores = torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        cap = getattr(self.config, "final_logit_softcapping", None)
        scores = scores if cap is None else torch.tanh(scores / cap) * cap
        scale = getattr(self.config, "logit_scale", None)
        return scores if scale is None else scores * scale


@dataclass(frozen=True, eq=False)
class ModelPair:
    """A base model and a tuned version of it that can be compared.

    Construction runs the comparability gate: differing architecture, depth, width or head layout is
    an error; chat template, appended vocabulary, special tokens, stored dtype and rope scaling are
    cautions kept in `warnings`.

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

    @cached_property
    def mismatches(self) -> tuple[comparability.Mismatch, ...]:
        """Every difference found between the two, fatal or not."""
        return comparability.compare(self.base, self.tuned)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Cautions that belong beside the numbers."""
        own = [*self.base.warnings, *self.tuned.warnings]
        return tuple(dict.fromkeys([*own, *(str(m) for m in self.mismatches if not m.fatal)]))

    def require_same_ids(self, texts: list[str]) -> None:
        """Refuse texts that the two tokenizers turn into different ids.

        Raises:
            ValueError: naming the first such text.
        """
        comparability.require_same_ids(self.base.tokenizer, self.tuned.tokenizer, texts)


def load_model(
    source: str | Path,
    *,
    base: str | Path | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Model:
    """A model from a folder, a .gguf file, an adapter folder (with `base`), a name or a hub id.

    Args:
        source: see `interp.sources.names` for the names.
        base: the model an adapter is applied to; a missing tokenizer is also taken from it.
        revision: of a hub id.
        dtype: "float32", "bfloat16", "float16" or "float64".
        device: where the parameters are put, once; nothing moves afterwards.

    Raises:
        ValueError: one line saying what was found, what was expected and what to do.
    """
    kinds = {"float32", "bfloat16", "float16", "float64"}
    if dtype not in kinds:
        raise ValueError(f"dtype must be one of {sorted(kinds)}, got {dtype!r}; try float32")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by device
        raise ValueError(
            f"device must be one that torch finds here, got {device!r} "
            f"({str(error).splitlines()[0][:80]}); use cpu"
        ) from error
    loaded = sources.load(source, base=base, revision=revision, dtype=getattr(torch, dtype))
    loaded.model.to(device)  # pyright: ignore[reportArgumentType]
    return wrap(
        loaded.model,
        loaded.tokenizer,
        name=loaded.name,
        stored_dtype=loaded.stored_dtype,
        warnings=tuple(loaded.warnings),
    )


def load_pair(base: str | Path, tuned: str | Path, **same: Any) -> ModelPair:
    """Both models of a comparison, loaded alike; an adapter is applied to `base`."""
    return ModelPair(load_model(base, **same), load_model(tuned, base=base, **same))


def wrap(
    model: torch.nn.Module,
    tokenizer: Any,
    *,
    name: str = "model",
    stored_dtype: str = "unknown",
    warnings: tuple[str, ...] = (),
) -> Model:
    """A transformers causal language model as a `Model`; the given object is wrapped in place.

    Raises:
        ValueError: if the wrapped logits, or logits read out from the last residual, differ from
            the bare model's (an architecture whose output is not norm, unembedding and soft-cap).
    """
    model.eval().requires_grad_(False)
    probe = sources.probe_tokens(model)
    with torch.no_grad():
        expected = model(probe, use_cache=False).logits
        architecture = type(model).__name__
        try:
            bridge = build_bridge_from_module(
                model,
                architecture,
                hf_config=model.config,
                tokenizer=None,
                model_name=name,
            )
        except Exception as error:
            raise ValueError(
                f"{name}: TransformerLens cannot wrap {architecture} "
                f"({str(error).splitlines()[0][:200]}); use an architecture it supports"
            ) from error
        bridge.eval()
        bridge.requires_grad_(False)
        wrapped = Model(bridge, tokenizer, name, stored_dtype, warnings)
        top = Site(Kind.RESID_POST, wrapped.n_layers - 1).hook_name
        residual: list[Tensor] = []

        def keep(value: Tensor, hook: object) -> None:
            residual.append(value)

        with bridge.hooks(fwd_hooks=[(top, keep)]):
            logits = wrapped.logits(probe)
        found = {"wrapped": logits, "read-out": wrapped.readout(residual[0])}
    tolerance = PARITY.get(wrapped.dtype, 0.05) * max(1.0, expected.abs().max().item())
    for what, logits in found.items():
        difference = (logits - expected).abs().max().item()
        if not difference <= tolerance:
            raise ValueError(
                f"{name}: {what} logits differ from the bare model's by {difference:.2g} "
                f"(expected <= {tolerance:.2g}); {architecture} is not supported"
            )
    return wrapped
