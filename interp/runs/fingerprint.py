"""A name for anything that determines a number: equal contents have equal hashes, in any process.

Values are hashed by what they hold, never by where they lie or how they are shown. A function is its
bytecode with constants, defaults, what it closes over and the globals it reads; its file and line are
left out. Library code is its name. What cannot be told by its contents is refused by name.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from numbers import Number
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

#: Bytes of a hash.
SIZE = 20

#: Packages whose code is hashed as a whole, by `code_of`: their functions are followed no further.
OURS = ("interp", "probes", "patching", "studies")

#: What wraps functions and changes no result, such as checks of shapes.
CHECKERS = ("jaxtyping", "beartype")


def fingerprint(value: object) -> str:
    """Hash what a value holds, so that equal contents have one name in every process.

    Args:
        value: primitives, sequences, mappings, sets, enums, tensors, arrays, data frames, dataclasses
            (so sites, examples, metrics, edits), models, functions with what they close over, and
            objects of classes of one's own.

    Returns:
        A hexadecimal hash of 40 digits.

    Raises:
        ValueError: for what cannot be told by its contents, naming it and where it was found.

    Example:
        >>> from interp.runs.fingerprint import fingerprint
        >>> fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
        True
        >>> fingerprint(1) == fingerprint(True)
        False
    """
    return _Hasher().of(value).hex()


def raw_bytes(tensor: Tensor) -> memoryview:
    """The numbers of a dense tensor as bytes, in the order of its axes."""
    # A copy of its own: one of a single number may have any stride.
    flat = tensor.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy().data


def _hash(tag: str, *parts: bytes | memoryview) -> bytes:
    """One hash of a kind's name and some bytes, each with its length."""
    digest = hashlib.blake2b(digest_size=SIZE)
    for part in (tag.encode(), *parts):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class _Hasher:
    """Hashes values from the leaves up, each object of a call once."""

    def __init__(self) -> None:
        self.path: list[str] = []
        #: Object -> its hash. The object is kept beside it: its number may be given anew when it dies.
        self.done: dict[int, tuple[object, bytes]] = {}
        self.open: dict[int, int] = {}

    def of(self, value: Any, name: str = "") -> bytes:
        """The hash of a value, called so where it was found."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            if not isinstance(value, enum.Enum):
                return _primitive(value)
        number = id(value)
        if number in self.done:
            return self.done[number][1]
        if number in self.open:  # it holds itself: how far up it began says which it is
            return _hash("above", str(len(self.open) - self.open[number]).encode())
        self.open[number] = len(self.open)
        self.path.append(name)
        try:
            hashed = self._compound(value)
        except RecursionError:
            raise ValueError(
                f"{self._where(value)}: too deep to be hashed; give flatter data"
            ) from None
        finally:
            self.path.pop()
            del self.open[number]
        self.done[number] = value, hashed
        return hashed

    def _compound(self, value: Any) -> bytes:
        """The hash of a value that holds others."""
        own = getattr(type(value), "__fingerprint__", None)
        if own is not None:
            return _hash("own", _name(type(value)), self.of(own(value)))
        if isinstance(value, enum.Enum):
            return _hash("enum", _name(type(value)), value.name.encode())
        if isinstance(value, tuple | list):
            kind = "list" if isinstance(value, list) else "tuple"
            return _hash(kind, *(self.of(part, f"[{i}]") for i, part in enumerate(value)))
        if isinstance(value, Mapping):
            pairs = [(self.of(key), self.of(part, f"[{key!r:.40}]")) for key, part in value.items()]
            return _hash("mapping", *(part for pair in sorted(pairs) for part in pair))
        if isinstance(value, Set):
            return _hash("set", *sorted(self.of(part) for part in value))
        if isinstance(value, PurePath | torch.dtype | torch.device | np.dtype):
            return _hash(type(value).__name__.removeprefix("Windows"), str(value).encode())
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return self._numbers(value)
        if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
            return self._table(value)
        if isinstance(value, range | slice | Number | date | time | timedelta) or value is ...:
            return _hash(type(value).__name__, repr(value).encode())
        if isinstance(value, type):
            return self._class(value)
        if is_dataclass(value):
            parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
            held = [self.of(part, f".{name}") for name, part in parts]
            return _hash("dataclass", self.of(type(value)), *held)
        return self._behaviour(value)

    def _behaviour(self, value: Any) -> bytes:
        """The hash of what can be called, of generators of random numbers, and of objects."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return _hash("method", self.of(value.__func__), self.of(value.__self__, ".__self__"))
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            return _hash("partial", *(self.of(part, ".func") for part in parts))
        if isinstance(value, types.ModuleType):
            return _hash("module", value.__name__.encode())
        if isinstance(value, torch.Generator):
            return _hash("torch.Generator", self.of(value.get_state()))
        if isinstance(value, np.random.Generator):
            return _hash("numpy.Generator", self.of(value.bit_generator.state))
        if hasattr(value, "__wrapped__"):  # such as what functools.cache makes
            return _hash("wrapped", _name(type(value)), self.of(value.__wrapped__))
        if callable(value) and _library(type(value)) and isinstance(_called(value), str):
            return _hash("library", str(getattr(value, "__module__", "")).encode(), _name(value))
        tokens = getattr(value, "backend_tokenizer", None)
        if tokens is not None:
            return _hash("tokenizer", _name(type(value)), tokens.to_str().encode())
        if not _library(type(value)) and hasattr(value, "__dict__"):
            return _hash("object", self.of(type(value)), self.of(vars(value)))
        raise ValueError(
            f"{self._where(value)} cannot be told by its contents; expected numbers, texts, tensors, "
            "tables, dataclasses or functions of these; give it as one of them, or run without a folder"
        )

    def _numbers(self, value: Any) -> bytes:
        """The hash of a tensor or an array: its type, its shape and its bytes."""
        if isinstance(value, Tensor):
            if value.layout is not torch.strided or value.is_quantized or value.is_meta:
                raise ValueError(
                    f"{self._where(value)} is {value.layout} on {value.device}; expected a dense "
                    "tensor with numbers; give its dense form"
                )
            return _hash("tensor", str((value.dtype, tuple(value.shape))).encode(), raw_bytes(value))
        array = np.asarray(value)
        if array.dtype.hasobject:
            return _hash("objects", str(array.shape).encode(), self.of(array.reshape(-1).tolist()))
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return _hash("array", str((array.dtype.str, array.shape)).encode(), raw.data)

    def _table(self, value: Any) -> bytes:
        """The hash of a table or a column, with its names and its index."""
        if isinstance(value, pd.DataFrame):
            columns = [self.of(value.iloc[:, i], f"[{name!r}]") for i, name in enumerate(value)]
            return _hash("frame", self.of(list(value)), self.of(value.index, ".index"), *columns)
        plain = isinstance(value.dtype, np.dtype) and not value.dtype.hasobject
        held = value.to_numpy() if plain else [_known(v) for v in value.astype(object)]
        rest = self.of(value.index) if isinstance(value, pd.Series) else b""
        return _hash("column", str(value.dtype).encode(), self.of(value.name), self.of(held), rest)

    def _class(self, value: type) -> bytes:
        """The hash of a class: its name, and the code of one's own."""
        if _library(value) or _ours(value):
            return _hash("class", _name(value))
        code = {n: v for n, v in vars(value).items() if isinstance(v, types.FunctionType)}
        bases = [base for base in value.__bases__ if base is not object]
        return _hash("class", _name(value), self.of(code, ".code"), self.of(bases))

    def _function(self, value: types.FunctionType) -> bytes:
        """The hash of a function: its code, and all that its code reads."""
        value = _unchecked(value)
        if _library(value):
            return _hash("library", str(value.__module__).encode(), _name(value))
        parts = [_name(value), self.of(_code(value.__code__)), self.of(value.__defaults__)]
        parts.append(self.of(value.__kwdefaults__))
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                held = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            parts.append(self.of(held, f".{name}"))
        if not _ours(value):
            names = sorted(set(_names(value.__code__)) & value.__globals__.keys())
            parts += [self.of((n, value.__globals__[n]), f".{n}") for n in names]
        return _hash("function", *parts)

    def _where(self, value: object) -> str:
        path = "".join(part for part in self.path if not part.startswith(".__"))
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        return f"{path.lstrip('.')} ({kind})" if path else kind


