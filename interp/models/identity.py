"""What of a model determines its numbers, as `interp.runs` names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from interp.models.placement import Placement
from interp.runs.fingerprint import raw_bytes

#: What a configuration says of where it came from.
ORIGIN = ("_name_or_path", "transformers_version")

#: Packages whose hooks are part of how a model runs.
HOOKING = ("transformer_lens", "transformers", "accelerate", "torch", "interp")

#: Parameter -> (address, version) when it was hashed, and its hash.
_HASHES: Any = WeakIdKeyDictionary()


def identity(bridge: Any) -> tuple[Any, ...]:
    """Class, configuration, weights and buffers, dtype and kinds of devices of a model.

    Weights are hashed again only where they have changed, so that a graft is another model.

    Raises:
        ValueError: for a model with hooks of one's own, whose numbers are not the model's.
    """
    _require_no_hooks(bridge)
    model = bridge.original_model
    held = {name: _hash_of(t) for name, t in chain(model.named_parameters(), model.named_buffers())}
    config = {key: value for key, value in model.config.to_dict().items() if key not in ORIGIN}
    attention = getattr(model.config, "_attn_implementation", None)
    dtype, kinds = next(model.parameters()).dtype, Placement.of(bridge).kinds
    written = json.dumps(config, sort_keys=True, default=str)
    return type(model).__name__, written, attention, held, dtype, kinds


def own_hooks(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Hooks of one's own on a bridge or a part of one: where in it, and what each calls."""
    for path, module in part.named_modules():
        name = path.replace("_original_component.", "")  # what a bridge wraps, named as it names it
        for held in getattr(module, "fwd_hooks", ()):
            # TransformerLens wires some families' points together by hooks that stay.
            if _package(held.user_hook) != "transformer_lens":
                yield name, held.user_hook
        for hook in chain(module._forward_hooks.values(), module._forward_pre_hooks.values()):
            if _package(hook) not in HOOKING:
                yield name, hook


def _package(hook: Any) -> str:
    """Which package a hook was written in."""
    return str(getattr(hook, "__module__", "")).partition(".")[0]


def _require_no_hooks(bridge: Any) -> None:
    """Refuse a model to which hooks of one's own are attached."""
    point, _ = next(own_hooks(bridge), ("", None))
    if point:
        raise ValueError(
            f"a resumable run got a model with a hook of one's own at {point}; expected the model "
            "as it was loaded; give the change as an edit of a cell, or run without a folder"
        )


def _hash_of(tensor: Tensor) -> str:
    """The hash of a parameter, remembered until it is written to."""
    state = tensor.data_ptr(), tensor._version
    known, digest = _HASHES.get(tensor, (None, ""))
    if known != state:
        kind = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
        held = hashlib.blake2b(kind, digest_size=16)
        held.update(raw_bytes(tensor))
        digest = held.hexdigest()
        _HASHES[tensor] = state, digest
    return digest
