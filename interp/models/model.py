"""A language model behind TransformerLens hooks.

A `Model` keeps the raw weights (nothing is folded), stays in evaluation mode with frozen parameters,
and never moves between devices by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from interp.display.html import Shown
from interp.models.identity import identity
from interp.models.placement import Placement
from interp.models.tokens import encode
from interp.sites import Kind


class HeadCount(int):
    """A number of attention heads, which may also be called with a kind, as `n_heads` once was."""

    _shared: int

    def __new__(cls, heads: int, shared: int) -> HeadCount:
        """The number of queries' heads, and that of keys and values."""
        count = super().__new__(cls, heads)
        count._shared = shared
        return count

    def __call__(self, kind: Kind = Kind.Z) -> int:
        """The heads of a kind; `Model.heads_of` is today's name."""
        return self._shared if kind in (Kind.K, Kind.V) else int(self)


@dataclass(frozen=True)
class Exactness:
    """How far a model where it lies is from itself, on a fixed prompt; relative to the largest entry.

    Attributes:
        logits: from the logits of the bare model on the CPU (of one that was wrapped in place: on its
            own devices).
        blocks: of its blocks called one by one for other rows, as sweeps do, from its own forward.
    """

    logits: float
    blocks: float


@dataclass(frozen=True, eq=False)
class Model(Shown):
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
    exactness: Exactness | None = None

    def __repr__(self) -> str:
        """What it is on one line, its weights and its tokenizer's vocabulary left out."""
        kind = type(self.bridge.original_model).__name__
        parts = [f"{self.n_layers} blocks of width {self.d_model}", f"{self.vocabulary:,} tokens"]
        parts += [
            str(self.dtype).removeprefix("torch."),
            str(self.placement),
            f"{self.role!r} in tables",
        ]
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

    @property
    def n_heads(self) -> HeadCount:
        """Number of attention heads of a layer, as queries count them."""
        return HeadCount(int(self.bridge.cfg.n_heads), self.n_key_value_heads)

    @property
    def n_key_value_heads(self) -> int:
        """Number of heads of keys and values in a layer, which queries may share."""
        shared = getattr(self.bridge.cfg, "n_key_value_heads", None)
        return int(shared or self.bridge.cfg.n_heads)

    def heads_of(self, kind: Kind) -> int:
        """Number of heads that a kind of site has in a layer: of keys and values those shared."""
        return self.n_key_value_heads if kind in (Kind.K, Kind.V) else int(self.n_heads)

    @property
    def context(self) -> int | None:
        """Longest prompt in tokens, or None where the configuration names none."""
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def device(self) -> torch.device:
        """Where tokens go in and results come out: that of the parameters, or of the embedding."""
        return next(self.bridge.original_model.parameters()).device

    @cached_property
    def placement(self) -> Placement:
        """The device of every part: one for all, unless the blocks are spread over several."""
        return Placement.of(self.bridge)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype computations run in."""
        return next(self.bridge.original_model.parameters()).dtype

    @property
    def metric_dtype(self) -> torch.dtype:
        """The dtype metrics are kept in: float64 where computations run in it, else float32."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every parameter: equal exactly when the weights are bit-identical."""
        digest = hashlib.blake2b(digest_size=16)
        for name, parameter in sorted(self.bridge.original_model.named_parameters()):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __fingerprint__(self) -> tuple[Any, ...]:
        """What determines its numbers, by which results of long runs are named."""
        return identity(self.bridge)

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

        Raises:
            ValueError: for anything but a tensor of the residual stream's width.
        """
        if not isinstance(residual, Tensor) or residual.shape[-1:] != (self.d_model,):
            got = list(residual.shape) if isinstance(residual, Tensor) else type(residual).__name__
            raise ValueError(
                f"residual got {got}; expected a tensor [..., {self.d_model}] of the residual stream; "
                "of Activations give their values"
            )
        weight, bias = self.unembedding
        if tokens is not None:
            rows = tokens.clamp(0, self.vocabulary - 1).to(weight.device)
            weight, bias = weight[rows], None if bias is None else bias[rows]
        hidden = self.bridge.ln_final(residual)
        scores = torch.nn.functional.linear(hidden.to(weight), weight, bias).to(self.device)
        cap = getattr(self.config, "final_logit_softcapping", None)
        scores = scores if cap is None else torch.tanh(scores / cap) * cap
        scale = getattr(self.config, "logit_scale", None)
        scores = scores if scale is None else scores * scale
        return (
            scores
            if tokens is None
            else scores.masked_fill(~self.sayable(tokens.to(self.device)), -torch.inf)
        )