def _primitive(value: Any) -> bytes:
    """The hash of a value that holds no other."""
    if isinstance(value, bytes):
        return _hash("bytes", value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # numpy's float64 is a float: its contents are the same
            value = kind(value)
            text = value.hex() if isinstance(value, float) else str(value)
            return _hash(kind.__name__, text.encode("utf-8", "surrogatepass"))
    return _hash(type(value).__name__, repr(value).encode())


def _known(value: Any) -> Any:
    """An entry of a table; None for what is missing, however the column writes it."""
    unknown = value is None or value is pd.NA or value is pd.NaT
    return None if unknown or (isinstance(value, float) and value != value) else value


def _called(value: Any) -> Any:
    return getattr(value, "__qualname__", None) or getattr(value, "__name__", None)


def _name(value: Any) -> bytes:
    """Module and name of a class or function."""
    return f"{getattr(value, '__module__', '')}.{_called(value)}".encode()


def _ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] in OURS


def _library(value: Any) -> bool:
    """Whether a class or function belongs to Python or to an installed package."""
    top = str(getattr(value, "__module__", None) or "builtins").partition(".")[0]
    if top in OURS or top == "__main__":
        return False
    if top in sys.stdlib_module_names:
        return True
    file = str(getattr(sys.modules.get(top), "__file__", None) or "")
    return "site-packages" in file or "dist-packages" in file


def _unchecked(function: types.FunctionType) -> types.FunctionType:
    """The function behind wrappers that check its arguments and change nothing."""

    def checks(wrapper: Any) -> bool:
        code = getattr(wrapper, "__code__", None)
        made = "" if code is None else code.co_filename
        return any(name in made for name in CHECKERS)

    unwrapped = inspect.unwrap(function, stop=lambda wrapper: not checks(wrapper))
    return unwrapped if isinstance(unwrapped, types.FunctionType) else function


def _code(code: types.CodeType) -> tuple[Any, ...]:
    """What a code object does, without where it stands."""
    constants = [_code(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    return (
        code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags,
    )  # fmt: skip


def _names(code: types.CodeType) -> Iterable[str]:
    """Names that a code object and those inside of it look up: globals and attributes alike."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
