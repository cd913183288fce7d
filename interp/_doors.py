"""Arguments of public functions are held to their annotations where users come in.

`checked` wraps what a package's namespace hands out (`interp.collect`, `patching.steer`, …), so that
a value of the wrong kind is answered in one line and not by an error from deep inside.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

_Kind = TypeVar("_Kind")

#: How many entries of a sequence or mapping are looked at.
LOOKED_AT = 50


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, refusing arguments that are not what it says it takes.

    Raises:
        ValueError: when called, with the argument's name, what was got and what was expected.
    """
    signature = inspect.signature(function)
    hints: dict[str, Any] = {}
    called = function.__qualname__.removesuffix(".__init__").rsplit(".", 1)[-1]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name not in hints:
                hints[name] = _hint(function, parameter)
            if not _fits(value, hints[name]):
                shown = " ".join(str(value).split())[:40]
                raise ValueError(
                    f"{called}: {name} got {type(value).__name__} {shown!r}; expected "
                    f"{parameter.annotation}; see help({function.__module__}.{called})"
                )
        return function(*args, **kwargs)

    return call


def held(kind: type[_Kind]) -> type[_Kind]:
    """A dataclass whose fields are held to their annotations when one is made by hand."""
    kind.__init__ = checked(kind.__init__)
    return kind


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What a parameter is annotated with; Any where the name is not known where it stands."""
    given = parameter.annotation
    if not isinstance(given, str):
        return Any if given is parameter.empty else given
    module = sys.modules[function.__module__]
    try:
        return eval(given, {**vars(typing), **_models(given), **vars(module)})
    except Exception:  # an annotation that only a type checker can read
        return Any


def _models(annotation: str) -> dict[str, Any]:
    """The names that modules import for type checkers only, where an annotation uses them."""
    if "Model" not in annotation:
        return {}
    models = import_module("interp.models")
    return {"Model": models.Model, "ModelPair": models.ModelPair}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated kind, as far as that can be told cheaply."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if hint is None or hint is NoneType:
        return value is None
    if origin is Literal:
        return value in inner
    if origin in (Callable, typing.Callable) or hint is Callable:
        return callable(value)
    if hint is float or hint is int:
        return _numeric(value, whole=hint is int)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(one, inner[1]) for one in list(value.values())[:LOOKED_AT]
        )
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return _several(value, origin, inner)
    kind = getattr(hint, "array_type", origin or hint)
    try:
        return isinstance(value, kind)
    except TypeError:  # protocols that cannot be checked
        return True


def _several(value: Any, origin: type, inner: tuple[Any, ...]) -> bool:
    """Whether a value is a sequence whose entries fit; a text is one value, never several."""
    sized = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    if isinstance(value, str | Mapping) or not (sized or isinstance(value, Iterable)):
        return False
    if issubclass(origin, tuple) and not isinstance(value, tuple):
        return False
    plain = isinstance(value, list | tuple) and inner and not isinstance(inner[0], typing.TypeVar)
    if origin is tuple and Ellipsis not in inner:
        entries = list(value)
        return not inner or (len(entries) == len(inner) and all(map(_fits, entries, inner)))
    return not plain or all(_fits(one, inner[0]) for one in list(value)[:LOOKED_AT])


def _numeric(value: Any, *, whole: bool) -> bool:
    if isinstance(value, str | Sequence) or getattr(value, "ndim", 0):
        return False
    return hasattr(value, "__index__") or (not whole and hasattr(value, "__float__"))
