"""Former names: a function, or an argument, that is still understood under the name it had before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def alias(function: _Function, name: str) -> _Function:
    """The function under another name, whose docstring says so.

    Args:
        function: the one that is meant.
        name: its other name, which is the alias's `__name__`.
    """

    @wraps(function)
    def other(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    other.__name__ = other.__qualname__ = name
    other.__doc__ = f"Alias of `{function.__name__}`.\n\n{inspect.getdoc(function) or ''}"
    return other  # pyright: ignore[reportReturnType]


def formerly(**names: str) -> Callable[[_Function], _Function]:
    """A decorator: arguments are also taken under their former names.

    Args:
        **names: former name = today's.

    Raises:
        TypeError: when called with both.
    """

    def decorate(function: _Function) -> _Function:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for former, name in names.items():
                if former in kwargs:
                    if name in kwargs:
                        raise TypeError(
                            f"{function.__name__}: {former} is the former name of {name}; give one of "
                            "them"
                        )
                    kwargs[name] = kwargs.pop(former)
            return function(*args, **kwargs)

        # Read where arguments are checked (`interp._doors`), which sees today's names only.
        call.__dict__["former_names"] = {**getattr(function, "former_names", {}), **names}
        return call  # pyright: ignore[reportReturnType]

    return decorate
