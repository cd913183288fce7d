"""Arguments of public functions are held to their annotations where users come in.

`checked` wraps what a package's namespace hands out (`interp.collect`, `patching.steer`, …), so that
a value of the wrong kind is answered in one line and not by an error from deep inside. What is
unambiguous is understood: a list where a tuple is meant, and a text where a kind has a reader of
texts (`read_as`), as sites read the names of TransformerLens's hooks.
"""

from __future__ import annotations

import inspect
import re
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

#: Kinds that can be written as a text, with what reads it: None for a text that means no such thing.
_READERS: dict[type, Callable[[str], Any]] = {}


#: Kinds that users make by a function -> that function.
_MAKERS = {
    "Contrast": "interp.Contrast.from_text",
    "Examples": "interp.Examples.from_text",
    "FactSet": "interp.load_facts",
    "Model": "interp.load_model",
    "ModelPair": "interp.load_pair",
}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, refusing arguments that are not what it says it takes.

    Raises:
        ValueError: when called, with the argument's name, what was got and what was expected.
        TypeError: when called with too many arguments, too few, or one of an unknown name.
    """
    signature = _spelled(function)
    former_names: Mapping[str, str] = getattr(function, "former_names", {})
    hints: dict[str, Any] = {}
    called = function.__qualname__.removesuffix(".__init__").rsplit("<locals>.", 1)[-1]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for former, name in former_names.items():
            if former in kwargs and name not in kwargs:
                kwargs[name] = kwargs.pop(former)
        if any(former in kwargs for former in former_names):
            return function(*args, **kwargs)  # which refuses two names of one argument
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{called}: {error}; expected {_call(called, signature)}") from None
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name not in hints:
                hints[name] = _hint(function, parameter)
            if _fits(value, hints[name]):
                continue
            meant = _meant(value, hints[name])
            if not _fits(meant, hints[name]):
                shown = " ".join(str(value).split())[:40]
                raise ValueError(
                    f"{called}: {name} got {type(value).__name__} {shown!r}; expected "
                    f"{_said(parameter.annotation, hints[name])}{_made(parameter.annotation)}; "
                    f"see help({_public(function, called)})"
                )
            bound.arguments[name] = meant
        _check_seed(called, bound.arguments.get("seed"))
        _check_places(called, bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return call


def _spelled(function: Callable[..., Any]) -> inspect.Signature:
    """The signature, with the entries of `**options: Unpack[Options]` as arguments of their own."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if not parameters or "Unpack[" not in str(parameters[-1].annotation):
        return signature
    (options,) = get_args(_hint(function, parameters.pop()))
    spelled = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_Left(), annotation=kind)
        for name, kind in typing.get_type_hints(options).items()
    ]
    return signature.replace(parameters=[*parameters, *spelled])


class _Left:
    """The default of an argument that is left to the function called within."""

    def __repr__(self) -> str:
        """As stubs show it."""
        return "..."


def _call(called: str, signature: inspect.Signature) -> str:
    """How a function is called: its arguments in order with their defaults, without annotations."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    shown = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    return called + " ".join(shown.split())


def _made(annotation: Any) -> str:
    """What makes a value of the annotated kind, where that is one function."""
    makers = [maker for kind, maker in _MAKERS.items() if re.fullmatch(kind, str(annotation))]
    return f", which {makers[0]} makes" if makers else ""


def _public(function: Callable[..., Any], called: str) -> str:
    """The name by which a user finds a function: that of its package where the package has it."""
    package = function.__module__.partition(".")[0]
    names = getattr(sys.modules.get(package), "__all__", ())
    return f"{package if called.partition('.')[0] in names else function.__module__}.{called}"


def _check_seed(called: str, seed: Any) -> None:
    """A seed counts from 0, as every generator of random numbers takes it.

    Raises:
        ValueError: if it is negative.
    """
    if seed is not None and seed < 0:
        raise ValueError(f"{called}: seed got {seed}; expected 0 or more; give 0, which is usual")


def _check_places(called: str, arguments: Mapping[str, Any]) -> None:
    """Prompts must lie where the model is.

    Raises:
        ValueError: if they do not; nothing is moved without a word.
    """
    for model, there in _devices(arguments, ("Model", "ModelPair")):
        for name, here in _devices(arguments, ("Examples", "Contrast")):
            if here != there:
                raise ValueError(
                    f"{called}: {name} got prompts on {here} for a {model} on {there}; make them with "
                    f"that model, or give {name}.to({model}.device)"
                )


def _devices(arguments: Mapping[str, Any], kinds: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Name and device of the arguments of these kinds, whose own modules import this one."""
    given = ((name, value) for name, value in arguments.items() if name != "self")  # not made yet
    return [(name, value.device) for name, value in given if type(value).__name__ in kinds]


