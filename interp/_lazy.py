"""Lazy package namespaces (PEP 562): a public name is imported from its home on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from inspect import isfunction
from typing import Any

from interp._doors import checked


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The module-level `__getattr__` and `__dir__` of a package with the given name → module table.

    Functions come with their arguments checked (`interp._doors`).
    """
    guarded = cache(checked)

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(homes[name]), name)
        return guarded(found) if isfunction(found) else found

    def dir_() -> list[str]:
        return sorted(homes)

    return getattr_, dir_
