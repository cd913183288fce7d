"""Loading and wrapping models, alone or as the two of a comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge.sources import build_bridge_from_module

from interp.models import adapters, block_calls, sources
from interp.models.model import Exactness, Model
from interp.models.pair import ModelPair
from interp.models.placement import Device, check_devices, placed, route
from interp.progress import stage
from interp.sites import Kind, Site
from interp.untrusted.reading import reason

#: Largest difference between wrapped and bare logits, relative to the largest logit.
PARITY = {torch.float32: 1e-4, torch.float64: 1e-6}

#: How many times that is allowed between a model on several devices and itself on the CPU.
PLACED = 10

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
    device: Device = "cpu",
    role: str = "base",
) -> Model:
    """Load a model from a folder, a .gguf file, an adapter folder (with `base`), a name or a hub id.

    Only safetensors and GGUF are read, never pickles, and no remote code is run.

    Args:
        source: a path, a hub id, or a name such as "smollm2" or "organism-base" (`interp list` shows
            the names).
        base: the model an adapter is applied to; a missing tokenizer is also taken from it.
        revision: of a hub id.
        dtype: "float32", "bfloat16", "float16" or "float64", a usual short name of these ("fp16",
            "half", "bf16"), or torch's own.
        device: where the parameters are put, once; nothing moves afterwards. "auto" spreads the
            blocks over the GPUs that torch sees, in proportion to their free memory; a device map as
            accelerate writes it, such as {"": 0, "model.layers.20": 1}, says where each module runs;
            another model's `placement` puts this one where that is.
        role: "base" or "tuned", by which its numbers are told apart in tables; a tuned model that is
            loaded alone is called "base" there unless this says otherwise.

    Returns:
        The model behind TransformerLens hooks: raw weights (nothing is folded), frozen parameters,
        evaluation mode.

    Raises:
        ValueError: one line saying what was got, what was expected and what to do.

    Example:
        >>> import interp
        >>> model = interp.load_model("organism-base")
        >>> model.role, str(model.dtype), str(model.device)
        ('base', 'torch.float32', 'cpu')
        >>> prompt = interp.load_facts("world").prompts(0)[0]
        >>> model.logits(prompt).shape[-1] == model.vocabulary
        True
    """
    kind = _dtype(dtype)
    check_devices(device)
    if role not in ("base", "tuned"):
        raise ValueError(f"role got {role!r}; expected 'base' or 'tuned'; leave it out for 'base'")
    loaded = sources.load(source, base=base, revision=revision, dtype=kind)
    elsewhere = str(device) != "cpu"
    reference = _bare_logits(loaded.model) if elsewhere else None
    wrapped = _wrapped(
        placed(loaded.model, device),
        loaded.tokenizer,
        loaded.name,
        loaded.stored_dtype,
        tuple(loaded.warnings),
        reference,
    )
    return wrapped if role == wrapped.role else replace(wrapped, role=role)


def load_pair(base: str | Path, tuned: str | Path, **same: Any) -> ModelPair:
    """Load both models of a comparison alike; an adapter is applied to `base`.

    Args:
        base: the model before tuning, as `load_model` takes it.
        tuned: the model tuned from it, or an adapter.
        **same: further arguments of `load_model`, for both.

    Returns:
        The pair; its `warnings` say what cautions belong beside its numbers.

    Raises:
        ValueError: as `load_model`; if the two cannot be compared, with every mismatch.

    Example:
        >>> import interp
        >>> pair = interp.load_pair("organism-base", "organism-null")
        >>> pair.base.role, pair.tuned.role, pair.base.n_layers == pair.tuned.n_layers
        ('base', 'tuned', True)
    """
    stage("loading the base")
    loaded = load_model(base, **same)
    stage("loading the tuned model")
    if same.get("device") == "auto":
        same["device"] = loaded.placement  # blocks that are compared lie together
    return ModelPair(loaded, load_model(tuned, base=base, **same))


def _dtype(asked: str | torch.dtype) -> torch.dtype:
    """The dtype that is meant, by torch's own or by any of its usual names."""
    name = str(asked).removeprefix("torch.")
    dtype = asked if isinstance(asked, torch.dtype) else DTYPES.get(name)
    if dtype not in DTYPES.values():
        kinds = sorted({str(kind).removeprefix("torch.") for kind in DTYPES.values()})
        raise ValueError(f"dtype must be one of {kinds}, got {asked!r}; try float32")
    return cast(torch.dtype, dtype)


