"""The header of a GGUF file, walked within its bytes before any library loops over its counts.

Source: the GGUF specification, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.untrusted.limits import GGUF_LIST, GGUF_SETTINGS, GGUF_TENSORS, NUMBERS_A_BYTE
from interp.untrusted.reading import inside
from interp.untrusted.weights import Shapes, count

#: Type of a setting -> its format; 8 is a text, 9 a list.
_FORMATS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_TEXT, _LIST = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        settings: name -> number or text; lists are left out.
        shapes: name -> shape of each tensor.
    """

    settings: dict[str, Any]
    shapes: Shapes


def read_header(path: Path) -> GgufHeader:
    """The settings and shapes in a GGUF file.

    Args:
        path: the file; its weights are not read.

    Raises:
        ValueError: one line, if it is no GGUF file, a count, a list or a shape is out of all
            proportion to its bytes, or it ends early.
    """
    inside(path.parent, path.name)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Walk(content).header()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no sound GGUF file ({error}); download it again") from error


class _Walk:
    """A place in the bytes of a file that only moves forward and never behind their end."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.at = 0
        self.order = "<"

    def header(self) -> GgufHeader:
        """Everything from the first byte to the weights."""
        if self.take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self.number("I")
        if version not in (2, 3) and int(version).to_bytes(4, "little")[3] in (2, 3):
            self.order, version = ">", int(version).to_bytes(4, "little")[3]
        if version not in (2, 3):
            raise ValueError(f"version {version}, expected 2 or 3")
        tensors, settings = self.number("Q"), self.number("Q")
        _at_most("tensors", tensors, GGUF_TENSORS)
        _at_most("settings", settings, GGUF_SETTINGS)
        read: dict[str, Any] = {}
        for _ in range(settings):
            name, kind = self.text(), self.number("I")
            read[name] = self.value(kind)
        shapes: Shapes = {}
        for _ in range(tensors):
            name, axes = self.text(), self.number("I")
            _at_most("axes of a tensor", axes, 8)
            shapes[name] = tuple(self.number("Q") for _ in range(axes))
            self.take(12)  # kind and place of the weights
            if math.prod(shapes[name]) > NUMBERS_A_BYTE * len(self.content):
                raise ValueError(f"the shape of {name!r:.80} is larger than the file")
        _at_most("numbers", count(shapes), NUMBERS_A_BYTE * len(self.content))
        return GgufHeader({k: v for k, v in read.items() if v is not None}, shapes)

    def take(self, length: int) -> bytes:
        """The next bytes."""
        if length > len(self.content) - self.at:
            raise ValueError(f"it ends early, at byte {len(self.content):,}")
        self.at += length
        return self.content[self.at - length : self.at]

    def number(self, form: str) -> Any:
        """The next number."""
        form = self.order + form
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """The next text."""
        return self.take(self.number("Q")).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """The next value of a setting; a list is passed over."""
        if kind == _TEXT:
            return self.text()
        if kind in _FORMATS:
            return self.number(_FORMATS[kind])
        if kind != _LIST:
            raise ValueError(f"a setting of the unknown type {kind}")
        kind, length = self.number("I"), self.number("Q")
        _at_most("members of a list", length, GGUF_LIST)
        if kind in _FORMATS:
            self.take(length * struct.calcsize(_FORMATS[kind]))
        elif kind == _TEXT:
            for _ in range(length):
                self.take(self.number("Q"))
        else:
            raise ValueError("a list of lists, which no model needs")
        return None


def _at_most(what: str, got: int, most: int) -> None:
    if got > most:
        raise ValueError(f"it says it has {got:,} {what}, at most {most:,} are read")
