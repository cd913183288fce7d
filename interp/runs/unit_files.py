"""One unit's result as bytes: a safetensors file that carries a checksum of every byte of itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

#: Where the checksum stands before it is known; the same number of digits.
BLANK = "0" * 40


class Damaged(Exception):
    """The bytes are not those that were written."""


def to_bytes(name: str, value: Any) -> bytes:
    """A result as the bytes of a safetensors file.

    Args:
        name: what the unit is, for whoever reads the file.
        value: tensors, arrays, numbers, texts and None, alone or in lists, tuples and dictionaries
            with texts as keys. Tensors come back on the CPU.

    Raises:
        ValueError: for anything else in it.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_taken_apart(value, tensors))
    about = {"unit": name, "structure": structure, "checksum": BLANK}
    # A file without any tensor is no safetensors file to every reader.
    data = save(tensors or {"nothing": torch.zeros(1)}, metadata=about)
    return data.replace(BLANK.encode(), _checksum(data).encode(), 1)


def from_bytes(data: bytes) -> Any:
    """The result that `to_bytes` wrote.

    Raises:
        Damaged: if any byte is another, or the end is missing.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        about = json.loads(data[8 : 8 + size])["__metadata__"]
        checksum = about["checksum"].encode()
        if len(checksum) != len(BLANK) or data.count(checksum) < 1:
            raise Damaged("it holds no checksum")
        if _checksum(data.replace(checksum, BLANK.encode(), 1)).encode() != checksum:
            raise Damaged("its checksum is another")
        return _put_together(json.loads(about["structure"]), load(data))
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise Damaged("it cannot be read") from error


def _checksum(data: bytes) -> str:
    """The hash of a file whose own checksum is blank."""
    return hashlib.blake2b(data, digest_size=len(BLANK) // 2).hexdigest()


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON, its tensors and arrays put aside under numbers."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        number = str(len(tensors))
        array = isinstance(value, np.ndarray)
        tensor = torch.from_numpy(np.ascontiguousarray(value)) if array else value.detach().cpu()
        tensors[number] = tensor.contiguous().clone().reshape(value.shape)
        return {"array" if array else "tensor": number}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_taken_apart(part, tensors) for part in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": [[key, _taken_apart(part, tensors)] for key, part in value.items()]}
    raise ValueError(
        f"a unit's result got {type(value).__name__}; expected tensors, arrays, numbers and texts in "
        "lists, tuples and dictionaries; make it of these"
    )


def _put_together(held: Any, tensors: dict[str, Tensor]) -> Any:
    """The value that was taken apart."""
    if not isinstance(held, dict):
        return held
    ((kind, inner),) = held.items()
    if kind in ("tensor", "array"):
        return tensors[inner] if kind == "tensor" else tensors[inner].numpy()
    if kind == "dict":
        return {key: _put_together(part, tensors) for key, part in inner}
    parts = [_put_together(part, tensors) for part in inner]
    return parts if kind == "list" else tuple(parts)