def wrap(
    model: torch.nn.Module,
    tokenizer: Any,
    *,
    name: str = "model",
    stored_dtype: str = "unknown",
    warnings: tuple[str, ...] = (),
) -> Model:
    """Wrap a transformers causal language model as a `Model`; the given object is wrapped in place.

    Args:
        model: a causal language model of an architecture that TransformerLens supports.
        tokenizer: its Hugging Face tokenizer.
        name: what messages and evidence call it.
        stored_dtype: the dtype of its files, for the gate that compares two models.
        warnings: what a reader of its numbers should know.

    Returns:
        The model in evaluation mode with frozen parameters; nothing is folded.

    Raises:
        ValueError: if the wrapped logits, or logits read out from the last residual, differ from
            the bare model's (an architecture whose output is not norm, unembedding and soft-cap), or
            if its blocks cannot be called again, as every sweep does.

    Example:
        >>> import interp
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=32, vocab_size=64)
        >>> tokenizer = interp.load_model("organism-base").tokenizer
        >>> model = interp.wrap(GPT2LMHeadModel(config), tokenizer, name="mine")
        >>> model.n_layers, model.d_model, model.n_heads
        (2, 16, 2)
    """
    return _wrapped(model, tokenizer, name, stored_dtype, warnings, None)


def _wrapped(
    model: Any,
    tokenizer: Any,
    name: str,
    stored_dtype: str,
    warnings: tuple[str, ...],
    reference: Tensor | None,
) -> Model:
    """Wrap a model where it lies, checked against itself and against its logits on the CPU.

    A model on several devices cannot run bare: it is checked against the CPU's logits alone.
    """
    model.eval().requires_grad_(False)
    architecture, probe = type(model).__name__, adapters.probe_tokens(model)
    several = len({parameter.device for parameter in model.parameters()}) > 1
    try:
        bare = reference if several and reference is not None else _bare_logits(model)
        bridge = build_bridge_from_module(
            model, architecture, hf_config=model.config, tokenizer=None, model_name=name
        )
        bridge.eval()
        bridge.requires_grad_(False)
        route(bridge)
        wrapped = Model(bridge, tokenizer, name, stored_dtype, warnings)
        logits_of_both = _logits(wrapped, probe)
    except Exception as error:
        raise ValueError(
            f"{name}: TransformerLens cannot wrap {architecture} ({reason(error)}); "
            "use an architecture it supports"
        ) from error
    parity = PARITY.get(wrapped.dtype, 0.05)
    allowed = min(0.05, PLACED * parity) if several else parity
    for what, logits in logits_of_both.items():
        gap = relative_gap(logits, bare)
        if not gap <= allowed:
            raise ValueError(
                f"{name}: {what} logits differ from the bare model's by {gap:.2g} of the largest "
                f"(expected <= {allowed:.2g}); {architecture} is not supported"
                + (f" on {wrapped.placement}" if several else "")
            )
    try:
        again = block_calls.check(bridge, torch.cat([probe, probe.flip(1)]), parity)
    except ValueError as error:
        raise ValueError(
            f"{name}: {architecture} can be read but not swept ({reason(error)}); "
            "use an architecture whose blocks can be called one by one, such as Llama or GPT-2"
        ) from error
    bridge.embed.register_forward_pre_hook(_only_known_ids(name, wrapped))
    from_cpu = relative_gap(logits_of_both["wrapped"], bare if reference is None else reference)
    return replace(wrapped, exactness=Exactness(from_cpu, again))


@torch.no_grad()
def _bare_logits(model: Any) -> Tensor:
    """Logits of the probe by the model that is not wrapped."""
    return model.eval()(adapters.probe_tokens(model), use_cache=False).logits


def relative_gap(logits: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest logit (or to 1)."""
    reference = reference.to(logits.device)
    scale = max(1.0, reference.abs().max().item())
    return (logits - reference).abs().max().item() / scale


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