def held(kind: type[_Kind]) -> type[_Kind]:
    """A dataclass whose fields are held to their annotations when one is made by hand."""
    kind.__init__ = checked(kind.__init__)
    return kind


def read_as(kind: type, reader: Callable[[str], Any]) -> None:
    """Let texts stand for values of a kind wherever an argument of it is expected.

    Args:
        kind: the class that annotations name.
        reader: makes one of a text; gives None for a text that means no such thing, and raises a
            ValueError for one that nearly does.
    """
    _READERS[kind] = reader


#: Names that modules give to unions of kinds -> what a user would write.
_WRITTEN = {
    "Place": "Site | tuple[Site, ...]",
    "Sites": "Activations | dict[Site, Activations] | Sequence[Activations]",
    "Labels": "dict[str, Sequence[number]]",
    "Index": "row numbers or a mask",
    "Surface": "Tensor | dict[str, Tensor]",
}


def _said(annotation: Any, hint: Any) -> str:
    """An annotation without names that only its own module knows; of words, the words."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    return re.sub(
        r"(?<![\w.'\"])\b(" + "|".join(_WRITTEN) + r")\b(?![\w'\"])",
        lambda found: _WRITTEN[found[1]],
        str(annotation),
    )


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What a parameter is annotated with; Any where the name is not known where it stands."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return Any if annotation is parameter.empty else annotation
    module = sys.modules[function.__module__]
    try:
        return eval(annotation, {**vars(typing), **_models(annotation), **vars(module)})
    except Exception:  # an annotation that only a type checker can read
        return Any


def _models(annotation: str) -> dict[str, Any]:
    """The names that modules import for type checkers only, where an annotation uses them."""
    if "Model" not in annotation:
        return {}
    models = import_module("interp.models")
    return {"Model": models.Model, "ModelPair": models.ModelPair}


def _meant(value: Any, hint: Any) -> Any:
    """The value that is meant by one which does not fit, or the value itself.

    Raises:
        ValueError: for a text that nearly means a value of the annotated kind.
    """
    for kind, reader in _READERS.items():
        if _mentions(hint, kind):
            value = _with_texts_read(value, reader)
    tuples = any(
        get_origin(part) is tuple and get_args(part)[1:] == (Ellipsis,)
        for part in (hint, *get_args(hint))
    )
    return tuple(value) if tuples and isinstance(value, list) and not _fits(value, hint) else value


def _with_texts_read(value: Any, reader: Callable[[str], Any]) -> Any:
    """A text as what it means, or a list or tuple whose texts are read so."""
    if isinstance(value, str):
        meant = reader(value)
        return value if meant is None else meant
    if isinstance(value, list | tuple):
        entries = [_with_texts_read(entry, reader) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    return value


def _mentions(hint: Any, kind: type) -> bool:
    """Whether an annotation holds a kind, alone or inside of others."""
    return hint is kind or any(_mentions(part, kind) for part in get_args(hint))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated kind, as far as that can be told cheaply."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in inner)
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
            _fits(entry, inner[1]) for entry in list(value.values())[:LOOKED_AT]
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
    return not plain or all(_fits(entry, inner[0]) for entry in list(value)[:LOOKED_AT])


def _numeric(value: Any, *, whole: bool) -> bool:
    if isinstance(value, str | Sequence) or getattr(value, "ndim", 0):
        return False
    return hasattr(value, "__index__") or (not whole and hasattr(value, "__float__"))
