"""Models: loading and wrapping, alone or as the two of a comparison.

The only module that imports TransformerLens. A `Model` keeps the raw weights (nothing is folded),
stays in evaluation mode with frozen parameters, and never moves between devices by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module

from interp import adapters, block_calls, sources
from interp.comparability import ModelPair
from interp.formats import reason
from interp.sites import Kind, Site
from interp.tokens import encode

#: Largest difference between wrapped and bare logits, relative to the largest logit.
PARITY = {torch.float32: 1e-4, torch.float64: 1e-6}
#: Dtypes by the names that users give them.
DTYPES = {
    "float32": torch.float32, "float": torch.float32, "fp32": torch.float32, "f32": torch.float32,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float16": torch.float16, "half": torch.float16, "fp16": torch.float16, "f16": torch.float16,
    "float64": torch.float64, "double": torch.float64, "fp64": torch.float64, "f64": torch.float64,
}  # fmt: skip


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

    def __repr__(self) -> str:
        """What it is on one line, its weights and its tokenizer's vocabulary left out."""
        kind = type(self.bridge.original_model).__name__
        parts = [f"{self.n_layers} blocks of width {self.d_model}", f"{self.vocabulary:,} tokens"]
        parts += [str(self.dtype).removeprefix("torch."), str(self.device), self.role]
        if self.warnings:
            parts.append(f"{len(self.warnings)} warning{'s' * (len(self.warnings) > 1)}")
        return f"Model({self.name!r}: {kind}, {', '.join(parts)})"

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

    @property
    def vocabulary(self) -> int:
        """Number of tokens it can say: rows of the unembedding."""
        return int(self.unembedding[0].shape[0])

    def sayable(self, tokens: Int[Tensor, "*token"]) -> Bool[Tensor, "*token"]:
        """Which tokens the model has a row for; any other it never says."""
        return (tokens >= 0) & (tokens < self.vocabulary)

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "example position"] | str, mask: Tensor | None = None
    ) -> Float[Tensor, "example position vocabulary"]:
        """Logits of the unmodified model, run through TransformerLens; a text is one prompt.

        Raises:
            ValueError: for anything but one text or token ids that the model has an embedding of.
        """
        if isinstance(tokens, str):
            tokens = torch.tensor([encode(self.tokenizer, tokens)], device=self.device)
        if not isinstance(tokens, Tensor):
            raise ValueError(
                "logits are of token ids [example, position] or of one text; got "
                f"{type(tokens).__name__}; several texts become ids by Examples.from_text: give its "
                "tokens and mask"
            )
        if mask is not None:
            return self.bridge(tokens, attention_mask=mask.long(), use_cache=False)
        return self.bridge(tokens, use_cache=False)

    def readout(
        self, residual: Float[Tensor, "*rows d_model"], tokens: Int[Tensor, " token"] | None = None
    ) -> Float[Tensor, "*rows token"]:
        """Logits of the given vocabulary rows from the residual stream after the last block.

        softcap(W_U[tokens] · norm(h) + b_U[tokens]); all rows when `tokens` is None. A token that
        the model has no row for is never said: -inf. Checked against the whole model's logits when
        the model is wrapped.
        """
        weight, bias = self.unembedding
        if tokens is not None:
            rows = tokens.clamp(0, self.vocabulary - 1)
            weight, bias = weight[rows], None if bias is None else bias[rows]
        hidden = self.bridge.ln_final(residual)
        scores = torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        cap = getattr(self.config, "final_logit_softcapping", None)
        scores = scores if cap is None else torch.tanh(scores / cap) * cap
        scale = getattr(self.config, "logit_scale", None)
        scores = scores if scale is None else scores * scale
        return scores if tokens is None else scores.masked_fill(~self.sayable(tokens), -torch.inf)


