"""Values in a few words: tensors and tables by their shapes, long things cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Letters of one value, and entries of several, before they are cut.
LETTERS, ENTRIES = 60, 3


def brief(value: Any) -> str:
    """A value in an argument's place.

    Args:
        value: anything.
    """
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(shape, str):
        return f"<{' × '.join(map(str, tuple(shape))) or 'one number'}>"
    if isinstance(value, Mapping):
        shown = [f"{key!r}: {brief(part)}" for key, part in list(value.items())[:ENTRIES]]
        return f"{{{', '.join([*shown, '…'] if len(value) > ENTRIES else shown)}}}"
    if isinstance(value, tuple | list):
        shown = [brief(part) for part in value[:ENTRIES]]
        more = [f"… {len(value)} in all"] if len(value) > ENTRIES else []
        return f"({', '.join([*shown, *more])})"
    text = " ".join(repr(value).split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def called(value: object, /, **arguments: Any) -> str:
    """A value as the call that makes it, with tensors by their shapes.

    Args:
        value: what is shown; its class is what is called.
        **arguments: by name.
    """
    told = ", ".join(f"{name}={brief(part)}" for name, part in arguments.items())
    return f"{type(value).__name__}({told})"
