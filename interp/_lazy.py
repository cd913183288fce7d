"""Lazy package namespaces: a public name is imported from its home on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import isfunction
from typing import Any

import lazy_loader

from interp._doors import checked
from interp._moved import install

install()


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose `__init__.pyi` lists its names.

    Functions come with their arguments checked (`interp._doors`).

    Args:
        package: its `__name__`.
        file: its `__file__`, beside which the stub stands.
    """
    imported, listed, names = lazy_loader.attach_stub(package, file)

    def getattr_(name: str) -> Any:
        value = imported(name)
        if isfunction(value):
            value = checked(value)
            setattr(sys.modules[package], name, value)
        return value

    return getattr_, listed, names
