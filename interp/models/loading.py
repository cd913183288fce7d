"""Loading and wrapping models, alone or as the two of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge.sources import build_bridge_from_module

from interp.models import adapters, block_calls, sources
from interp.models.formats import reason
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import Kind, Site

#: Largest difference between wrapped and bare logits, relative to the largest logit.
PARITY = {torch.float32: 1e-4, torch.float64: 1e-6}

#: Dtypes by the names that users give them.
DTYPES = {
    "float32": torch.float32, "float": torch.float32, "fp32": torch.float32, "f32": torch.float32,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float16": torch.float16, "half": torch.float16, "fp16": torch.float16, "f16": torch.float16,
    "float64": torch.float64, "double": torch.float64, "fp64": torch.float64, "f64": torch.float64,
}  # fmt: skip


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
        source: see `interp.models.sources.names` for the names.
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