def load_model(
    source: str | Path,
    *,
    base: str | Path | None = None,
    revision: str | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device = "cpu",
) -> Model:
    """A model from a folder, a .gguf file, an adapter folder (with `base`), a name or a hub id.

    Args:
        source: see `interp.sources.names` for the names.
        base: the model an adapter is applied to; a missing tokenizer is also taken from it.
        revision: of a hub id.
        dtype: "float32", "bfloat16", "float16" or "float64", a usual short name of these ("fp16",
            "half", "bf16"), or torch's own.
        device: where the parameters are put, once; nothing moves afterwards.

    Raises:
        ValueError: one line saying what was found, what was expected and what to do.
    """
    kind = _dtype(dtype)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by device
        raise ValueError(
            f"device must be one that torch finds here, got {device!r} "
            f"({str(error).splitlines()[0][:80]}); use cpu"
        ) from error
    loaded = sources.load(source, base=base, revision=revision, dtype=kind)
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


def _dtype(asked: str | torch.dtype) -> torch.dtype:
    """The dtype that is meant, by torch's own or by any of its usual names."""
    found = asked if isinstance(asked, torch.dtype) else DTYPES.get(str(asked).removeprefix("torch."))
    if found not in DTYPES.values():
        kinds = sorted({str(kind).removeprefix("torch.") for kind in DTYPES.values()})
        raise ValueError(f"dtype must be one of {kinds}, got {asked!r}; try float32")
    return cast(torch.dtype, found)


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
            the bare model's (an architecture whose output is not norm, unembedding and soft-cap), or
            if its blocks cannot be called again, as every sweep does.
    """
    model.eval().requires_grad_(False)
    architecture = type(model).__name__
    probe = adapters.probe_tokens(model)
    try:
        with torch.no_grad():
            expected = model(probe, use_cache=False).logits
        bridge = build_bridge_from_module(
            model, architecture, hf_config=model.config, tokenizer=None, model_name=name
        )
        bridge.eval()
        bridge.requires_grad_(False)
        wrapped = Model(bridge, tokenizer, name, stored_dtype, warnings)
        found = _logits(wrapped, probe)
    except Exception as error:
        raise ValueError(
            f"{name}: TransformerLens cannot wrap {architecture} ({reason(error)}); "
            "use an architecture it supports"
        ) from error
    parity = PARITY.get(wrapped.dtype, 0.05)
    tolerance = parity * max(1.0, expected.abs().max().item())
    for what, logits in found.items():
        difference = (logits - expected).abs().max().item()
        if not difference <= tolerance:
            raise ValueError(
                f"{name}: {what} logits differ from the bare model's by {difference:.2g} "
                f"(expected <= {tolerance:.2g}); {architecture} is not supported"
            )
    try:
        block_calls.check(bridge, torch.cat([probe, probe.flip(1)]), parity)
    except ValueError as error:
        raise ValueError(
            f"{name}: {architecture} can be read but not swept ({reason(error)}); "
            "use an architecture whose blocks can be called one by one, such as Llama or GPT-2"
        ) from error
    bridge.embed.register_forward_pre_hook(_only_known_ids(name, wrapped))
    return wrapped


@torch.no_grad()
def _logits(model: Model, tokens: Int[Tensor, "row position"]) -> dict[str, Tensor]:
    """Logits of the wrapped model, and those read out from the residual after its last block."""
    residual: list[Tensor] = []

    def keep(value: Tensor, hook: object) -> None:
        residual.append(value)

    top = Site(Kind.RESID_POST, model.n_layers - 1).hook_name
    with model.bridge.hooks(fwd_hooks=[(top, keep)]):
        logits = model.logits(tokens)
    return {"wrapped": logits, "read-out": model.readout(residual[0])}


def _only_known_ids(name: str, model: Model) -> Any:
    """A hook before the embedding that refuses ids it has no row for."""
    rows = cast(Any, model.bridge.original_model).get_input_embeddings().weight.shape[0]

    def refuse(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        if args and not (args[0] < rows).all():
            raise ValueError(
                f"{name} has {rows} token ids; got {int(args[0].max())}, a token that was added to "
                "another model's vocabulary; leave it out of the prompts"
            )

    return refuse
